"""The C++ side of the benchmarks: found or built, and called through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from psfmatch import LinearCombinationKernel, MaskedImage
from suite.timing import progress

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_BUILD = ROOT / "build" / "benchmarks"
INSTRUCTION_SETS = {"baseline": 1, "avx2": 2}
AUTOMATIC = 0
METHODS = {"direct": 1, "transforms": 2}  # of ConvolutionMethod
NAME = Path("benchmarks") / "cpp" / "psfmatch_bench.so"


class _Planes(ctypes.Structure):
    _fields_ = (
        ("height", ctypes.c_ssize_t),
        ("width", ctypes.c_ssize_t),
        *((name, ctypes.c_void_p) for name in ("image", "variance", "mask", "outImage", "outVariance", "outMask")),
    )


class _Kernel(ctypes.Structure):
    _fields_ = (
        ("n", ctypes.c_ssize_t),
        ("height", ctypes.c_ssize_t),
        ("width", ctypes.c_ssize_t),
        ("basis", ctypes.c_void_p),
        ("chebyshev", ctypes.c_int),
        ("order", ctypes.c_int),
        ("parameters", ctypes.c_void_p),
        ("frame", ctypes.c_void_p),
    )


def build(folder: Path) -> None:
    """Configure and build the benchmarks in `folder` (CMake and a C++ compiler are needed)."""
    progress(f"building the C++ benchmarks in {folder}")
    options = ["-DPSFMATCH_BENCHMARKS=ON", "-DPSFMATCH_TESTS=OFF", f"-DPython_EXECUTABLE={sys.executable}"]
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(folder), *options],
        ["cmake", "--build", str(folder), "--parallel", "2"],
    ):
        subprocess.run(command, check=True, stdout=sys.stderr)


@dataclass(frozen=True)
class Task:
    """A convolution made ready: arrays in and out, and the kernel, kept alive while C++ looks at them."""

    planes: _Planes
    kernel: _Kernel
    badBits: int
    arrays: tuple[npt.NDArray[np.generic], ...]
    centralKernel: npt.NDArray[np.float64]


class Library:
    """Functions of the shared library of a build; without one in `folder` it is built there."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or DEFAULT_BUILD
        if folder is None or not (folder / NAME).exists():
            build(self.folder)
        self._functions = ctypes.CDLL(str(self.folder / NAME))
        self._functions.benchMultiplyAddRate.restype = ctypes.c_double
        self._functions.benchCopyRate.restype = ctypes.c_double
        self._functions.benchCompiler.restype = ctypes.c_char_p

    @property
    def compiler(self) -> str:
        """Name and version of the compiler."""
        return str(self._functions.benchCompiler().decode())

    def isSupported(self, instructionSet: str) -> bool:
        """Whether build and processor have the instruction set."""
        return bool(self._functions.benchIsSupported(INSTRUCTION_SETS[instructionSet]))

    def bestSet(self) -> str:
        """Return the instruction set that the library takes by itself."""
        return "avx2" if self.isSupported("avx2") else "baseline"

    def multiplyAddRate(self, instructionSet: str, threads: int) -> float:
        """GFLOP/s of multiply-adds in registers."""
        return float(self._functions.benchMultiplyAddRate(INSTRUCTION_SETS[instructionSet], threads))

    def copyRate(self, threads: int) -> float:
        """GB/s of a copy, read plus written."""
        return float(self._functions.benchCopyRate(threads))

    def prepare(self, source: MaskedImage, kernel: LinearCombinationKernel, withMask: bool) -> Task:
        """Make a convolution ready; without a mask an empty one is given."""
        mask = np.array(source.mask) if withMask else np.zeros(source.shape, dtype=np.int32)
        given = [source.image, source.variance, mask]
        out = [np.zeros_like(array) for array in given]
        numbers = [kernel.basis, kernel.scaledParameters, np.array(kernel.frame)]
        arrays = tuple(np.ascontiguousarray(array) for array in (*given, *out, *numbers))
        pointers = [array.ctypes.data for array in arrays]
        height, width = kernel.shape
        coreKernel = _Kernel(
            len(numbers[0]), height, width, pointers[6], kernel.model == "chebyshev1", kernel.order, *pointers[7:]
        )
        badBits = source.mask.getPlaneBitMask(("BAD", "SAT", "CR", "EDGE", "NO_DATA"), ignoreMissing=True)
        centre = np.ascontiguousarray(kernel.computeImage(source.shape[1] / 2, source.shape[0] / 2))
        return Task(_Planes(*source.shape, *pointers[:6]), coreKernel, badBits, arrays, centre)

    def convolve(self, task: Task, imageOnly: bool, threads: int, method: int = AUTOMATIC) -> None:
        """Convolve the image plane, or all planes."""
        planes, kernel = ctypes.byref(task.planes), ctypes.byref(task.kernel)
        self._functions.benchConvolve(planes, kernel, imageOnly, task.badBits, method, AUTOMATIC, threads)

    def plainLoop(self, task: Task, firstRow: int, lastRow: int) -> None:
        """Convolve image and variance with the kernel of the image's centre in a plain double loop."""
        kernel = task.centralKernel
        self._functions.benchPlainLoop(
            ctypes.byref(task.planes),
            ctypes.c_ssize_t(kernel.shape[0]),
            ctypes.c_void_p(kernel.ctypes.data),
            ctypes.c_ssize_t(firstRow),
            ctypes.c_ssize_t(lastRow),
        )

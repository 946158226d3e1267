"""Use kernel basis functions of your own: shapelets of one width in place of three Gaussians times polynomials.

    python examples/customBasis.py [--size PIX] [--degree N]

Gauss-Hermite functions (shapelets; Refregier 2003, MNRAS 338, 35) are orthogonal and have one width, so that they
need fewer functions than the usual basis and reach less far into the kernel's wings. Both bases subtract the same
simulated pair; the table says how well. Any (n, height, width) array can take the place of the shapelets.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray

from psfmatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.images import SIGMA_TO_FWHM
from psfmatch.kernels import renormalizeBasis
from psfmatch.testing import SimulatedPair, backgroundPull, simulatePair, starPull

KERNEL_SIZE = 21  # px


def makeShapelets(size: int, sigma: float, degree: int) -> NDArray[np.float64]:
    """Return the shapelets of width `sigma` (px) up to a total degree, (n, size, size), the Gaussian first."""
    offset = (np.arange(size) - size // 2) / sigma
    orders = [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]
    profiles = [hermval(offset, np.eye(degree + 1)[order]) * np.exp(-0.5 * offset**2) for order in range(degree + 1)]
    return np.array([np.outer(profiles[j], profiles[i]) for i, j in orders])


class ShapeletMatchTask(ImagePsfMatchTask):
    """The documented task with another basis; all else is as it was."""

    _DefaultName = "shapeletMatch"

    def __init__(self, *args: Any, degree: int = 6, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.degree = degree

    def makeKernelBasisList(
        self,
        targetFwhmPix: float | None = None,
        referenceFwhmPix: float | None = None,
        basisDegGauss: Sequence[int] | None = None,
        basisSigmaGauss: Sequence[float] | None = None,
        metadata: Any = None,
    ) -> NDArray[np.float64]:
        """Return shapelets of the width that turns one Gaussian PSF into the other, 1 px at least."""
        if targetFwhmPix is None or referenceFwhmPix is None:
            raise ValueError("this basis needs both FWHMs")
        width = math.sqrt(max(0.0, referenceFwhmPix**2 - targetFwhmPix**2)) / SIGMA_TO_FWHM
        # The kernel sum must not vary with the field: the first function has the sum 1, all others 0.
        return renormalizeBasis(makeShapelets(KERNEL_SIZE, max(1.0, width), self.degree))


def makeConfig() -> ImagePsfMatchConfig:
    """Return the configuration of both tasks: a kernel of order 1 and a background of order 2."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.spatialKernelOrder = 1
    config.kernel.active.spatialBgOrder = 2
    config.kernel.active.fitForBackground = True
    return config


def describe(name: str, task: ImagePsfMatchTask, pair: SimulatedPair) -> str:
    """Subtract, and return a line of the table."""
    result = task.subtractExposures(pair.template, pair.science)
    kernel, centre = result.psfMatchingKernel, pair.science.getBBox().centre
    numbers = (
        f"{len(kernel.basis):>9}",
        f"{task.metadata['nGoodCandidates']:>5}",
        f"{kernel.kernelSum(*centre):>10.4f}",
        f"{backgroundPull(result.subtractedExposure, pair.truth):>11.3f}",
        f"{starPull(result.subtractedExposure, pair.truth)[0]:>11.3f}",
    )
    return f"{name:<22}" + " ".join(numbers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Subtract a simulated pair with both bases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=640, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--degree", type=int, default=6, help="highest degree of the shapelets (default: %(default)s)")
    options = parser.parse_args(arguments)

    pair = simulatePair(seed=1, size=options.size, brightStars=100, skySubtracted=True)
    config = makeConfig()
    print(f"{'basis':<22}{'functions':>9} {'stars':>5} {'kernel sum':>10} {'sky scatter':>11} {'star scatter':>11}")
    print(describe("Gaussians, default", ImagePsfMatchTask(config=config), pair))
    shapelets = ShapeletMatchTask(config=config, degree=options.degree)
    print(describe(f"shapelets, degree {options.degree}", shapelets, pair))
    centre = pair.science.getBBox().centre
    print(f"True kernel sum {pair.truth.kernelSum(*centre):.4f}. Scatter is difference / sqrt(variance): 1 is ideal.")


if __name__ == "__main__":
    main()

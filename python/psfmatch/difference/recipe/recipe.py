"""A kernel with all that is needed to use it again: background, direction, edges, resampling, what came before.

In a file the recipe is the JSON of the HDU RECIPE beside the kernel's own tables, in a kernel file as in a
difference image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib.metadata import version
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from psfmatch import _core, io
from psfmatch.config import KernelOptions
from psfmatch.config.equality import ByValue
from psfmatch.difference.background import BorderLevels
from psfmatch.difference.borders import EDGE_FRACTION
from psfmatch.errors import ExposureReadError
from psfmatch.images import Box, MaskedImage
from psfmatch.images.planeRules import PlaneRules
from psfmatch.kernels import (
    EdgeHandling,
    LinearCombinationKernel,
    SpatialFunction2D,
    backgroundFromTables,
)
from psfmatch.registration import Warper
from psfmatch.registration.preparation import Preparation

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["StoredKernel", "SubtractionRecipe", "currentInstructionSet", "edgeHandlingOf", "warperOf"]

Convolved = Literal["template", "science"]
WARP_SHARE = 4.0
"""The safeKernelFraction of a warp over that of the convolution that follows. 0.2: half way between pixels a Lanczos
kernel holds four of them by 0.16 each, and the variances of results about a filled one are 2 to 5 % too large."""


@cache
def currentInstructionSet() -> str:
    """Return the instruction set that "automatic" means on this machine."""
    return "avx2" if _core.isSupported(_core.InstructionSet.avx2) else "baseline"


def edgeHandlingOf(options: KernelOptions) -> EdgeHandling:
    """Return how borders and bad pixels are to be convolved."""
    return EdgeHandling(
        copyEdge=options.doCopyEdge,
        badPlanes=options.edgePlanes(),
        maskedKernelFraction=options.maskedKernelFraction,
        safeKernelFraction=options.safeKernelFraction,
    )


def convolveBy(
    kernel: LinearCombinationKernel, image: MaskedImage, options: KernelOptions, threads: int | None = None
) -> MaskedImage:
    """Return the image convolved with the kernel, its borders and bad pixels as configured."""
    return kernel.convolve(image, edgeHandlingOf(options), threads=threads)


def warperOf(options: KernelOptions, threads: int | None = None, instructionSet: str = "automatic") -> Warper:
    """Return what resamples templates."""
    return Warper(
        options.warping,
        badPlanes=[plane for plane in options.badPixelMaskPlanes if plane != "EDGE"],
        maskedKernelFraction=options.maskedKernelFraction,
        safeKernelFraction=min(WARP_SHARE * options.safeKernelFraction, 0.5),
        instructionSet=instructionSet,
        threads=threads,
    )


def _defaultWarping() -> dict[str, Any]:
    from psfmatch.config import WarperConfig, configToDict

    return {**configToDict(WarperConfig()), "keepCentroids": True}


@dataclass(frozen=True)
class SubtractionRecipe:
    """How a kernel was used to subtract two images; enough, with kernel and background, to do it again bit for bit.

    convolved : which image; edges : borders and bad pixels of the convolution;
    divisor : the difference was divided by it (the kernel sum at the centre where the science image is convolved);
    varianceFactor : the difference's variance plane was multiplied by it; borderLevels : that were taken off it,
    None: none; traceGrowth : pixels that rings about saturated stars may reach, 0: their traces were not flagged;
    warping : fields of the `WarperConfig` as plain data; warpBadPlanes, warpMaskedKernelFraction,
    warpSafeKernelFraction : as the Warper's;
    preparation : what came before; smoothing : sigma (pixels) of the Gaussian by which the image that is not convolved
    was smoothed, 0: it was not; decorrelation : arguments of `psfmatch.difference.decorrelate` if the difference
    was decorrelated, else None;
    planes : what became of mask planes; edgeFraction : of the kernel, as for
    `psfmatch.difference.borders.completeBorder`;
    shape, xy0 : the pixels (h, w) of the science image, None where they are not known;
    version, instructionSet : of psfmatch and of the machine: with others the last bits may differ.
    """

    convolved: Convolved = "template"
    divisor: float = 1.0
    varianceFactor: float = 1.0
    borderLevels: BorderLevels | None = None
    traceGrowth: int = 0
    edges: EdgeHandling = field(default_factory=lambda: EdgeHandling(copyEdge=True))
    warping: Mapping[str, Any] = field(default_factory=_defaultWarping)
    warpBadPlanes: tuple[str, ...] = ("BAD", "SAT", "CR", "NO_DATA")
    warpMaskedKernelFraction: float = 0.01
    warpSafeKernelFraction: float = 0.0
    preparation: Preparation = field(default_factory=Preparation)
    smoothing: float = 0.0
    decorrelation: Mapping[str, Any] | None = None
    planes: PlaneRules = field(default_factory=PlaneRules)
    edgeFraction: float = EDGE_FRACTION
    shape: tuple[int, int] | None = None
    xy0: tuple[int, int] = (0, 0)
    version: str = field(default_factory=lambda: version("psfmatch"))
    instructionSet: str = field(default_factory=currentInstructionSet)

    def __post_init__(self) -> None:
        if self.convolved not in ("template", "science"):
            raise ValueError(f"convolved is {self.convolved!r}, must be 'template' or 'science'")
        if not (np.isfinite(self.divisor) and self.divisor != 0.0):
            raise ValueError(f"the difference cannot be divided by {self.divisor}")
        if not (np.isfinite(self.varianceFactor) and self.varianceFactor > 0.0):
            raise ValueError(f"the difference's variance cannot be multiplied by {self.varianceFactor}")
        if not (np.isfinite(self.smoothing) and self.smoothing >= 0.0):
            raise ValueError(f"smoothing is {self.smoothing}, must be 0 or more pixels")

    @classmethod
    def fromConfig(
        cls,
        config: PsfMatchConfig | KernelOptions,
        convolved: Convolved,
        kernel: LinearCombinationKernel,
        box: Box,
        preparation: Preparation | None = None,
        decorrelation: Mapping[str, Any] | None = None,
        varianceFactor: float = 1.0,
        planes: PlaneRules | None = None,
        smoothing: float = 0.0,
        edgeFraction: float = 0.0,
        borderLevels: BorderLevels | None = None,
        traceGrowth: int = 0,
    ) -> Self:
        """Return the recipe of a subtraction that a task made.

        Parameters
        ----------
        config
            Active kernel configuration of the task, or the options read from it.
        convolved
            Which image was convolved.
        kernel
            The kernel found.
        box
            Pixels of the science image, parent coordinates.
        preparation
            What was done to the images before.
        decorrelation
            Arguments (by name, fit for JSON) of the decorrelation that followed; None if there was none.
        varianceFactor
            What the difference's variance plane was multiplied by.
        planes
            What became of mask planes.
        smoothing
            Sigma (pixels) of the Gaussian by which the image that is not convolved was smoothed; 0: it was not.
        edgeFraction
            Of the kernel, that might lie beyond all pixels without EDGE.
        borderLevels, traceGrowth
            What was taken off the difference, and how far rings about saturated stars were looked for in it.
        """
        options = KernelOptions.fromConfig(config)
        warper = warperOf(options)
        return cls(
            convolved=convolved,
            divisor=1.0 if convolved == "template" else kernel.kernelSum(*box.centre),
            varianceFactor=varianceFactor,
            edges=edgeHandlingOf(options),
            warping=asdict(warper.options),
            warpBadPlanes=warper.badPlanes,
            warpMaskedKernelFraction=warper.maskedKernelFraction,
            warpSafeKernelFraction=warper.safeKernelFraction,
            preparation=preparation or Preparation(),
            smoothing=smoothing,
            decorrelation=decorrelation,
            planes=planes or PlaneRules(),
            edgeFraction=edgeFraction,
            borderLevels=borderLevels,
            traceGrowth=traceGrowth,
            shape=box.shape,
            xy0=(box.x0, box.y0),
        )

    @property
    def box(self) -> Box | None:
        """Pixels of the science image, parent coordinates; None where they are not known."""
        return None if self.shape is None else Box(*self.xy0, self.shape[1], self.shape[0])

    def runnableInstructionSet(self) -> str:
        """Return the recipe's instruction set if this machine has it, else that of the machine."""
        known = _core.InstructionSet.__members__.get(self.instructionSet)
        return self.instructionSet if known is not None and _core.isSupported(known) else currentInstructionSet()

    def makeWarper(self, threads: int | None = None, instructionSet: str = "automatic") -> Warper:
        """Return what resamples the template as it was resampled."""
        from psfmatch.config import WarperConfig, configFromDict

        return Warper(
            configFromDict(WarperConfig, self.warping),
            badPlanes=self.warpBadPlanes,
            maskedKernelFraction=self.warpMaskedKernelFraction,
            safeKernelFraction=self.warpSafeKernelFraction,
            instructionSet=instructionSet,
            threads=threads,
        )

    def toDict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON, which keeps every number to the last bit."""
        data = asdict(self)
        data["warping"] = dict(self.warping)
        data["preparation"] = self.preparation.toDict()
        return data

    @classmethod
    def fromDict(cls, data: Mapping[str, Any]) -> Self:
        """Return the recipe whose `toDict` gave the data; ValueError for unknown names or impossible values."""
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown parts of the recipe: {', '.join(unknown)}; a newer psfmatch may know them")
        # Older recipes leave the border as the convolution does.
        values = {"edgeFraction": 0.0, **data}
        try:
            if "edges" in values:
                edges = dict(values["edges"])
                edges["badPlanes"] = tuple(edges["badPlanes"])
                values["edges"] = EdgeHandling(**edges)
            if "planes" in values:
                values["planes"] = PlaneRules(**{name: tuple(planes) for name, planes in values["planes"].items()})
            if values.get("borderLevels") is not None:
                values["borderLevels"] = BorderLevels.fromDict(values["borderLevels"])
            if "preparation" in values:
                values["preparation"] = Preparation.fromDict(values["preparation"])
            for name in ("warpBadPlanes", "xy0", "shape"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise ValueError(f"the recipe is damaged: {error!r}") from error


@dataclass(frozen=True, eq=False)
class StoredKernel(ByValue):
    """A matching kernel with its background and recipe; each of the latter may be missing (None)."""

    kernel: LinearCombinationKernel
    background: SpatialFunction2D | None = None
    recipe: SubtractionRecipe | None = None

    def toTables(self) -> io.KernelTables:
        """Return what goes to disk."""
        return self.kernel.toTables(self.background, None if self.recipe is None else self.recipe.toDict())

    def writeFits(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write a kernel file; FileExistsError if it exists and `overwrite` is false."""
        io.formOf(path, io.FITS_FILES)
        io.writeKernelTables(path, self.toTables(), overwrite=overwrite)

    @classmethod
    def readFits(cls, path: str | PathLike[str]) -> Self:
        """Read a kernel file, or the kernel of a difference image.

        Tables of HOTPANTS are read by `psfmatch.hotpants.storedKernel.readStoredKernel`.

        Raises
        ------
        FileNotFoundError, ExposureReadError
            If there is no such file, no kernel in it, or a recipe that this version does not understand.
        """
        tables = io.readKernelTables(path)
        try:
            recipe = None if tables.recipe is None else SubtractionRecipe.fromDict(tables.recipe)
            return cls(LinearCombinationKernel.fromTables(tables), backgroundFromTables(tables), recipe)
        except ValueError as error:
            raise ExposureReadError(f"{path}: {error}", path=path) from error

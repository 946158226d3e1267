"""What the code below the tasks is told: configurations, read once at the door, as frozen dataclasses.

Fields have the names, units and meaning of the configuration's, of which they are copies: lists become tuples, groups
become options of their own. `dataclasses.replace` makes variants, which costs microseconds where a configuration costs
milliseconds. There are no defaults here; those of a field that only the other family of kernels has are that family's.
"""

from __future__ import annotations

import functools
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .settings import Settings, usualSettings

if TYPE_CHECKING:
    from lsst.pex.config import Config

__all__ = [
    "BackgroundOptions",
    "KernelOptions",
    "RegionOptions",
    "StampOptions",
    "WarpOptions",
]


class _Options:
    """What all of them can do."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @classmethod
    def fromConfig(cls, config: Config | Settings | Self) -> Self:
        """Read a configuration; options are returned as they are."""
        if isinstance(config, cls):
            return config
        return cls(**{name: plainValue(getattr(config, name)) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class RegionOptions(_Options):
    """Regions of pixels and their fit; from a `RegionConfig`."""

    layout: str
    halfWidth: int
    maxRegions: int
    iterations: int
    refineBackground: bool
    rejectPixels: bool
    threshold: float
    growth: int
    shapeScale: float
    variationScale: float
    widthScale: float
    kernelNorm: float
    firstDegrees: tuple[int, ...]


@dataclass(frozen=True)
class StampOptions(_Options):
    """How stars become stamps; from a `DetectionConfig`."""

    detThreshold: float
    detThresholdType: str
    detOnTemplate: bool
    badMaskPlanes: tuple[str, ...]
    fpNpixMin: int
    fpNpixMax: int
    fpGrowKernelScaling: float
    fpGrowPix: int
    scaleByFwhm: bool


@dataclass(frozen=True)
class BackgroundOptions(_Options):
    """How the sky is modelled; from a `SubtractBackgroundConfig`."""

    statisticsProperty: str
    undersampleStyle: str
    binSize: int
    binSizeX: int
    binSizeY: int
    algorithm: str
    ignoredPixelMask: tuple[str, ...]
    useApprox: bool
    approxOrderX: int
    weighting: bool


@dataclass(frozen=True)
class WarpOptions(_Options):
    """How the template is resampled; from a `WarperConfig`."""

    warpingKernelName: str
    maskWarpingKernelName: str
    interpLength: int
    cacheSize: int
    growFullMask: int
    keepCentroids: bool


@dataclass(frozen=True)
class KernelOptions(_Options):
    """The kernel and all that belongs to its fit; from a `PsfMatchConfigAL` or a `PsfMatchConfigDF`."""

    regions: RegionOptions
    stamps: StampOptions
    background: BackgroundOptions
    warping: WarpOptions

    fitMethod: str
    fitForBackground: bool
    kernelBasisSet: str
    kernelSize: int
    scaleByFwhm: bool
    kernelSizeFwhmScaling: float
    kernelSizeMin: int
    kernelSizeMax: int
    spatialModelType: str
    spatialKernelOrder: int
    spatialBgOrder: int
    sizeCellX: int
    sizeCellY: int
    nStarPerCell: int
    minKernelSources: int
    maxSpatialIterations: int
    usePcaForSpatialKernel: bool
    subtractMeanForPca: bool
    weightPcaByInformation: bool
    numPrincipalComponents: int
    singleKernelClipping: bool
    kernelSumClipping: bool
    spatialKernelClipping: bool
    checkConditionNumber: bool
    badMaskPlanes: tuple[str, ...]
    badPixelMaskPlanes: tuple[str, ...]
    zeroWeightBadPixels: bool
    maskedKernelFraction: float
    maskedStampFraction: float
    doCopyEdge: bool
    candidateResidualMeanMax: float
    candidateResidualStdMax: float
    useCoreStats: bool
    candidateCoreRadius: int
    maxKsumSigma: float
    maxConditionNumber: float
    conditionNumberType: str
    maxSpatialConditionNumber: float
    iterateSingleKernel: bool
    constantVarianceWeighting: bool
    calculateKernelUncertainty: bool
    useBicForKernelBasis: bool

    # Gaussians alone
    alardNGauss: int
    alardDegGauss: tuple[int, ...]
    alardSigGauss: tuple[float, ...]
    alardWidthRule: str
    alardGaussBeta: float
    alardMinSig: float
    alardMinSigDeconv: float
    alardDegGaussDeconv: int
    alardNGaussDeconv: int

    # delta functions alone
    useRegularization: bool
    regularizationType: str
    centralRegularizationStencil: int
    forwardRegularizationOrders: tuple[int, ...]
    regularizationBorderPenalty: float
    lambdaType: str
    lambdaValue: float
    lambdaScaling: float
    lambdaStepType: str
    lambdaMin: float
    lambdaMax: float
    lambdaStep: float

    @classmethod
    def fromConfig(cls, config: Config | Settings | Self) -> Self:
        """Read an active kernel configuration; options are returned as they are.

        Parameters
        ----------
        config
            A `PsfMatchConfigAL` or `PsfMatchConfigDF`, such as ``config.kernel.active``.
        """
        if isinstance(config, cls):
            return config
        groups: Any = config
        values: dict[str, Any] = {
            "regions": RegionOptions.fromConfig(groups.regionConfig),
            "stamps": StampOptions.fromConfig(groups.detectionConfig),
            "background": BackgroundOptions.fromConfig(groups.afwBackgroundConfig),
            "warping": WarpOptions.fromConfig(groups.warpingConfig),
        }
        values |= {name: value for name, value in _otherFamily().items() if name not in groups}
        names = (name for name in cls.__dataclass_fields__ if name not in values)
        values |= {name: plainValue(getattr(config, name)) for name in names}
        return cls(**values)

    def badPlanes(self) -> tuple[str, ...]:
        """Return the mask planes whose pixels are left out of fits, ratings and residual statistics."""
        planes = dict.fromkeys(self.badMaskPlanes)
        if self.zeroWeightBadPixels:
            planes |= dict.fromkeys(self.badPixelMaskPlanes)
        return tuple(planes)

    def edgePlanes(self) -> tuple[str, ...]:
        """Return the mask planes that are carried over a convolution by ``maskedKernelFraction``."""
        return tuple(dict.fromkeys((*self.badPixelMaskPlanes, *self.badMaskPlanes)))


def plainValue(value: Any) -> Any:
    """Return a field's value: a scalar as it is, a list as a tuple."""
    return value if value is None or isinstance(value, str | bool | int | float) else tuple(value)


@functools.cache
def _otherFamily() -> dict[str, Any]:
    """Return the defaults of the fields that only one family has, for configurations of the other."""
    gaussians, deltas = (usualSettings().kernel.values.toDict()[name] for name in ("AL", "DF"))
    return {
        name: plainValue(value)
        for own, other in ((gaussians, deltas), (deltas, gaussians))
        for name, value in own.items()
        if name not in other
    }

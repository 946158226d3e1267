"""What the code below the tasks is told: configurations, read once at the door, as frozen dataclasses.

Fields have the names, units and meaning of the configuration's, of which they are copies: lists become tuples, groups
become options of their own. `dataclasses.replace` makes variants, which costs microseconds where a configuration costs
milliseconds. There are no defaults here; those of a field that only the other family of kernels has are that family's.
A configuration that holds what was chosen is made of them when somebody asks for it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from psfmatch.config.brief import Brief
from psfmatch.config.usual import usualFields

if TYPE_CHECKING:
    from types import SimpleNamespace

    from lsst.pex.config import Config

__all__ = [
    "BackgroundOptions",
    "DetectionOptions",
    "ImagePsfMatchOptions",
    "KernelOptions",
    "MeasurementOptions",
    "Options",
    "RegionOptions",
    "StampOptions",
    "WarpOptions",
    "usualOptions",
]


class Options(Brief):
    """What all of them can do."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    groups: ClassVar[Mapping[str, tuple[str, type[Options]]]] = {}
    """Of each field that holds options its name in the configuration, and their class."""

    @classmethod
    def fromConfig(cls, config: Config | SimpleNamespace | Self) -> Self:
        """Read a configuration; options are returned as they are."""
        if isinstance(config, cls):
            return config
        values: dict[str, Any] = {
            name: Group.fromConfig(_group(config, theirs)) for name, (theirs, Group) in cls.groups.items()
        }
        values |= {name: value for name, value in cls.others().items() if not hasattr(config, name)}
        names = (name for name in cls.__dataclass_fields__ if name not in values)
        return cls(**values, **{name: plainValue(getattr(config, name)) for name in names})

    @classmethod
    def others(cls) -> Mapping[str, Any]:
        """Return the values of the fields that a configuration need not have."""
        return {}

    def setIn(self, config: Config) -> None:
        """Set those fields of a configuration, in place, that differ from these."""
        before = type(self).fromConfig(config)
        for name in self.__dataclass_fields__:
            if name in self.groups:
                getattr(self, name).setIn(_group(config, self.groups[name][0]))
            elif getattr(self, name) != getattr(before, name):
                setattr(config, name, getattr(self, name))

    def setInData(self, data: dict[str, Any]) -> None:
        """Set the fields of a configuration that is plain data, in place."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name in self.groups:
                value.setInData(data[self.groups[name][0]])
            elif name in data:
                data[name] = list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class RegionOptions(Options):
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
class StampOptions(Options):
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
class BackgroundOptions(Options):
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
class WarpOptions(Options):
    """How the template is resampled; from a `WarperConfig`."""

    warpingKernelName: str
    maskWarpingKernelName: str
    interpLength: int
    cacheSize: int
    growFullMask: int
    keepCentroids: bool


@dataclass(frozen=True)
class DetectionOptions(Options):
    """How sources are found; from a `SourceDetectionConfig`."""

    background: BackgroundOptions
    tempLocalBackground: BackgroundOptions
    tempWideBackground: BackgroundOptions

    minPixels: int
    isotropicGrow: bool
    combinedGrow: bool
    nSigmaToGrow: float
    returnOriginalFootprints: bool
    thresholdValue: float
    includeThresholdMultiplier: float
    thresholdType: str
    thresholdPolarity: str
    adjustBackground: float
    reEstimateBackground: bool
    doTempLocalBackground: bool
    doTempWideBackground: bool
    nPeaksMaxSimple: int
    nSigmaForKernel: float
    statsMask: tuple[str, ...]

    groups = {  # noqa: RUF012
        name: (name, BackgroundOptions) for name in ("background", "tempLocalBackground", "tempWideBackground")
    }


@dataclass(frozen=True)
class MeasurementOptions(Options):
    """How sources are measured; from a `SourceMeasurementConfig`."""

    badMaskPlanes: tuple[str, ...]


@dataclass(frozen=True)
class KernelOptions(Options):
    """The kernel and all that belongs to its fit; from a `PsfMatchConfigAL`, a `PsfMatchConfigDF` or another family's.

    ownFields : name and value of each field that only a family of the user's has.
    """

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
    spatialBgModelType: str
    splineDegree: int
    splineKnotsX: tuple[float, ...]
    splineKnotsY: tuple[float, ...]
    scaleModelType: str
    scaleOrder: int
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
    safeKernelFraction: float
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

    ownFields: tuple[tuple[str, Any], ...]

    groups = {  # noqa: RUF012
        "regions": ("regionConfig", RegionOptions),
        "stamps": ("detectionConfig", StampOptions),
        "background": ("afwBackgroundConfig", BackgroundOptions),
        "warping": ("warpingConfig", WarpOptions),
    }

    @classmethod
    def others(cls) -> Mapping[str, Any]:
        """Return the defaults of the fields that only one family of kernels has, for configurations of the others."""
        return _ofOneFamily()

    def own(self, name: str) -> Any:
        """Return the value of a field that only a family of the user's has."""
        return dict(self.ownFields)[name]

    def badPlanes(self) -> tuple[str, ...]:
        """Return the mask planes whose pixels are left out of fits, ratings and residual statistics."""
        planes = dict.fromkeys(self.badMaskPlanes)
        if self.zeroWeightBadPixels:
            planes |= dict.fromkeys(self.badPixelMaskPlanes)
        return tuple(planes)

    def edgePlanes(self) -> tuple[str, ...]:
        """Return the mask planes that are carried over a convolution by ``maskedKernelFraction``."""
        return tuple(dict.fromkeys((*self.badPixelMaskPlanes, *self.badMaskPlanes)))


@dataclass(frozen=True)
class ImagePsfMatchOptions(Options):
    """All that a task reads that matches PSFs by stars, with our own subtasks; from an `ImagePsfMatchConfig`."""

    kernel: KernelOptions
    selectDetection: DetectionOptions
    selectMeasurement: MeasurementOptions
    fwhmDefinition: str

    groups = {  # noqa: RUF012
        "kernel": ("kernel", KernelOptions),
        "selectDetection": ("selectDetection", DetectionOptions),
        "selectMeasurement": ("selectMeasurement", MeasurementOptions),
    }


@functools.cache
def usualOptions() -> ImagePsfMatchOptions:
    """Return what a run without a configuration reads."""
    return ImagePsfMatchOptions.fromConfig(usualFields())


def plainValue(value: Any) -> Any:
    """Return a field's value: a scalar as it is, a list as a tuple."""
    return value if value is None or isinstance(value, str | bool | int | float) else tuple(value)


def _group(config: Any, name: str) -> Any:
    """Return a group of fields, of a choice the one that is chosen."""
    group = getattr(config, name)
    return getattr(group, "active", group)


@functools.cache
def _ofOneFamily() -> dict[str, Any]:
    gaussians, deltas = map(vars, (usualFields().kernel.values.AL, usualFields().kernel.values.DF))
    alone = {
        name: plainValue(value)
        for own, other in ((gaussians, deltas), (deltas, gaussians))
        for name, value in own.items()
        if name not in other
    }
    return {**alone, "ownFields": ()}

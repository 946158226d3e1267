"""PSF-matched difference imaging: one image's PSF is matched to another's by a kernel that varies over the field.

``psfmatch.subtract(template, science)`` is the front door, `ImagePsfMatchTask` the documented task; the parts work
alone. Names are imported when they are first used, so that importing the package costs little.

The way of the data through the folders, each of which imports only from those before it:

1. `config` is what can be set; `io` reads files, `images` hold pixels, mask, variance, WCS and PSF; `kernels` are
   functions of position.
2. `noise` puts the variance planes right; `sources` finds and measures what shines, what is saturated and what is no
   light at all, and the PSF of the stars.
3. `registration` makes two images ready and lays the template upon the science image.
4. `fit` chooses stars or regions, and finds kernel and background.
5. `difference` subtracts, makes the noise white and keeps how it was made; `transients` finds what has changed, and
   `quality` grades.
6. `tasks` are the documented tasks; `frontdoor` goes the whole way by itself, and `pictures` show it.
7. `batch` goes it with many pairs, `hotpants` by the words of HOTPANTS, `testing` with simulated skies, `cli` at the
   command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str
"""Version of the installed package, read when it is asked for."""

_HOMES = {
    "batch": (
        "BatchSummary",
        "Pair",
        "PairOptions",
        "readManifest",
        "runBatch",
    ),
    "config": (
        "DetectionConfig",
        "PsfMatchConfig",
        "PsfMatchConfigAL",
        "PsfMatchConfigDF",
        "SourceDetectionConfig",
        "SourceMeasurementConfig",
        "SubtractBackgroundConfig",
        "WarperConfig",
        "applyOverride",
        "configFromDict",
        "configToDict",
    ),
    "config.task": (
        "Struct",
        "Task",
    ),
    "difference": (
        "AppliedKernel",
        "Decorrelation",
        "StoredKernel",
        "SubtractionRecipe",
        "applyKernel",
        "correctionKernel",
        "decorrelate",
    ),
    "errors": (
        "ExposureReadError",
        "InputImagesError",
        "InsufficientKernelSourcesError",
        "KernelSolutionError",
        "NoKernelCandidatesError",
        "NumericalError",
        "PsfMatchError",
    ),
    "fit": (
        "AssessSpatialKernelVisitor",
        "BuildSingleKernelVisitor",
        "BuildSpatialKernelVisitor",
        "CandidateStatus",
        "KernelCandidate",
        "KernelCandidateDetection",
        "KernelPcaVisitor",
        "KernelSumVisitor",
        "PassSummary",
        "SpatialCell",
        "SpatialCellSet",
    ),
    "frontdoor": (
        "Efficiency",
        "FrontDoorConfig",
        "Score",
        "SubtractionResult",
        "computeScore",
        "frontDoorConfig",
        "injectSources",
        "measureEfficiency",
        "subtract",
    ),
    "hotpants": ("readHotpantsKernel",),
    "images": (
        "Box",
        "DoubleGaussianPsf",
        "Exposure",
        "GaussianPsf",
        "GridPsf",
        "ImagePsf",
        "Mask",
        "MaskedImage",
        "ModelPsf",
        "PixelTransform",
        "Psf",
        "getFwhmPix",
        "getFwhmPixXY",
    ),
    "io": (
        "PairRecord",
        "readLedgers",
    ),
    "io.qtables": ("asQTable",),
    "kernels": (
        "kernelUncertaintyPlane",
        "noiseCovariance",
        "Chebyshev2D",
        "EdgeHandling",
        "KernelSolution",
        "LinearCombinationKernel",
        "Polynomial2D",
        "ResidualSummary",
        "SolutionSlot",
        "SpatialFunction2D",
        "makeKernelBasisList",
        "makeRegularizationMatrix",
        "renormalizeBasis",
    ),
    "noise": (
        "DifferenceNoise",
        "Whiteness",
        "measureWhiteness",
        "scaleVariance",
    ),
    "pictures": (
        "debugging",
        "reportNumbers",
        "writeIndex",
        "writeKernelCandidates",
        "writeNumbers",
        "writeReport",
    ),
    "quality": (
        "FinishedSubtraction",
        "Quality",
        "assessQuality",
        "checkGates",
    ),
    "registration": (
        "Preparation",
        "prepareInputs",
        "registerInputs",
        "Alignment",
        "Coverage",
        "ShiftField",
        "WarpedPsf",
        "Warper",
        "applyAlignment",
        "measureAlignment",
        "measureCoverage",
        "measureShiftField",
        "requireCoverage",
    ),
    "sources": (
        "Defects",
        "Footprint",
        "FootprintSet",
        "Saturation",
        "SourceDetectionTask",
        "SourceMeasurementTask",
        "StarPsf",
        "evaluateMeanPsfFwhm",
        "findDefects",
        "findSaturation",
        "flagDefects",
        "flagSaturation",
        "psfFromStars",
    ),
    "tasks": (
        "ImagePsfMatchConfig",
        "ImagePsfMatchTask",
        "KernelFit",
        "ModelPsfMatchConfig",
        "ModelPsfMatchTask",
        "PsfMatchTask",
        "PsfMatchTaskConfig",
        "SnapPsfMatchConfig",
        "SnapPsfMatchTask",
        "StarMatchConfig",
        "StarMatchTask",
    ),
    "transients": (
        "DipoleControl",
        "PhotometryImage",
        "detectOnDifference",
        "forcedPhotometry",
        "writeSources",
    ),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

# In words, for type checkers take nothing else for what programs may import.
__all__ = [
    "Alignment", "AppliedKernel", "AssessSpatialKernelVisitor", "BatchSummary", "Box", "BuildSingleKernelVisitor",
    "BuildSpatialKernelVisitor", "CandidateStatus", "Chebyshev2D", "Coverage", "Decorrelation", "Defects",
    "DetectionConfig", "DifferenceNoise", "DipoleControl", "DoubleGaussianPsf", "EdgeHandling", "Efficiency",
    "Exposure", "ExposureReadError", "FinishedSubtraction", "Footprint", "FootprintSet", "FrontDoorConfig",
    "GaussianPsf", "GridPsf", "ImagePsf", "ImagePsfMatchConfig", "ImagePsfMatchTask", "InputImagesError",
    "InsufficientKernelSourcesError", "KernelCandidate", "KernelCandidateDetection", "KernelFit", "KernelPcaVisitor",
    "KernelSolution", "KernelSolutionError", "KernelSumVisitor", "LinearCombinationKernel", "Mask", "MaskedImage",
    "ModelPsf", "ModelPsfMatchConfig", "ModelPsfMatchTask", "NoKernelCandidatesError", "NumericalError", "Pair",
    "PairOptions", "PairRecord", "PassSummary", "PhotometryImage", "PixelTransform", "Polynomial2D", "Preparation",
    "Psf", "PsfMatchConfig", "PsfMatchConfigAL", "PsfMatchConfigDF", "PsfMatchError", "PsfMatchTask",
    "PsfMatchTaskConfig", "Quality", "ResidualSummary", "Saturation", "Score", "ShiftField", "SnapPsfMatchConfig",
    "SnapPsfMatchTask", "SolutionSlot", "SourceDetectionConfig", "SourceDetectionTask", "SourceMeasurementConfig",
    "SourceMeasurementTask", "SpatialCell", "SpatialCellSet", "SpatialFunction2D", "StarMatchConfig", "StarMatchTask",
    "StarPsf", "StoredKernel", "Struct", "SubtractBackgroundConfig", "SubtractionRecipe", "SubtractionResult", "Task",
    "WarpedPsf", "Warper", "WarperConfig", "Whiteness", "__version__", "applyAlignment", "applyKernel", "applyOverride",
    "asQTable", "assessQuality", "checkGates", "computeScore", "configFromDict", "configToDict", "correctionKernel",
    "debugging", "decorrelate", "detectOnDifference", "evaluateMeanPsfFwhm", "findDefects", "findSaturation",
    "flagDefects", "flagSaturation", "forcedPhotometry", "frontDoorConfig", "getFwhmPix", "getFwhmPixXY",
    "injectSources", "kernelUncertaintyPlane", "makeKernelBasisList", "makeRegularizationMatrix", "measureAlignment",
    "measureCoverage", "measureEfficiency", "measureShiftField", "measureWhiteness", "noiseCovariance", "prepareInputs",
    "psfFromStars", "readHotpantsKernel", "readLedgers", "readManifest", "registerInputs", "renormalizeBasis",
    "reportNumbers", "requireCoverage", "runBatch", "scaleVariance", "subtract", "writeIndex", "writeKernelCandidates",
    "writeNumbers", "writeReport", "writeSources",
]  # fmt: skip

if TYPE_CHECKING:
    from psfmatch.batch import BatchSummary, Pair, PairOptions, readManifest, runBatch
    from psfmatch.config import (
        DetectionConfig,
        PsfMatchConfig,
        PsfMatchConfigAL,
        PsfMatchConfigDF,
        SourceDetectionConfig,
        SourceMeasurementConfig,
        SubtractBackgroundConfig,
        WarperConfig,
        applyOverride,
        configFromDict,
        configToDict,
    )
    from psfmatch.config.task import Struct, Task
    from psfmatch.difference import (
        AppliedKernel,
        Decorrelation,
        StoredKernel,
        SubtractionRecipe,
        applyKernel,
        correctionKernel,
        decorrelate,
    )
    from psfmatch.errors import (
        ExposureReadError,
        InputImagesError,
        InsufficientKernelSourcesError,
        KernelSolutionError,
        NoKernelCandidatesError,
        NumericalError,
        PsfMatchError,
    )
    from psfmatch.fit import (
        AssessSpatialKernelVisitor,
        BuildSingleKernelVisitor,
        BuildSpatialKernelVisitor,
        CandidateStatus,
        KernelCandidate,
        KernelCandidateDetection,
        KernelPcaVisitor,
        KernelSumVisitor,
        PassSummary,
        SpatialCell,
        SpatialCellSet,
    )
    from psfmatch.frontdoor import (
        Efficiency,
        FrontDoorConfig,
        Score,
        SubtractionResult,
        computeScore,
        frontDoorConfig,
        injectSources,
        measureEfficiency,
        subtract,
    )
    from psfmatch.hotpants import readHotpantsKernel
    from psfmatch.images import (
        Box,
        DoubleGaussianPsf,
        Exposure,
        GaussianPsf,
        GridPsf,
        ImagePsf,
        Mask,
        MaskedImage,
        ModelPsf,
        PixelTransform,
        Psf,
        getFwhmPix,
        getFwhmPixXY,
    )
    from psfmatch.io import PairRecord, readLedgers
    from psfmatch.io.qtables import asQTable
    from psfmatch.kernels import (
        Chebyshev2D,
        EdgeHandling,
        KernelSolution,
        LinearCombinationKernel,
        Polynomial2D,
        ResidualSummary,
        SolutionSlot,
        SpatialFunction2D,
        kernelUncertaintyPlane,
        makeKernelBasisList,
        makeRegularizationMatrix,
        noiseCovariance,
        renormalizeBasis,
    )
    from psfmatch.noise import DifferenceNoise, Whiteness, measureWhiteness, scaleVariance
    from psfmatch.pictures import debugging, reportNumbers, writeIndex, writeKernelCandidates, writeNumbers, writeReport
    from psfmatch.quality import FinishedSubtraction, Quality, assessQuality, checkGates
    from psfmatch.registration import (
        Alignment,
        Coverage,
        Preparation,
        ShiftField,
        WarpedPsf,
        Warper,
        applyAlignment,
        measureAlignment,
        measureCoverage,
        measureShiftField,
        prepareInputs,
        registerInputs,
        requireCoverage,
    )
    from psfmatch.sources import (
        Defects,
        Footprint,
        FootprintSet,
        Saturation,
        SourceDetectionTask,
        SourceMeasurementTask,
        StarPsf,
        evaluateMeanPsfFwhm,
        findDefects,
        findSaturation,
        flagDefects,
        flagSaturation,
        psfFromStars,
    )
    from psfmatch.tasks import (
        ImagePsfMatchConfig,
        ImagePsfMatchTask,
        KernelFit,
        ModelPsfMatchConfig,
        ModelPsfMatchTask,
        PsfMatchTask,
        PsfMatchTaskConfig,
        SnapPsfMatchConfig,
        SnapPsfMatchTask,
        StarMatchConfig,
        StarMatchTask,
    )
    from psfmatch.transients import DipoleControl, PhotometryImage, detectOnDifference, forcedPhotometry, writeSources


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return globals().setdefault(name, version("psfmatch"))
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'psfmatch' has no attribute {name!r}")
    return getattr(import_module(f"psfmatch.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""PSF-matched difference imaging: one image's PSF is matched to another's by a kernel that varies over the field.

``psfmatch.subtract(template, science)`` is the front door, `ImagePsfMatchTask` the documented task; the parts work
alone. Names are imported when they are first used, so that importing the package costs little.

The way of the data through the modules:

1. `io` reads files, `exposure` holds image, mask, variance, WCS and PSF.
2. `defects`, `saturation` and `noise` put mask and variance plane right.
3. `detection` and `measurement` find the stars; `astrometry`, `alignment` and `warping` bring the template onto the
   pixels of the science image.
4. `psf` measures how wide the PSFs are; `selection`, `stars` and `cells` choose what the kernel is fitted to, `basis`
   the functions that it is made of.
5. `visitors` fit star by star, `regions` all pixels together, where `modelChoice` finds the model; `kernels` are what
   comes out, and convolve.
6. `subtraction` makes the difference, `decorrelation` its noise white, `quality` grades it; `recipe` keeps how it was
   made.
7. `photometry` and `transients` measure what has changed; `pictures` shows all of it.

`differencing` goes this way by itself, `batch` with many pairs; `starMatch`, `psfMatch` and `imagePsfMatch` are the
tasks that it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str
"""Version of the installed package, read when it is asked for."""

_HOMES = {
    "alignment": ("Alignment", "ShiftField", "applyAlignment", "measureAlignment", "measureShiftField"),
    "astrometry": ("PixelTransform",),
    "batch": ("BatchSummary", "Pair", "PairOptions", "PairRecord", "readLedgers", "readManifest", "runBatch"),
    "basis": ("makeKernelBasisList", "makeRegularizationMatrix", "renormalizeBasis"),
    "cells": ("CandidateStatus", "KernelCandidate", "SpatialCell", "SpatialCellSet"),
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
    "decorrelation": ("Decorrelation", "correctionKernel", "decorrelate"),
    "defects": ("Defects", "findDefects", "flagDefects"),
    "detection": ("Footprint", "FootprintSet", "SourceDetectionTask"),
    "diagnostics": ("DifferenceNoise", "PassSummary"),
    "differencing": ("FrontDoorConfig", "Score", "SubtractionResult", "computeScore", "frontDoorConfig", "subtract"),
    "errors": (
        "ExposureReadError",
        "InputImagesError",
        "InsufficientKernelSourcesError",
        "KernelSolutionError",
        "NoKernelCandidatesError",
        "NumericalError",
        "PsfMatchError",
    ),
    "exposure": ("Box", "Exposure", "Mask", "MaskedImage"),
    "imagePsfMatch": ("ImagePsfMatchConfig", "ImagePsfMatchTask"),
    "injection": ("Efficiency", "injectSources", "measureEfficiency"),
    "kernels": (
        "Chebyshev2D",
        "EdgeHandling",
        "LinearCombinationKernel",
        "Polynomial2D",
        "SpatialFunction2D",
        "readHotpantsKernel",
    ),
    "measurement": ("SourceMeasurementTask",),
    "modelPsfMatch": ("ModelPsfMatchConfig", "ModelPsfMatchTask"),
    "noise": ("Whiteness", "kernelUncertaintyPlane", "measureWhiteness", "noiseCovariance", "scaleVariance"),
    "photometry": ("StarPsf", "forcedPhotometry", "psfFromStars"),
    "pictures": (
        "debugging",
        "reportNumbers",
        "writeIndex",
        "writeKernelCandidates",
        "writeNumbers",
        "writeReport",
    ),
    "psf": (
        "DoubleGaussianPsf",
        "GaussianPsf",
        "GridPsf",
        "ImagePsf",
        "ModelPsf",
        "Psf",
        "evaluateMeanPsfFwhm",
        "getFwhmPix",
        "getFwhmPixXY",
    ),
    "psfMatch": ("KernelFit", "PsfMatchTask", "PsfMatchTaskConfig"),
    "qtables": ("asQTable",),
    "quality": ("FinishedSubtraction", "Quality", "assessQuality", "checkGates"),
    "recipe": (
        "AppliedKernel",
        "Preparation",
        "StoredKernel",
        "SubtractionRecipe",
        "applyKernel",
        "prepareInputs",
        "registerInputs",
    ),
    "saturation": ("Saturation", "findSaturation", "flagSaturation"),
    "selection": ("KernelCandidateDetection",),
    "snapPsfMatch": ("SnapPsfMatchConfig", "SnapPsfMatchTask"),
    "solutions": ("KernelSolution", "ResidualSummary", "SolutionSlot"),
    "starMatch": ("StarMatchConfig", "StarMatchTask"),
    "task": ("Struct", "Task"),
    "transients": ("DipoleControl", "PhotometryImage", "detectOnDifference", "writeSources"),
    "visitors": (
        "AssessSpatialKernelVisitor",
        "BuildSingleKernelVisitor",
        "BuildSpatialKernelVisitor",
        "KernelPcaVisitor",
        "KernelSumVisitor",
    ),
    "warping": ("Coverage", "WarpedPsf", "Warper", "measureCoverage", "requireCoverage"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

# In words, for type checkers take nothing else for what programs may import.
__all__ = [
    "Alignment", "AppliedKernel", "AssessSpatialKernelVisitor", "BatchSummary", "Box", "BuildSingleKernelVisitor",
    "BuildSpatialKernelVisitor", "CandidateStatus", "Chebyshev2D", "Coverage", "Decorrelation", "Defects",
    "DetectionConfig", "DifferenceNoise", "DipoleControl", "DoubleGaussianPsf", "EdgeHandling", "Efficiency",
    "Exposure", "ExposureReadError", "FinishedSubtraction", "Footprint", "FootprintSet", "FrontDoorConfig", "GaussianPsf", "GridPsf",
    "ImagePsf", "ImagePsfMatchConfig", "ImagePsfMatchTask", "InputImagesError", "InsufficientKernelSourcesError",
    "KernelCandidate", "KernelCandidateDetection", "KernelFit", "KernelPcaVisitor", "KernelSolution",
    "KernelSolutionError", "KernelSumVisitor", "LinearCombinationKernel", "Mask", "MaskedImage", "ModelPsf",
    "ModelPsfMatchConfig", "ModelPsfMatchTask", "NoKernelCandidatesError", "NumericalError", "Pair", "PairOptions",
    "PairRecord", "PassSummary", "PhotometryImage", "PixelTransform", "Polynomial2D", "Preparation", "Psf",
    "PsfMatchConfig", "PsfMatchConfigAL", "PsfMatchConfigDF", "PsfMatchError", "PsfMatchTask", "PsfMatchTaskConfig",
    "Quality", "ResidualSummary", "Saturation", "Score", "ShiftField", "SnapPsfMatchConfig", "SnapPsfMatchTask",
    "SolutionSlot", "SourceDetectionConfig", "SourceDetectionTask", "SourceMeasurementConfig",
    "SourceMeasurementTask", "SpatialCell", "SpatialCellSet", "SpatialFunction2D", "StarMatchConfig",
    "StarMatchTask", "StarPsf", "StoredKernel", "Struct", "SubtractBackgroundConfig", "SubtractionRecipe",
    "SubtractionResult", "Task", "WarpedPsf", "Warper", "WarperConfig", "Whiteness", "__version__",
    "applyAlignment", "applyKernel", "applyOverride", "asQTable", "assessQuality", "checkGates", "computeScore",
    "configFromDict", "configToDict", "correctionKernel", "debugging", "decorrelate", "detectOnDifference",
    "evaluateMeanPsfFwhm", "findDefects", "findSaturation", "flagDefects", "flagSaturation", "forcedPhotometry",
    "frontDoorConfig", "getFwhmPix", "getFwhmPixXY", "injectSources", "kernelUncertaintyPlane",
    "makeKernelBasisList", "makeRegularizationMatrix", "measureAlignment", "measureCoverage", "measureEfficiency",
    "measureShiftField", "measureWhiteness", "noiseCovariance", "prepareInputs", "psfFromStars",
    "readHotpantsKernel", "readLedgers", "readManifest", "registerInputs", "renormalizeBasis", "reportNumbers",
    "requireCoverage", "runBatch", "scaleVariance", "subtract", "writeIndex", "writeKernelCandidates",
    "writeNumbers", "writeReport", "writeSources",
]  # fmt: skip

if TYPE_CHECKING:
    from psfmatch.alignment import Alignment, ShiftField, applyAlignment, measureAlignment, measureShiftField
    from psfmatch.astrometry import PixelTransform
    from psfmatch.basis import makeKernelBasisList, makeRegularizationMatrix, renormalizeBasis
    from psfmatch.batch import (
        BatchSummary,
        Pair,
        PairOptions,
        PairRecord,
        readLedgers,
        readManifest,
        runBatch,
    )
    from psfmatch.cells import CandidateStatus, KernelCandidate, SpatialCell, SpatialCellSet
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
    from psfmatch.decorrelation import Decorrelation, correctionKernel, decorrelate
    from psfmatch.defects import Defects, findDefects, flagDefects
    from psfmatch.detection import Footprint, FootprintSet, SourceDetectionTask
    from psfmatch.diagnostics import DifferenceNoise, PassSummary
    from psfmatch.differencing import (
        FrontDoorConfig,
        Score,
        SubtractionResult,
        computeScore,
        frontDoorConfig,
        subtract,
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
    from psfmatch.exposure import Box, Exposure, Mask, MaskedImage
    from psfmatch.imagePsfMatch import ImagePsfMatchConfig, ImagePsfMatchTask
    from psfmatch.injection import Efficiency, injectSources, measureEfficiency
    from psfmatch.kernels import (
        Chebyshev2D,
        EdgeHandling,
        LinearCombinationKernel,
        Polynomial2D,
        SpatialFunction2D,
        readHotpantsKernel,
    )
    from psfmatch.measurement import SourceMeasurementTask
    from psfmatch.modelPsfMatch import ModelPsfMatchConfig, ModelPsfMatchTask
    from psfmatch.noise import Whiteness, kernelUncertaintyPlane, measureWhiteness, noiseCovariance, scaleVariance
    from psfmatch.photometry import StarPsf, forcedPhotometry, psfFromStars
    from psfmatch.pictures import (
        debugging,
        reportNumbers,
        writeIndex,
        writeKernelCandidates,
        writeNumbers,
        writeReport,
    )
    from psfmatch.psf import (
        DoubleGaussianPsf,
        GaussianPsf,
        GridPsf,
        ImagePsf,
        ModelPsf,
        Psf,
        evaluateMeanPsfFwhm,
        getFwhmPix,
        getFwhmPixXY,
    )
    from psfmatch.psfMatch import KernelFit, PsfMatchTask, PsfMatchTaskConfig
    from psfmatch.qtables import asQTable
    from psfmatch.quality import FinishedSubtraction, Quality, assessQuality, checkGates
    from psfmatch.recipe import (
        AppliedKernel,
        Preparation,
        StoredKernel,
        SubtractionRecipe,
        applyKernel,
        prepareInputs,
        registerInputs,
    )
    from psfmatch.saturation import Saturation, findSaturation, flagSaturation
    from psfmatch.selection import KernelCandidateDetection
    from psfmatch.snapPsfMatch import SnapPsfMatchConfig, SnapPsfMatchTask
    from psfmatch.solutions import KernelSolution, ResidualSummary, SolutionSlot
    from psfmatch.starMatch import StarMatchConfig, StarMatchTask
    from psfmatch.task import Struct, Task
    from psfmatch.transients import DipoleControl, PhotometryImage, detectOnDifference, writeSources
    from psfmatch.visitors import (
        AssessSpatialKernelVisitor,
        BuildSingleKernelVisitor,
        BuildSpatialKernelVisitor,
        KernelPcaVisitor,
        KernelSumVisitor,
    )
    from psfmatch.warping import Coverage, WarpedPsf, Warper, measureCoverage, requireCoverage


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return globals().setdefault(name, version("psfmatch"))
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'psfmatch' has no attribute {name!r}")
    return getattr(import_module(f"psfmatch.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

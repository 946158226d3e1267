"""PSF-matched difference imaging: one image's PSF is matched to another's by a kernel that varies over the field.

``psfmatch.subtract(template, science)`` is the front door, `ImagePsfMatchTask` the documented task; the parts work
alone. Names are imported when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from psfmatch.displays.switches import serveLsstDebug as _serveLsstDebug

__version__ = version("psfmatch")
# A debug module may be imported any time after this, and imports lsstDebug.
_serveLsstDebug()

_HOMES = {
    "alignment": ("Alignment", "applyAlignment", "measureAlignment"),
    "applying": ("AppliedKernel", "applyKernel"),
    "astrometry": ("PixelTransform",),
    "basis": ("makeKernelBasisList", "makeRegularizationMatrix", "renormalizeBasis"),
    "candidateDetection": ("KernelCandidateDetection",),
    "cells": (
        "CandidateStatus",
        "KernelCandidate",
        "SpatialCell",
        "SpatialCellSet",
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
    "coverage": ("Coverage", "measureCoverage", "requireCoverage"),
    "correction": ("correctionKernel",),
    "covariance": ("noiseCovariance",),
    "decorrelation": ("Decorrelation", "decorrelate"),
    "detection": ("SourceDetectionTask",),
    "diagnostics": ("DifferenceNoise", "PassSummary"),
    "differenceSources": ("PhotometryImage", "detectOnDifference", "writeSources"),
    "differencing": ("FrontDoorConfig", "SubtractionResult", "frontDoorConfig", "subtract"),
    "dipoles": ("DipoleControl",),
    "displays": ("debugging",),
    "displays.candidates": ("writeKernelCandidates",),
    "errors": (
        "ExposureReadError",
        "InputImagesError",
        "InsufficientKernelSourcesError",
        "KernelSolutionError",
        "NoKernelCandidatesError",
        "PsfMatchError",
        "PsfMatchWarning",
    ),
    "exposure": ("Box", "Exposure", "Mask", "MaskedImage"),
    "pointSources": ("forcedPhotometry",),
    "footprints": ("Footprint", "FootprintSet"),
    "imagePsfMatch": ("ImagePsfMatchConfig", "ImagePsfMatchTask"),
    "kernelUncertainty": ("kernelUncertaintyPlane",),
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
    "preparation": ("Preparation", "prepareInputs", "registerInputs"),
    "psfMatch": ("KernelFit", "PsfMatchTask", "PsfMatchTaskConfig"),
    "shifts": ("ShiftField", "measureShiftField"),
    "recipe": ("StoredKernel", "SubtractionRecipe"),
    "saturation": ("Saturation", "findSaturation", "flagSaturation"),
    "quality": ("Quality", "assessQuality", "checkGates"),
    "scoreImage": ("Score", "computeScore"),
    "solutions": ("KernelSolution", "ResidualSummary", "SolutionSlot"),
    "starPsf": ("StarPsf", "psfFromStars"),
    "starMatch": ("StarMatchConfig", "StarMatchTask"),
    "task": ("Struct", "Task"),
    "varianceScaling": ("scaleVariance",),
    "visitors": (
        "AssessSpatialKernelVisitor",
        "BuildSingleKernelVisitor",
        "BuildSpatialKernelVisitor",
        "KernelPcaVisitor",
        "KernelSumVisitor",
    ),
    "warping": ("WarpedPsf", "Warper"),
    "whiteness": ("Whiteness", "measureWhiteness"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]

if TYPE_CHECKING:
    from psfmatch.alignment import Alignment, applyAlignment, measureAlignment
    from psfmatch.applying import AppliedKernel, applyKernel
    from psfmatch.astrometry import PixelTransform
    from psfmatch.basis import makeKernelBasisList, makeRegularizationMatrix, renormalizeBasis
    from psfmatch.candidateDetection import KernelCandidateDetection
    from psfmatch.cells import (
        CandidateStatus,
        KernelCandidate,
        SpatialCell,
        SpatialCellSet,
    )
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
    from psfmatch.correction import correctionKernel
    from psfmatch.covariance import noiseCovariance
    from psfmatch.coverage import Coverage, measureCoverage, requireCoverage
    from psfmatch.decorrelation import Decorrelation, decorrelate
    from psfmatch.detection import SourceDetectionTask
    from psfmatch.diagnostics import DifferenceNoise, PassSummary
    from psfmatch.differenceSources import PhotometryImage, detectOnDifference, writeSources
    from psfmatch.differencing import FrontDoorConfig, SubtractionResult, frontDoorConfig, subtract
    from psfmatch.dipoles import DipoleControl
    from psfmatch.displays import debugging
    from psfmatch.displays.candidates import writeKernelCandidates
    from psfmatch.errors import (
        ExposureReadError,
        InputImagesError,
        InsufficientKernelSourcesError,
        KernelSolutionError,
        NoKernelCandidatesError,
        PsfMatchError,
        PsfMatchWarning,
    )
    from psfmatch.exposure import Box, Exposure, Mask, MaskedImage
    from psfmatch.footprints import Footprint, FootprintSet
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
    from psfmatch.kernelUncertainty import kernelUncertaintyPlane
    from psfmatch.measurement import SourceMeasurementTask
    from psfmatch.modelPsfMatch import ModelPsfMatchConfig, ModelPsfMatchTask
    from psfmatch.pointSources import forcedPhotometry
    from psfmatch.preparation import Preparation, prepareInputs, registerInputs
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
    from psfmatch.quality import Quality, assessQuality, checkGates
    from psfmatch.recipe import StoredKernel, SubtractionRecipe
    from psfmatch.saturation import Saturation, findSaturation, flagSaturation
    from psfmatch.scoreImage import Score, computeScore
    from psfmatch.shifts import ShiftField, measureShiftField
    from psfmatch.solutions import KernelSolution, ResidualSummary, SolutionSlot
    from psfmatch.starMatch import StarMatchConfig, StarMatchTask
    from psfmatch.starPsf import StarPsf, psfFromStars
    from psfmatch.task import Struct, Task
    from psfmatch.varianceScaling import scaleVariance
    from psfmatch.visitors import (
        AssessSpatialKernelVisitor,
        BuildSingleKernelVisitor,
        BuildSpatialKernelVisitor,
        KernelPcaVisitor,
        KernelSumVisitor,
    )
    from psfmatch.warping import WarpedPsf, Warper
    from psfmatch.whiteness import Whiteness, measureWhiteness


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'psfmatch' has no attribute {name!r}")
    return getattr(import_module(f"psfmatch.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})

"""Kernel and background of a pair: from stars, from the pixels of regions, or from the light of all together.

`candidates` chooses what is fitted, `stars` are the four visitors of the documented task, `regions` the fit to all
pixels of regions, `choice` the choice of the model by pixels that it has not seen; `stampFit` and `stackFit` serve
where stars are too few; `diagnostics` says what a solution tells of itself.
"""

from psfmatch.fit.candidates.candidateList import isFinishedList, toSourceTable
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCell, SpatialCellSet
from psfmatch.fit.candidates.detection import KernelCandidateDetection
from psfmatch.fit.candidates.selection import buildCellSet, makeCandidateList, requireSources, stampRules
from psfmatch.fit.choice.choosing import KernelChoice, chooseKernel, fitUsualKernel
from psfmatch.fit.choice.layouts import ImagePair, effortFor
from psfmatch.fit.diagnostics import PassSummary
from psfmatch.fit.regions.fit import RegionFit, fitRegions, spatialModel
from psfmatch.fit.regions.regionCells import RegionCells
from psfmatch.fit.stars.assessSpatialKernel import AssessSpatialKernelVisitor
from psfmatch.fit.stars.buildSingleKernel import BuildSingleKernelVisitor
from psfmatch.fit.stars.buildSpatialKernel import BuildSpatialKernelVisitor
from psfmatch.fit.stars.judging import (
    SINGLE_KERNEL_CRITERIA,
    SPATIAL_KERNEL_CRITERIA,
    Criterion,
    fitControl,
    reasonAgainst,
    stampPairs,
)
from psfmatch.fit.stars.kernelPca import KernelPcaVisitor
from psfmatch.fit.stars.kernelSum import KernelSumVisitor

__all__ = [
    "SINGLE_KERNEL_CRITERIA",
    "SPATIAL_KERNEL_CRITERIA",
    "AssessSpatialKernelVisitor",
    "BuildSingleKernelVisitor",
    "BuildSpatialKernelVisitor",
    "CandidateStatus",
    "Criterion",
    "ImagePair",
    "KernelCandidate",
    "KernelCandidateDetection",
    "KernelChoice",
    "KernelPcaVisitor",
    "KernelSumVisitor",
    "PassSummary",
    "RegionCells",
    "RegionFit",
    "SpatialCell",
    "SpatialCellSet",
    "buildCellSet",
    "chooseKernel",
    "effortFor",
    "fitControl",
    "fitRegions",
    "fitUsualKernel",
    "isFinishedList",
    "makeCandidateList",
    "reasonAgainst",
    "requireSources",
    "spatialModel",
    "stampPairs",
    "stampRules",
    "toSourceTable",
]

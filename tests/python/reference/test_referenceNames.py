"""The reference page names every configuration field, every documented name and everything that is public."""

import re

import pytest
from lsst.pex.config import Config
from referencePage import ROOT, TEXT

from psfmatch.config import (
    DetectionConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
    WarperConfig,
)
from psfmatch.frontdoor import FrontDoorConfig
from psfmatch.tasks import ImagePsfMatchConfig

WORDS = set(re.findall(r"\w+", TEXT))
CONFIGS = [
    DetectionConfig,
    FrontDoorConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    ImagePsfMatchConfig,
    SubtractBackgroundConfig,
    WarperConfig,
]
DOCUMENTED = """
ImagePsfMatchTask ConfigClass matchExposures subtractExposures matchMaskedImages subtractMaskedImages
matchedImage matchedExposure psfMatchingKernel backgroundModel kernelCellSet warpedExposure subtractedExposure
subtractedMaskedImage psfMatchedMaskedImage getFwhmPix getSelectSources makeCandidateList makeKernelBasisList _solve
emptyMetadata getFullMetadata getSchemaCatalogs getAllSchemaCatalogs getName getFullName getTaskDict makeSubtask
makeField timer SpatialCellSet BuildSingleKernelVisitor KernelSumVisitor BuildSpatialKernelVisitor
AssessSpatialKernelVisitor lsstDebug display maskTransparency displayCandidates displayKernelBasis displayKernelMosaic
plotKernelSpatialModel plotKernelCoefficients showBadCandidates displayTemplate displaySciIm displaySpatialCells
displayDiffIm displayExposure pauseAtEnd diaCatalogSourceSelector trace_set_at examples/imagePsfMatchTask.py
ModelPsfMatchTask KernelCandidateDetection selectDetection selectMeasurement candidateList getSource
""".split()  # noqa: SIM905


@pytest.mark.parametrize("ConfigClass", CONFIGS)
def test_everyFieldHasItsRow(ConfigClass: type[Config]):
    assert set(ConfigClass._fields) - WORDS == set()


def test_everyDocumentedName():
    assert [name for name in DOCUMENTED if name not in TEXT] == []


def test_readmeLeadsThere():
    assert "(docs/reference.md)" in (ROOT / "README.md").read_text()

"""Sentences of the reference page on the tasks that no other test holds: ways in, widths, models, framework, views."""

import inspect
import logging
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from referencePage import codes, rowsOf

import psfmatch
from psfmatch import (
    Exposure,
    GaussianPsf,
    ImagePsfMatchTask,
    InputImagesError,
    LinearCombinationKernel,
    MaskedImage,
    ModelPsfMatchTask,
    NoKernelCandidatesError,
    SnapPsfMatchTask,
    getFwhmPix,
)
from psfmatch.config import Task
from psfmatch.fit import CandidateStatus
from psfmatch.images import ImagePsf, getFwhmPixXY
from psfmatch.pictures import candidates, kernels, lsstDebugViews
from psfmatch.sources import SourceMeasurementTask
from psfmatch.tasks import PsfMatchTask
from psfmatch.tasks.configs import SnapPsfMatchConfigAL, SnapPsfMatchConfigDF
from psfmatch.testing import makeFakeKernelSet, simulatePair

EXPOSURES = {
    "templateExposure": inspect.Parameter.empty,
    "scienceExposure": inspect.Parameter.empty,
    "templateFwhmPix": None,
    "scienceFwhmPix": None,
    "candidateList": None,
    "doWarping": True,
    "convolveTemplate": True,
}
IMAGES = {
    "templateMaskedImage": inspect.Parameter.empty,
    "scienceMaskedImage": inspect.Parameter.empty,
    "candidateList": None,
    "templateFwhmPix": None,
    "scienceFwhmPix": None,
}


@pytest.fixture(scope="module")
def pair():
    pair = simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)
    pair.template.filter, pair.science.filter = "R", "r"
    return pair


def makeTask(**changes):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=0, fitForBackground=True, **changes)
    return ImagePsfMatchTask(config=config, threads=1)


# The four ways in


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("matchExposures", EXPOSURES),
        ("subtractExposures", EXPOSURES),
        ("matchMaskedImages", IMAGES),
        ("subtractMaskedImages", IMAGES),
    ],
)
def test_argumentsOfTheFourWaysIn(name, documented):
    parameters = list(inspect.signature(getattr(ImagePsfMatchTask, name)).parameters.values())[1:]
    # The reference has no default for the list of the last two; ours has, so that detection can be asked for.
    assert {p.name: p.default for p in parameters} == documented
    assert [p.name for p in parameters] == list(documented)
    assert {p.kind for p in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_detectionOfMaskedImages(pair):
    """In pixels: as with the same detection on exposures."""
    planes = pair.template.maskedImage, pair.science.maskedImage
    found = makeTask().matchMaskedImages(*planes, None, 2.7, 3.9)
    again = makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9)
    positions = [[(c.x, c.y) for c in result.kernelCellSet] for result in (found, again)]
    assert len(positions[0]) >= 10
    assert sorted(positions[0]) == sorted(positions[1])


def test_fieldsBesidesTheDocumentedOnes(pair):
    """`blankSky` only where it was measured."""
    fields = []
    for changes in ({}, {"fitMethod": "regions"}):
        fields.append(set(makeTask(**changes).matchExposures(pair.template, pair.science, 2.7, 3.9).getDict()))
    assert fields[1] - fields[0] == {"blankSky"}


@pytest.mark.parametrize(("convolveTemplate", "filterName"), [(True, "R"), (False, "r")])
def test_matchedExposure(pair, convolveTemplate, filterName):
    matched = (
        makeTask()
        .matchExposures(pair.template, pair.science, 2.7, 3.9, convolveTemplate=convolveTemplate)
        .matchedExposure
    )
    assert (matched.filter, matched.psf, matched.getBBox()) == (filterName, None, pair.science.getBBox())


def test_errorsOfTheFourWaysInAreRuntimeErrors(pair):
    other = MaskedImage(np.zeros((50, 60)), variance=np.ones((50, 60)))
    task, blank = makeTask(), Exposure(MaskedImage(np.zeros((224, 224)), variance=np.ones((224, 224))))
    with pytest.raises(InputImagesError) as sizes:
        task.matchMaskedImages(pair.template.maskedImage, other)
    with pytest.raises(NoKernelCandidatesError) as none:
        task.matchExposures(blank, blank, 2.7, 3.9)
    assert isinstance(sizes.value, RuntimeError)
    assert isinstance(none.value, RuntimeError)


def test_errorTree():
    """The names of the row on errors, public, each below what stands before it."""
    (row,) = [row for row in rowsOf("Deliberate differences") if row.cells[0] == "errors"]
    named = {name: getattr(psfmatch, name) for name in codes(row.cells[2])}
    assert len(named) == 5
    assert all(issubclass(Error, RuntimeError) for Error in named.values())
    assert issubclass(named["KernelSolutionError"], named["NumericalError"])


# Other methods


def test_baseClasses():
    ours = [Class for Class in ImagePsfMatchTask.__mro__ if Class.__module__.startswith("psfmatch.")]
    assert ours == [ImagePsfMatchTask, PsfMatchTask, Task]


def test_widthsOfAnEllipse():
    """By the three definitions; the pair by those that have one."""
    y, x = np.mgrid[-25:26, -25:26]
    psf = ImagePsf(np.exp(-0.5 * ((x / 3.0) ** 2 + (y / 2.0) ** 2)))
    factor = math.sqrt(8.0 * math.log(2.0))
    for definition, expected in (("determinantRadius", math.sqrt(6.0)), ("traceRadius", math.sqrt(6.5))):
        assert getFwhmPix(psf, (0.0, 0.0), definition) == pytest.approx(factor * expected, rel=1e-3)
    for definition in ("traceRadius", "halfMaximum"):
        # Straight lines between pixels: 1 % at these widths.
        assert getFwhmPixXY(psf, (0, 0), definition) == pytest.approx((factor * 3.0, factor * 2.0), rel=0.01)
    with pytest.raises(ValueError, match="one number"):
        getFwhmPixXY(psf, (0, 0), "determinantRadius")
    assert ImagePsfMatchTask.ConfigClass().fwhmDefinition == "determinantRadius"


# Models and snaps


def test_fieldsOfTheModelMatch():
    image = np.random.default_rng(3).normal(0.0, 1.0, (150, 150))
    exposure = Exposure(MaskedImage(image, variance=np.ones(image.shape)), psf=GaussianPsf(1.5, 21))
    result = ModelPsfMatchTask(threads=1).run(exposure, GaussianPsf(2.0, 21))
    assert set(result.getDict()) == {
        "psfMatchedExposure",
        "psfMatchingKernel",
        "kernelCellSet",
        "metadata",
        "backgroundModel",
        "kernelFit",
    }
    kernel = ModelPsfMatchTask.ConfigClass().kernel.active
    clippings = kernel.singleKernelClipping, kernel.kernelSumClipping, kernel.spatialKernelClipping
    assert (*clippings, kernel.fitForBackground, kernel.checkConditionNumber) == (False,) * 5


def test_warpingOfSnaps():
    """By default as the configuration says; the argument comes first."""
    parameter = inspect.signature(SnapPsfMatchTask.subtractExposures).parameters["doWarping"]
    assert parameter.default is None
    names = list(inspect.signature(SnapPsfMatchTask.subtractExposures).parameters)
    assert names[1:] == list(EXPOSURES)
    assert SnapPsfMatchTask.ConfigClass().doWarping is False
    kernel = SnapPsfMatchTask.ConfigClass().kernel
    assert type(kernel["AL"]) is SnapPsfMatchConfigAL
    assert type(kernel["DF"]) is SnapPsfMatchConfigDF


# Framework


def test_clocksOfATimer():
    task = Task(config=ImagePsfMatchTask.ConfigClass(), name="timed")
    with task.timer("work"):
        pass
    clocks = ("Utc", "CpuTime", "WallTime")
    assert sorted(task.metadata) == sorted(f"work{event}{clock}" for event in ("Start", "End") for clock in clocks)


def test_metadataOfASubtraction(pair):
    task = makeTask()
    task.subtractExposures(pair.template, pair.science)
    named = (
        "ALBasisNGauss ALBasisDegGauss ALBasisSigGauss ALKernelSize ALBasisMode spatialConditionNum spatialKernelSum "
        "templateFwhmPix scienceFwhmPix nDetectedSources nSelectedSources rejectedSources nCandidates "
        "nGoodCandidates nBadCandidates rejectionReasons"
    )
    clocks = ("Utc", "CpuTime", "WallTime")
    assert {name for name in task.metadata if not name.endswith(clocks)} == set(named.split())


class OwnMeasurement(SourceMeasurementTask):
    def run(self, sources, exposure):
        measured = super().run(sources, exposure)
        measured["colour"] = np.zeros(len(measured))
        return measured


def test_schemaOfOtherSubtasks():
    """Of a measurement of a user's own: its columns."""
    config = ImagePsfMatchTask.ConfigClass()
    config.selectMeasurement.retarget(OwnMeasurement)
    schemas = [ImagePsfMatchTask(config=c).getSchemaCatalogs()["imagePsfMatch"] for c in (config, None)]
    assert set(schemas[0].colnames) - set(schemas[1].colnames) == {"colour"}
    assert len(schemas[0]) == 0


def test_loggerHasVerboseAndTrace(caplog):
    log = makeTask().log
    with caplog.at_level(logging.DEBUG, "psfmatch"):
        log.verbose("told")
        log.trace("too fine")
    assert caplog.messages == ["told"]


# Debug views


STACK = """
frame = 77
class Info:
    def __init__(self, name):
        self.display = self.displayCandidates = name == "lsst.ip.diffim.psfMatch"
"""
FINDING = """
import sys
redirecting = [finder for finder in sys.meta_path if "Redirecting" in type(finder).__name__]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in redirecting]
import lsstDebug
sys.meta_path[:0] = redirecting
from psfmatch.pictures.lsstDebug import switchesOf
print(lsstDebug.frame, switchesOf("psfMatch").isOn("displayCandidates"), switchesOf("imagePsfMatch"))
"""


def test_lsstDebugEarlierOnThePath(tmp_path):
    """One that a stack provides is found before ours (but for the finder of an editable installation), and used."""
    (tmp_path / "lsstDebug.py").write_text(STACK)
    done = subprocess.run([sys.executable, "-c", FINDING], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["77", "True", "None"]


def test_namesOfOurDebugModule():
    import lsstDebug

    (row,) = [row for row in rowsOf("Debug views") if row.cells[0] == "(none)"]
    for name in codes(row.cells[1]):
        known = name.removeprefix("lsstDebug.").removeprefix(".")
        assert known.startswith("PSFMATCH_DEBUG_") or hasattr(lsstDebug, known)


def textsOf(figure):
    titles = [axis.get_title() for axis in figure.axes]
    return " | ".join([*titles, *(text.get_text() for text in figure.texts)])


@pytest.fixture(scope="module")
def solved():
    fakes = makeFakeKernelSet(sizeCell=64, nCell=3, tGaussianWidth=1.5)
    task = makeTask(alardNGauss=1, alardSigGauss=[2.5], alardDegGauss=[2], scaleByFwhm=False)
    result = task.subtractMaskedImages(fakes.template, fakes.science, fakes.starCentres)
    result.template, result.science = fakes.template, fakes.science
    return result


def test_numbersOfTheViews(solved):
    """At most 40 candidates, 120 functions, 34 coefficients, and 7 kernels along the field."""
    assert (candidates.MOST_CANDIDATES, kernels.MOST_FUNCTIONS, kernels.MOST_COEFFICIENTS) == (40, 120, 34)
    rows = {row.cells[0].strip("`"): row.cells[2] or row.cells[1] for row in rowsOf("Debug views")}
    assert "at most 40" in rows["displayCandidates"]
    assert "at most 34" in rows["plotKernelSpatialModel"]
    assert "at most 120" in rows["displayKernelBasis"]
    many = LinearCombinationKernel(np.ones((130, 3, 3)), np.ones((130, 1)))
    assert "the first 120 of 130 functions" in textsOf(kernels.basisMosaic(many))
    field = kernels.fieldMosaic(solved.psfMatchingKernel, solved.science.getBBox())
    assert "at 7 × 7 places" in textsOf(field)
    assert "K(x, y) - K(centre)" in textsOf(field)


def test_whatTheViewsSay(solved):
    good, unused, bad, *_ = solved.kernelCellSet
    stamps = candidates.candidateStamps(good, solved.psfMatchingKernel, solved.backgroundModel)
    assert re.fullmatch(rf"{good.id}  χ² \d+\.\d\d, model \d+\.\d\d", stamps.label)
    bad.reject("spoilt")
    unused.status = CandidateStatus.UNKNOWN
    (axis, *_) = lsstDebugViews.cellsFigure(solved.science, solved.kernelCellSet, 0.5, True).axes
    colours = {line.get_markeredgecolor() for line in axis.lines}
    # Cyan, yellow, red.
    assert colours == {"#00c8d7", "#e6c800", "#e31a1c"}
    shown = {
        name: getattr(solved, what)
        for name, what in (
            ("Template", "template"),
            ("Matched template", "matchedImage"),
            ("Science", "science"),
            ("Difference", "subtractedMaskedImage"),
        )
    }
    said = textsOf(lsstDebugViews.differencePanels(shown, 0.5))
    for name in shown:
        assert name in said
    assert "of its noise" in said

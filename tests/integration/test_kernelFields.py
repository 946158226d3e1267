"""Every field of the kernel configurations does what it says, shown by pixels and counts of a whole run.

`EFFECTS` names for each field a run without and a run with it, and what must differ between them. A field that is
missing there fails `test_everyFieldIsHere`. Fields of the sub-configurations have tests of their own.
"""

import logging
import math

import numpy as np
import pytest
from lsst.pex.config import ConfigField, FieldValidationError

from psfmatch import (
    ImagePsfMatchTask,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    MaskedImage,
    NoKernelCandidatesError,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
)
from psfmatch.fit import CandidateStatus
from psfmatch.testing import makeFakeKernelSet, simulatePair

WIDTHS = {"templateFwhmPix": 2.3548, "scienceFwhmPix": 6.3}
"""Of the fakes: Gaussians of sigma 1 and, through a kernel of sigma 2.5, about 2.7."""

AL = {"alardNGauss": 1, "alardSigGauss": [2.5], "alardDegGauss": [2], "fitForBackground": True, "scaleByFwhm": False}
AL |= {"spatialKernelOrder": 1, "spatialBgOrder": 0, "sizeCellX": 64, "sizeCellY": 64}
DF = {"kernelSize": 11, "fitForBackground": True, "usePcaForSpatialKernel": False, "spatialKernelOrder": 0}
DF |= {"spatialBgOrder": 0, "sizeCellX": 64, "sizeCellY": 64, "lambdaValue": 1e-3}


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(sizeCell=64, nCell=4, deltaFunctionCounts=5e4, seed=6)


class Runs:
    """Runs of the task on one pair, each configuration once."""

    def __init__(self, fakes):
        self.fakes = fakes
        self.template, science = fakes.template, fakes.science.copy()
        centres = [tuple(int(v) for v in centre) for centre in fakes.starCentres]
        self.positions = np.array(centres, dtype=float)
        # What each kind of clipping is there for: a spike that no kernel makes; a star of another flux ratio,
        # bright enough to tell; a star of another shape.
        x, y = centres[5]
        science.image[y, x + 5] += 8000
        x, y = centres[10]
        stamp = science.image[y - 20 : y + 21, x - 20 : x + 21]
        stamp += np.float32(0.4) * (stamp - np.float32(fakes.background))
        x, y = centres[3]
        science.image[y - 20 : y + 21, x - 20 : x + 21] = np.roll(science.image[y - 20 : y + 21, x - 20 : x + 21], 2, 1)
        # A defect beside a star in a plane that is not bad by default, and one in a plane that is.
        x, y = centres[6]
        science.mask[y + 4, x + 4] |= science.mask.getPlaneBitMask("SUSPECT")
        template = fakes.template.copy()
        x, y = centres[9]
        template.image[y + 3, x - 3] = 3e4
        template.mask[y + 3, x - 3] |= template.mask.getPlaneBitMask("CR")
        # One alone on the sky.
        template.mask[y + 14, x - 14] |= template.mask.getPlaneBitMask("CR")
        self.template, self.science = template, science
        self._done = {}

    def __call__(self, name="AL", images=None, widths=None, positions=None, **changes):
        key = (name, id(images), widths is None, positions is None, repr(sorted(changes.items())))
        if key not in self._done:
            config = ImagePsfMatchTask.ConfigClass()
            config.kernel.name = name
            config.kernel.active.update(**(AL if name == "AL" else DF) | changes)
            task = ImagePsfMatchTask(config=config, threads=1)
            template, science = images or (self.template, self.science)
            result = task.subtractMaskedImages(
                template, science, self.positions if positions is None else positions, **(widths or {})
            )
            result.metadata = dict(task.metadata)
            self._done[key] = result
        return self._done[key]


@pytest.fixture(scope="module")
def runs(fakes):
    return Runs(fakes)


# What is looked at


def kernelShape(result):
    return result.psfMatchingKernel.shape


def kernelPixels(result):
    return result.psfMatchingKernel.computeImage(100.0, 60.0).tobytes()


def firstKernel(result):
    return result.kernelFit.kernel.basis[0].tobytes()


def ownKernel(result):
    return next(c for c in result.kernelCellSet if c.isInitialized).kernelSolution.computeImage().tobytes()


def nBasis(result):
    return len(result.psfMatchingKernel.basis)


def nTerms(result):
    return result.psfMatchingKernel.spatialParameters.shape[1]


def sumOfCorner(result):
    return result.psfMatchingKernel.kernelSum(0.0, 0.0)


def nBackground(result):
    return result.backgroundModel.parameters.size


def sky(result):
    return round(float(result.backgroundModel(100.0, 100.0)))


def nCells(result):
    return len(result.kernelCellSet.cells)


def nUsed(result):
    return result.kernelFit.passes[-1].nUsed


def spatialResiduals(result):
    return tuple(c.spatialResidual.rms for c in result.kernelCellSet if c.status is CandidateStatus.GOOD)


def statuses(result):
    return tuple(c.status.name for c in result.kernelCellSet)


def reasons(result):
    return tuple(sorted(result.kernelCellSet.countReasons()))


def pixelsJudged(result):
    return tuple(c.residual.count for c in result.kernelCellSet if c.residual is not None)


def pixelsFitted(result):
    return tuple(round(c.kernelSolution.lostFraction, 6) for c in result.kernelCellSet if c.isInitialized)


def flagged(result):
    return tuple(np.count_nonzero(result.matchedImage.mask.hasAny((plane,))) for plane in ("CR", "EDGE", "NO_DATA"))


def nCandidates(result):
    return len(result.kernelCellSet)


def strength(result):
    return next(c for c in result.kernelCellSet if c.isInitialized).kernelSolution.regularizationStrength


def hasUncertainty(result):
    return result.psfMatchingKernel.covariance is not None


def sigmas(result):
    return tuple(round(s, 3) for s in result.metadata["ALBasisSigGauss"])


def degrees(result):
    return tuple(result.metadata["ALBasisDegGauss"])


AUTO = {"scaleByFwhm": True, "kernelSizeMin": 5, "widths": True}
UNCLIPPED = {"singleKernelClipping": False, "kernelSumClipping": False, "spatialKernelClipping": False}
SHARPEN = AUTO | UNCLIPPED | {"widths": "sharpen", "kernelSizeMin": 21, "alardWidthRule": "classic"}
THREE = {"alardNGauss": 3, "alardSigGauss": [1.0, 2.0, 4.0], "alardDegGauss": [1, 1, 0]}
PCA = {"usePcaForSpatialKernel": True}
OWN = {"constantVarianceWeighting": False}
SMOOTH = {"useRegularization": True}
SCAN = {"lambdaType": "minimizeUnbiasedRisk", "lambdaMin": -2.0, "lambdaMax": 0.0, "lambdaStep": 1.0}
SCALE = {"scaleModelType": "chebyshev1"}
SPLINES = {"spatialModelType": "bspline", "splineDegree": 0, "spatialBgModelType": "chebyshev1"}

# Field: (settings without, settings with, what must differ, kernel.name)
EFFECTS = {
    "fitForBackground": (UNCLIPPED | {"fitForBackground": False}, UNCLIPPED, sky, "AL"),
    "kernelSize": ({}, {"kernelSize": 17}, kernelShape, "AL"),
    "scaleByFwhm": ({"widths": True}, AUTO, kernelShape, "AL"),
    "kernelSizeFwhmScaling": (AUTO, AUTO | {"kernelSizeFwhmScaling": 4.0}, kernelShape, "AL"),
    "kernelSizeMin": (AUTO, AUTO | {"kernelSizeMin": 19}, kernelShape, "AL"),
    "kernelSizeMax": (AUTO, AUTO | {"kernelSizeMax": 11}, kernelShape, "AL"),
    "spatialModelType": ({}, {"spatialModelType": "polynomial"}, lambda r: r.psfMatchingKernel.model, "AL"),
    "spatialBgModelType": ({}, {"spatialBgModelType": "polynomial"}, lambda r: r.backgroundModel.model, "AL"),
    "splineDegree": (SPLINES, SPLINES | {"splineDegree": 1}, nTerms, "AL"),
    "splineKnotsX": (SPLINES, SPLINES | {"splineKnotsX": []}, nTerms, "AL"),
    "splineKnotsY": (SPLINES, SPLINES | {"splineKnotsY": []}, nTerms, "AL"),
    "scaleModelType": ({}, {"scaleModelType": "chebyshev1"}, sumOfCorner, "AL"),
    "scaleOrder": (
        {"scaleModelType": "chebyshev1"},
        {"scaleModelType": "chebyshev1", "scaleOrder": 0},
        sumOfCorner,
        "AL",
    ),
    "spatialKernelOrder": ({}, {"spatialKernelOrder": 0}, nTerms, "AL"),
    "spatialBgOrder": ({}, {"spatialBgOrder": 1}, nBackground, "AL"),
    "sizeCellX": ({}, {"sizeCellX": 128}, nCells, "AL"),
    "sizeCellY": ({}, {"sizeCellY": 128}, nCells, "AL"),
    "nStarPerCell": ({"sizeCellX": 128}, {"sizeCellX": 128, "nStarPerCell": 1}, nUsed, "AL"),
    # The first pass rejects: the model without those stars is judged only if another pass is allowed.
    "maxSpatialIterations": ({}, {"maxSpatialIterations": 1}, spatialResiduals, "AL"),
    "usePcaForSpatialKernel": ({}, PCA, nBasis, "AL"),
    "subtractMeanForPca": (PCA, PCA | {"subtractMeanForPca": False}, firstKernel, "AL"),
    "weightPcaByInformation": (PCA, PCA | {"weightPcaByInformation": False}, firstKernel, "AL"),
    "numPrincipalComponents": (PCA, PCA | {"numPrincipalComponents": 3}, nBasis, "AL"),
    "singleKernelClipping": ({}, {"singleKernelClipping": False}, reasons, "AL"),
    "kernelSumClipping": ({}, {"kernelSumClipping": False}, reasons, "AL"),
    "spatialKernelClipping": ({}, {"spatialKernelClipping": False}, reasons, "AL"),
    "candidateResidualMeanMax": ({}, {"candidateResidualMeanMax": 0.095}, reasons, "AL"),
    "candidateResidualStdMax": ({}, {"candidateResidualStdMax": 10.0}, reasons, "AL"),
    "useCoreStats": ({}, {"useCoreStats": True}, pixelsJudged, "AL"),
    "candidateCoreRadius": (
        {"useCoreStats": True},
        {"useCoreStats": True, "candidateCoreRadius": 5},
        pixelsJudged,
        "AL",
    ),
    "maxKsumSigma": ({}, {"maxKsumSigma": 1e3}, reasons, "AL"),
    "checkConditionNumber": (
        {"maxConditionNumber": 1.5},
        {"maxConditionNumber": 1.5, "checkConditionNumber": True},
        "raises",
        "AL",
    ),
    "maxConditionNumber": (
        {"checkConditionNumber": True, "maxConditionNumber": 1e12},
        {"checkConditionNumber": True, "maxConditionNumber": 1.5},
        "raises",
        "AL",
    ),
    "minKernelSources": ({}, {"minKernelSources": 17}, "raises", "AL"),
    "badMaskPlanes": ({}, {"badMaskPlanes": ["NO_DATA", "EDGE", "SAT", "SUSPECT"]}, pixelsJudged, "AL"),
    "badPixelMaskPlanes": ({}, {"badPixelMaskPlanes": ["BAD", "SAT", "EDGE", "NO_DATA"]}, pixelsFitted, "AL"),
    "zeroWeightBadPixels": ({}, {"zeroWeightBadPixels": False}, statuses, "AL"),
    "maskedKernelFraction": ({}, {"maskedKernelFraction": 0.0}, flagged, "AL"),
    "safeKernelFraction": ({}, {"safeKernelFraction": 0.2}, flagged, "AL"),
    "maskedStampFraction": ({}, {"maskedStampFraction": 0.0}, nCandidates, "AL"),
    "doCopyEdge": ({}, {"doCopyEdge": True}, flagged, "AL"),
    "constantVarianceWeighting": ({}, OWN, ownKernel, "AL"),
    "iterateSingleKernel": (OWN, OWN | {"iterateSingleKernel": True}, ownKernel, "AL"),
    "calculateKernelUncertainty": ({}, {"calculateKernelUncertainty": True}, hasUncertainty, "AL"),
    "useBicForKernelBasis": (
        {"alardDegGauss": [4]},
        {"alardDegGauss": [4], "useBicForKernelBasis": True},
        degrees,
        "AL",
    ),
    "alardNGauss": (THREE, {}, nBasis, "AL"),
    "alardDegGauss": ({}, {"alardDegGauss": [1]}, nBasis, "AL"),
    "alardSigGauss": ({}, {"alardSigGauss": [2.0]}, sigmas, "AL"),
    "alardGaussBeta": (AUTO | THREE, AUTO | THREE | {"alardGaussBeta": 1.5}, sigmas, "AL"),
    "alardMinSig": (AUTO | THREE, AUTO | THREE | {"alardMinSig": 2.0}, sigmas, "AL"),
    "alardWidthRule": (
        AUTO | THREE | {"alardMinSig": 2.0},
        AUTO | THREE | {"alardMinSig": 2.0, "alardWidthRule": "classic"},
        sigmas,
        "AL",
    ),
    "alardDegGaussDeconv": (SHARPEN, SHARPEN | {"alardDegGaussDeconv": 1}, degrees, "AL"),
    "alardMinSigDeconv": (SHARPEN, SHARPEN | {"alardMinSigDeconv": 2.0}, sigmas, "AL"),
    # A fifth Gaussian of twice the fourth sigma makes the kernel wider.
    "alardNGaussDeconv": (SHARPEN, SHARPEN | {"alardNGaussDeconv": 5}, kernelShape, "AL"),
    "useRegularization": ({"useRegularization": False}, SMOOTH, kernelPixels, "DF"),
    "regularizationType": (SMOOTH, SMOOTH | {"regularizationType": "forwardDifference"}, kernelPixels, "DF"),
    "centralRegularizationStencil": (SMOOTH, SMOOTH | {"centralRegularizationStencil": 5}, kernelPixels, "DF"),
    "forwardRegularizationOrders": (
        {"regularizationType": "forwardDifference"},
        {"regularizationType": "forwardDifference", "forwardRegularizationOrders": [2]},
        kernelPixels,
        "DF",
    ),
    "regularizationBorderPenalty": (SMOOTH, SMOOTH | {"regularizationBorderPenalty": 10.0}, kernelPixels, "DF"),
    "lambdaType": (SMOOTH, SMOOTH | {"lambdaType": "relative"}, strength, "DF"),
    "lambdaValue": (SMOOTH, SMOOTH | {"lambdaValue": 0.1}, strength, "DF"),
    "lambdaScaling": (
        {"lambdaType": "relative"},
        {"lambdaType": "relative", "lambdaScaling": 1e-3},
        strength,
        "DF",
    ),
    "lambdaStepType": (
        SCAN | {"lambdaMin": 0.5, "lambdaMax": 0.5},
        SCAN | {"lambdaMin": 0.5, "lambdaMax": 0.5, "lambdaStepType": "linear"},
        strength,
        "DF",
    ),
    "lambdaMin": (SCAN | {"lambdaStep": 5.0}, SCAN | {"lambdaStep": 5.0, "lambdaMin": -1.0}, strength, "DF"),
    "lambdaMax": (SCAN | {"lambdaMin": -3.0, "lambdaMax": -3.0}, SCAN | {"lambdaMin": -3.0}, strength, "DF"),
    "lambdaStep": (SCAN | {"lambdaMin": -2.3}, SCAN | {"lambdaMin": -2.3, "lambdaStep": 0.7}, strength, "DF"),
}
ELSEWHERE = {
    "kernelBasisSet": "test_theFamilyIsFixed",
    "fitMethod": "test_fitMethod",
    "useAfwBackground": "test_whatCannotBeDoneIsRefused",
    "conditionNumberType": "test_typeOfConditionNumber",
    "maxSpatialConditionNumber": "test_limitOfTheSpatialConditionNumber",
}


def test_fitMethod():
    """Regions are fitted all pixels at once: other candidates, another kernel, held-out residuals."""
    pair = simulatePair(seed=4, size=256, brightStars=300, faintStars=100)
    fits = {}
    for method in ("candidates", "regions"):
        config = ImagePsfMatchTask.ConfigClass()
        config.kernel.active.update(fitMethod=method, fitForBackground=True, spatialKernelOrder=1)
        fits[method] = (
            ImagePsfMatchTask(config=config).subtractExposures(pair.template, pair.science, 2.7, 3.9).kernelFit
        )
    assert fits["candidates"].heldOut is None
    assert len(fits["regions"].heldOut) > 10
    for fit in fits.values():
        assert fit.kernel.kernelSum(128, 128) == pytest.approx(pair.truth.kernelSum(128, 128), rel=0.02)


def test_everyFieldIsHere():
    fields = {
        name: field
        for ConfigClass in (PsfMatchConfigAL, PsfMatchConfigDF)
        for name, field in ConfigClass._fields.items()
    }
    missing = {name for name, field in fields.items() if not isinstance(field, ConfigField)}
    assert missing - set(EFFECTS) - set(ELSEWHERE) == set()
    assert set(ELSEWHERE.values()) <= set(globals())


@pytest.mark.parametrize("field", EFFECTS)
def test_effectOfAField(runs, field):
    without, with_, look, name = EFFECTS[field]
    changed = {key for key in without | with_ if without.get(key) != with_.get(key)}
    # The pair of runs differs in this field; others may follow where one alone cannot be set.
    assert field in changed

    def run(settings):
        settings = dict(settings)
        widths = settings.pop("widths", None)
        if widths == "sharpen":
            widths = {"templateFwhmPix": 6.3, "scienceFwhmPix": 6.0}
        elif widths:
            widths = WIDTHS
        return runs(name, widths=widths, **settings)

    if look == "raises":
        assert run(without).kernelFit.passes
        error = InsufficientKernelSourcesError if field == "minKernelSources" else NoKernelCandidatesError
        with pytest.raises(error, match="candidate"):
            run(with_)
    else:
        assert look(run(without)) != look(run(with_))


def test_whatTheRunsReject(runs):
    """The three offenders are found, each by the clipping meant for it."""
    result = runs()
    bad = [c for c in result.kernelCellSet if c.status is CandidateStatus.BAD]
    assert {c.reason.split(":")[0] for c in bad} >= {"residual rms", "kernel sum"}
    assert sky(result) == round(runs.fakes.background)


def test_theFamilyIsFixed():
    for ConfigClass, other in ((PsfMatchConfigAL, "delta-function"), (PsfMatchConfigDF, "alard-lupton")):
        config = ConfigClass()
        config.kernelBasisSet = other
        with pytest.raises(FieldValidationError, match=r"kernel\.name"):
            config.validate()


def test_whatCannotBeDoneIsRefused():
    config = PsfMatchConfigAL()
    config.useAfwBackground = True
    with pytest.raises(FieldValidationError, match="fitForBackground"):
        config.validate()


def test_typeOfConditionNumber(runs):
    """A template too smooth has a singular matrix: its singular values say so, its eigenvalues may be negative."""
    y, x = np.indices(runs.template.shape)
    smooth = MaskedImage(100.0 + 1e-3 * x * y, variance=runs.template.variance)
    images = (smooth, runs.science)
    counts = {}
    for kind in ("SVD", "EIGENVALUE"):
        with pytest.raises((NoKernelCandidatesError, KernelSolutionError)) as caught:
            runs(images=images, conditionNumberType=kind, checkConditionNumber=True, maxConditionNumber=1e8)
        counts[kind] = caught.value.rejected.get("condition number", 0)
    assert counts["SVD"] == len(runs.positions)
    assert counts["EIGENVALUE"] <= counts["SVD"]


def test_limitOfTheSpatialConditionNumber(runs, caplog):
    conditionNumber = runs().metadata["spatialConditionNum"]
    assert math.isfinite(conditionNumber)
    for limit in (2.0 * conditionNumber, 0.5 * conditionNumber):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "psfmatch"):
            runs(maxSpatialConditionNumber=limit)
        assert ("exceeds max condition number" in caplog.text) is (limit < conditionNumber)

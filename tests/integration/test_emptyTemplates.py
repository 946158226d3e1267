"""Templates that show nothing of the science image's light: an error that says so, never a kernel of sum 0.

At the front door, where the template shows no source at all, the science image minus its sky, which says so.
"""

import numpy as np
import pytest

from psfmatch import (
    Exposure,
    ImagePsfMatchTask,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    MaskedImage,
    NoKernelCandidatesError,
    PsfMatchError,
    SnapPsfMatchTask,
    subtract,
)
from psfmatch.fit.candidates.cells import CandidateStatus
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=256)


def empty(pair, value, variance):
    shape = pair.science.shape
    planes = np.full(shape, value, dtype=np.float32), np.full(shape, variance, dtype=np.float32)
    return Exposure(MaskedImage(planes[0], variance=planes[1]), wcs=pair.science.wcs)


def configured(basis, fitMethod, **fields):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = basis
    config.kernel.active.update(fitMethod=fitMethod, **fields)
    return config


def noiseOf(pair):
    sigma = float(np.sqrt(np.median(pair.template.variance)))
    return np.random.default_rng(1).normal(0.0, sigma, pair.science.shape)


def cosmicRays(pair):
    """Return noise with single bright pixels, none of them a star."""
    generator, image = np.random.default_rng(2), noiseOf(pair)
    places = generator.integers(0, image.size, 400)
    image.flat[places] += generator.exponential(2000.0, 400)
    return image


def slope(pair, perPixel):
    return perPixel * np.indices(pair.science.shape)[1]


STARLESS = {
    "noise": noiseOf,
    "sky and noise": lambda pair: 300.0 + noiseOf(pair),
    "a slope": lambda pair: 100.0 + slope(pair, 0.05),
    "a slope and noise": lambda pair: 100.0 + slope(pair, 0.05) + noiseOf(pair),
    "waves": lambda pair: 100.0 + 3.0 * np.cos(slope(pair, 1 / 60)) * np.sin(slope(pair, 1 / 50).T),
    "whole numbers": lambda pair: np.round(300.0 + 3.0 * noiseOf(pair)),
    "cosmic rays": cosmicRays,
    "another field": lambda pair: 300.0 + simulatePair(seed=103, size=256).template.image,
    "the negative": lambda pair: -pair.template.image,
}


TELLING = "sky and noise", "cosmic rays", "another field"
"""Those that have passed on some path before."""


def starlessTemplate(pair, name):
    image = STARLESS[name](pair).astype(np.float32)
    return Exposure(MaskedImage(image, variance=pair.template.variance), wcs=pair.science.wcs)


ERRORS = (KernelSolutionError, InsufficientKernelSourcesError, NoKernelCandidatesError)
PATHS = {
    "AL": {},
    "AL without background": {"fitForBackground": False},
    "AL of any residual": {
        "fitForBackground": False,
        "singleKernelClipping": False,
        "kernelSumClipping": False,
        "spatialKernelClipping": False,
    },
    "DF without background": {"fitForBackground": False},
    "DF of components": {"fitForBackground": False, "usePcaForSpatialKernel": True},
    "AL of one star": {"fitForBackground": False, "minKernelSources": 1, "spatialKernelOrder": 0},
}


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in PATHS for name in (STARLESS if path[:2] == "AL" else TELLING)]
)
def test_starlessTemplate(pair, path, name):
    task = ImagePsfMatchTask(config=configured(path[:2], "candidates", **PATHS[path]), threads=1)
    stars = task.getSelectSources(pair.science)[:1] if "one star" in path else None
    with pytest.raises(ERRORS) as caught:
        task.subtractExposures(
            starlessTemplate(pair, name), pair.science, 3.0, 3.5, candidateList=stars, doWarping=False
        )
    assert {"nCandidates", "nSources"} & set(caught.value.counts)


WITH_LIGHT = "cosmic rays", "another field", "the negative"


@pytest.mark.parametrize(
    ("mode", "name"), [*(("convolveScience", name) for name in TELLING), *(("auto", name) for name in WITH_LIGHT)]
)
def test_starlessTemplateAtTheFrontDoor(pair, mode, name):
    with pytest.raises(PsfMatchError):
        subtract(starlessTemplate(pair, name), pair.science, mode=mode, threads=1)


def lightOf(image, x, y):
    """Light within 6 px of a place, above the sky about it."""
    rows, columns = np.indices(image.shape)
    distance = np.hypot(columns - x, rows - y)
    return float(np.nansum(image[distance <= 6.0] - np.nanmedian(image[(distance > 12.0) & (distance < 20.0)])))


@pytest.mark.parametrize("name", [name for name in STARLESS if name not in WITH_LIGHT])
def test_scienceMinusSky(pair, name):
    """A template without any source takes nothing off the science image's."""
    result = subtract(starlessTemplate(pair, name), pair.science, threads=1)
    assert result.grade in "DF"  # so many stars that no template of this sky could lack
    assert result.steps[-1] == "The template shows no source above S/N 20: science minus sky."
    assert any("kernel and flux ratio are unchecked" in reason for reason in result.quality.reasons)
    stars = ImagePsfMatchTask(threads=1).getSelectSources(pair.science)
    x, y = float(stars["x"][0]), float(stars["y"][0])
    assert lightOf(result.difference.image, x, y) == pytest.approx(lightOf(pair.science.image, x, y), rel=0.02)
    good = np.asarray(result.difference.mask) == 0
    assert abs(np.nanmedian(result.difference.image[good])) < 0.2 * np.sqrt(np.median(pair.science.variance))


def test_scienceWithoutAnySource(pair):
    """What the template shows is missing: negative sources, of a flux ratio that nothing tells."""
    image = (400.0 + noiseOf(pair)).astype(np.float32)
    science = Exposure(MaskedImage(image, variance=pair.template.variance), wcs=pair.science.wcs)
    result = subtract(pair.template, science, threads=1)
    assert result.grade in "DF"
    assert result.steps[-1].startswith("The science image shows no source above S/N 20")
    with pytest.raises(NoKernelCandidatesError):
        subtract(starlessTemplate(pair, "noise"), science, threads=1)


def test_sameSlopes(pair):
    """Skies with one slope have nothing else in common: the kernel must not live from it."""
    science = pair.science.copy()
    science.image[...] += slope(pair, 1.0).astype(np.float32)
    image = (100.0 + slope(pair, 0.5) + noiseOf(pair)).astype(np.float32)
    template = Exposure(MaskedImage(image, variance=pair.template.variance), wcs=science.wcs)
    for mode in ("auto", "convolveScience"):
        with pytest.raises(KernelSolutionError):
            subtract(template, science, mode=mode, threads=1)
    with pytest.raises(ERRORS):
        ImagePsfMatchTask(config=configured("AL", "candidates"), threads=1).subtractExposures(
            template, science, templateFwhmPix=3.0, scienceFwhmPix=3.5
        )


def test_otherTasks(pair):
    image = (300.0 + noiseOf(pair)).astype(np.float32)
    template = Exposure(MaskedImage(image, variance=pair.template.variance), wcs=pair.science.wcs)
    with pytest.raises(PsfMatchError):
        SnapPsfMatchTask(threads=1).subtractExposures(template, pair.science)
    task = ImagePsfMatchTask(config=configured("AL", "candidates"), threads=1)
    with pytest.raises(ERRORS):
        task.subtractExposures(template, pair.science, 3.5, 3.0, convolveTemplate=False)


@pytest.mark.parametrize("fitMethod", ["candidates", "regions"])
def test_scienceWithoutLight(pair, fitMethod):
    """Stars are given, the science image is one constant: a kernel of sum 0 is none."""
    stars = ImagePsfMatchTask(threads=1).getSelectSources(pair.science)
    task = ImagePsfMatchTask(config=configured("AL", fitMethod), threads=1)
    with pytest.raises(KernelSolutionError):
        task.subtractExposures(pair.template, empty(pair, 100.0, 25.0), 3.0, 3.5, candidateList=stars)


def test_fewFaintStars(pair):
    """Light that is there is seen: one faint star tells a kernel, or many of them."""
    task = ImagePsfMatchTask(config=configured("AL", "candidates", minKernelSources=1, spatialKernelOrder=0), threads=1)
    stars = task.getSelectSources(pair.science)
    faint = stars[(stars["snr"] < 30.0) & (stars["snr"] > 10.0)]
    for some in (faint, faint[:1], faint[-1:]):
        found = task.subtractExposures(pair.template, pair.science, 3.0, 3.5, candidateList=some)
        assert found.psfMatchingKernel.kernelSum(128, 128) == pytest.approx(1.25, rel=0.2)


EMPTY = pytest.mark.parametrize(("value", "variance"), [(0.0, 0.0), (0.0, 1.0), (100.0, 1.0)])


@EMPTY
@pytest.mark.parametrize(("basis", "fitMethod"), [("AL", "candidates"), ("AL", "regions"), ("DF", "candidates")])
def test_task(pair, basis, fitMethod, value, variance):
    task = ImagePsfMatchTask(config=configured(basis, fitMethod), threads=1)
    with pytest.raises(KernelSolutionError, match="does not show the") as caught:
        task.subtractExposures(empty(pair, value, variance), pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    assert caught.value.nCandidates > 0


@EMPTY
@pytest.mark.parametrize("mode", ["auto", "convolveTemplate", "convolveScience"])
def test_frontDoor(pair, mode, value, variance):
    with pytest.raises(KernelSolutionError):
        subtract(empty(pair, value, variance), pair.science, mode=mode, threads=1)


@pytest.mark.parametrize("basis", ["AL", "DF"])
def test_oneCandidateOfZeros(pair, basis):
    """It is BAD with its reason; the others make the kernel."""
    template = pair.template.copy()
    task = ImagePsfMatchTask(config=configured(basis, "candidates"), threads=1)
    whole = task.subtractExposures(template, pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    star = max((c for c in whole.kernelCellSet if c.status is CandidateStatus.GOOD), key=lambda c: c.rating)
    box = star.templateMaskedImage.getBBox()
    part = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    template.image[part] = 0.0
    result = task.subtractExposures(template, pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    (found,) = [c for c in result.kernelCellSet if (c.x, c.y) == (star.x, star.y)]
    assert found.status is CandidateStatus.BAD
    assert found.reason.startswith("no light: the image to convolve is the same everywhere in the stamp")
    centre = pair.science.getBBox().centre
    assert result.psfMatchingKernel.kernelSum(*centre) == pytest.approx(
        whole.psfMatchingKernel.kernelSum(*centre), rel=0.2
    )

"""The three definitions of a PSF's size, on images, models and grids, and the size over an exposure."""

import math

import numpy as np
import pytest
from starFields import sampledPsf, widthOverPixels

from psfmatch import Exposure, GaussianPsf, GridPsf, ImagePsf, ImagePsfMatchTask, MaskedImage, getFwhmPix
from psfmatch.images import FWHM_DEFINITIONS, SIGMA_TO_FWHM, adaptiveMoments, getFwhmPixXY
from psfmatch.images.psfMoments import adaptiveMomentsOfStamps
from psfmatch.sources import evaluateMeanPsfFwhm, exposureFwhmPix, findFwhms, measureWidths
from psfmatch.testing import simulatePair


def gaussian(shape, sigmaX, sigmaY=None, angle=0.0):
    """Return a Gaussian of odd sides, [y, x], with its axes turned by an angle (radians)."""
    y, x = (axis - side // 2 for axis, side in zip(np.mgrid[: shape[0], : shape[1]], shape, strict=True))
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return np.exp(-0.5 * ((u / sigmaX) ** 2 + (v / (sigmaY or sigmaX)) ** 2))


def exposureWith(psf, shape=(200, 300), xy0=(0, 0)):
    return Exposure(MaskedImage(np.zeros(shape), variance=np.ones(shape), xy0=xy0), psf=psf)


# Definitions


@pytest.mark.parametrize("sigma", [1.0, 1.23456, 2.1])
@pytest.mark.parametrize("shape", [(23, 21), (23, 23), (23, 25)])
def test_momentsGiveTheWidthOfAGaussian(sigma, shape):
    psf = ImagePsf(gaussian(shape, sigma))
    expected = pytest.approx(SIGMA_TO_FWHM * sigma, rel=0.01)
    for definition in ("determinantRadius", "traceRadius"):
        assert getFwhmPix(psf, definition=definition) == expected
    assert getFwhmPixXY(psf) == (expected, expected)


@pytest.mark.parametrize("sigma", [1.0, 2.1, 4.0])
def test_halfMaximumIsMeasuredOnStraightLines(sigma):
    """Between the pixels at r and r + 1 about the crossing, where the profile is a straight line."""
    half = 0.5 * SIGMA_TO_FWHM * sigma
    r = math.floor(half)
    inner, outer = (math.exp(-0.5 * (d / sigma) ** 2) for d in (r, r + 1))
    expected = 2.0 * (r + (inner - 0.5) / (inner - outer))
    psf = sampledPsf(sigma)
    assert getFwhmPix(psf, definition="halfMaximum") == pytest.approx(expected, rel=1e-12)
    assert getFwhmPixXY(psf, definition="halfMaximum") == pytest.approx((expected, expected), rel=1e-12)
    # A chord of the profile lies off by its curvature / 8, in widths below 0.06 / sigma^2.
    assert expected == pytest.approx(2.0 * half, rel=0.06 / sigma**2)


def test_definitionsOnElongatedPsfs():
    psf = ImagePsf(gaussian((61, 61), 3.0, 1.5))
    assert getFwhmPix(psf, definition="determinantRadius") == pytest.approx(SIGMA_TO_FWHM * math.sqrt(4.5), rel=1e-3)
    assert getFwhmPix(psf, definition="traceRadius") == pytest.approx(SIGMA_TO_FWHM * math.sqrt(5.625), rel=1e-3)
    assert getFwhmPixXY(psf) == pytest.approx((SIGMA_TO_FWHM * 3.0, SIGMA_TO_FWHM * 1.5), rel=1e-3)
    x, y = getFwhmPixXY(psf, definition="halfMaximum")
    assert (x, y) == pytest.approx((SIGMA_TO_FWHM * 3.0, SIGMA_TO_FWHM * 1.5), rel=0.02)
    assert getFwhmPix(psf, definition="halfMaximum") == pytest.approx(0.5 * (x + y), rel=1e-12)
    turned = ImagePsf(gaussian((61, 61), 3.0, 1.5, angle=math.pi / 4))
    # Turned by 45 degrees both axes have the same variance; the radii do not care, the slices through the peak do.
    assert getFwhmPixXY(turned) == pytest.approx((SIGMA_TO_FWHM * math.sqrt(5.625),) * 2, rel=1e-3)
    assert getFwhmPix(turned) == pytest.approx(SIGMA_TO_FWHM * math.sqrt(4.5), rel=1e-3)
    assert getFwhmPix(turned, definition="halfMaximum") < getFwhmPix(turned)


@pytest.mark.parametrize("sigma", [0.5, 0.7])
def test_undersampledPsfs(sigma):
    for definition in ("determinantRadius", "traceRadius"):
        assert getFwhmPix(GaussianPsf(sigma, 21), definition=definition) == pytest.approx(
            SIGMA_TO_FWHM * sigma, rel=0.15
        )
    assert getFwhmPixXY(GaussianPsf(sigma, 21)) == pytest.approx((SIGMA_TO_FWHM * sigma,) * 2, rel=0.15)


def test_oneSideBelowHalfIsNotEnough():
    ramp = np.tile(np.linspace(1.0, 2.0, 9), (9, 1)) * gaussian((9, 9), 50.0, 1.5)
    # Along x the profile nowhere falls to half of its peak on the right side: y alone counts.
    x, y = 8, 4
    assert np.unravel_index(np.argmax(ramp), ramp.shape) == (y, x)
    expected = getFwhmPixXY(ImagePsf(gaussian((9, 9), 1.5)), definition="halfMaximum")[1]
    assert getFwhmPix(ImagePsf(ramp), definition="halfMaximum") == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="no measurable width"):
        getFwhmPixXY(ImagePsf(ramp), definition="halfMaximum")
    flat = ImagePsf(np.ones((9, 9)))
    for definition in ("halfMaximum",):
        with pytest.raises(ValueError, match=r"PSF at \(0\.0, 0\.0\) has no measurable width"):
            getFwhmPix(flat, definition=definition)


def test_unknownDefinitions():
    for function in (getFwhmPix, getFwhmPixXY):
        with pytest.raises(ValueError, match=r"called 'radius'; there are determinantRadius, traceRadius, halfMaximum"):
            function(GaussianPsf(2.0), definition="radius")
    with pytest.raises(ValueError, match="the determinant radius is one number"):
        getFwhmPixXY(GaussianPsf(2.0), definition="determinantRadius")


# Positions


def varyingPsf(gap=False):
    """Return a PSF of sigma 1.5 at the left and 2.5 at the right of 300 pixels, with a gap in the middle if asked."""
    sigmas = np.linspace(1.5, 2.5, 5)
    nodes = np.array([[GaussianPsf(s, 31).computeKernelImage(0, 0) for s in sigmas]] * 5)
    if gap:
        nodes[2, 2] = np.nan
    return GridPsf(nodes, np.linspace(0, 299, 5), np.linspace(0, 199, 5))


@pytest.mark.parametrize("definition", FWHM_DEFINITIONS)
def test_positionsOnAGrid(definition):
    psf = varyingPsf()
    at = [getFwhmPix(psf, (x, 100.0), definition) for x in (0.0, 149.5, 299.0)]
    expected = [getFwhmPix(GaussianPsf(s, 31), definition=definition) for s in (1.5, 2.0, 2.5)]
    assert at == pytest.approx(expected, rel=1e-12)
    # By default at the average position of the nodes.
    assert getFwhmPix(psf, definition=definition) == pytest.approx(expected[1], rel=1e-12)


def test_theTaskAsksAtTheAveragePosition():
    task = ImagePsfMatchTask()
    psf = varyingPsf()
    assert task.getFwhmPix(psf) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.0), rel=1e-3)
    assert task.getFwhmPix(psf, (0.0, 0.0)) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(1.5), rel=1e-3)
    assert task.getFwhmPix(psf, position=(299.0, 0.0)) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.5), rel=1e-3)


def test_exposureIsAskedAtItsCentreWhereThePsfNamesNoPosition():
    class GrowingPsf:
        def computeKernelImage(self, x, y):
            return GaussianPsf(1.0 + 0.01 * (x - 1000) + 0.001 * y, 41).computeKernelImage(x, y)

    exposure = exposureWith(GrowingPsf(), xy0=(1000, -100))
    # The centre is (1149.5, -0.5).
    assert exposureFwhmPix(exposure) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.4945), rel=1e-3)
    assert exposureFwhmPix(exposureWith(varyingPsf())) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.0), rel=1e-3)
    assert exposureFwhmPix(exposureWith(None)) is None


# Means over a grid


def test_meanOfAConstantPsfIsThatOfAnyPoint():
    exposure = exposureWith(GaussianPsf(2.0))
    for definition in FWHM_DEFINITIONS:
        mean = evaluateMeanPsfFwhm(exposure, definition=definition)
        assert mean == pytest.approx(getFwhmPix(exposure.psf, definition=definition), rel=1e-12)


def test_meanOverTheGrid():
    class Recorder:
        def __init__(self):
            self.asked = []

        def computeKernelImage(self, x, y):
            self.asked.append((x, y))
            return GaussianPsf(1.5 + 0.01 * (x - 50), 31).computeKernelImage(x, y)

    psf = Recorder()
    mean = evaluateMeanPsfFwhm(exposureWith(psf, (101, 101), xy0=(50, 20)), buffer=0.1, grid=3)
    # 10.1 px, a tenth of each side, are left out.
    xs, ys = np.unique(psf.asked, axis=0).T
    assert sorted(set(xs)) == pytest.approx([60.1, 100.0, 139.9])
    assert sorted(set(ys)) == pytest.approx([30.1, 70.0, 109.9])
    assert len(psf.asked) == 9
    assert mean == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.0), rel=1e-3)


def test_pointsWithoutAPsfAreLeftOut():
    exposure = exposureWith(varyingPsf(gap=True))
    with pytest.raises(ValueError, match=r"not known at \(149\.5, 99\.5\)"):
        getFwhmPix(exposure.psf, exposure.getBBox().centre)
    # The gap lies symmetric to the middle. Between nodes two Gaussians of widths 14 % apart are added, and the core of
    # the narrower one takes up to 0.5 % off the width.
    assert evaluateMeanPsfFwhm(exposure) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.0), rel=6e-3)
    assert exposureFwhmPix(exposure) == evaluateMeanPsfFwhm(exposure)


class NowherePsf:
    def computeKernelImage(self, x, y):
        raise RuntimeError("off the chip")


def test_psfDefinedNowhere(caplog):
    exposure = exposureWith(NowherePsf())
    with pytest.raises(ValueError, match=r"no width at any of 3x3 points of 300x200 pixels.*off the chip"):
        evaluateMeanPsfFwhm(exposure, grid=3)
    with pytest.raises(ValueError, match="the exposure has no PSF to measure"):
        evaluateMeanPsfFwhm(exposureWith(None))
    assert exposureFwhmPix(exposure) is None
    assert "The exposure's PSF cannot be used" in caplog.text

    class MistakenPsf:
        def computeKernelImage(self, x, y):
            return undefinedName  # noqa: F821 - a mistake in somebody's PSF must be seen

    with pytest.raises(NameError, match="undefinedName"):
        exposureFwhmPix(exposureWith(MistakenPsf()))


def test_originsOfTheWidths():
    exposures = {"template": exposureWith(GaussianPsf(1.5)), "science": exposureWith(NowherePsf())}
    fwhms = findFwhms(exposures, {"template": None, "science": None}, None, ())
    assert fwhms["template"] == (pytest.approx(SIGMA_TO_FWHM * widthOverPixels(1.5), rel=1e-3), "from its PSF")
    assert fwhms["science"] == (None, "")
    fwhms = findFwhms(exposures, {"template": 3.0, "science": 4.0}, None, ())
    assert fwhms == {"template": (3.0, "given"), "science": (4.0, "given")}
    with pytest.raises(ValueError, match="scienceFwhmPix is -1"):
        findFwhms(exposures, {"template": 3.0, "science": -1.0}, None, ())


# In the task


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)


@pytest.fixture(scope="module")
def config():
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=0, fitForBackground=True)
    return config


def matchWith(pair, config, templatePsf, sciencePsf):
    exposures = [
        Exposure(e.maskedImage, psf=psf) for e, psf in ((pair.template, templatePsf), (pair.science, sciencePsf))
    ]
    task = ImagePsfMatchTask(config=config, threads=1)
    return task, task.matchExposures(*exposures)


def test_taskFallsBackOnTheGrid(pair, config, caplog):
    """A PSF that is not defined at its average position is averaged over the field."""
    nodes = np.tile(GaussianPsf(1.65, 21).computeKernelImage(0, 0), (5, 5, 1, 1))
    nodes[2, 2] = np.nan
    gapped = GridPsf(nodes, np.linspace(0, 223, 5), np.linspace(0, 223, 5))
    with caplog.at_level("INFO", logger="psfmatch"):
        task, _ = matchWith(pair, config, GaussianPsf(1.15), gapped)
    assert task.metadata["scienceFwhmPix"] == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(1.65), rel=1e-3)
    assert "Taking the mean over a grid" in caplog.text


def test_taskFallsBackOnTheStars(pair, config, caplog):
    with caplog.at_level("INFO", logger="psfmatch"):
        task, _ = matchWith(pair, config, GaussianPsf(1.15), NowherePsf())
    assert task.metadata["scienceFwhmPix"] == pytest.approx(3.8, rel=0.15)
    assert "from its stars" in caplog.text
    assert "from its PSF" in caplog.text


def test_definitionOfTheTask(pair, config):
    """The definition is a field of the configuration, and decides on the basis."""
    config = type(config)(**dict(config.items()))
    elongated = ImagePsf(gaussian((41, 41), 3.0, 1.2))
    sigmas = {}
    for definition in FWHM_DEFINITIONS:
        config.fwhmDefinition = definition
        task, _ = matchWith(pair, config, GaussianPsf(1.0), elongated)
        expected = getFwhmPix(elongated, definition=definition)
        assert task.metadata["scienceFwhmPix"] == expected == task.getFwhmPix(elongated)
        sigmas[definition] = task.metadata["ALBasisSigGauss"]
    assert sigmas["traceRadius"][0] > 1.1 * sigmas["determinantRadius"][0]
    assert len({tuple(values) for values in sigmas.values()}) == 3


# Stars


def test_centreDoesNotDriftToABrighterNeighbour():
    image = np.zeros((60, 80), dtype=np.float32)
    for x, y, flux in ((30, 30, 1.0), (36, 30, 50.0)):
        image[y - 15 : y + 16, x - 15 : x + 16] += (flux * gaussian((31, 31), 2.0)).astype(np.float32)
    field = MaskedImage(image, variance=np.ones_like(image))
    faint, bright = measureWidths(field, (), [30.0, 36.0], [30.0, 30.0])
    # The faint star is a shoulder of the bright one, whose width is not its own.
    assert math.isnan(faint)
    assert bright == pytest.approx(SIGMA_TO_FWHM * 2.0, rel=0.02)
    # A position that is 2 px off is still the star's.
    assert measureWidths(field, (), 38.0, 30.0)[0] == pytest.approx(bright, rel=1e-3)
    assert math.isnan(measureWidths(field, (), 40.0, 30.0)[0])


def test_objectsDoNotDependOnTheirCompany():
    """Moments of many stamps are those of each alone, whatever converges when, and whatever fails."""
    rng = np.random.default_rng(3)
    stamps, x, y = [], rng.uniform(14.0, 16.0, 40), rng.uniform(14.0, 16.0, 40)
    for i in range(40):
        stamp = gaussian((31, 31), rng.uniform(1.0, 4.0), rng.uniform(1.0, 4.0), rng.uniform(0.0, math.pi))
        stamps.append({7: 0.0 * stamp, 8: -stamp, 9: np.nan * stamp}.get(i, stamp + rng.normal(0.0, 1e-3, stamp.shape)))
    together = adaptiveMomentsOfStamps(np.array(stamps), x, y, maxShift=3.0)
    alone = [
        adaptiveMoments(stamp, *place, maxShift=3.0)
        for stamp, place in zip(stamps, zip(x, y, strict=True), strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert np.isnan(together).all(axis=1).nonzero()[0].tolist() == [7, 8, 9]
    assert adaptiveMomentsOfStamps(np.zeros((0, 31, 31)), np.zeros(0), np.zeros(0)).shape == (0, 3)


def test_maxShift():
    image = gaussian((41, 41), 2.0)
    # The star stands at (20, 20).
    assert adaptiveMoments(image, 22.0, 20.0, maxShift=2.01) == pytest.approx((4.0, 4.0, 0.0), abs=1e-3)
    assert np.isnan(adaptiveMoments(image, 22.0, 20.0, maxShift=1.9)).all()
    assert adaptiveMoments(image, 22.0, 20.0) == pytest.approx((4.0, 4.0, 0.0), abs=1e-3)

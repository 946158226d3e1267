"""Detection at several widths: what is found of faint, sharp and broad stars, and where nothing changes."""

import numpy as np
import pytest
from faintFields import SKY, makeField

from psfmatch import Exposure, GaussianPsf, MaskedImage
from psfmatch.sources.smoothing import SIGMAS, faintSmoothing
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.testing import simulatePair


def sourcesOf(image, **options):
    return ImagePsfMatchTask(threads=1).selectSources(Exposure(image), **options)


def shareFound(sources, places, fwhm):
    distance = np.hypot(places[:, :1] - np.asarray(sources["x"]), places[:, 1:] - np.asarray(sources["y"]))
    near = max(2.0, 0.5 * fwhm)
    return (distance.min(axis=1) < near).mean(), int((distance.min(axis=0) >= near).sum())


@pytest.mark.parametrize("fwhm", [1.2, 2.0, 3.0, 6.0, 10.0, 15.0])
def test_faintStarsAreFound(fwhm):
    """Stars of S/N 6 to 9, of which a threshold of ten finds none. Those within a FWHM of another are one."""
    number = 40 if fwhm < 8 else 12
    _, science, places = makeField((fwhm, fwhm), (6.0, 9.0), number=number, seed=3)
    sources = sourcesOf(science)
    share, others = shareFound(sources, places, fwhm)
    assert share > 0.75
    assert others <= 3
    # The sigma of the stars, within one step of those that are tried.
    assert sources["smoothing"][0] == pytest.approx(np.hypot(fwhm / 2.3548, 0.29), rel=0.7)


def test_usualFieldsStayAsTheyAre():
    pair = simulatePair(seed=1, size=256)
    found, usual = (
        sourcesOf(pair.science.maskedImage, **options) for options in ({}, {"sigma": 3.0 / 2.3548200450309493})
    )
    assert found.colnames == usual.colnames
    assert all(np.array_equal(found[name], usual[name], equal_nan=True) for name in ("x", "y", "flux", "psfFlux"))


def test_broadBrightStarsAreNotTakenApart():
    _, science, places = makeField((14.0, 14.0), (200.0, 400.0), number=8, seed=1)
    sources = sourcesOf(science)
    share, others = shareFound(sources, places, 14.0)
    assert share > 0.85
    assert others == 0
    assert sources["smoothing"][0] == pytest.approx(14.0 / 2.3548, rel=0.15)


def test_hotPixelsAreNoStars():
    _, science, places = makeField((4.0, 4.0), (6.0, 9.0), seed=5)
    generator = np.random.default_rng(2)
    x, y = generator.integers(5, 315, (2, 60))
    science.image[y, x] += 150.0
    sources = sourcesOf(science)
    distance = np.hypot(x[:, None] - np.asarray(sources["x"]), y[:, None] - np.asarray(sources["y"]))
    # One or two lie on stars.
    assert (distance.min(axis=1) < 1.0).sum() <= 4
    assert shareFound(sources, places, 4.0)[0] > 0.6


@pytest.mark.parametrize("what", ["noise", "constant", "masked", "not finite"])
def test_nothingIsFoundInNothing(what):
    image = np.full((200, 220), SKY, dtype=np.float32)
    if what != "constant":
        image += np.random.default_rng(3).normal(0, 10, image.shape).astype(np.float32)
    if what == "not finite":
        image[...] = np.nan
    planes = MaskedImage(image, variance=np.full(image.shape, 100.0, np.float32))
    if what == "masked":
        np.asarray(planes.mask)[...] |= 1 << planes.mask.addPlane("NO_DATA")
    assert len(sourcesOf(planes)) <= 3


def test_knownWidthsAreKept():
    """A PSF, a sigma, or a threshold of the user's: nothing else is tried."""
    _, science, _ = makeField((8.0, 8.0), (6.0, 9.0), seed=4)
    known = Exposure(science, psf=GaussianPsf(1.3))
    assert "smoothing" not in ImagePsfMatchTask(threads=1).selectSources(known).colnames
    assert "smoothing" not in sourcesOf(science, sigma=1.3).colnames
    config = ImagePsfMatchTask.ConfigClass()
    config.selectDetection.thresholdValue = 12.0
    assert "smoothing" not in ImagePsfMatchTask(config=config, threads=1).selectSources(Exposure(science)).colnames


def test_thresholdOfOneFalseSource():
    thresholds = [faintSmoothing(sigma, 512**2).threshold for sigma in SIGMAS]
    assert thresholds == sorted(thresholds, reverse=True)
    assert 4.0 <= thresholds[-1] < thresholds[0] <= 5.0
    # N u exp(-u^2 / 2) / (2 sigma^2 (2 pi)^1.5) = 1 where no limit is met.
    middle = faintSmoothing(2.0, 512**2).threshold
    assert 512**2 / 8.0 / (2 * np.pi) ** 1.5 * middle * np.exp(-0.5 * middle**2) == pytest.approx(1.0, rel=0.02)

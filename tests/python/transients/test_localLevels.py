"""A source on a difference stands above its surroundings: broad patches of light are none, and hide none."""

import numpy as np
import pytest
from starFields import sampledPsf

from psfmatch import Exposure, GaussianPsf, MaskedImage, detectOnDifference
from psfmatch.images import weightImage
from psfmatch.kernels import PsfField
from psfmatch.transients import fitPointSources
from psfmatch.transients.localLevels import withLocalLevels

SIGMA = 1.5
PSF = sampledPsf(SIGMA)
ERROR = np.sqrt(4 * np.pi) * SIGMA  # of a flux, noise of 1 per pixel
MIDDLE = 100.0


def exposureOf(image, **planes):
    return Exposure(MaskedImage(image, variance=np.ones(image.shape), **planes), psf=GaussianPsf(SIGMA))


def noise(seed=4, side=200):
    return np.random.default_rng(seed).standard_normal((side, side))


def gaussian(x, y, sigma, side=200):
    """Return a Gaussian of height 1."""
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def star(x, y, ratio):
    """Return a point source of a signal-to-noise ratio."""
    return ratio * ERROR / (2 * np.pi * SIGMA**2) * gaussian(x, y, SIGMA)


def sourcesOn(image):
    return detectOnDifference(exposureOf(image), backgroundBin=0)


def fits(image, x, y):
    """Return sources fitted at pixels, before and after the level of their surroundings, and the levels."""
    maskedImage = exposureOf(image).maskedImage
    weight, field = weightImage(maskedImage), PsfField.of(PSF, maskedImage.getBBox())
    before = fitPointSources(maskedImage, weight, field, x, y)
    return before, *withLocalLevels(before, maskedImage, weight, field, x, y, 1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_patchIsNoSource(sign):
    image = noise() + sign * 1.2 * gaussian(MIDDLE, MIDDLE, 20.0)
    before, after, levels = fits(image, np.array([100]), np.array([100]))
    assert sign * before.flux[0] / before.fluxErr[0] > 5.0
    assert abs(after.flux[0] / after.fluxErr[0]) < 3.5
    assert sign * levels[0] == pytest.approx(1.2 * 0.79, abs=0.15)
    assert len(sourcesOn(image)) == 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("patch", [1.0, -0.6])
def test_sourceOnPatchIsFoundWithItsFlux(sign, patch):
    truth = sign * 12.0
    image = noise() + patch * gaussian(MIDDLE, MIDDLE, 25.0) + star(MIDDLE + 0.3, MIDDLE, truth)
    table = sourcesOn(image)
    assert len(table) == 1
    row = table[0]
    assert np.hypot(row["x"] - MIDDLE - 0.3, row["y"] - MIDDLE) < 0.5
    # The ring of 9 to 18 px has 0.86 of the patch's height.
    assert row["localLevel"] == pytest.approx(0.86 * patch, abs=0.12)
    assert abs(row["psfFlux"] - truth * ERROR) < 3 * row["psfFluxErr"]
    # The ring's own noise costs 2 %, that of the patch within it a little more.
    assert 1.0 < row["psfFluxErr"] / table.meta["NOISESCL"] / ERROR < 1.05
    assert row["significance"] == pytest.approx(row["psfFlux"] / row["psfFluxErr"], rel=0.03)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_areaIsThatAboveTheSurroundings(sign):
    image = sign * (noise(6) + star(MIDDLE, MIDDLE, 15.0))
    alone = sourcesOn(image)["area"][0]
    patched = sourcesOn(image + sign * 1.2 * gaussian(MIDDLE, MIDDLE, 25.0))
    # All of the patch that is beyond the threshold has a thousand pixels.
    assert patched["localLevel"][0] != 0.0
    assert patched["area"][0] == pytest.approx(alone, rel=0.25)


def test_cleanSkyStaysToTheBit():
    places = [(40, 50, 8.0), (150, 60, -7.0), (60, 150, 40.0), (140, 140, -300.0)]
    image = noise(9) + sum(star(*place) for place in places)
    x, y = (np.array([place[i] for place in places]) for i in (0, 1))
    before, after, levels = fits(image, x, y)
    assert not levels.any()
    for name in before.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_brightNeighbourIsNoLevel():
    x, y = np.array([100, 114]), np.array([100, 100])
    image = noise(3) + star(100, 100, 10.0) + star(114, 100, 2000.0)
    _, after, levels = fits(image, x, y)
    assert not levels.any()
    assert after.flux[0] / ERROR == pytest.approx(10.0, abs=3.0)


def test_inputsStayAndHolesAreLeftOut():
    image = (noise(5) + gaussian(MIDDLE, MIDDLE, 25.0) + star(MIDDLE, MIDDLE, 15.0)).astype(np.float32)
    whole = sourcesOn(image)
    image[112:118, 90:110] = np.nan
    image[80:86, 90:110] = np.inf
    kept = image.copy()
    table = sourcesOn(image)
    np.testing.assert_array_equal(image, kept)
    assert len(table) == 1
    assert table["localLevel"][0] == pytest.approx(whole["localLevel"][0], abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 40)])
def test_tinyImagesAreLeftAsTheyAre(shape):
    image = np.zeros(shape)
    image[shape[0] // 2, shape[1] // 2] = 100.0
    maskedImage = exposureOf(image).maskedImage
    weight, field = weightImage(maskedImage), PsfField.of(PSF, maskedImage.getBBox())
    x, y = np.array([shape[1] // 2]), np.array([shape[0] // 2])
    before = fitPointSources(maskedImage, weight, field, x, y)
    after, levels = withLocalLevels(before, maskedImage, weight, field, x, y, 1.0)
    assert np.array_equal(after.flux, before.flux, equal_nan=True)
    assert levels.tolist() == [0.0]


def test_noPeaks():
    before, after, levels = fits(noise(), *(np.zeros(0, dtype=np.int64),) * 2)
    assert after is before
    assert levels.size == 0


def test_threadsDoNotMatter():
    image = noise(6) + gaussian(MIDDLE, MIDDLE, 25.0) + star(MIDDLE, MIDDLE, 15.0)
    tables = [detectOnDifference(exposureOf(image), backgroundBin=0, threads=threads) for threads in (1, 2, 7)]
    assert len(tables[0]) == 1
    for table in tables[1:]:
        for name in ("x", "y", "psfFlux", "significance", "localLevel"):
            np.testing.assert_array_equal(table[name], tables[0][name])

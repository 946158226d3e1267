"""Shifts that a difference leaves at stars: recovered to their errors, over the field, with outliers and holes."""

import time

import numpy as np
import pytest
from astropy.table import Table
from starFields import drawStars

from psfmatch.images import MaskedImage
from psfmatch.registration import measureShiftField

SHAPE = (420, 400)
GRID = np.meshgrid(25.0 + 39.0 * np.arange(10), 25.0 + 41.0 * np.arange(10))
RNG = np.random.default_rng(9)
X, Y = (grid.ravel() + RNG.uniform(-0.5, 0.5, 100) for grid in GRID)
FLUX = 10.0 ** RNG.uniform(4.0, 5.0, 100)


def shifted(dx, dy, seed=1, fwhm=3.0, noise=1.0, scale=1.0):
    """Difference of stars moved by (dx, dy) and the same unmoved, and the latter; noise as of the science image."""
    matched = drawStars(X, Y, FLUX, SHAPE, fwhm).maskedImage
    moved = drawStars(X + dx, Y + dy, scale * FLUX, SHAPE, fwhm).maskedImage
    values = moved.image - matched.image
    values += (noise * np.random.default_rng(seed).normal(size=SHAPE) * np.sqrt(moved.variance)).astype(np.float32)
    return MaskedImage(values, variance=moved.variance.copy()), matched


STARS = Table({"x": X, "y": Y})


@pytest.mark.parametrize("fwhm", [2.5, 4.0])
def test_exactWithoutNoise(fwhm):
    field = measureShiftField(*shifted(0.02, -0.01, noise=0.0, fwhm=fwhm), STARS)
    # Narrow stars have light near the Nyquist frequency, whose derivative lacks 0.6 % at 2.5 px.
    np.testing.assert_allclose(field.mean, (0.02, -0.01), atol=2e-4)
    assert field.nUsed == 100


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.15, -0.1), (0.4, 0.3)])
def test_meanShift(shift):
    field = measureShiftField(*shifted(*shift), STARS)
    assert field.nUsed >= 99
    # Third order of the shift: s^3 / (6 sigma^2) = 0.0065 at 0.4 px.
    # Third order: (s / sigma)^2 / 4 if all pixels count alike, thrice that as the cores of bright stars count less.
    lacking = 0.75 * (shift[0] ** 2 + shift[1] ** 2) / 1.27**2
    for axis in (0, 1):
        assert abs(field.mean[axis] - shift[axis]) < 4.0 * field.meanErr[axis] + lacking * abs(shift[axis])
        assert field.meanErr[axis] < 1.5e-3
    assert max(field.excessRms) < 0.01


def test_errorsAreRight():
    pulls = []
    for seed in range(3):
        stars = measureShiftField(*shifted(0.0, 0.0, seed=seed), STARS).stars
        pulls += [stars["dx"] / stars["dxErr"], stars["dy"] / stars["dyErr"], stars["scale"] / stars["scaleErr"]]
    # 900 pulls: rms good to 2.4 %; all columns have one sigma.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.07)


def test_planeAndScatter():
    u, v = (X - 199.5) / 200.0, (Y - 209.5) / 210.0
    dx, dy = 0.05 + 0.1 * u - 0.02 * v, -0.03 * v
    field = measureShiftField(*shifted(dx, dy), STARS)
    errors = np.array(field.planeErr)
    np.testing.assert_array_less(np.abs(np.array(field.plane) - [[0.05, 0.1, -0.02], [0.0, 0.0, -0.03]]), 5.0 * errors)
    # The plane is what scatters about the mean: 0.1 times the 0.57 of a uniform u.
    assert field.excessRms[0] == pytest.approx(0.059, abs=0.01)
    assert max(field.planeExcessRms) < 0.01
    scatter = 0.05 * np.random.default_rng(2).normal(size=(2, 100))
    field = measureShiftField(*shifted(*scatter), STARS)
    # 100 stars tell a scatter to 7 %.
    np.testing.assert_allclose(field.excessRms, 0.05, rtol=0.25)
    np.testing.assert_allclose(field.meanErr, 0.005, rtol=0.3)


def test_fluxIsNoShift():
    field = measureShiftField(*shifted(0.0, 0.0, scale=1.05), STARS)
    assert np.abs(np.array(field.mean) / field.meanErr).max() < 4.0
    assert np.median(field.stars["scale"]) == pytest.approx(0.05, abs=0.005)


def test_matchedImageOfAnotherFluxScale():
    difference, matched = shifted(0.1, -0.05)
    expected = measureShiftField(difference, matched, STARS)
    brighter = MaskedImage(4.0 * matched.image)
    found = measureShiftField(difference, brighter, STARS, scale=0.25)
    for name in ("dx", "dy", "dxErr", "scale"):
        np.testing.assert_allclose(found.stars[name], expected.stars[name], rtol=1e-5, atol=1e-8)


def test_outliersAndHoles():
    difference, matched = shifted(0.1, 0.0)
    # A fifth of the stars has a transient near; others a bad pixel, or a NaN in the matched image.
    for x, y in zip(X[::5], Y[::5], strict=True):
        difference.image[int(y), int(x) + 2] += 3e4
    for x, y in zip(X[1::5], Y[1::5], strict=True):
        difference.image[int(y), int(x)] = 1e6
        difference.mask[int(y), int(x)] |= difference.mask.getPlaneBitMask("BAD")
    for x, y in zip(X[2::5], Y[2::5], strict=True):
        matched.image[int(y) + 4, int(x)] = np.nan
    field = measureShiftField(difference, matched, STARS)
    assert not field.stars["isUsed"][::5].any()
    assert field.stars["isUsed"][1::5].sum() >= 18
    assert field.mean[0] == pytest.approx(0.1, abs=4.0 * field.meanErr[0] + 3e-4)


def test_nothingToMeasure():
    difference, matched = shifted(0.0, 0.0)
    for stars in (STARS[:0], Table({"x": [-5.0, np.nan, 3.0], "y": [10.0, 10.0, 10.0]})):
        field = measureShiftField(difference, matched, stars)
        assert field.nUsed == 0
        assert field.plane is None
        assert field.toDict()["mean"] is None
    tiny = MaskedImage(np.zeros((1, 1), dtype=np.float32))
    assert measureShiftField(tiny, tiny, STARS).nUsed == 0
    # Places without a star have no shift: their gradient is noise-free nothing.
    blank = measureShiftField(difference, matched, Table({"x": [45.0], "y": [45.0]}))
    assert blank.nUsed == 0
    one = measureShiftField(difference, matched, STARS[:1])
    assert one.nUsed == 1
    assert np.isfinite(one.mean).all()
    assert one.plane is None


def test_callersSlips():
    difference, matched = shifted(0.0, 0.0)
    with pytest.raises(ValueError, match="has shape"):
        measureShiftField(difference, MaskedImage(np.zeros((3, 3), dtype=np.float32)), STARS)
    with pytest.raises(ValueError, match="radius is 0"):
        measureShiftField(difference, matched, STARS, radius=0)
    with pytest.raises(ValueError, match="scale is 0"):
        measureShiftField(difference, matched, STARS, scale=0.0)


def test_fiveHundredStarsTakeNoTime():
    many = Table({"x": np.tile(X, 5), "y": np.tile(Y, 5)})
    pair = shifted(0.0, 0.0)
    times = []
    for _ in range(3):
        start = time.process_time()
        measureShiftField(*pair, many)
        times.append(time.process_time() - start)
    # Measured: 0.05 s.
    assert min(times) < 0.3

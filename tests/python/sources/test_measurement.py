"""Fluxes, moments, sky positions and flags of sources."""

import functools
import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS

from psfmatch.config import SourceMeasurementConfig
from psfmatch.images import DoubleGaussianPsf, Exposure, GaussianPsf, MaskedImage
from psfmatch.sources.measurement import FLAG_PLANES, SourceMeasurementTask


@functools.cache
def makeTask(*planes):
    config = SourceMeasurementConfig()
    if planes:
        config.badMaskPlanes = list(planes)
    return SourceMeasurementTask(config=config)


def gaussian(shape, x, y, xx, yy, xy=0.0):
    """A Gaussian of given covariance and sum 1."""
    gridY, gridX = np.mgrid[: shape[0], : shape[1]]
    dx, dy, determinant = gridX - x, gridY - y, xx * yy - xy**2
    exponent = (yy * dx**2 - 2.0 * xy * dx * dy + xx * dy**2) / determinant
    return np.exp(-0.5 * exponent) / (2.0 * math.pi * math.sqrt(determinant))


def makeExposure(stars, shape=(80, 100), variance=4.0, psf=None, xy0=(0, 0), wcs=None):
    """Stars as (x, y, flux, ixx, iyy, ixy), array coordinates."""
    image = sum((flux * gaussian(shape, x, y, *moments) for x, y, flux, *moments in stars), np.zeros(shape))
    return Exposure(MaskedImage(image, variance=np.full(shape, variance), xy0=xy0), psf=psf, wcs=wcs)


def measure(exposure, positions, *planes):
    table = Table(rows=[tuple(map(float, p)) for p in positions], names=("x", "y"))
    return makeTask(*planes).run(table, exposure)


def test_roundStars():
    stars = [(30.3, 40.6, 1e4, 2.56, 2.56, 0.0), (70.9, 20.2, 500.0, 2.56, 2.56, 0.0)]
    measured = measure(makeExposure(stars, psf=GaussianPsf(1.6)), [star[:2] for star in stars])
    # Pixels sample the Gaussian; 3 sigma about it are taken.
    np.testing.assert_allclose(measured["psfFlux"], [1e4, 500.0], rtol=1e-5)
    np.testing.assert_allclose(measured["gaussianFlux"], [1e4, 500.0], rtol=2e-3)
    np.testing.assert_allclose(measured["ixx"], 2.56, rtol=3e-3)
    np.testing.assert_allclose(measured["iyy"], 2.56, rtol=3e-3)
    np.testing.assert_allclose(measured["ixy"], 0.0, atol=0.01)
    # sqrt(variance / sum P^2) with sum P^2 = 1 / (4 pi sigma^2).
    np.testing.assert_allclose(measured["psfFluxErr"], math.sqrt(4.0 * 4.0 * math.pi * 2.56), rtol=1e-3)


def test_momentsOfOtherShapes():
    # Wider than the PSF, tilted; a Gaussian of axes up to 2.2 px within 5 px.
    stars = [(30.3, 40.6, 1e4, 4.0, 2.5, 0.8), (70.9, 20.2, 500.0, 2.0, 3.5, -0.5)]
    measured = measure(makeExposure(stars, psf=GaussianPsf(1.6)), [star[:2] for star in stars])
    for row, star in zip(measured, stars, strict=True):
        assert (row["ixx"], row["iyy"], row["ixy"]) == pytest.approx(star[3:], rel=0.02, abs=0.01)
        assert row["gaussianFlux"] == pytest.approx(star[2], rel=0.01)


@pytest.mark.parametrize("bad", [(slice(35, 39), slice(40, 60)), (slice(38, 40), slice(48, 50))])
def test_badPixelsDoNotMoveMomentsAndGaussianFlux(bad):
    # Filled by the Gaussian that is sought, a Gaussian is matched as without them, up to what its wings lose.
    moments = (3.2, 2.8, 0.3)
    exposure = makeExposure([(50.0, 40.0, 1e4, *moments)], psf=GaussianPsf(1.6))
    (whole,) = measure(exposure, [(50.0, 40.0)])
    exposure.image[bad] = -1e5
    exposure.mask[bad] = exposure.mask.getPlaneBitMask("BAD")
    (row,) = measure(exposure, [(50.0, 40.0)])
    assert row["gaussianFlux"] == pytest.approx(whole["gaussianFlux"], rel=1e-3)
    assert [row[name] for name in ("ixx", "iyy", "ixy")] == pytest.approx(moments, rel=0.01, abs=0.01)
    assert row["gaussianFluxErr"] > whole["gaussianFluxErr"]


def test_fluxesByBruteForce():
    rng = np.random.default_rng(4)
    exposure = makeExposure([(50.2, 40.7, 3e3, 3.0, 3.0, 0.0)], psf=GaussianPsf(1.6))
    exposure.image[:] += rng.normal(0.0, 2.0, exposure.shape)
    exposure.maskedImage.variance[:] = rng.uniform(2.0, 6.0, exposure.shape)
    exposure.mask[39, 52] = exposure.mask.getPlaneBitMask("CR")
    (row,) = measure(exposure, [(50.3, 40.5)])
    profile = gaussian(exposure.shape, 50.3, 40.5, 2.56, 2.56)
    near = np.zeros(exposure.shape, dtype=bool)
    # The 11 x 11 pixels about pixel (50, 41), without the bad one.
    near[36:47, 45:56] = True
    near[39, 52] = False
    norm = (profile[near] ** 2).sum()
    assert row["psfFlux"] == pytest.approx((profile * exposure.image)[near].sum() / norm, rel=1e-6)
    expected = math.sqrt((profile**2 * exposure.variance)[near].sum()) / norm
    assert row["psfFluxErr"] == pytest.approx(expected, rel=1e-6)


def test_noiseOfFluxes():
    # 400 stars of S/N 30 in noise as the variance says: (measured - true) / error scatters by 1 +- 0.035.
    rng = np.random.default_rng(5)
    positions = [(20.0 + 25 * i + rng.random(), 20.0 + 25 * j + rng.random()) for i in range(20) for j in range(20)]
    flux = 30.0 * math.sqrt(16.0 * math.pi * 2.56)
    exposure = makeExposure([], shape=(520, 520), psf=GaussianPsf(1.6))
    for x, y in positions:
        px, py = int(x), int(y)
        exposure.image[py - 10 : py + 12, px - 10 : px + 12] += flux * gaussian(
            (22, 22), x - px + 10, y - py + 10, 2.56, 2.56
        )
    exposure.image[:] += rng.normal(0.0, 2.0, exposure.shape).astype(np.float32)
    measured = measure(exposure, positions)
    pulls = (measured["psfFlux"] - flux) / measured["psfFluxErr"]
    assert abs(np.mean(pulls)) < 0.2
    assert 0.85 < np.std(pulls) < 1.15
    # Second moments: relative error about sqrt(2) / (S/N) = 5 % and a little for the four parameters.
    assert np.median(measured["ixx"]) == pytest.approx(2.56, rel=0.03)


def test_psfModels():
    psf = DoubleGaussianPsf(1.5, 3.0, 0.1)
    exposure = makeExposure([], psf=psf)
    centred = psf.computeKernelImage(0, 0)
    half = centred.shape[0] // 2
    exposure.image[40 - half : 41 + half, 50 - half : 51 + half] = 1e4 * centred
    assert measure(exposure, [(50.0, 40.0)])["psfFlux"][0] == pytest.approx(1e4, rel=1e-5)
    # Between pixels the model is shifted; the star is exact. Lanczos 3 errs by 1e-3 at this width.
    y, x = np.mgrid[:80, :100]
    r2 = (x - 50.4) ** 2 + (y - 40.7) ** 2
    # Over a pixel each Gaussian is wider by 1/12 square pixel, and lower.
    core, wings = 1.5**2 + 1 / 12, 3.0**2 + 1 / 12
    star = 1.5**2 / core * np.exp(-0.5 * r2 / core) + 0.1 * 3.0**2 / wings * np.exp(-0.5 * r2 / wings)
    exposure.image[:] = 1e4 * star / star.sum()
    assert measure(exposure, [(50.4, 40.7)])["psfFlux"][0] == pytest.approx(1e4, rel=3e-3)


def test_varyingPsf():
    class Growing:
        def computeKernelImage(self, x, y):
            return GaussianPsf(1.3 + x / 500.0, 25).computeKernelImage(x, y)

    stars = [(x, 40.0, 1e4, s * s, s * s, 0.0) for x in (110.0, 290.0) for s in [1.3 + x / 500.0]]
    exposure = makeExposure(stars, shape=(80, 400), psf=Growing())
    # Evaluated at the middle of eighths of 50 px: sigma is off by 0.05 of 1.5 px at most, the flux by twice that.
    np.testing.assert_allclose(measure(exposure, [s[:2] for s in stars])["psfFlux"], 1e4, rtol=0.07)


def test_withoutAPsf():
    # A usual width of 3 px FWHM is assumed, and the flux of a wider star then is too low.
    (row,) = measure(makeExposure([(50.0, 40.0, 1e4, 4.0, 4.0, 0.0)]), [(50, 40)])
    assert 0.4e4 < row["psfFlux"] < 0.8e4


def makeWcs(ctype=("RA---TAN", "DEC--TAN"), crval=(215.0, 53.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = list(ctype), list(crval), [1050.0, 40.0]
    wcs.wcs.cdelt, wcs.wcs.cunit = [-5e-5, 5e-5], ["deg", "deg"]
    wcs.wcs.set()
    return wcs


def test_skyPositions():
    wcs = makeWcs()
    exposure = makeExposure([], xy0=(1000, 0), wcs=wcs)
    measured = measure(exposure, [(1049.0, 39.0), (1020.0, 70.0)])
    ra, dec = wcs.all_pix2world([1049.0, 1020.0], [39.0, 70.0], 0)
    np.testing.assert_array_equal(measured["ra"], ra)
    np.testing.assert_array_equal(measured["dec"], dec)
    # A galactic WCS gives right ascensions too.
    galactic = makeExposure([], xy0=(1000, 0), wcs=makeWcs(("GLON-TAN", "GLAT-TAN"), (100.0, 60.0)))
    (row,) = measure(galactic, [(1049.0, 39.0)])
    there = SkyCoord(100.0, 60.0, unit="deg", frame="galactic").icrs
    assert (row["ra"], row["dec"]) == pytest.approx((there.ra.deg, there.dec.deg), abs=1e-9)
    assert np.isnan(measure(makeExposure([]), [(5.0, 5.0)])["ra"]).all()


def test_units():
    measured = measure(makeExposure([]), [(5.0, 5.0)])
    assert {name: measured[name].unit for name in ("ra", "dec", "ixx", "iyy", "ixy", "psfFlux")} == {
        "ra": units.deg,
        "dec": units.deg,
        "ixx": units.pix**2,
        "iyy": units.pix**2,
        "ixy": units.pix**2,
        "psfFlux": None,
    }


@pytest.mark.parametrize(("flag", "plane"), FLAG_PLANES.items())
def test_pixelFlags(flag, plane):
    # sigma 1.27 px: flags within 3 px, and within one of the centre.
    for distance, near, central in ((4, False, False), (3, True, False), (2, True, False), (1, True, True)):
        exposure = makeExposure([])
        exposure.mask[40, 50 + distance] = exposure.mask.getPlaneBitMask(plane)
        (row,) = measure(exposure, [(50.2, 39.8)])
        flags = {name for name in row.colnames if name.startswith("flag") and row[name]}
        assert flags == ({f"flag{flag}"} if near else set()) | ({f"flag{flag}Centre"} if central else set())


def test_planesOfBadPixels():
    exposure = makeExposure([(50.0, 40.0, 1e4, 1.6, 1.6, 0.0)])
    exposure.image[40, 50] = 6e4
    exposure.mask[40, 50] = exposure.mask.getPlaneBitMask("SAT")
    (row,) = measure(exposure, [(50, 40)])
    assert row["badCentre"]
    (other,) = measure(exposure, [(50, 40)], "CR", "BAD")
    assert not other["badCentre"]
    assert other["psfFlux"] > 2.0 * row["psfFlux"]


def test_whatCannotBeMeasured():
    exposure = makeExposure([(50.0, 40.0, 1e4, 2.0, 2.0, 0.0)])
    exposure.image[:, 70:] = np.nan
    exposure.image[60:, :60] = -5.0
    exposure.maskedImage.variance[:20] = np.nan
    # In NaN; in a hole below the sky; in pixels without a variance; outside; nowhere.
    measured = measure(exposure, [(85, 40), (30, 70), (30, 10), (-300, 40), (math.nan, 5.0), (5.0, math.inf), (50, 40)])
    assert np.isnan(measured["ixx"]).tolist() == [True] * 6 + [False]
    assert np.isnan(measured["psfFlux"]).tolist() == [True, False, True, True, True, True, False]
    assert np.isfinite(measured["psfFlux"][6])


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (5, 5)])
def test_tinyImages(shape):
    measured = measure(makeExposure([], shape=shape, psf=GaussianPsf(3.0)), [(0.0, 0.0)])
    assert len(measured) == 1
    assert measure(makeExposure([], shape=shape), [(0.0, 0.0)])[:0].colnames == measured.colnames


def test_inputsStay():
    exposure = makeExposure([(50.0, 40.0, 1e4, 2.0, 2.0, 0.0)])
    exposure.image[3, 3] = np.nan
    before = exposure.copy()
    table = Table({"x": [50.0], "y": [40.0]})
    makeTask().run(table, exposure)
    assert table.colnames == ["x", "y"]
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(np.asarray(getattr(exposure, plane)), np.asarray(getattr(before, plane)))


def test_sourcesDoNotDependOnEachOther():
    rng = np.random.default_rng(1)
    exposure = makeExposure([(50.0, 40.0, 1e4, 2.0, 2.0, 0.0)])
    positions = rng.uniform(0.0, 80.0, (1500, 2))
    many = measure(exposure, positions)
    for i in (0, 1023, 1024, 1499):
        (alone,) = measure(exposure, positions[i : i + 1])
        assert alone["psfFlux"] == many["psfFlux"][i]
        np.testing.assert_array_equal(alone["ixx"], many["ixx"][i])

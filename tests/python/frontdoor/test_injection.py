"""Injected sources: what is added is exact, and the report of an efficiency run counts right."""

import numpy as np
import pytest
from starFields import sampledPsf

from psfmatch import (
    Exposure,
    InputImagesError,
    MaskedImage,
    injectSources,
    measureEfficiency,
)
from psfmatch.config.task import Struct
from psfmatch.difference.subtraction import subtractMatchedTemplate
from psfmatch.kernels import Polynomial2D

SIGMA = 1.7
PSF = sampledPsf(SIGMA, 41)


def blank(size=300, seed=0, level=50.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(level, 2.0, (size, size))
    return Exposure(MaskedImage(image, variance=np.full(image.shape, 4.0), xy0=(10, -20)), psf=PSF)


def plainDifference(template, science, threads=None):
    """Subtract pixel by pixel: the PSFs are equal."""
    pixels = subtractMatchedTemplate(science.maskedImage, template.maskedImage, Polynomial2D([0.0]), threads)
    return Struct(difference=Exposure(pixels), convolved="template")


def test_lightIsWhereItShouldBe():
    before = blank()
    after = injectSources(before, PSF, [100.3, 10.0], [57.8, -20.0], [1000.0, -400.0])
    light = after.image.astype(float) - before.image
    # Gaussians of unit sum, the second one cut at the corner to a little more than a quarter.
    y, x = np.mgrid[:300, :300]
    expected = sum(
        f / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * ((x + 10 - a) ** 2 + (y - 20 - b) ** 2) / SIGMA**2)
        for a, b, f in ((100.3, 57.8, 1000.0), (10.0, -20.0, -400.0))
    )
    # float32 of 50 counts: 4e-6 each; what the square of the PSF cuts off: below 1e-5 of its sum.
    np.testing.assert_allclose(light, expected, atol=2e-3)
    assert light[:50].sum() == pytest.approx(-400 * 0.25 * (1 + 1 / np.sqrt(2 * np.pi) / SIGMA * 0.5 * 2) ** 2, rel=0.1)
    np.testing.assert_array_equal(after.variance, before.variance)
    isMarked = np.asarray(after.mask) & after.mask.getPlaneBitMask("INJECTED") != 0
    assert isMarked[78, 90]
    assert not isMarked[150, 200]
    assert "INJECTED" not in before.mask.planes


def test_photonNoise():
    before = Exposure(MaskedImage(np.zeros((64, 64)), variance=np.ones((64, 64))))
    runs = [
        injectSources(before, PSF, [32.0], [32.0], [1e5], gain=2.0, seed=seed).image[28:37, 28:37] for seed in range(40)
    ]
    clean = injectSources(before, PSF, [32.0], [32.0], [1e5]).image[28:37, 28:37]
    noisy = injectSources(before, PSF, [32.0], [32.0], [1e5], gain=2.0)
    np.testing.assert_allclose(noisy.variance[28:37, 28:37], 1 + clean / 2, rtol=1e-5)
    # 81 pixels in 40 draws: the mean square pull is known to sqrt(2 / 3240) = 2.5 %.
    assert np.mean((np.array(runs) - clean) ** 2 / (clean / 2)) == pytest.approx(1.0, abs=0.1)
    again = injectSources(before, PSF, [32.0], [32.0], [1e5], gain=2.0)
    np.testing.assert_array_equal(again.image, noisy.image)


@pytest.fixture(scope="module")
def efficiency():
    return measureEfficiency(
        blank(500, 1), blank(500, 2), n=60, seed=3, subtraction=plainDifference, signalToNoise=(2.5, 4.0, 7.0, 30.0)
    )


def test_efficiencyReport(efficiency):
    sources, bins = efficiency.sources, efficiency.bins
    assert bins["n"].sum() <= len(sources) == 60
    low, _, high = bins
    # A source of S/N 3 passes 5 sigma by a chance of 2 %, one of 7 and more nearly always.
    assert low["completeness"] < 0.3
    assert high["completeness"] > 0.9
    assert high["fluxRatio"] == pytest.approx(1.0, abs=4 * high["fluxRatioErr"])
    assert high["fluxRatioErr"] == pytest.approx(
        np.sum(np.asarray(sources["signalToNoise"])[sources["signalToNoise"] > 7] ** 2) ** -0.5, rel=1e-3
    )
    pull = (sources["measuredFlux"] - sources["flux"]) / sources["measuredFluxErr"]
    assert np.std(pull) == pytest.approx(1.0, abs=0.3)
    detected = sources[sources["isDetected"]]
    assert np.isfinite(detected["detectedFlux"]).all()
    assert np.isnan(sources["detectedFlux"][~sources["isDetected"]]).all()
    # Places keep apart.
    x, y = np.asarray(sources["x"]), np.asarray(sources["y"])
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    assert distance[~np.eye(60, dtype=bool)].min() > 4 * SIGMA


def test_efficiencyIsReproducible(efficiency):
    again = measureEfficiency(
        blank(500, 1), blank(500, 2), n=60, seed=3, subtraction=plainDifference, signalToNoise=(2.5, 4.0, 7.0, 30.0),
        threads=2,
    )  # fmt: skip
    for name in efficiency.sources.colnames:
        np.testing.assert_array_equal(again.sources[name], efficiency.sources[name])


def test_fadingSources():
    found = measureEfficiency(blank(300, 1), blank(300, 2), n=10, fluxes=[-400.0], subtraction=plainDifference, psf=PSF)
    assert np.all(found.sources["isDetected"])
    assert np.all(found.sources["signalToNoise"] < -10)
    assert np.all(found.sources["detectedFlux"] < -200)


def test_slips():
    image = blank(64)
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\) and \(1,\)"):
        injectSources(image, PSF, [1.0, 2.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="must be finite"):
        injectSources(image, PSF, [1.0], [np.nan], [1.0])
    with pytest.raises(ValueError, match="gain is 0"):
        injectSources(image, PSF, [1.0], [1.0], [1.0], gain=0.0)
    with pytest.raises(ValueError, match="at least two positive edges"):
        measureEfficiency(image, image, signalToNoise=(5.0,))
    with pytest.raises(ValueError, match="n is 0"):
        measureEfficiency(image, image, n=0)
    image.mask[:] |= image.mask.getPlaneBitMask("BAD")
    with pytest.raises(InputImagesError, match="is empty and free of defects"):
        measureEfficiency(image, image)

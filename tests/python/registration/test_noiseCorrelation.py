"""Noise that a template's pixels share after it was resampled to smaller ones, and what the fit makes of it."""

import numpy as np
import pytest

from psfmatch import subtract
from psfmatch.config import usualOptions
from psfmatch.difference import warperOf
from psfmatch.images import Box, MaskedImage
from psfmatch.registration import resampledCorrelation
from psfmatch.testing import makeTanWcs, renderStars


def affine(scale, angle=0.0, start=(20.3, 21.8)):
    c, s = scale * np.cos(angle), scale * np.sin(angle)

    def transform(x, y):
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        return start[0] + c * x - s * y, start[1] + s * x + c * y

    return transform


@pytest.mark.parametrize(("scale", "angle"), [(0.5, 0.0), (2 / 3, 0.0), (0.4, 0.0), (0.61, 0.3)])
def test_againstNoise(scale, angle):
    warper, box = warperOf(usualOptions().kernel), Box(0, 0, 400, 400)
    start = (20.3 + 400 * scale * np.sin(angle), 21.8)
    found = resampledCorrelation(affine(scale, angle, start), box, warper)
    lag = found.shape[0] // 2
    assert found[lag, lag] == 1.0
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)
    noise = np.random.default_rng(1).standard_normal((480, 480)).astype(np.float32)
    image = warper.warpMaskedImage(
        MaskedImage(noise, None, np.ones_like(noise)), affine(scale, angle, start), box
    ).image[20:-20, 20:-20]
    assert np.isfinite(image).all()
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 1), (3, 0)):
        products = image[dy:, dx:] * image[: image.shape[0] - dy, : image.shape[1] - dx]
        # Of some 20000 independent pixels.
        assert found[lag + dy, lag + dx] == pytest.approx(products.mean() / np.square(image).mean(), abs=0.035)


def test_white():
    warper, box = warperOf(usualOptions().kernel), Box(0, 0, 100, 100)
    for scale in (0.9, 1.0, 2.0):
        assert resampledCorrelation(affine(scale), box, warper) is None
    nowhere = resampledCorrelation(lambda x, y: (np.full(5, np.nan), np.full(5, np.nan)), box, warper)
    assert nowhere is None


def coarsePair(seed, noise, seeing=(0.9, 1.1), size=400, nStars=300):
    """Return a template of 0.4 and a science image of 0.2 arcsec per pixel."""
    generator = np.random.default_rng(seed)
    wcs = makeTanWcs(0.2, crpix=(size / 2, size / 2))
    coarse = makeTanWcs(0.4, crpix=(size / 4 + 20.3, size / 4 + 19.8))
    x, y = generator.uniform(-20, size + 20, (2, nStars))
    flux = 300.0 * (1 - generator.random(nStars) * (1 - (1e5 / 300.0) ** -0.5)) ** -2
    ra, dec = wcs.all_pix2world(x, y, 0)
    science = renderStars(wcs, Box(0, 0, size, size), ra, dec, flux, seeing[1] / 0.2, noise[1], generator)
    side = size // 2 + 40
    template = renderStars(coarse, Box(0, 0, side, side), ra, dec, flux, seeing[0] / 0.4, noise[0], generator)
    return template, science


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_coarserTemplate(seed):
    # With its noise taken for white "the kernel takes 0.576 off a chi-square of 0.67" from the second.
    template, science = coarsePair(seed, (300.0, 20.0))
    result = subtract(template, science, threads=1)
    assert result.steps == ()
    assert result.convolved == "template"
    assert result.kernel.kernelSum(*science.getBBox().centre) == pytest.approx(1.0, abs=0.05)
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.08)
    assert result.grade in "ABC"

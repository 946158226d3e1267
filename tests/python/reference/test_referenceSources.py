"""Sentences of the reference page on sources, scores and injection that no other test holds."""

import math

import numpy as np
import pytest

from psfmatch import Box, Exposure, GaussianPsf, MaskedImage, detectOnDifference, injectSources, measureEfficiency
from psfmatch.config.task import Struct
from psfmatch.difference import correctionKernel
from psfmatch.difference.subtraction import subtractMatchedTemplate
from psfmatch.kernels import Polynomial2D, PsfField
from psfmatch.transients.dipoles import DipoleImage, fitDipole

SIDE = 240
SIGMA = 1.7


class WideningPsf:
    """A Gaussian of sigma 1.4 px at the left and 2.6 px at the right."""

    def sigmaAt(self, x):
        return 1.4 + 1.2 * x / SIDE

    def computeKernelImage(self, x, y):
        return GaussianPsf(self.sigmaAt(x), 33).computeKernelImage(0, 0)


def starImage(x, y, flux, sigma):
    """A Gaussian, integrated over the pixels."""
    borders = np.arange(SIDE + 1) - 0.5
    along = (np.diff([0.5 * math.erf((b - c) / (math.sqrt(2) * sigma)) for b in borders]) for c in (y, x))
    return flux * np.outer(*along)


def field(*stars, seed=3, variance=1.0, scale=1.0):
    image = np.random.default_rng(seed).normal(0.0, 1.0, (SIDE, SIDE)) + sum(starImage(*star) for star in stars)
    return MaskedImage(scale * image, variance=np.full((SIDE, SIDE), scale**2 * variance))


def test_filterFollowsThePsf():
    """Stars of another width on either side of the field have the flux of their own PSF."""
    psf = WideningPsf()
    stars = [(x, y, 900.0, psf.sigmaAt(x)) for x in (30.0, 210.0) for y in (60.0, 180.0)]
    sources = detectOnDifference(Exposure(field(*stars)), psf)
    assert len(sources) == 4
    for row in sources:
        sigma = psf.sigmaAt(round(float(row["x"]) / 30) * 30.0)
        # Noise through a Gaussian: sqrt(4 pi) sigma; the field is evaluated in cells, within which it varies.
        assert row["psfFluxErr"] == pytest.approx(np.sqrt(4 * np.pi) * sigma, rel=0.1)
        assert row["psfFlux"] == pytest.approx(900.0, abs=4 * row["psfFluxErr"])


def test_scatterOfTheSkyScalesErrors():
    """A variance plane four times too small: significances are halved, errors doubled."""
    stars = [(60.0, 60.0, 900.0, SIGMA), (150.0, 170.0, -900.0, SIGMA)]
    right, small = (detectOnDifference(field(*stars, variance=v), GaussianPsf(SIGMA)) for v in (1.0, 0.25))
    assert len(right) == len(small) == 2
    assert small.meta["NOISESCL"] == pytest.approx(2.0 * right.meta["NOISEMES"], rel=0.02)
    for name in ("significance", "psfFluxErr", "xErr"):
        # Where the noise is as told it is not scaled: NOISEMES is known to some percent.
        np.testing.assert_allclose(small[name], right[name], rtol=0.08)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_unitOfADipoleDoesNotMatter(scale):
    """The reference asks for more than one count."""
    lobes = [(121.5, 120.0, 3e3, SIGMA)], [(119.5, 120.0, 3e3, SIGMA)]
    positive, negative = (field(*star, seed=seed, scale=scale) for seed, star in enumerate(lobes))
    difference = MaskedImage(positive.image - negative.image, variance=2 * positive.variance)
    psf = PsfField(GaussianPsf(SIGMA), Box(0, 0, SIDE, SIDE))
    images = [DipoleImage.of(image, psf) for image in (difference, positive, negative)]
    dipole = fitDipole(*images, ((123.0, 120.0), (118.0, 120.0)))
    assert dipole.isDipole
    assert dipole.fluxPositive == pytest.approx(3e3 * scale, rel=0.03)


def transferOf(image, size=128):
    padded = np.zeros((size, size))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.fft.fft2(np.roll(padded, [-(side // 2) for side in image.shape], (0, 1))).real


def test_scoreIsThatOfThePreconvolution():
    """Frequency by frequency: decorrelated, then filtered with its PSF, or filtered first (DMTN-179)."""

    def gaussian(sigma, flux=1.0):
        offset = np.arange(41) - 20
        image = np.exp(-0.5 * (offset[:, np.newaxis] ** 2 + offset**2) / sigma**2)
        return flux * image / image.sum()

    kernel, psf = gaussian(1.2, 0.8), gaussian(1.5)
    whitening = transferOf(correctionKernel(kernel, 1.0, 2.0))
    # Difference and its PSF are whitened both: the square; before it, S P - T (K P) with the correction for K P.
    both = gaussian(np.hypot(1.2, 1.5), 0.8)
    first = transferOf(correctionKernel(both, 1.0, 2.0, psf))
    power = transferOf(psf)
    known = power > 1e-3
    assert known.mean() > 0.1
    # The stamps of either correction end.
    np.testing.assert_allclose((whitening**2)[known], first[known], atol=5e-3 * first.max())


def test_injectionByTheLocalPsfOnce():
    psf = WideningPsf()
    blank = Exposure(field(), psf=psf)
    light = injectSources(blank, psf, [30.0, 210.0], [120.0, 120.0], [1e4, 1e4]).image - blank.image
    for x in (30, 210):
        part = light[104:137, x - 16 : x + 17].astype(float)
        offset = np.arange(33) - 16
        # Of 33 pixels of a Gaussian of 2.6 px nothing is cut; float32 of a few counts. A pixel adds its own 1/12.
        assert (part * offset**2).sum() / part.sum() == pytest.approx(psf.sigmaAt(x) ** 2 + 1 / 12, rel=0.02)
    calls = []

    def subtraction(template, science, threads=None):
        calls.append(science)
        pixels = subtractMatchedTemplate(science.maskedImage, template.maskedImage, Polynomial2D([0.0]), threads)
        return Struct(difference=Exposure(pixels), convolved="template")

    found = measureEfficiency(Exposure(field(seed=5)), blank, n=12, fluxes=[2000.0], subtraction=subtraction)
    assert len(calls) == 1
    assert len(found.sources) == 12
    assert {"low", "completeness", "fluxRatio"} <= set(found.bins.colnames)

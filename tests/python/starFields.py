"""Fields of Gaussian stars whose places are known, for tests of positions."""

import math

import numpy as np

from psfmatch.images import Exposure, ImagePsf, MaskedImage

SKY = 100.0
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def sampledPsf(sigma, size=None):
    """PSF of stars that are drawn as Gaussians at the centres of pixels; `GaussianPsf` is integrated over them."""
    size = 2 * math.ceil(5.0 * sigma) + 1 if size is None else size
    profile = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return ImagePsf(np.outer(profile, profile))


def widthOverPixels(sigma):
    """Width of a Gaussian that is integrated over pixels, whose own variance is 1/12."""
    return math.sqrt(sigma**2 + 1.0 / 12.0)


def drawStars(x, y, flux, shape=(256, 256), fwhm=3.0, rng=None, xy0=(0, 0)):
    """Exposure without WCS of stars at array positions on a sky of 100 counts; noise of a gain of 1 with an rng."""
    sigma = fwhm / SIGMA_TO_FWHM
    columns, rows = np.arange(shape[1]), np.arange(shape[0])
    # Stars are sums of products of profiles along x and along y.
    alongX = np.exp(-0.5 * ((columns - np.reshape(x, (-1, 1))) / sigma) ** 2)
    alongY = np.exp(-0.5 * ((rows - np.reshape(y, (-1, 1))) / sigma) ** 2)
    amplitude = np.reshape(flux, (-1, 1)) / (2.0 * math.pi * sigma**2)
    image = SKY + (alongY * amplitude).T @ alongX
    variance = image.copy()
    if rng is not None:
        image = image + rng.normal(size=shape) * np.sqrt(variance)
    return Exposure(MaskedImage(image.astype(np.float32), variance=variance.astype(np.float32), xy0=xy0))


def drawPair(
    seed, n=60, shape=(384, 384), shift=(0.0, 0.0), linear=None, strangers=0, fwhm=(2.6, 3.8), ratio=1.0, margin=40
):
    """Template, science image, and the (2, 3) matrix about the centre that takes places in this to those in that.

    `n` stars are common, besides those beyond the borders; `strangers` more in each image are its own.
    """
    rng = np.random.default_rng(seed)
    linear = np.eye(2) if linear is None else np.asarray(linear)
    height, width = shape

    def places(k, border):
        fluxes = 3e3 * 100.0 ** rng.uniform(size=k)
        return rng.uniform(-border, [width + border, height + border], (k, 2)), fluxes

    (science, fluxes), own, other = places(n, margin), places(strangers, 0), places(strangers, 0)
    centre = 0.5 * (width - 1), 0.5 * (height - 1)
    template = (science - centre) @ linear.T + shift + centre
    images = [
        drawStars(*np.vstack([xy, extra[0]]).T, np.concatenate([f, extra[1]]), shape, width, rng)
        for xy, f, extra, width in (
            (template, ratio * fluxes, own, fwhm[0]),
            (science, fluxes, other, fwhm[1]),
        )
    ]
    return *images, np.column_stack([linear, shift])

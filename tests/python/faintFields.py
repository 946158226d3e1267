"""Fields of faint, sharp or broad stars for the tests: Gaussians integrated over pixels, on a flat sky."""

import math

import numpy as np

from psfmatch import MaskedImage

NOISE, SKY = 10.0, 300.0


def addStar(image, x, y, flux, fwhm):
    sigma = fwhm / 2.3548
    reach = math.ceil(5.0 * sigma) + 1

    def share(centre, size):
        first, last = max(0, round(centre) - reach), min(size, round(centre) + reach + 1)
        edges = (np.arange(first, last + 1) - 0.5 - centre) / (sigma * math.sqrt(2.0))
        return slice(first, last), 0.5 * np.diff([math.erf(edge) for edge in edges])

    (rows, up), (columns, across) = share(y, image.shape[0]), share(x, image.shape[1])
    image[rows, columns] += flux * np.outer(up, across)


def makeField(fwhms, snr, *, number=40, size=320, seed=0, shift=(0.0, 0.0), ratio=1.25, noise=(NOISE, NOISE)):
    """Return template and science image, and the stars' places (n, 2) in the latter; S/N is that in the latter."""
    generator = np.random.default_rng(seed)
    places = generator.uniform(12, size - 12, (number, 2))
    images = np.full((2, size, size), SKY)
    sigma2 = (fwhms[1] / 2.3548) ** 2 + 1 / 12
    fluxes = generator.uniform(*snr, number) * noise[1] * math.sqrt(4 * math.pi * sigma2)
    for (x, y), flux in zip(places.tolist(), fluxes.tolist(), strict=True):
        addStar(images[0], x + shift[0], y + shift[1], flux / ratio, fwhms[0])
        addStar(images[1], x, y, flux, fwhms[1])
    planes = []
    for image, sigma in zip(images, noise, strict=True):
        noisy = image + generator.normal(0.0, sigma, image.shape)
        planes.append(MaskedImage(noisy.astype(np.float32), variance=np.full(image.shape, sigma**2, np.float32)))
    return (*planes, places)

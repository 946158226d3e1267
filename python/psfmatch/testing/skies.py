"""Stars on the sky as a camera with any pixel grid sees them: for pairs whose grids differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from psfmatch.images import SIGMA_TO_FWHM, Box, Exposure, GaussianPsf, MaskedImage

__all__ = ["makeTanWcs", "renderStars"]


def makeTanWcs(
    pixelScale: float, angle: float = 0.0, crpix: tuple[float, float] = (0.0, 0.0), distortion: str = ""
) -> WCS:
    """Make the WCS of a tangential projection at RA 215, Dec 53 degrees.

    Parameters
    ----------
    pixelScale
        Arcseconds per pixel.
    angle
        Radians from north to the y axis.
    crpix
        Pixel (x, y), from 0, at the tangential point.
    distortion
        "", "SIP" or "TPV": terms of second and third order of some 1e-5 of the distance at 200 px.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [215.0, 53.0]
    wcs.wcs.crpix = [crpix[0] + 1.0, crpix[1] + 1.0]
    c, s = math.cos(angle), math.sin(angle)
    wcs.wcs.cd = pixelScale / 3600.0 * np.array([[-c, s], [s, c]])
    if distortion == "SIP":
        from astropy.wcs import Sip

        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[2, 0], a[1, 1], a[0, 3] = 2e-6, -1e-6, 1e-9
        b[0, 2], b[1, 1], b[2, 1] = -1e-6, 2e-6, 1e-9
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    elif distortion == "TPV":
        wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
        wcs.wcs.set_pv([(i, j, v) for i in (1, 2) for j, v in ((0, 0.0), (1, 1.0), (4, 5e-3), (6, -3e-3), (7, 0.1))])
    elif distortion:
        raise ValueError(f"distortion {distortion!r} is unknown; choose '', 'SIP' or 'TPV'")
    wcs.wcs.set()
    return wcs


def renderStars(
    wcs: WCS,
    box: Box,
    ra: ArrayLike,
    dec: ArrayLike,
    flux: ArrayLike,
    fwhmPix: float,
    noise: float = 0.0,
    generator: np.random.Generator | None = None,
    **properties: Any,
) -> Exposure:
    """Render round Gaussian stars, sampled at pixel centres, with white noise.

    Parameters
    ----------
    wcs, box
        The grid; parent coordinates.
    ra, dec
        Degrees.
    flux
        Counts of each star.
    fwhmPix
        Pixels of this grid.
    noise
        Standard deviation of a pixel; its square, or 1 without noise, is the variance plane.
    generator
        Needed with noise.
    **properties
        ``photoCalib``, ``filter``, ``metadata`` of the exposure.
    """
    sigma = fwhmPix / SIGMA_TO_FWHM
    x, y = wcs.all_world2pix(np.asarray(ra), np.asarray(dec), 0)
    image: NDArray[np.float64] = np.zeros(box.shape)
    reach = math.ceil(8.0 * sigma)
    for starX, starY, counts in zip(x - box.x0, y - box.y0, np.broadcast_to(flux, x.shape), strict=True):
        column, row = math.floor(starX + 0.5), math.floor(starY + 0.5)
        xs = np.arange(max(0, column - reach), min(box.width, column + reach + 1))
        ys = np.arange(max(0, row - reach), min(box.height, row + reach + 1))
        if xs.size and ys.size:
            profileX, profileY = (np.exp(-0.5 * ((p - q) / sigma) ** 2) for p, q in ((xs, starX), (ys, starY)))
            norm = counts / (2.0 * math.pi * sigma**2)
            image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += norm * profileY[:, np.newaxis] * profileX
    if noise > 0.0:
        if generator is None:
            raise ValueError("noise needs a generator")
        image += generator.normal(0.0, noise, image.shape)
    variance = np.full(box.shape, noise**2 if noise > 0.0 else 1.0)
    pixels = MaskedImage(image, variance=variance, xy0=(box.x0, box.y0))
    # Pixels make such samples of a Gaussian that is narrower by their own variance.
    return Exposure(pixels, wcs, GaussianPsf(math.sqrt(sigma**2 - 1.0 / 12.0)), **properties)

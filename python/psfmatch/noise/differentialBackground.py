"""The differential background once more, from blank sky all over the image.

Regions around stars cover a tenth of a sparse field, and say little of the sky in its corners; faint transients among
their pixels, too faint to be rejected, lift it. What is left of blank sky when the kernel is known tells the background
many times better.
"""

from __future__ import annotations

import logging

import numpy as np

from psfmatch import _core
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import SpatialFunction2D, makeSpatialFunction
from psfmatch.noise.blankSky import SOURCE_PLANES, BlankSky

__all__ = ["MAX_SKY_PIXELS", "refineBackground"]

log = logging.getLogger("psfmatch.differentialBackground")

MAX_SKY_PIXELS = 400_000
"""Pixels that are looked at, spread evenly: the mean of so many is known to 0.0016 of a pixel's noise."""
MIN_CELL_PIXELS = 100
"""Blank pixels without which a cell of 32 x 32 tells nothing."""
CELLS_PER_TERM = 3


def refineBackground(
    science: MaskedImage, matched: MaskedImage, background: SpatialFunction2D, threads: int = 1
) -> tuple[SpatialFunction2D, BlankSky]:
    """Return the background, a polynomial of the same order, that blank sky shows, and that blank sky.

    Parameters
    ----------
    science, matched
        The image that is not convolved, and the convolved one; their difference is formed only where it is looked at.
    background
        As it was fitted with the kernel. It is returned where there is too little blank sky.
    threads
        Number of threads; the result does not depend on it.
    """
    bits = [image.mask.getPlaneBitMask(SOURCE_PLANES, ignoreMissing=True) for image in (science, matched)]
    sky = _core.findBlankSkyOfDifference(
        *(science.image, science.variance, np.asarray(science.mask), bits[0]),
        *(matched.image, matched.variance, np.asarray(matched.mask), bits[1]),
        maxPixels=MAX_SKY_PIXELS,
        nThreads=threads,
    )
    x, y, means, errors = sky.cellMeans(MIN_CELL_PIXELS)
    terms = background.coreFunction.evaluate(x + science.xy0[0], y + science.xy0[1])
    if means.size < CELLS_PER_TERM * terms.shape[1]:
        log.debug("Only %d cells of blank sky: the background stays as it was fitted with the kernel", means.size)
        return background, sky
    parameters, covariance = _core.leastSquares(terms, means, errors)
    change = np.abs(parameters - background.scaledParameters).max()
    log.debug("Blank sky of %d cells changes the background's parameters by %.3g at most", means.size, change)
    known = None if background.covariance is None else covariance
    return makeSpatialFunction(background.model, parameters, background.frame, known), sky

"""The differential background once more, from blank sky all over the image.

Regions around stars cover a tenth of a sparse field, and say little of the sky in its corners; faint transients among
their pixels, too faint to be rejected, lift it. What is left of blank sky when the kernel is known tells the background
many times better.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.kernels import SpatialFunction2D, makeSpatialFunction
from psfmatch.noise.blankSky import BlankSky, findBlankSky

__all__ = ["MAX_SKY_PIXELS", "refineBackground"]

FloatArray = npt.NDArray[np.float64]
log = logging.getLogger("psfmatch.differentialBackground")

MAX_SKY_PIXELS = 400_000
"""Pixels that are looked at, spread evenly: the mean of so many is known to 0.0016 of a pixel's noise."""
CELL = 32
"""Side (pixels) of the cells whose mean is taken."""
MIN_CELL_PIXELS = 100
"""Blank pixels without which a cell tells nothing."""
CELLS_PER_TERM = 3


def refineBackground(difference: MaskedImage, background: SpatialFunction2D) -> SpatialFunction2D:
    """Return the background with what blank sky has left of it added, a polynomial of the same order.

    Parameters
    ----------
    difference
        Science - matched - `background`.
    background
        As it was fitted with the kernel. It is returned where there is too little blank sky.
    """
    sky = findBlankSky(difference, maxPixels=MAX_SKY_PIXELS)
    x, y, means, errors = _cellMeans(difference, sky)
    terms = background.coreFunction.evaluate(x, y)
    if means.size < CELLS_PER_TERM * terms.shape[1]:
        log.debug("Only %d cells of blank sky: the background stays as it was fitted with the kernel", means.size)
        return background
    scaled = terms / errors[:, np.newaxis]
    change, *_ = np.linalg.lstsq(scaled, means / errors, rcond=None)
    covariance = np.linalg.pinv(scaled.T @ scaled)
    log.debug("Blank sky of %d cells changes the background by %.3g at most", means.size, np.abs(terms @ change).max())
    return makeSpatialFunction(
        background.model,
        background.scaledParameters + change,
        background.frame,
        None if background.covariance is None else covariance,
    )


def _cellMeans(image: MaskedImage, sky: BlankSky) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return x, y (parent pixels), mean and its error of the blank pixels of each cell."""
    nRows, nColumns = len(sky.rows), len(sky.columns)
    pick = sky.rows[:, np.newaxis, :, np.newaxis], sky.columns[np.newaxis, :, np.newaxis, :]
    shape = (nRows, nColumns, sky.rows.shape[1], sky.columns.shape[1])
    blank = sky.isBlank.reshape(shape)
    values = np.where(blank, image.image[pick].reshape(shape), np.float32(0)).astype(np.float64)
    variances = np.where(blank, sky.variances.reshape(shape), np.float32(0)).astype(np.float64)
    found = []
    for top in range(0, shape[2], CELL):
        for left in range(0, shape[3], CELL):
            cell = np.s_[:, :, top : top + CELL, left : left + CELL]
            count = np.count_nonzero(blank[cell], axis=(2, 3))
            divisor = np.maximum(count, 1)
            rows, columns = sky.rows[:, top : top + CELL].mean(axis=1), sky.columns[:, left : left + CELL].mean(axis=1)
            part = np.stack(
                [
                    np.broadcast_to(columns[np.newaxis] + image.xy0[0], count.shape),
                    np.broadcast_to(rows[:, np.newaxis] + image.xy0[1], count.shape),
                    values[cell].sum(axis=(2, 3)) / divisor,
                    np.sqrt(variances[cell].sum(axis=(2, 3))) / divisor,
                ]
            ).reshape(4, -1)
            found.append(part[:, (count >= MIN_CELL_PIXELS).reshape(-1)])
    x, y, means, errors = np.concatenate(found, axis=1)
    return x, y, means, errors

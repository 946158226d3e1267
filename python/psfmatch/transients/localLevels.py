"""What stands above its surroundings: point sources without the level of the ring about them.

A patch of light many times as broad as the PSF, such as what is left of a large galaxy's halo, is no point source,
though a matched filter adds it up to many standard deviations. The level of the ring of `pointSources.skyLevels`,
which holds 26 times the area of a Gaussian PSF's noise and costs 2 % of the signal-to-noise, tells it from one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from psfmatch.images import MaskedImage
from psfmatch.kernels import PsfField
from psfmatch.kernels.psfField import shiftedImages
from psfmatch.transients.pointSources import PointSources, cutStamps, fitPointSources, skyLevels
from psfmatch.transients.significance import Peaks

__all__ = ["LEVEL_ERRORS", "levelSignificance", "withLocalLevels"]

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

LEVEL_ERRORS = 3.0
"""A level of fewer of its errors is noise, and stays."""
LEAST_SNR = 5.0
"""Sources of less, above their surroundings, may be noise of a patch: without them its level would come out low."""
CHUNK = 512
"""Sources that are looked at a time."""


def withLocalLevels(
    sources: PointSources,
    maskedImage: MaskedImage,
    weight: FloatImage,
    psf: PsfField,
    x: IntArray,
    y: IntArray,
    errorScale: float,
) -> tuple[PointSources, FloatArray]:
    """Return sources fitted again above the level of their surroundings, where there is one.

    Parameters
    ----------
    sources
        Fitted at the pixels x, y without a level.
    maskedImage, weight, psf
        Of `psfmatch.transients.fitPointSources`; not changed.
    x, y : (n,)
        Pixels at which the fits begin, array coordinates.
    errorScale
        Factor on the level's error: `NoiseScale.applied`.

    Returns
    -------
    sources : PointSources
        Those with an insignificant level, or too few pixels about them to tell, as they came.
    levels : (n,)
        What was taken off, image units per pixel; 0 for those.
    """
    if not x.size:
        return sources, np.zeros(0)
    # On a patch all peaks hold its light, which must stay in the rings; so they are first fitted above all there is.
    levels = _levels(maskedImage, weight, psf, x, y, errorScale)
    above = _fitted(sources, maskedImage, weight, psf, x, y, *levels)
    isSource = np.abs(above.flux) >= LEAST_SNR * errorScale * above.fluxErr
    alone = _withoutSources(maskedImage, replace(above, flux=np.where(isSource, above.flux, 0.0)), psf, x, y)
    levels = _levels(alone, weight, psf, x, y, errorScale)
    return _fitted(sources, maskedImage, weight, psf, x, y, *levels), levels[0]


def levelSignificance(
    levels: FloatArray,
    errors: FloatArray,
    sources: PointSources,
    maskedImage: MaskedImage,
    weight: FloatImage,
    psf: PsfField,
    peaks: Peaks,
) -> FloatArray:
    """Return what the levels (n,) of sources' surroundings add to the significance there.

    Parameters
    ----------
    levels : (n,)
        Image units per pixel; 0 where there is none.
    errors : (n,)
        Of the fluxes, as the significance has them.
    sources, maskedImage, weight, psf
        Of `withLocalLevels`.
    peaks
        Where the sources' fits began.
    """
    added = np.zeros(levels.size)
    rows = np.flatnonzero(levels)
    if rows.size:
        parts = PointSources(*(getattr(sources, name)[rows] for name in PointSources.__dataclass_fields__))
        leverage = _leverages(parts, maskedImage, weight, psf, peaks.x[rows], peaks.y[rows])
        added[rows] = levels[rows] * leverage / errors[rows]
    return added


def _levels(
    maskedImage: MaskedImage, weight: FloatImage, psf: PsfField, x: IntArray, y: IntArray, errorScale: float
) -> tuple[FloatArray, FloatArray]:
    """Return the levels about pixels and their errors, (n,); 0 for levels that are not significant."""
    levels, errors = skyLevels(maskedImage, weight, psf.fwhm, x, y)
    levels[~(np.abs(levels) > LEVEL_ERRORS * errorScale * errors)] = 0.0
    return levels, errors


def _fitted(
    sources: PointSources,
    maskedImage: MaskedImage,
    weight: FloatImage,
    psf: PsfField,
    x: IntArray,
    y: IntArray,
    levels: FloatArray,
    errors: FloatArray,
) -> PointSources:
    """Return sources fitted again where there is a level, with what its error adds to theirs."""
    rows = np.flatnonzero(levels)
    if not rows.size:
        return sources
    again = fitPointSources(maskedImage, weight, psf, x[rows], y[rows], levels[rows])
    leverage = _leverages(again, maskedImage, weight, psf, x[rows], y[rows])
    again = replace(again, fluxErr=np.hypot(again.fluxErr, errors[rows] * leverage))
    fields = {name: getattr(sources, name).copy() for name in PointSources.__dataclass_fields__}
    for name, values in fields.items():
        values[rows] = getattr(again, name)
    return PointSources(**fields)


def _withoutSources(
    maskedImage: MaskedImage, sources: PointSources, psf: PsfField, x: IntArray, y: IntArray
) -> MaskedImage:
    """Return an image without the light of its sources, which must not count as a level of their neighbours."""
    image = np.array(maskedImage.image)
    height, width = image.shape
    offset = np.arange(-psf.half, psf.half + 1)
    for start in range(0, x.size, CHUNK):
        part = slice(start, start + CHUNK)
        light = _shapes(sources, maskedImage, psf, x, y, part)
        light *= sources.flux[part][:, np.newaxis, np.newaxis]
        for column, row, stamp in zip(x[part].tolist(), y[part].tolist(), light, strict=True):
            isRow = (row + offset >= 0) & (row + offset < height)
            isColumn = (column + offset >= 0) & (column + offset < width)
            image[np.ix_((row + offset)[isRow], (column + offset)[isColumn])] -= stamp[np.ix_(isRow, isColumn)]
    return MaskedImage(image, maskedImage.mask, maskedImage.variance, maskedImage.xy0)


def _leverages(
    sources: PointSources, maskedImage: MaskedImage, weight: FloatImage, psf: PsfField, x: IntArray, y: IntArray
) -> FloatArray:
    """Return how much flux a level of 1 is to each source, px: sum P w / sum P^2 w; 0 without a usable pixel."""
    leverage = np.zeros(x.size)
    for start in range(0, x.size, CHUNK):
        part = slice(start, start + CHUNK)
        shape = _shapes(sources, maskedImage, psf, x, y, part)
        weighted = shape * cutStamps(maskedImage, weight, x[part], y[part], psf.half).weights
        norm = (weighted * shape).sum(axis=(1, 2))
        np.divide(weighted.sum(axis=(1, 2)), norm, out=leverage[part], where=norm > 0.0)
    return leverage


def _shapes(
    sources: PointSources, maskedImage: MaskedImage, psf: PsfField, x: IntArray, y: IntArray, part: slice
) -> FloatArray:
    """Return the PSF images (n, k, k) of some of the sources, at their places."""
    drawn = psf.images(x[part] + maskedImage.xy0[0], y[part] + maskedImage.xy0[1])
    return shiftedImages(drawn, sources.x[part] - x[part], sources.y[part] - y[part])[0]

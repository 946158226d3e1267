"""Fluxes of point sources: a PSF of known shape fitted at given places, or at places that are fitted too.

F = sum P w d / sum P^2 w, its variance sum P^2 w^2 v / (sum P^2 w)^2, with the weights w of
`psfmatch.images.weightImage` and the variance plane v; the PSF is shifted to the source, so a position between
pixels costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import Exposure, MaskedImage
from psfmatch.images.weightImage import UNUSABLE_PLANES, weightImage
from psfmatch.kernels.psfField import PsfField, shiftedImages

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["PointSources", "Stamps", "cutStamps", "fitPointSources", "forcedPhotometry", "measureFluxes", "skyLevels"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

CHUNK = 512
"""Sources that are measured at a time; more would only take memory."""
ITERATIONS = 6
MAX_STEP_PIX = 0.5
MAX_MOVE_PIX = 1.5
"""A peak that wants to go farther from its pixel has no position of its own."""
SKY_INNER_FWHM, SKY_OUTER_FWHM = 2.5, 5.0
"""Radii of the ring in which the local sky is measured."""
MIN_SKY_PIXELS = 20


@dataclass(frozen=True)
class Stamps:
    """Pixels about n sources: values d, variances v, weights w (n, k, k), 0 where unusable; x, y (n,) middle pixel."""

    values: FloatArray
    variances: FloatArray
    weights: FloatArray
    x: IntArray
    y: IntArray


@dataclass(frozen=True)
class PointSources:
    """Sources fitted with their positions: x, y (array coordinates), errors and flux, each (n,).

    xErr, yErr : pixels, NaN without a fit; flux, fluxErr : image units, NaN where nothing can be used;
    coverage : share of sum P^2 on usable pixels; chi2 : per degree of freedom; isFitted : the position converged.
    """

    x: FloatArray
    y: FloatArray
    xErr: FloatArray
    yErr: FloatArray
    flux: FloatArray
    fluxErr: FloatArray
    coverage: FloatArray
    chi2: FloatArray
    isFitted: BoolArray


def cutStamps(maskedImage: MaskedImage, weight: npt.NDArray[np.float32], x: IntArray, y: IntArray, half: int) -> Stamps:
    """Cut squares of half side `half` about pixels x, y (array coordinates); pixels off the image have no weight."""
    height, width = weight.shape
    offset = np.arange(-half, half + 1)
    rows, columns = y[:, np.newaxis] + offset, x[:, np.newaxis] + offset
    isRow, isColumn = np.asarray((rows >= 0) & (rows < height)), np.asarray((columns >= 0) & (columns < width))
    isInside = isRow[:, :, np.newaxis] & isColumn[:, np.newaxis, :]
    pick = np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis, :]
    weights = np.where(isInside, weight[pick], 0.0).astype(np.float64)
    isGood = weights > 0.0
    values, variances = (
        np.where(isGood, plane[pick], 0.0).astype(np.float64) for plane in (maskedImage.image, maskedImage.variance)
    )
    return Stamps(values, variances, weights, x, y)


def fitPointSources(
    maskedImage: MaskedImage,
    weight: npt.NDArray[np.float32],
    psf: PsfField,
    x: IntArray,
    y: IntArray,
    levels: FloatArray | None = None,
) -> PointSources:
    """Fit flux and position of point sources of either sign, by Gauss and Newton, each on its own.

    Parameters
    ----------
    maskedImage
        Image without background; not changed.
    weight : (h, w)
        Of `psfmatch.images.weightImage`.
    psf
        Of the image.
    x, y : (n,)
        Pixels at which to begin, array coordinates.
    levels : (n,), optional
        Of the surroundings of each, image units per pixel, above which it is fitted; by default 0.
    """
    levels = np.zeros(x.size) if levels is None else levels
    parts = [_fitChunk(maskedImage, weight, psf, x[part], y[part], levels[part]) for part in _chunks(x.size)]
    return PointSources(*(np.concatenate([part[i] for part in parts]) for i in range(9)))


def _fitChunk(
    maskedImage: MaskedImage,
    weight: npt.NDArray[np.float32],
    psf: PsfField,
    x: IntArray,
    y: IntArray,
    levels: FloatArray,
) -> tuple[FloatArray, ...]:
    stamps = cutStamps(maskedImage, weight, x, y, psf.half)
    stamps.values[...] -= np.where(stamps.weights > 0.0, levels[:, None, None], 0.0)
    images = psf.images(x + maskedImage.xy0[0], y + maskedImage.xy0[1])
    shift = np.zeros((2, x.size))
    isFitted = np.ones(x.size, dtype=bool)
    covariance = np.full((x.size, 2), np.nan)
    with np.errstate(all="ignore"):
        for _ in range(ITERATIONS):
            shape, alongX, alongY = shiftedImages(images, *shift)
            flux, *_ = measureFluxes(stamps, shape)
            slopes = np.stack([shape, flux[:, None, None] * alongX, flux[:, None, None] * alongY])
            residual = stamps.values - flux[:, None, None] * shape
            normal = np.einsum("anij,nij,bnij->nab", slopes, stamps.weights, slopes, optimize=True)
            right = np.einsum("anij,nij,nij->na", slopes, stamps.weights, residual, optimize=True)
            inverse = _inverse(normal)
            step = np.einsum("nab,nb->an", inverse, right)[1:]
            isSound = np.isfinite(step).all(axis=0)
            isFitted &= isSound
            shift += np.where(isSound, np.clip(step, -MAX_STEP_PIX, MAX_STEP_PIX), 0.0)
            covariance = inverse[:, (1, 2), (1, 2)]
    isNear: BoolArray = np.abs(shift).max(axis=0) <= MAX_MOVE_PIX
    isFitted &= isNear
    shift[:, ~isFitted] = 0.0
    shape = shiftedImages(images, *shift)[0]
    flux, error, coverage = measureFluxes(stamps, shape)
    residual = stamps.values - np.nan_to_num(flux)[:, None, None] * shape
    nPixels = np.count_nonzero(stamps.weights, axis=(1, 2))
    with np.errstate(all="ignore"):
        chi2 = np.where(nPixels > 3, (residual**2 * stamps.weights).sum(axis=(1, 2)) / (nPixels - 3), np.nan)
        xErr, yErr = np.where(isFitted, np.sqrt(covariance).T, np.nan)
    return x + shift[0], y + shift[1], xErr, yErr, flux, error, coverage, chi2, isFitted


def _inverse(matrices: FloatArray) -> FloatArray:
    """Return the inverses of (n, 3, 3); NaN for those that have none."""
    diagonal = np.einsum("naa->na", matrices)
    isSound: BoolArray = np.isfinite(matrices).all(axis=(1, 2)) & (diagonal > 0.0).all(axis=1)
    # Flux and position have different units, and the flux any size.
    scale = np.sqrt(np.where(isSound[:, None], diagonal, 1.0))
    both = scale[:, :, None] * scale[:, None, :]
    scaled = np.where(isSound[:, None, None], matrices / both, np.eye(matrices.shape[1]))
    isSound &= np.asarray(np.linalg.cond(scaled) < 1e12)
    inverse = np.full_like(matrices, np.nan)
    inverse[isSound] = np.linalg.inv(scaled[isSound]) / both[isSound]
    return inverse


def measureFluxes(stamps: Stamps, images: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return flux, error and coverage (n,) of PSF images (n, k, k) at their places; NaN, and 0, without a pixel."""
    weighted = images * stamps.weights
    squares = images**2
    with np.errstate(all="ignore"):
        norm = (weighted * images).sum(axis=(1, 2))
        flux = (weighted * stamps.values).sum(axis=(1, 2)) / norm
        error = np.sqrt((weighted**2 * stamps.variances).sum(axis=(1, 2))) / norm
        coverage = (squares * (stamps.weights > 0.0)).sum(axis=(1, 2)) / squares.sum(axis=(1, 2))
    isMeasured = norm > 0.0
    return np.where(isMeasured, flux, np.nan), np.where(isMeasured, error, np.nan), coverage


def forcedPhotometry(
    image: Exposure | MaskedImage,
    psf: Any,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    localSky: bool = True,
    badPlanes: Iterable[str] = UNUSABLE_PLANES,
    weight: npt.NDArray[np.float32] | None = None,
) -> Table:
    """Measure point sources at given places.

    Parameters
    ----------
    image
        Any image on whose pixels the positions are meant; not changed.
    psf
        Of the image: whatever `psfmatch.images.asPsf` takes, such as `psfFromStars` returns; None for the exposure's
        own.
    x, y : (n,)
        Parent pixels.
    localSky
        Take off the sky of a ring about each source, and add its error.
    badPlanes
        Mask planes whose pixels count as not measured.
    weight : (h, w)
        Weights that are known already, of `psfmatch.images.weightImage`; `badPlanes` does not count then.

    Returns
    -------
    table : Table
        flux, fluxErr, sky (image units) and coverage, one row per position; NaN where nothing can be measured.

    Raises
    ------
    TypeError
        If `psf` does not say how it looks.
    ValueError
        If there is none, or it is defined nowhere on the image.
    """
    from astropy.table import Table

    maskedImage = image.maskedImage if isinstance(image, Exposure) else image
    given = image.psf if psf is None and isinstance(image, Exposure) else psf
    if given is None:
        raise ValueError("the image has no PSF; give psf=, for example psfFromStars(exposure)")
    field = given if isinstance(given, PsfField) else PsfField(given, maskedImage.getBBox())
    weight = weightImage(maskedImage, badPlanes) if weight is None else weight
    xs, ys = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y))
    rows: dict[str, list[FloatArray]] = {name: [] for name in ("flux", "fluxErr", "sky", "coverage")}
    for part in _chunks(xs.size):
        measured = _forcedChunk(maskedImage, weight, field, xs[part], ys[part], localSky)
        for name, values in zip(rows, measured, strict=True):
            rows[name].append(values)
    return Table({name: np.concatenate(values) for name, values in rows.items()})


def _forcedChunk(
    maskedImage: MaskedImage,
    weight: npt.NDArray[np.float32],
    psf: PsfField,
    x: FloatArray,
    y: FloatArray,
    localSky: bool,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    u, v = x - maskedImage.xy0[0], y - maskedImage.xy0[1]
    isPlace = np.isfinite(u) & np.isfinite(v) & (np.abs(u) < 1e9) & (np.abs(v) < 1e9)
    u, v = np.where(isPlace, u, -1e6), np.where(isPlace, v, -1e6)
    column, row = np.floor(u + 0.5).astype(np.int64), np.floor(v + 0.5).astype(np.int64)
    stamps = cutStamps(maskedImage, weight, column, row, psf.half)
    images = shiftedImages(psf.images(np.where(isPlace, x, 0.0), np.where(isPlace, y, 0.0)), u - column, v - row)[0]
    sky, skyErr = np.zeros(x.size), np.zeros(x.size)
    if localSky:
        sky, skyErr = skyLevels(maskedImage, weight, psf.fwhm, column, row)
        stamps.values[...] -= np.where(stamps.weights > 0.0, np.nan_to_num(sky)[:, None, None], 0.0)
    flux, error, coverage = measureFluxes(stamps, images)
    if localSky:
        weighted = images * stamps.weights
        with np.errstate(all="ignore"):
            leverage = weighted.sum(axis=(1, 2)) / (weighted * images).sum(axis=(1, 2))
        error = np.hypot(error, np.nan_to_num(skyErr) * leverage)
    return flux, error, sky, coverage


def skyLevels(
    maskedImage: MaskedImage, weight: npt.NDArray[np.float32], fwhm: float, x: IntArray, y: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return the level and its error of the sky in rings about pixels x, y (n,); NaN with too few usable pixels.

    The mean of the pixels within three robust standard deviations of the median, twice over.
    """
    level, error = _core.ringLevels(
        maskedImage.image, weight, x, y,
        inner=SKY_INNER_FWHM * fwhm, outer=math.ceil(SKY_OUTER_FWHM * fwhm), minPixels=MIN_SKY_PIXELS,
    )  # fmt: skip
    return level, error


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, max(n, 1), CHUNK):
        yield slice(start, start + CHUNK)

"""Measurements on detected sources that the choice of kernel stars needs, for all sources at once.

Fluxes are those of a known profile fitted by its amplitude alone, all pixels alike: F = sum(P D) / sum(P^2), with the
PSF for P or the Gaussian of the source's own second moments. Moments are taken under the Gaussian that matches the
source itself (Bernstein & Jarvis 2002, AJ 123, 583): a source of covariance C seen through a weight W shows M, with
1 / M = 1 / C + 1 / W, which is solved for C.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch.astrometry import hasUsableWcs, pixelsToSky
from psfmatch.config import SourceMeasurementConfig
from psfmatch.exposure import Exposure
from psfmatch.psf import DEFAULT_FWHM_PIX, NOT_THERE, SIGMA_TO_FWHM, GaussianPsf, asPsf, exposureFwhmPix
from psfmatch.sourceTable import SourceTable
from psfmatch.task import Task

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FLAG_PLANES", "SourceMeasurementTask"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FLAG_PLANES = {
    "Bad": "BAD",
    "CosmicRay": "CR",
    "Edge": "EDGE",
    "Interpolated": "INTRP",
    "NoData": "NO_DATA",
    "Saturated": "SAT",
    "Suspect": "SUSPECT",
}
CHUNK = 1024
"""Sources that are measured at a time; more would only take memory."""
REACH_SIGMA = 3.0
"""Half width of the pixels about a source, in units of the PSF's sigma."""
MAX_RADIUS_PIX = 20
MOMENT_PASSES = 3
"""Weights follow the source; a Gaussian is matched by the second of them."""
MAX_LOST_WEIGHT = 0.3
"""Share of a profile's sum of squares that bad pixels may take before its flux is NaN."""
PSF_CELLS = 8
"""Places along each axis at which a PSF model is evaluated; sources take the nearest and shift it."""


@dataclass(frozen=True)
class _Stamps:
    """Pixels about n sources: values, variances, isGood (n, k, k); dx, dy (n, k) distances from the centroids."""

    values: FloatArray
    variances: FloatArray
    isGood: BoolArray
    dx: FloatArray
    dy: FloatArray


class SourceMeasurementTask(Task):
    """Adds fluxes, second moments, sky positions and flags to a catalogue.

    Any task whose `run` takes these arguments, by name, and returns the Table with columns added can stand in for
    this one (``config.selectMeasurement.retarget``). `psfmatch.subtract` also needs badCentre.
    """

    ConfigClass = SourceMeasurementConfig
    _DefaultName = "sourceMeasurement"

    def run(self, sources: Table, exposure: Exposure) -> Table:
        """Measure sources.

        Parameters
        ----------
        sources
            Table with x and y in parent pixels.
        exposure
            The image they were found on, without its background, and its PSF; not changed. Pixels of the
            ``badMaskPlanes`` take no part.

        Returns
        -------
        measured : Table
            A copy with these columns added. ra, dec (degrees): NaN without a WCS. psfFlux, psfFluxErr, gaussianFlux,
            gaussianFluxErr (image units); ixx, iyy, ixy (square pixels): NaN where bad pixels or a lack of
            signal forbid. badCentre: the central pixel is bad. flagBad, flagCosmicRay, flagEdge, flagInterpolated,
            flagNoData, flagSaturated, flagSuspect: a pixel within two sigma of the PSF has the plane; the same
            with ``Centre``: one of the central 3x3.
        """
        measured = sources.copy()
        with self.timer("run"):
            for name, values in self._columns(sources["x"], sources["y"], exposure).items():
                measured[name] = values
                if name in UNITS:
                    measured[name].unit = UNITS[name]
        return measured

    def measure(self, sources: SourceTable, exposure: Exposure) -> SourceTable:
        """Measure sources as `run` does, timed under its name."""
        with self.timer("run"):
            return sources.with_(self._columns(sources["x"], sources["y"], exposure), UNITS)

    def _columns(self, xSources: Any, ySources: Any, exposure: Exposure) -> dict[str, npt.NDArray[Any]]:
        """Return the columns that `run` adds."""
        x, y = (np.asarray(values, dtype=np.float64) for values in (xSources, ySources))
        measured: dict[str, npt.NDArray[Any]] = {}
        measured["ra"], measured["dec"] = _skyOf(exposure, x, y)
        x, y = x - exposure.xy0[0], y - exposure.xy0[1]
        sigma = _sigmaOf(exposure)
        mask = np.asarray(exposure.mask)
        bits = np.int32(exposure.mask.getPlaneBitMask(self.config.badMaskPlanes, ignoreMissing=True))
        inside = np.isfinite(x) & np.isfinite(y)
        column = np.clip(np.floor(np.where(inside, x, 0.0) + 0.5).astype(int), 0, exposure.width - 1)
        row = np.clip(np.floor(np.where(inside, y, 0.0) + 0.5).astype(int), 0, exposure.height - 1)
        measured["badCentre"] = (mask[row, column] & bits) != 0

        numbers = {name: np.full(x.size, np.nan) for name in NUMBERS}
        radius = min(MAX_RADIUS_PIX, math.ceil(REACH_SIGMA * sigma))
        for part in _chunks(np.flatnonzero(inside)):
            stamps = _stampsOf(exposure, bits, x[part], y[part], row[part], column[part], radius)
            profile = _psfProfiles(exposure, stamps, x[part], y[part], sigma)
            moments = _moments(stamps, sigma)
            found = (*moments, *_fluxes(stamps, profile), *_fluxes(stamps, _gaussians(stamps, *moments)))
            for name, values in zip(NUMBERS, found, strict=True):
                numbers[name][part] = values
        measured |= numbers
        for suffix, reach in (("", min(MAX_RADIUS_PIX, math.ceil(2.0 * sigma))), ("Centre", 1)):
            near = _bitsNear(mask, row, column, reach)
            for name, plane in FLAG_PLANES.items():
                bit = np.int32(exposure.mask.getPlaneBitMask((plane,), ignoreMissing=True))
                measured[f"flag{name}{suffix}"] = (near & bit) != 0
        return measured


NUMBERS = ("ixx", "iyy", "ixy", "psfFlux", "psfFluxErr", "gaussianFlux", "gaussianFluxErr")
UNITS = {"ra": "deg", "dec": "deg", "ixx": "pix2", "iyy": "pix2", "ixy": "pix2"}


def _skyOf(exposure: Exposure, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    if not x.size or not hasUsableWcs(exposure) or exposure.coordinates is None:
        return np.full(x.size, np.nan), np.full(x.size, np.nan)
    return pixelsToSky(exposure.coordinates, x, y)


def _sigmaOf(exposure: Exposure) -> float:
    """Return the width (pixels) of the exposure's PSF; a usual one without it."""
    if exposure.psf is None:
        return DEFAULT_FWHM_PIX / SIGMA_TO_FWHM
    if isinstance(exposure.psf, GaussianPsf):
        return exposure.psf.sigma
    return (exposureFwhmPix(exposure) or DEFAULT_FWHM_PIX) / SIGMA_TO_FWHM


def _chunks(indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, indices.size, CHUNK):
        yield indices[start : start + CHUNK]


def _stampsOf(
    exposure: Exposure,
    bits: np.int32,
    x: FloatArray,
    y: FloatArray,
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    radius: int,
) -> _Stamps:
    offset = np.arange(-radius, radius + 1)
    rows, columns = row[:, np.newaxis] + offset, column[:, np.newaxis] + offset
    inY, inX = (rows >= 0) & (rows < exposure.height), (columns >= 0) & (columns < exposure.width)
    pick = (
        np.clip(rows, 0, exposure.height - 1)[:, :, np.newaxis],
        np.clip(columns, 0, exposure.width - 1)[:, np.newaxis, :],
    )
    values, variances = exposure.image[pick].astype(np.float64), exposure.variance[pick].astype(np.float64)
    isGood = inY[:, :, np.newaxis] & inX[:, np.newaxis, :] & ((np.asarray(exposure.mask)[pick] & bits) == 0)
    isGood &= np.isfinite(values) & (variances >= 0.0) & (variances < np.inf)
    values[~isGood] = 0.0
    variances[~isGood] = 0.0
    return _Stamps(values, variances, isGood, columns - x[:, np.newaxis], rows - y[:, np.newaxis])


def _moments(stamps: _Stamps, sigma: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return Ixx, Iyy and Ixy (n,) in square pixels; NaN where the light does not make a peak."""
    n = len(stamps.values)
    wxx, wyy, wxy = np.full(n, sigma**2), np.full(n, sigma**2), np.zeros(n)
    cxx, cyy, cxy = wxx, wyy, wxy
    dx = stamps.dx[:, np.newaxis, :]
    isSound = np.ones(n, dtype=bool)
    with np.errstate(all="ignore"):
        for _ in range(MOMENT_PASSES):
            weighted = _exponential(stamps, wxx, wyy, wxy)
            lost = np.where(stamps.isGood, 0.0, weighted).sum(axis=(1, 2)) / weighted.sum(axis=(1, 2))
            weighted *= stamps.values
            total = weighted.sum(axis=(1, 2))
            alongX, alongY = weighted.sum(axis=1), weighted.sum(axis=2)
            mx, my = (alongX * stamps.dx).sum(axis=1) / total, (alongY * stamps.dy).sum(axis=1) / total
            mxx = (alongX * stamps.dx**2).sum(axis=1) / total - mx**2
            myy = (alongY * stamps.dy**2).sum(axis=1) / total - my**2
            mxy = ((weighted * dx).sum(axis=2) * stamps.dy).sum(axis=1) / total - mx * my
            inverse = [a - b for a, b in zip(_inverse(mxx, myy, mxy), _inverse(wxx, wyy, wxy), strict=True)]
            cxx, cyy, cxy = _inverse(*inverse)
            isSound = (total > 0.0) & (cxx > 0.0) & (cyy > 0.0) & (cxx * cyy > cxy**2) & (lost < MAX_LOST_WEIGHT)
            isSound &= (cxx + cyy) < 2.0 * (MAX_RADIUS_PIX**2)
            # The weight stays near the PSF's width where there is nothing to follow.
            wxx, wyy, wxy = (np.where(isSound, c, w) for c, w in ((cxx, wxx), (cyy, wyy), (cxy, wxy)))
    return tuple(np.where(isSound, c, np.nan) for c in (cxx, cyy, cxy))  # type: ignore[return-value]


def _inverse(xx: FloatArray, yy: FloatArray, xy: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the inverses of symmetric matrices, by components."""
    determinant = xx * yy - xy**2
    return yy / determinant, xx / determinant, -xy / determinant


def _exponential(stamps: _Stamps, xx: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    """Return Gaussians of given covariances and peak 1, (n, k, k)."""
    ixx, iyy, ixy = (component[:, np.newaxis, np.newaxis] for component in _inverse(xx, yy, xy))
    dx, dy = stamps.dx[:, np.newaxis, :], stamps.dy[:, :, np.newaxis]
    return np.asarray(np.exp(-0.5 * (ixx * dx**2 + iyy * dy**2) - ixy * (dx * dy)))


def _gaussians(stamps: _Stamps, xx: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    """Return Gaussians of given covariances and sum 1, (n, k, k)."""
    with np.errstate(all="ignore"):
        norm = 2.0 * math.pi * np.sqrt(xx * yy - xy**2)
        return _exponential(stamps, xx, yy, xy) / norm[:, np.newaxis, np.newaxis]


def _psfProfiles(exposure: Exposure, stamps: _Stamps, x: FloatArray, y: FloatArray, sigma: float) -> FloatArray:
    """Return the PSF at each source, (n, k, k), sum 1 (beyond the stamp too)."""
    if exposure.psf is None or isinstance(exposure.psf, GaussianPsf):
        variance = np.full(x.size, sigma**2)
        return _gaussians(stamps, variance, variance, np.zeros(x.size))
    psf, size = asPsf(exposure.psf), stamps.dx.shape[1]
    shiftX, shiftY = _shifts(stamps.dx), _shifts(stamps.dy)
    cell = np.clip((PSF_CELLS * np.stack([y / exposure.height, x / exposure.width])).astype(int), 0, PSF_CELLS - 1)
    profiles = np.empty_like(stamps.values)
    for iy, ix in np.unique(cell, axis=1).T:
        isHere = (cell[0] == iy) & (cell[1] == ix)
        centre = (ix + 0.5) * exposure.width / PSF_CELLS, (iy + 0.5) * exposure.height / PSF_CELLS
        try:
            image = psf.computeKernelImage(centre[0] + exposure.xy0[0], centre[1] + exposure.xy0[1])
        except NOT_THERE:
            # Where the PSF is not defined, a round one of its usual size serves.
            image = GaussianPsf(sigma, size).computeKernelImage(*centre)
        stamp = _fitted(np.asarray(image, dtype=np.float64), size)
        profiles[isHere] = shiftY[isHere] @ stamp @ shiftX[isHere].transpose(0, 2, 1)
    return profiles


def _fitted(image: FloatArray, size: int) -> FloatArray:
    """Return an image of odd sides and sum 1 cut or padded about its middle to a square."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # A PSF without light gives NaN: no flux is measured with it.
        image = image / image.sum()
    for axis in (0, 1):
        excess = (image.shape[axis] - size) // 2
        if excess > 0:
            image = image.take(range(excess, excess + size), axis=axis)
        elif excess < 0:
            image = np.pad(image, [(-excess, -excess) if axis == other else (0, 0) for other in (0, 1)])
    return image


def _shifts(distance: FloatArray) -> FloatArray:
    """Return matrices (n, k, k) that resample a centred profile at distances (n, k) from its middle (Lanczos 3)."""
    middle = np.arange(distance.shape[1]) - distance.shape[1] // 2
    u = distance[:, :, np.newaxis] - middle
    weights = np.where(np.abs(u) < 3.0, np.sinc(u) * np.sinc(u / 3.0), 0.0)
    total = weights.sum(axis=2, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=np.abs(total) > 0.5))


def _fluxes(stamps: _Stamps, profiles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the fluxes (n,) of profiles of sum 1, and their errors; NaN where too much is bad."""
    squares = profiles**2
    whole = squares.sum(axis=(1, 2))
    norm = np.where(stamps.isGood, squares, 0.0).sum(axis=(1, 2))
    with np.errstate(all="ignore"):
        flux = (profiles * stamps.values).sum(axis=(1, 2)) / norm
        error = np.sqrt((squares * stamps.variances).sum(axis=(1, 2))) / norm
        isMeasured = norm > (1.0 - MAX_LOST_WEIGHT) * whole
    return np.where(isMeasured, flux, np.nan), np.where(isMeasured, error, np.nan)


def _bitsNear(
    mask: npt.NDArray[Any], row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], radius: int
) -> npt.NDArray[np.int32]:
    """Return the bits of all pixels of a square about each place (n,), ORed."""
    found = np.zeros(row.size, dtype=np.int32)
    for dy in range(-radius, radius + 1):
        y = np.clip(row + dy, 0, mask.shape[0] - 1)
        for dx in range(-radius, radius + 1):
            found |= mask[y, np.clip(column + dx, 0, mask.shape[1] - 1)]
    return found

"""Measurements on detected sources that the choice of kernel stars needs, for all sources at once.

Fluxes are those of a known profile fitted by its amplitude alone, all pixels alike: F = sum(P D) / sum(P^2), with the
PSF for P or the Gaussian of the source's own second moments. Moments are taken under the Gaussian that matches the
source itself (Bernstein & Jarvis 2002, AJ 123, 583): a source of covariance C seen through a weight W shows M, with
1 / M = 1 / C + 1 / W, which is solved for C.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import MeasurementOptions
from psfmatch.config.later import laterClass
from psfmatch.config.task import Task
from psfmatch.images import (
    DEFAULT_FWHM_PIX,
    NOT_THERE,
    SIGMA_TO_FWHM,
    Exposure,
    GaussianPsf,
    asPsf,
    hasUsableWcs,
    pixelsToSky,
)
from psfmatch.io.sourceTable import SourceTable
from psfmatch.sources.exposureWidths import exposureFwhmPix

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FLAG_PLANES", "SourceMeasurementTask"]

FloatArray = npt.NDArray[np.float64]

FLAG_PLANES = {
    "Bad": "BAD",
    "CosmicRay": "CR",
    "Edge": "EDGE",
    "Interpolated": "INTRP",
    "NoData": "NO_DATA",
    "Saturated": "SAT",
    "Suspect": "SUSPECT",
}
TRUNCATED = 2
"""The bit of `flags` of a source that the border cuts."""
REACH_SIGMA = 3.0
"""Half width of the pixels about a source, in units of the PSF's sigma."""
MAX_RADIUS_PIX = 20
PSF_CELLS = 8
"""Places along each axis at which a PSF model is evaluated; sources take the nearest and shift it."""


class SourceMeasurementTask(Task):
    """Adds fluxes, second moments, sky positions and flags to a catalogue.

    Any task whose `run` takes these arguments, by name, and returns the Table with columns added can stand in for
    this one (``config.selectMeasurement.retarget``). `psfmatch.subtract` also needs badCentre.
    """

    ConfigClass = laterClass("psfmatch.config.detection:SourceMeasurementConfig")
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
            with ``Centre``: one of the central 3x3. flagEdge also where ``flags`` of the sources say that the border
            of the searched pixels cuts them.
        """
        measured = sources.copy()
        with self.timer("run"):
            for name, values in self._columns(sources, sources.colnames, exposure).items():
                measured[name] = values
                if name in UNITS:
                    measured[name].unit = UNITS[name]
        return measured

    def measure(self, sources: SourceTable, exposure: Exposure) -> SourceTable:
        """Measure sources as `run` does, timed under its name."""
        with self.timer("run"):
            return sources.with_(self._columns(sources, sources.colnames, exposure), UNITS)

    def _columns(self, sources: Any, names: Iterable[str], exposure: Exposure) -> dict[str, npt.NDArray[Any]]:
        """Return the columns that `run` adds to sources that have columns of these names."""
        x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
        measured: dict[str, npt.NDArray[Any]] = {}
        measured["ra"], measured["dec"] = _skyOf(exposure, x, y)
        x, y = x - exposure.xy0[0], y - exposure.xy0[1]
        sigma = _sigmaOf(exposure)
        mask = np.asarray(exposure.mask)
        bits = exposure.mask.getPlaneBitMask(
            MeasurementOptions.fromConfig(self._given).badMaskPlanes, ignoreMissing=True
        )
        measured["badCentre"] = (_core.bitsNear(mask, x, y, 0) & bits) != 0
        radius = min(MAX_RADIUS_PIX, math.ceil(REACH_SIGMA * sigma))
        numbers = _core.measureSources(
            exposure.image,
            exposure.variance,
            mask,
            bits,
            x,
            y,
            sigma=sigma,
            radius=radius,
            maxSigma=MAX_RADIUS_PIX,
            **_psfImages(exposure, x, y, sigma, 2 * radius + 1),
        )
        measured |= dict(zip(NUMBERS, numbers, strict=True))
        for suffix, reach in (("", min(MAX_RADIUS_PIX, math.ceil(2.0 * sigma))), ("Centre", 1)):
            near = _core.bitsNear(mask, x, y, reach)
            for name, plane in FLAG_PLANES.items():
                bit = np.int32(exposure.mask.getPlaneBitMask((plane,), ignoreMissing=True))
                measured[f"flag{name}{suffix}"] = (near & bit) != 0
        if "flags" in names:
            measured["flagEdge"] |= (np.asarray(sources["flags"]) & TRUNCATED) != 0
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


def _psfImages(exposure: Exposure, x: FloatArray, y: FloatArray, sigma: float, size: int) -> dict[str, Any]:
    """Return the images of the PSF, (m, size, size), and which of them each source (n,) has; nothing for a Gaussian."""
    if exposure.psf is None or isinstance(exposure.psf, GaussianPsf) or not x.size:
        return {}
    psf = asPsf(exposure.psf)
    with np.errstate(invalid="ignore"):
        place = np.nan_to_num(np.stack([y / exposure.height, x / exposure.width]))
    cells, number = np.unique(np.clip((PSF_CELLS * place).astype(int), 0, PSF_CELLS - 1), axis=1, return_inverse=True)
    images = []
    for iy, ix in cells.T.tolist():
        centre = (ix + 0.5) * exposure.width / PSF_CELLS, (iy + 0.5) * exposure.height / PSF_CELLS
        try:
            image = psf.computeKernelImage(centre[0] + exposure.xy0[0], centre[1] + exposure.xy0[1])
        except NOT_THERE:
            # Where the PSF is not defined, a round one of its usual size serves.
            image = GaussianPsf(sigma, size).computeKernelImage(*centre)
        images.append(_fitted(np.asarray(image, dtype=np.float64), size))
    return {"psfImages": np.array(images), "psfNumber": number.reshape(-1)}


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

"""What has changed: detection and measurement on a difference image, both signs in one pass.

Peaks of the matched filter (`psfmatch.transients.significance`) are fitted as point sources, flux and position; at
these places fluxes are measured on the science image and the template too; pairs of opposite peaks are fitted as
dipoles. Nothing is vetoed: what lies near edges, defects and saturation is flagged.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch import io
from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.images import UNUSABLE_PLANES, toExposure, withUsableBorder
from psfmatch.transients.candidatePeaks import areFirst, candidatePeaks
from psfmatch.transients.dipoleColumns import addDipoles
from psfmatch.transients.dipoles import DipoleControl, DipoleImage
from psfmatch.transients.filteredDifference import (
    DEFAULT_BACKGROUND_BIN,
    DEFAULT_MIN_COVERAGE,
    filterDifference,
    levelledWithout,
)
from psfmatch.transients.localLevels import levelSignificance, withLocalLevels
from psfmatch.transients.photometryImage import PhotometryImage, addForced, lobeImage
from psfmatch.transients.photonErrors import withPhotonNoise
from psfmatch.transients.pointSources import PointSources, fitPointSources
from psfmatch.transients.significance import Peaks
from psfmatch.transients.sourceColumns import addFlags, describeColumns, footprintAreas, measuredColumns

__all__ = ["DEFAULT_THRESHOLD", "detectOnDifference", "writeSources"]

log = logging.getLogger("psfmatch.differenceSources")

FloatArray = npt.NDArray[np.float64]

DEFAULT_THRESHOLD = 5.0


def detectOnDifference(
    difference: Any,
    psf: Any = None,
    *,
    science: Any = None,
    template: Any = None,
    threshold: float = DEFAULT_THRESHOLD,
    backgroundBin: int = DEFAULT_BACKGROUND_BIN,
    minCoverage: float = DEFAULT_MIN_COVERAGE,
    dipoles: DipoleControl | None = None,
    badPlanes: Iterable[str] = UNUSABLE_PLANES,
    floor: npt.NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> Table:
    """Find and measure what has changed.

    Parameters
    ----------
    difference
        Difference image, decorrelated or not: whatever `psfmatch.subtract` takes; not changed.
    psf
        Of the difference: whatever `psfmatch.images.asPsf` takes; by default that of the exposure.
    science, template
        The images that were subtracted, matched or not, for forced photometry and dipoles: a `PhotometryImage`, or
        whatever `psfmatch.subtract` takes, which has the PSF and flux scale of the difference, as a matched template
        has.
    threshold
        Least significance of a source, of either sign.
    backgroundBin
        Side (pixels) of the squares in which what is left of the background is measured, and taken off: over a PSF's
        area a hundredth of a pixel's noise is a fifteenth of a standard deviation. 0: none is taken off.
    minCoverage
        Least share of the PSF's weight (sum P^2) on usable pixels: with less, a flux would be guessed from the wings of
        whatever lies beyond the border or under the mask. How many peaks fall for it is in ``meta``.
    dipoles
        How dipoles are fitted and classified.
    badPlanes
        Mask planes whose pixels count as not measured; EDGE does not where it comes with BORDER
        (`psfmatch.difference.borders`).
    floor
        Error floor of a point source's flux at every pixel of the difference, (h, w), one standard deviation in image
        units: `SubtractionResult.errorFloorPlane`. Significances and flux errors include it.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    sources : Table
        The most significant first: id; x, y, xErr, yErr (parent pixels); ra, dec (degrees, NaN without a WCS);
        significance, polarity (1 or -1); psfFlux, psfFluxErr (image units, signed), errorFloor (the part of psfFluxErr
        that is the floor, beside the noise; 0 without one), chi2 (per degree of freedom); localLevel (of the ring of
        2.5 to 5 FWHM about the source, image units per pixel, above which it was fitted: 0 where that level is less
        than three of its errors, or cannot be told);
        scienceFlux, scienceFluxErr, templateFlux, templateFluxErr (forced, local sky taken off, NaN without the
        image); area (pixels above the threshold and the local level, no farther than that was measured);
        coverage (share of the PSF's weight on usable pixels);
        dipoleId (0: none) and, for both lobes of a fitted pair, dipoleX, dipoleY, dipoleFlux, dipoleFluxErr,
        dipoleSeparation, dipoleOrientation, dipoleSnr, dipoleChi2; flags as described in ``meta``. ``meta``:
        THRESH, NOISESCL (factor on all errors), NOISEMES and NOISEERR (measured width of the significance on blank
        sky), PSFFWHM, NPOS, NNEG, NDIPOLE, NUNCOVER (peaks left out
        for their coverage).

    Raises
    ------
    InputImagesError
        If no pixel can be used, or science, template or floor lie on other pixels.
    ValueError
        If there is no PSF, or the threshold is not positive.
    """
    if not (math.isfinite(threshold) and threshold > 0.0):
        raise ValueError(f"threshold is {threshold}; give a positive number of standard deviations")
    exposure = toExposure(difference)
    science, template = (
        image if image is None or isinstance(image, PhotometryImage) else toExposure(image)
        for image in (science, template)
    )
    planes, given = tuple(badPlanes), exposure.psf if psf is None else psf
    exposure = exposure.withPixels(withUsableBorder(exposure.maskedImage))
    filtered = filterDifference(
        exposure, psf, backgroundBin=backgroundBin, badPlanes=planes, floor=floor, threads=threads
    )
    maskedImage, found = filtered.maskedImage, filtered.found
    field = found.psf
    peaks = candidatePeaks(found, threshold)
    sources = fitPointSources(maskedImage, found.weight, field, peaks.x, peaks.y)
    if backgroundBin > 0 and peaks.x.size > 0:
        maskedImage = levelledWithout(
            peaks, field.half, exposure.maskedImage, maskedImage, backgroundBin, planes, threads
        )
        sources = fitPointSources(maskedImage, found.weight, field, peaks.x, peaks.y)
    sources, levels = withLocalLevels(sources, maskedImage, found.weight, field, peaks.x, peaks.y, found.noise.applied)
    lobes = (
        lobeImage(science, field, maskedImage, planes, threads),
        lobeImage(template, field, maskedImage, planes, threads),
    )
    seen = given.photonNoise(*exposure.getBBox().centre) if isinstance(given, CorrectedPsf) else None
    if seen is not None and lobes[0] is not None and lobes[1] is not None:
        images = lobes[0].maskedImage, lobes[1].maskedImage
        sources = withPhotonNoise(sources, maskedImage, found.weight, field, images, seen)
    floors = _floorAt(found.floor, peaks)
    with np.errstate(invalid="ignore"):
        significance = sources.flux / np.hypot(sources.fluxErr * found.noise.applied, floors)
    isKept = np.sign(significance) == np.sign(peaks.value)
    isKept &= np.abs(significance) >= threshold
    isCovered = sources.coverage >= minCoverage
    nUncovered = int(np.count_nonzero(isKept & ~isCovered))
    isKept &= isCovered & areFirst(sources.x, sources.y, significance)
    order = np.flatnonzero(isKept)
    order = order[np.argsort(-np.abs(significance[order]), kind="stable")]
    sources = PointSources(*(getattr(sources, name)[order] for name in PointSources.__dataclass_fields__))
    peaks = Peaks(peaks.x[order], peaks.y[order], peaks.value[order])
    significance, floors = significance[order], floors[order]

    table = measuredColumns(exposure, sources, significance, floors, found)
    table["localLevel"] = levels = levels[order]
    errors = np.hypot(sources.fluxErr * found.noise.applied, floors)
    added = levelSignificance(levels, errors, sources, maskedImage, found.weight, field, peaks)
    table["area"] = footprintAreas(found, threshold, peaks, added)
    for name, lobe in zip(("science", "template"), lobes, strict=True):
        addForced(table, name, lobe)
    addFlags(table, maskedImage, peaks, sources, field, planes)
    own = DipoleImage(maskedImage, found.weight, field)
    addDipoles(table, own, lobes, sources, dipoles or DipoleControl())
    describeColumns(table, exposure, threshold, found)
    table.meta["NUNCOVER"] = nUncovered
    log.info(
        "%d sources above %.1f sigma: %d positive, %d negative, %d in dipoles",
        len(table), threshold, table.meta["NPOS"], table.meta["NNEG"], 2 * table.meta["NDIPOLE"],
        extra={"isDecision": True},
    )  # fmt: skip
    return table


def writeSources(sources: Table, path: str | PathLike[str], overwrite: bool = True) -> None:
    """Write the table of `detectOnDifference` in the format that the name asks for, see `psfmatch.io.writeTable`.

    In FITS it is the HDU SOURCES. FileExistsError where there is such a file, unless `overwrite`.
    """
    io.writeTable(path, sources, "SOURCES", overwrite)


def _floorAt(floor: npt.NDArray[np.float32] | None, peaks: Peaks) -> FloatArray:
    """Return the error floor of the flux of each peak, 0 without one."""
    return np.zeros(peaks.x.size) if floor is None else floor[peaks.y, peaks.x].astype(np.float64)

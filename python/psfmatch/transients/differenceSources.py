"""What has changed: detection and measurement on a difference image, both signs in one pass.

Peaks of the matched filter (`psfmatch.transients.significance`) are fitted as point sources, flux and position; at
these places fluxes are measured on the science image and the template too; pairs of opposite peaks are fitted as
dipoles. Nothing is vetoed: what lies near edges, defects and saturation is flagged.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch import io
from psfmatch.config import BackgroundOptions, SubtractBackgroundConfig
from psfmatch.config.brief import Brief
from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.errors import InputImagesError
from psfmatch.images import (
    UNUSABLE_PLANES,
    Exposure,
    MaskedImage,
    atOrigin,
    hasUsableWcs,
    pixelsToSky,
    toExposure,
    weightImage,
    withUsableBorder,
)
from psfmatch.kernels import PsfField
from psfmatch.sources import FootprintSet, subtractBackground
from psfmatch.threads import resolveThreads
from psfmatch.transients.dipoles import Dipole, DipoleControl, DipoleImage, fitDipole, pairPeaks
from psfmatch.transients.localLevels import withLocalLevels
from psfmatch.transients.photonErrors import withPhotonNoise
from psfmatch.transients.pointSources import PointSources, fitPointSources, forcedPhotometry
from psfmatch.transients.significance import Peaks, Significance, findPeaks, fluxImage, significanceImage
from psfmatch.transients.sourceColumns import addFlags, describeColumns

__all__ = ["FilteredDifference", "PhotometryImage", "detectOnDifference", "filterDifference", "writeSources"]

log = logging.getLogger("psfmatch.differenceSources")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

DEFAULT_THRESHOLD = 5.0
DEFAULT_BACKGROUND_BIN = 128
DEFAULT_MIN_COVERAGE = 0.1
MAX_SOURCES = 50_000
"""More are a failed subtraction; the most significant ones are measured."""


@dataclass(frozen=True)
class PhotometryImage(Brief):
    """An image of before the subtraction, on the difference's pixels.

    psf : its own, None if it has that of the difference; scale : factor that brings its fluxes to the difference's.
    """

    exposure: Exposure | MaskedImage
    psf: Any = None
    scale: float = 1.0


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
        image); area (pixels above the threshold); coverage (share of the PSF's weight on usable pixels);
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
    peaks = _candidatePeaks(found, threshold)
    sources = fitPointSources(maskedImage, found.weight, field, peaks.x, peaks.y)
    if backgroundBin > 0 and peaks.x.size > 0:
        maskedImage = _levelledWithout(
            peaks, field.half, exposure.maskedImage, maskedImage, backgroundBin, planes, threads
        )
        sources = fitPointSources(maskedImage, found.weight, field, peaks.x, peaks.y)
    sources, levels = withLocalLevels(sources, maskedImage, found.weight, field, peaks.x, peaks.y, found.noise.applied)
    lobes = (
        _lobeImage(science, field, maskedImage, planes, threads),
        _lobeImage(template, field, maskedImage, planes, threads),
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
    isKept &= isCovered & _isFirst(sources.x, sources.y, significance)
    order = np.flatnonzero(isKept)
    order = order[np.argsort(-np.abs(significance[order]), kind="stable")]
    sources = PointSources(*(getattr(sources, name)[order] for name in PointSources.__dataclass_fields__))
    peaks = Peaks(peaks.x[order], peaks.y[order], peaks.value[order])
    significance, floors = significance[order], floors[order]

    table = _measured(exposure, sources, significance, floors, found)
    table["localLevel"] = levels[order]
    table["area"] = _areas(found, threshold, peaks)
    for name, lobe in zip(("science", "template"), lobes, strict=True):
        _addForced(table, name, lobe)
    addFlags(table, maskedImage, peaks, sources, field, planes)
    own = DipoleImage(maskedImage, found.weight, field)
    _addDipoles(table, own, lobes, sources, dipoles or DipoleControl())
    describeColumns(table, exposure, threshold, found)
    table.meta["NUNCOVER"] = nUncovered
    log.info(
        "%d sources above %.1f sigma: %d positive, %d negative, %d in dipoles",
        len(table), threshold, table.meta["NPOS"], table.meta["NNEG"], 2 * table.meta["NDIPOLE"],
        extra={"isDecision": True},
    )  # fmt: skip
    return table


@dataclass(frozen=True)
class FilteredDifference:
    """A difference without what is left of its background, and the significance of a point source at every pixel."""

    maskedImage: MaskedImage
    found: Significance

    def fluxes(self, threads: int | None = None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the flux (h, w) of a point source at every pixel and its error; NaN, infinite where nothing tells."""
        return fluxImage(self.found, DEFAULT_MIN_COVERAGE, threads)


def filterDifference(
    exposure: Exposure,
    psf: Any = None,
    *,
    backgroundBin: int = DEFAULT_BACKGROUND_BIN,
    badPlanes: Iterable[str] = UNUSABLE_PLANES,
    floor: npt.NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> FilteredDifference:
    """Filter a difference for point sources; parameters and errors are those of `detectOnDifference`."""
    if backgroundBin < 0:
        raise ValueError(f"backgroundBin is {backgroundBin}; give a number of pixels, or 0 to leave the background")
    psf = exposure.psf if psf is None else psf
    if psf is None:
        raise ValueError("the difference has no PSF; give psf=, for example GaussianPsf(fwhm / 2.355) or psfFromStars")
    if floor is not None and floor.shape != exposure.shape:
        raise InputImagesError(
            f"an error floor of shape {floor.shape} does not belong to a difference of shape {exposure.shape}",
            shape=floor.shape,
            otherShape=exposure.shape,
        )
    planes = tuple(badPlanes)
    usable = withUsableBorder(exposure.maskedImage)
    maskedImage = _levelled(usable, backgroundBin, planes, resolveThreads(threads))
    field = PsfField.of(psf, maskedImage.getBBox())
    return FilteredDifference(maskedImage, significanceImage(maskedImage, field, planes, threads, floor))


def writeSources(sources: Table, path: str | PathLike[str], overwrite: bool = True) -> None:
    """Write the table of `detectOnDifference` in the format that the name asks for, see `psfmatch.io.writeTable`.

    In FITS it is the HDU SOURCES. FileExistsError where there is such a file, unless `overwrite`.
    """
    io.writeTable(path, sources, "SOURCES", overwrite)


def _levelled(maskedImage: MaskedImage, binSize: int, planes: tuple[str, ...], threads: int) -> MaskedImage:
    """Return an image without what is left of its background; itself where nothing can be measured."""
    if binSize == 0:
        return maskedImage
    try:
        # Of all pixels: a filter collects the errors of a background over the whole PSF.
        options = _backgroundOptions(binSize)
        image, level = subtractBackground(maskedImage, options, planes, threads, samplePixels=math.inf)
    except ValueError as error:
        log.debug("No background: %s", error)
        return maskedImage
    log.debug("Background left on the difference: %.4g", level)
    return MaskedImage(image, maskedImage.mask, maskedImage.variance, maskedImage.xy0)


def _levelledWithout(
    peaks: Peaks,
    half: int,
    maskedImage: MaskedImage,
    levelled: MaskedImage,
    binSize: int,
    planes: tuple[str, ...],
    threads: int | None,
) -> MaskedImage:
    """Return an image without the background that is left beyond squares of half side `half` about peaks.

    Their light has raised that of `levelled`, which is returned where too few other pixels are left.
    """
    mask = maskedImage.mask.copy()
    bad, pixels = np.int32(mask.getPlaneBitMask("BAD")), np.asarray(mask)
    for x, y in zip(peaks.x.tolist(), peaks.y.tolist(), strict=True):
        pixels[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1] |= bad
    alone = MaskedImage(maskedImage.image, mask, maskedImage.variance, maskedImage.xy0)
    again = _levelled(alone, binSize, (*planes, "BAD"), resolveThreads(threads))
    return levelled if again is alone else MaskedImage(again.image, levelled.mask, levelled.variance, levelled.xy0)


@functools.cache
def _backgroundOptions(binSize: int) -> BackgroundOptions:
    config = SubtractBackgroundConfig()
    config.binSize, config.useApprox, config.algorithm = binSize, False, "LINEAR"
    return BackgroundOptions.fromConfig(config)


def _candidatePeaks(found: Significance, threshold: float) -> Peaks:
    """Return the peaks that may reach the threshold once their position is fitted."""
    sigma = found.psf.sigma
    # A source between four pixels, half a diagonal from each, shows exp(-r^2 / (4 sigma^2)) of its significance.
    least = threshold * math.exp(-0.5 / (4.0 * sigma**2))
    peaks = findPeaks(found.image, least, max(1, round(0.5 * found.psf.fwhm)))
    if peaks.x.size > MAX_SOURCES:
        log.warning(
            "%d peaks above %.1f sigma: the subtraction has failed; the first %d are measured",
            peaks.x.size, threshold, MAX_SOURCES,
        )  # fmt: skip
        peaks = Peaks(peaks.x[:MAX_SOURCES], peaks.y[:MAX_SOURCES], peaks.value[:MAX_SOURCES])
    return peaks


def _isFirst(x: FloatArray, y: FloatArray, significance: FloatArray) -> BoolArray:
    """Return which fits are not a second one of the same source: within a pixel of one as significant, same sign."""
    isFirst = np.ones(x.size, dtype=bool)
    rank = np.argsort(np.argsort(-np.abs(significance), kind="stable"), kind="stable")
    order = np.argsort(y, kind="stable")
    first = np.arange(x.size)
    for step in range(1, x.size):
        first = first[first + step < x.size]
        a, b = order[first], order[first + step]
        isNear = y[b] - y[a] < 1.0
        first, a, b = first[isNear], a[isNear], b[isNear]
        if not first.size:
            break
        isSame = (np.hypot(x[b] - x[a], y[b] - y[a]) < 1.0) & (significance[a] * significance[b] > 0.0)
        a, b = a[isSame], b[isSame]
        isFirst[np.where(rank[a] > rank[b], a, b)] = False
    return isFirst


def _floorAt(floor: npt.NDArray[np.float32] | None, peaks: Peaks) -> FloatArray:
    """Return the error floor of the flux of each peak, 0 without one."""
    return np.zeros(peaks.x.size) if floor is None else floor[peaks.y, peaks.x].astype(np.float64)


def _measured(
    exposure: Exposure, sources: PointSources, significance: FloatArray, floors: FloatArray, found: Significance
) -> Table:
    """Return the table's first columns."""
    x, y = sources.x + exposure.xy0[0], sources.y + exposure.xy0[1]
    ra, dec = np.full(x.size, np.nan), np.full(x.size, np.nan)
    if x.size and hasUsableWcs(exposure) and exposure.coordinates is not None:
        ra, dec = pixelsToSky(exposure.coordinates, x, y)
    # The best of all positions shows the source's flux and the noise's help: 1 + 1 / S^2 times too much, on average.
    noise = sources.fluxErr * found.noise.applied
    with np.errstate(all="ignore"):
        unbiased = np.where(sources.isFitted, 1.0 - 1.0 / np.maximum((sources.flux / noise) ** 2, 1.0), 1.0)
    table = Table({"id": np.arange(1, x.size + 1), "x": x, "y": y})
    table["xErr"], table["yErr"] = sources.xErr * found.noise.applied, sources.yErr * found.noise.applied
    table["ra"], table["dec"] = ra, dec
    table["significance"] = significance
    table["polarity"] = np.where(significance > 0.0, 1, -1).astype(np.int16)
    table["psfFlux"] = sources.flux * unbiased
    table["psfFluxErr"] = np.hypot(noise, floors)
    table["errorFloor"] = floors
    table["chi2"] = sources.chi2
    table["coverage"] = sources.coverage
    return table


def _areas(found: Significance, threshold: float, peaks: Peaks) -> IntArray:
    """Return the pixels of each peak's footprint: connected pixels beyond the threshold, of its sign."""
    area = np.ones(peaks.x.size, dtype=np.int64)
    for sign in (1.0, -1.0):
        isOwn = np.sign(peaks.value) == sign
        footprints = FootprintSet.fromPixels(found.image * np.float32(sign) >= threshold)
        label = footprints.labelsAt(peaks.x[isOwn], peaks.y[isOwn])
        if len(footprints):
            area[isOwn] = np.where(label >= 0, footprints.areas[label], 1)
    return area


def _lobeImage(
    image: PhotometryImage | Exposure | MaskedImage | None,
    own: PsfField,
    difference: MaskedImage,
    planes: tuple[str, ...],
    threads: int | None,
) -> DipoleImage | None:
    """Return an image of before the subtraction on the difference's flux scale, with its PSF."""
    if image is None:
        return None
    given = image if isinstance(image, PhotometryImage) else PhotometryImage(image)
    maskedImage = given.exposure.maskedImage if isinstance(given.exposure, Exposure) else given.exposure
    if maskedImage.shape != difference.shape:
        raise InputImagesError(
            f"an image of {maskedImage.width}x{maskedImage.height} pixels is given with a difference of "
            f"{difference.width}x{difference.height}; it must lie on the difference's pixels (warp it first)",
            shape=maskedImage.shape,
            otherShape=difference.shape,
        )
    maskedImage = withUsableBorder(atOrigin(maskedImage, difference))
    if given.scale != 1.0:
        maskedImage = maskedImage.copy()
        maskedImage *= given.scale
    psf = own if given.psf is None else PsfField.of(given.psf, difference.getBBox())
    return DipoleImage(maskedImage, weightImage(maskedImage, planes, threads), psf)


def _addForced(table: Table, name: str, image: DipoleImage | None) -> None:
    """Add flux and error on an image of before the subtraction."""
    flux, error = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if image is not None:
        forced = forcedPhotometry(image.maskedImage, image.psf, table["x"], table["y"], weight=image.weight)
        flux, error = np.asarray(forced["flux"]), np.asarray(forced["fluxErr"])
    table[f"{name}Flux"], table[f"{name}FluxErr"] = flux, error


def _addDipoles(
    table: Table,
    difference: DipoleImage,
    lobes: tuple[DipoleImage | None, DipoleImage | None],
    sources: PointSources,
    control: DipoleControl,
) -> None:
    """Add the columns of dipoles, for both lobes of every fitted pair."""
    significance, area = np.asarray(table["significance"]), np.asarray(table["area"])
    pairs = pairPeaks(sources.x, sources.y, significance, control.maxSeparation * difference.psf.fwhm)
    fits: dict[tuple[int, int], Dipole] = {}
    isTooLarge = np.zeros(len(table), dtype=bool)
    for positive, negative in pairs:
        if area[positive] + area[negative] > control.maxFootprintArea:
            isTooLarge[[positive, negative]] = True
            continue
        places = tuple((float(sources.x[i]), float(sources.y[i])) for i in (positive, negative))
        dipole = fitDipole(difference, *lobes, peaks=(places[0], places[1]), control=control)
        if dipole is not None:
            fits[positive, negative] = dipole
    number = np.zeros(len(table), dtype=np.int64)
    flag = np.zeros(len(table), dtype=bool)
    columns = {name: np.full(len(table), np.nan) for name in _DIPOLE_COLUMNS}
    x0, y0 = difference.maskedImage.xy0
    for i, (pair, fit) in enumerate(fits.items(), start=1):
        rows = list(pair)
        number[rows], flag[rows] = i, fit.isDipole
        flux = 0.5 * (fit.fluxPositive + fit.fluxNegative)
        error = 0.5 * math.hypot(fit.fluxPositiveErr, fit.fluxNegativeErr)
        values = (fit.x + x0, fit.y + y0, flux, error, fit.separation, fit.orientation, fit.signalToNoise, fit.chi2)
        for name, value in zip(_DIPOLE_COLUMNS, values, strict=True):
            columns[name][rows] = value
    table["dipoleId"] = number
    for name, numbers in columns.items():
        table[name] = numbers
    table["flagDipole"] = flag
    table["flagDipoleTooLarge"] = isTooLarge
    table.meta["NDIPOLE"] = int(np.count_nonzero(flag)) // 2


_DIPOLE_COLUMNS = (
    "dipoleX", "dipoleY", "dipoleFlux", "dipoleFluxErr", "dipoleSeparation", "dipoleOrientation", "dipoleSnr",
    "dipoleChi2",
)  # fmt: skip

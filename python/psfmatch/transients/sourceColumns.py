"""Columns of the table of sources that a difference shows: places, fluxes, footprints, flags; their descriptions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.table import Table

from psfmatch.images import BORDER, Exposure, MaskedImage, hasUsableWcs, pixelsToSky
from psfmatch.kernels import PsfField
from psfmatch.sources import FootprintSet
from psfmatch.transients.pointSources import SKY_OUTER_FWHM, PointSources
from psfmatch.transients.significance import Peaks, Significance

__all__ = ["addFlags", "describeColumns", "footprintAreas", "measuredColumns"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MIN_COVERAGE = 0.9
"""Sources with less of their sum of P^2 on usable pixels are flagged as masked."""
SATURATED_PLANES = ("SAT", "SAT_TEMPLATE")


def measuredColumns(
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


def footprintAreas(found: Significance, threshold: float, peaks: Peaks, levels: FloatArray) -> IntArray:
    """Return the pixels of each peak's footprint: connected pixels beyond the threshold, of its sign.

    `levels` (n,) is the significance that the surroundings of each have of their own: beyond the threshold above it.
    """
    area = np.ones(peaks.x.size, dtype=np.int64)
    for sign in (1.0, -1.0):
        isOwn = np.sign(peaks.value) == sign
        footprints = FootprintSet.fromPixels(found.image * np.float32(sign) >= threshold)
        label = footprints.labelsAt(peaks.x[isOwn], peaks.y[isOwn])
        if len(footprints):
            area[isOwn] = np.where(label >= 0, footprints.areas[label], 1)
    reach = math.ceil(SKY_OUTER_FWHM * found.psf.fwhm)
    for i in np.flatnonzero(levels).tolist():
        # As far as the level was measured.
        x, y = int(peaks.x[i]), int(peaks.y[i])
        left, top = max(0, x - reach), max(0, y - reach)
        above = found.image[top : y + reach + 1, left : x + reach + 1] - np.float32(levels[i])
        footprints = FootprintSet.fromPixels(above * np.float32(np.sign(peaks.value[i])) >= threshold)
        label = footprints.labelsAt(np.array([x - left]), np.array([y - top]))
        area[i] = footprints.areas[label[0]] if len(footprints) and label[0] >= 0 else 1
    return area


def addFlags(
    table: Table,
    maskedImage: MaskedImage,
    peaks: Peaks,
    sources: PointSources,
    psf: PsfField,
    planes: tuple[str, ...],
) -> None:
    """Add the flags that tell of the pixels about each source."""
    core, near = max(1, math.ceil(0.5 * psf.fwhm)), math.ceil(2.0 * psf.fwhm)
    mask, height, width = maskedImage.mask, maskedImage.height, maskedImage.width
    isUnusable = maskedImage.badPixels(planes)

    def has(names: Iterable[str], radius: int) -> BoolArray:
        bits = np.int32(mask.getPlaneBitMask(names, ignoreMissing=True))
        return _anyWithin((np.asarray(mask) & bits) != 0, peaks, radius) if bits else np.zeros(len(table), dtype=bool)

    isOff = (peaks.x < core) | (peaks.y < core) | (peaks.x >= width - core) | (peaks.y >= height - core)
    table["flagEdge"] = isOff | has(("EDGE", BORDER, "NO_DATA"), core)
    table["flagMasked"] = _anyWithin(isUnusable, peaks, 1) | (sources.coverage < MIN_COVERAGE)
    table["flagInterpolated"] = has(("INTRP",), core)
    table["flagSaturated"] = has(SATURATED_PLANES, core)
    table["flagNearBad"] = _anyWithin(isUnusable, peaks, near)
    table["flagNoFit"] = ~sources.isFitted


def _anyWithin(isSet: BoolArray, peaks: Peaks, radius: int) -> BoolArray:
    """Return whether any pixel within a distance (pixels) of each peak is set."""
    height, width = isSet.shape
    found = np.zeros(peaks.x.size, dtype=bool)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy <= radius * radius:
                found |= isSet[np.clip(peaks.y + dy, 0, height - 1), np.clip(peaks.x + dx, 0, width - 1)]
    return found


_DESCRIPTIONS = {
    "significance": "matched-filter signal-to-noise at the fitted position, signed",
    "polarity": "1: brighter in the science image, -1: in the template",
    "errorFloor": "part of psfFluxErr in proportion to the light that both images show there, beside the noise",
    "chi2": "of the point source, per degree of freedom",
    "localLevel": "of the surroundings, per pixel, above which the source was fitted; 0: none that is significant",
    "coverage": "share of sum PSF^2 on usable pixels",
    "area": "pixels beyond the threshold above the local level, connected with the peak",
    "scienceFlux": "forced, PSF of that image, local sky taken off",
    "templateFlux": "forced, PSF of that image, local sky taken off",
    "dipoleFlux": "mean of both lobes",
    "dipoleOrientation": "from the negative to the positive lobe, from x towards y",
    "flagEdge": "the core (half a FWHM) reaches beyond the image or meets EDGE or NO_DATA",
    "flagMasked": "the central 3x3 pixels or a tenth of the weight cannot be used",
    "flagInterpolated": "INTRP in the core",
    "flagSaturated": "SAT or SAT_TEMPLATE in the core",
    "flagNearBad": "an unusable pixel within two FWHM",
    "flagNoFit": "the position could not be fitted: that of the peak's pixel is used",
    "flagDipole": "classified as one lobe of a dipole",
    "flagDipoleTooLarge": "has a partner, but footprints too large for a fit",
}


def describeColumns(table: Table, exposure: Exposure, threshold: float, found: Significance) -> None:
    """Set units, descriptions and meta."""
    try:
        flux = units.Unit(str(exposure.metadata.get("BUNIT", "adu")))
    except ValueError:
        flux = units.adu
    for name in table.colnames:
        table[name].description = _DESCRIPTIONS.get(name)
        if name.endswith(("Flux", "FluxErr")) or name in ("errorFloor", "localLevel"):
            table[name].unit = flux
        elif name in ("ra", "dec"):
            table[name].unit = units.deg
        elif name in ("x", "y", "xErr", "yErr", "dipoleX", "dipoleY", "dipoleSeparation"):
            table[name].unit = units.pix
        elif name == "dipoleOrientation":
            table[name].unit = units.rad
    polarity = np.asarray(table["polarity"])
    table.meta["NPOS"], table.meta["NNEG"] = int((polarity > 0).sum()), int((polarity < 0).sum())
    table.meta["THRESH"] = threshold
    table.meta["NOISESCL"] = found.noise.applied
    table.meta["NOISEMES"], table.meta["NOISEERR"] = found.noise.measured, found.noise.error
    table.meta["PSFFWHM"] = found.psf.fwhm
    if exposure.photoCalib is not None:
        table.meta["PHOTOCAL"] = exposure.photoCalib

"""What no sky and no star makes: pixels of one value in blocks, and pixels sharper than the PSF.

The core finds the pixels (`psfmatch/sources/ConstantBlocks.h` and `SharpPixels.h` say how); here they get their planes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, Mask, MaskedImage, stampTuple
from psfmatch.sources.saturation.finding import Saturation, findSaturation
from psfmatch.sources.saturation.flagging import flagSaturation

__all__ = ["SATURATED_GROWTH", "Blocks", "Defects", "SharpPixels", "examineDefects", "findDefects", "flagDefects",
           "flagPlaces"]  # fmt: skip

log = logging.getLogger("psfmatch.sources")

SATURATED_GROWTH = 2.0
"""Pixels about saturated ones whose counts have bled or are not linear."""
MOST_SHARP = 0.1
"""Share of an image's pixels beyond which what is sharp is no defect but how the image is."""
MIN_STARS = 6
"""Without so many the contrast is that of the sharpest PSFs."""
LEAST_LINE = 12
"""Pixels in one column or row."""
AS_BRIGHT = 0.8
"""Light of a pixel in units of that of the line beside it."""
MOST_TOUCHED = 0.02
"""Share of a line's pixels that may have one as bright beside them, where stars lie under it."""
SHOWN = 3
"""Values of blocks that a sentence names."""
DARK, BRIGHT, TRAIL, LINE = 1, 2, 3, 4
"""Kinds of the core."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Blocks(ByValue):
    """Blocks of one value.

    places : of their pixels, row * width + column, ascending; values : of each value, with its number of pixels, the
    most frequent first.
    """

    places: Places = field(repr=False)
    values: tuple[tuple[float, int], ...]

    @property
    def told(self) -> str:
        """What was found, in words."""
        if not self.values:
            return "no block of one value"
        shown = [f"{value:.6g} on {_counted(count)}" for value, count in self.values[:SHOWN]]
        rest = len(self.values) - SHOWN
        others = f" and {rest} more values" if rest > 0 else ""
        return f"{_counted(self.places.size)} in blocks of one value have no data ({', '.join(shown)}{others})"


@dataclass(frozen=True, eq=False)
class SharpPixels(ByValue):
    """Pixels sharper than the PSF.

    bad : places of dead and hot pixels, columns and rows; cosmicRays : places of bright pixels that touch; nDark,
    nBright, nLine : of the bad ones, those dark, those bright and alone, and those of columns and rows; contrast : by
    which a pixel may exceed the brighter of both neighbours in a row or column; nStars : whose contrast told it;
    share : of the image's pixels; where it is too large none is listed.
    """

    bad: Places = field(repr=False)
    cosmicRays: Places = field(repr=False)
    nDark: int
    nBright: int
    nLine: int
    contrast: float
    nStars: int
    share: float

    @property
    def told(self) -> str:
        """What was found, in words."""
        why = f"by {self.nStars} stars" if self.nStars >= MIN_STARS else "too few stars telling"
        told = f"; a pixel may have {self.contrast:.3g} times the light of the brighter one beside it, {why}"
        if self.share > MOST_SHARP:
            return (
                f"{100.0 * self.share:.0f} % of the pixels are sharper than the PSF, more than the "
                f"{100.0 * MOST_SHARP:.0f} % that defects can be: left as they are{told}"
            )
        parts = [
            f"{_counted(self.nDark)} far darker than those beside" if self.nDark else "",
            f"{_counted(self.nBright)} bright and alone" if self.nBright else "",
            f"{_counted(self.nLine)} of columns or rows" if self.nLine else "",
        ]
        bad = ", ".join(part for part in parts if part)
        found = [f"{bad}: BAD"] if bad else []
        if self.cosmicRays.size:
            found.append(f"{_counted(self.cosmicRays.size)} bright and touching, as cosmic rays leave them: CR")
        return "; ".join(found or ["no pixel sharper than the PSF"]) + told


@dataclass(frozen=True, eq=False)
class Defects(ByValue):
    """What `findDefects` found in an image.

    blocks : of one value; sharp : pixels sharper than the PSF.
    """

    blocks: Blocks
    sharp: SharpPixels

    @property
    def nPixels(self) -> int:
        """Number of pixels that are flagged."""
        return self.blocks.places.size + self.sharp.bad.size + self.sharp.cosmicRays.size

    @property
    def reason(self) -> str:
        """A sentence with what was found, and the numbers."""
        return f"{self.blocks.told}; {self.sharp.told}."

    @property
    def planes(self) -> Mapping[str, Places]:
        """Places of the pixels, row * width + column, by the mask plane that they get."""
        return {"NO_DATA": self.blocks.places, "BAD": self.sharp.bad, "CR": self.sharp.cosmicRays}


def findDefects(exposure: Exposure, threads: int = 1) -> Defects:
    """Find defects that the mask does not have.

    Parameters
    ----------
    exposure
        Not changed. What is bad by its mask is left out, and what is saturated: see `psfmatch.sources.findSaturation`.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    defects : Defects

    Notes
    -----
    A block of one value holds a square of equal pixels larger than chance makes. Pixels are sharper than the PSF where
    they exceed the brighter of both neighbours in their row or in their column by more than stars do, or two pixels
    beside each other do (dark ones likewise), significantly. The image's own stars tell the contrast of the PSF; where
    these are sharper than 1.3 pixels of FWHM, only what is twelve times as bright as its neighbours is called sharp.
    """
    return examineDefects(exposure, True, threads=threads)[0]


def examineDefects(
    exposure: Exposure,
    doFindSaturation: bool,
    saturation: float | None = None,
    trails: tuple[float, float, int] | None = None,
    threads: int = 1,
) -> tuple[Defects, Saturation | None, Exposure]:
    """Return the defects of an image, where it saturates if that is asked for, and the image without sharp pixels.

    Blocks of one value are no sky and come first; saturated pixels, by what is found or by the level and trails that
    are known, are as sharp as defects and are left out of these. The image has NO_DATA on blocks, and SAT on what is
    saturated and within `SATURATED_GROWTH` of it.
    """
    blocks = findBlocks(exposure, threads)
    exposure = flagPlaces(exposure, {"NO_DATA": blocks.places})
    found = findSaturation(exposure, threads) if doFindSaturation else None
    if found is not None and (found.source == "plateau" or found.trails is not None):
        # Bright columns and stuck pixels pile up, too. Any plane but BAD: a mask of nothing else would call for a
        # second look.
        lone = _lonePixels(exposure, threads)
        if lone.size:
            found = findSaturation(flagPlaces(exposure, {"CR": lone}), threads)
    flagged = flagSaturation(exposure, found or saturation, SATURATED_GROWTH, threads, trails)
    defects = Defects(blocks, findSharpPixels(flagged, threads))
    return defects, None if found is None else _withoutRays(found, defects, exposure.width), flagged


def _lonePixels(exposure: Exposure, threads: int) -> Places:
    """Return places of bright pixels, columns and rows that no pixel beside them is as bright as.

    Bleed trails touch a star's core. Bright pixels that touch count where they have the very value of lone ones.
    """
    stamp = stampTuple(exposure.maskedImage, DEFAULT_BAD_PLANES)
    places, kinds, _, _ = _core.sharpPixels(stamp, nThreads=threads)
    lines = places[kinds == LINE]
    rows, columns = np.divmod(lines, exposure.width)
    image = exposure.image
    isLine = np.zeros(image.shape, dtype=np.bool_)
    isLine[rows, columns] = True
    level = float(np.nanmedian(image[:: max(1, image.shape[0] // 64)]))
    isLone = np.zeros(lines.size, dtype=np.bool_)
    for across, dy, dx in ((rows, 1, 0), (columns, 0, 1)):
        isTouched = np.zeros(lines.size, dtype=np.bool_)
        for sign in (-1, 1):
            y = np.clip(rows + sign * dy, 0, image.shape[0] - 1)
            x = np.clip(columns + sign * dx, 0, image.shape[1] - 1)
            isTouched |= ~isLine[y, x] & (image[y, x] - level > AS_BRIGHT * (image[rows, columns] - level))
        counts, touched = np.bincount(across), np.bincount(across, weights=isTouched)
        isLone |= ((counts >= LEAST_LINE) & (touched <= MOST_TOUCHED * counts))[across]
    single, touching = places[kinds == BRIGHT], places[kinds == TRAIL]
    stuck = touching[np.isin(image.reshape(-1)[touching], image.reshape(-1)[single])]
    lone: Places = np.concatenate([lines[isLone], single, stuck])
    return lone


def _withoutRays(saturation: Saturation, defects: Defects, width: int) -> Saturation:
    """Return what was found without those bright stars that turned out to be none."""
    taken = set(defects.sharp.bad.tolist()) | set(defects.sharp.cosmicRays.tolist())
    stars = tuple((x, y) for x, y in saturation.wholeStars if y * width + x not in taken)
    return saturation if len(stars) == len(saturation.wholeStars) else replace(saturation, wholeStars=stars)


def flagDefects(exposure: Exposure, defects: Defects) -> Exposure:
    """Return the exposure with NO_DATA, BAD and CR on what `findDefects` found; it shares image and variance."""
    return flagPlaces(exposure, defects.planes)


def findBlocks(exposure: Exposure, threads: int = 1) -> Blocks:
    """Find blocks of one value; see `findDefects`."""
    mask = exposure.mask
    bad = mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    places, blocks, _ = _core.constantBlocks(exposure.image, np.asarray(mask), badBits=bad, nThreads=threads)
    values: dict[float, int] = {}
    for value, count in blocks:
        values[value] = values.get(value, 0) + count
    return Blocks(places, tuple(sorted(values.items(), key=lambda item: -item[1])))


def findSharpPixels(exposure: Exposure, threads: int = 1) -> SharpPixels:
    """Find pixels sharper than the PSF; see `findDefects`."""
    places, kinds, contrast, nStars = _core.sharpPixels(
        stampTuple(exposure.maskedImage, DEFAULT_BAD_PLANES), nThreads=threads
    )
    isRay = kinds == TRAIL
    found = SharpPixels(
        bad=places[~isRay],
        cosmicRays=places[isRay],
        nDark=int(np.count_nonzero(kinds == DARK)),
        nBright=int(np.count_nonzero(kinds == BRIGHT)),
        nLine=int(np.count_nonzero(kinds == LINE)),
        contrast=contrast,
        nStars=nStars,
        share=places.size / exposure.image.size,
    )
    return found if found.share <= MOST_SHARP else replace(found, bad=places[:0], cosmicRays=places[:0])


def flagPlaces(exposure: Exposure, planes: Mapping[str, Places]) -> Exposure:
    """Return the exposure with mask planes set at places (row * width + column); itself if there are none."""
    if not any(places.size for places in planes.values()):
        return exposure
    mask = exposure.mask.copy()
    for name, places in planes.items():
        if places.size:
            bit = np.int32(1 << mask.addPlane(name))
            rows, columns = np.divmod(places, mask.shape[1])
            np.asarray(mask)[rows, columns] |= bit
    pixels = MaskedImage(exposure.image, Mask(mask), exposure.variance, exposure.xy0)
    return exposure.withPixels(pixels)


def _counted(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"

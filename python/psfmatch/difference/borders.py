"""The border of a difference, where the kernel reaches beyond the image that it is applied to.

There a convolution is of what the image has beyond - a template may cover more than the science image - or else of its
outermost pixels, which are taken to go on. A pixel whose kernel holds more than a small part on what nobody has seen
carries EDGE; where that part is no more than a fifth BORDER, too, which tells that its value will do to find sources.
The convolution itself leaves a border of half a kernel, however little the kernel's outskirts hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from psfmatch.difference.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.images import BORDER, Box, Mask, MaskedImage
from psfmatch.io import MAX_PLANES
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel, SpatialFunction2D
from psfmatch.threads import mapThreads, resolveThreads

__all__ = ["EDGE_FRACTION", "Border", "completeBorder", "frameOf"]

BoolArray = npt.NDArray[np.bool_]

EDGE_FRACTION = 0.05
"""Of sum |K|. Measured on simulated fields, sparse and dense, kernels of sigma 1 and 2 px: pixels that lack up to a
tenth of their kernel scatter by their noise, without an outlier."""
USABLE_FRACTION = 0.2
"""Pixels that lack more of their kernel are off by up to 40 sigma where a star lies on the border; of those that lack a
tenth to a fifth, 3 in 10 000 by more than 5 in a dense field."""


@dataclass(frozen=True)
class Border:
    """The border of a difference.

    half : the kernel's reach (y, x), pixels; reach : half side of the square that holds all of it but the fraction;
    hasMore, hasAll : whether the convolved image has pixels beyond, and all that the kernel reaches; edgeFraction : of
    the image's pixels, carrying EDGE; fullFraction : that would if every pixel did whose kernel is cut off.
    """

    half: tuple[int, int]
    reach: int
    hasMore: bool
    hasAll: bool
    edgeFraction: float
    fullFraction: float


def frameOf(box: Box, height: int, width: int) -> tuple[Box, ...]:
    """Return the border of a box, `height` rows and `width` columns wide, in boxes that do not overlap."""
    height, width = min(height, box.height // 2), min(width, box.width // 2)
    rows = box.height - 2 * height
    parts = (
        Box(box.x0, box.y0, box.width, height),
        Box(box.x0, box.y1 - height, box.width, height),
        Box(box.x0, box.y0 + height, width, rows),
        Box(box.x1 - width, box.y0 + height, width, rows),
    )
    return tuple(part for part in parts if not part.isEmpty)


def completeBorder(
    difference: MaskedImage,
    matched: MaskedImage,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    kernel: LinearCombinationKernel,
    background: SpatialFunction2D,
    *,
    edges: EdgeHandling,
    fraction: float,
    beyond: Callable[[Box], MaskedImage] | None = None,
    isScienceConvolved: bool = False,
    kernelSum: float = 1.0,
    instructionSet: str = "automatic",
    threads: int | None = None,
) -> Border | None:
    """Compute the border of half a kernel in a difference and its matched image; write it into both.

    Parameters
    ----------
    difference, matched
        As `psfmatch.difference.subtraction` and `LinearCombinationKernel.convolve` have made them.
    convolved, unconvolved
        The image that the kernel is applied to, and the other one; on the difference's pixels, not changed.
    kernel, background
        Of the difference.
    edges
        How bad pixels were convolved. With ``copyEdge`` pixels with EDGE are computed, too; else they stay as they are.
    fraction
        Of sum |K| that may lie on what nobody has seen before a pixel counts as EDGE; 0 leaves everything as it is.
    beyond
        Gives what the convolved image has on a box beyond its border, NO_DATA where it ends.
    isScienceConvolved, kernelSum
        As for `psfmatch.difference.subtraction.subtractMatched`.
    instructionSet
        Of the convolution.
    threads
        Number of threads; the result does not depend on it.
    """
    half, box = (kernel.shape[0] // 2, kernel.shape[1] // 2), difference.getBBox()
    if not fraction > 0.0 or half == (0, 0):
        return None
    reach, innermost = (kernel.reach(box, share) for share in (fraction, max(fraction, USABLE_FRACTION)))
    around = () if beyond is None else tuple(beyond(part) for part in frameOf(_grown(box, half), *half))

    def computed(part: Box) -> tuple[MaskedImage, MaskedImage, BoolArray, BoolArray, int]:
        wide, isMissing = _surrounded(convolved, part, half, around)
        isEdge, isLost = (
            _nearBorder(part, box, pixels) if isMissing is None else _anyWithin(isMissing, pixels, half)
            for pixels in (reach, innermost)
        )
        piece = kernel.convolve(wide, edges, instructionSet=instructionSet).subset(part)
        other = unconvolved.subset(part)
        subtracted = (
            subtractMatchedScience(piece, other, background, kernelSum)
            if isScienceConvolved
            else subtractMatchedTemplate(other, piece, background)
        )
        return piece, subtracted, isEdge, isLost, 1 if isMissing is None else int(np.count_nonzero(isMissing))

    parts = frameOf(box, *half)
    nEdge, nMissing = 0, 0
    # Side by side: one of them has not work enough for all threads.
    for part, (piece, subtracted, isEdge, isLost, n) in zip(
        parts, mapThreads(computed, parts, resolveThreads(threads)), strict=True
    ):
        for whole, pixels in ((matched, piece), (difference, subtracted)):
            _write(whole.subset(part), pixels, isEdge, isLost, edges.copyEdge)
        nEdge, nMissing = nEdge + int(np.count_nonzero(isEdge)), nMissing + n
    inner = max(0, box.width - 2 * half[1]) * max(0, box.height - 2 * half[0])
    area = box.width * box.height
    hasMore = any(bool(np.isfinite(each.image).any()) for each in around)
    return Border(half, reach, hasMore, nMissing == 0, nEdge / area, 1.0 - inner / area)


def _grown(box: Box, half: tuple[int, int]) -> Box:
    return Box(box.x0 - half[1], box.y0 - half[0], box.width + 2 * half[1], box.height + 2 * half[0])


def _surrounded(
    image: MaskedImage, part: Box, half: tuple[int, int], around: tuple[MaskedImage, ...]
) -> tuple[MaskedImage, BoolArray | None]:
    """Return a part of an image with what lies about it, and which pixels are none that anybody has seen.

    `around` are pixels beyond the image's border; where they have no data the image's outermost pixels go on. Without
    any of them nothing beyond has been seen: None.
    """
    wide = _grown(part, half)
    common = wide.intersection(image.getBBox())
    top, left = common.y0 - wide.y0, common.x0 - wide.x0
    bottom, right = top + common.height, left + common.width
    mask = Mask.ofBits(np.empty(wide.shape, dtype=np.int32), image.mask.planes)
    values, variance = np.empty(wide.shape, dtype=np.float32), np.empty(wide.shape, dtype=np.float32)
    result, inner = MaskedImage(values, mask, variance, (wide.x0, wide.y0)), image.subset(common)
    pairs: tuple[tuple[Any, Any], ...] = (
        (values, inner.image),
        (variance, inner.variance),
        (np.asarray(mask), np.asarray(inner.mask)),
    )
    for pixels, own in pairs:
        pixels[top:bottom, left:right] = own
        pixels[top:bottom, :left], pixels[top:bottom, right:] = own[:, :1], own[:, -1:]
        pixels[:top], pixels[bottom:] = pixels[top], pixels[bottom - 1]
    if not around:
        return result, None
    isMissing = np.ones(wide.shape, dtype=bool)
    isMissing[top:bottom, left:right] = False
    for piece in around:
        shared = wide.intersection(piece.getBBox())
        if shared.isEmpty:
            continue
        there = piece.subset(shared)
        isKnown = ~(there.mask.hasAny("NO_DATA") | np.isnan(there.image))
        _paste(result.subset(shared), there, isKnown)
        y, x = shared.y0 - wide.y0, shared.x0 - wide.x0
        isMissing[y : y + shared.height, x : x + shared.width] &= ~isKnown
    return result, isMissing


def _nearBorder(part: Box, box: Box, reach: int) -> BoolArray:
    """Return which pixels of a part lie within so many pixels of the border of a box."""
    y, x = np.arange(part.y0, part.y1), np.arange(part.x0, part.x1)
    isRow = (y < box.y0 + reach) | (y >= box.y1 - reach)
    return np.asarray(isRow[:, np.newaxis] | (x < box.x0 + reach) | (x >= box.x1 - reach))


def _anyWithin(isSet: BoolArray, reach: int, half: tuple[int, int]) -> BoolArray:
    """Return whether the square of half side `reach` about a pixel has one that is set; `half` is cut off all round."""
    height, width = isSet.shape[0] - 2 * half[0], isSet.shape[1] - 2 * half[1]
    if not isSet.any():
        return np.zeros((height, width), dtype=bool)
    ry, rx = min(reach, half[0]), min(reach, half[1])
    count = np.zeros((isSet.shape[0] + 1, isSet.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(isSet, axis=0), axis=1, out=count[1:, 1:])
    rows, columns = half[0] + np.arange(height), half[1] + np.arange(width)
    inRows = count[rows + ry + 1] - count[rows - ry]
    return np.asarray(inRows[:, columns + rx + 1] > inRows[:, columns - rx])


def _paste(target: MaskedImage, pixels: MaskedImage, where: BoolArray | Literal[True]) -> None:
    """Write pixels into a view where that is true; planes by name."""
    mask = pixels.mask
    if not mask.planes.items() <= target.mask.planes.items():
        mask = Mask(np.zeros(target.shape, dtype=np.int32), target.mask.planes)
        mask.merge(pixels.mask)
        for name in mask.planes:
            target.mask.addPlane(name)
    for to, values in (
        (target.image, pixels.image),
        (target.variance, pixels.variance),
        (np.asarray(target.mask), np.asarray(mask)),
    ):
        np.copyto(to, values, where=where)


def _write(target: MaskedImage, pixels: MaskedImage, isEdge: BoolArray, isLost: BoolArray, copyEdge: bool) -> None:
    """Write the pixels of a part of the border into the view of an image, and flag those whose kernel is cut off."""
    isAny = bool(isEdge.any())
    _paste(target, pixels, True if copyEdge or not isAny else ~isEdge)
    if not (copyEdge and isAny):
        return
    mask = target.mask
    edge, bits = np.int32(1 << mask.addPlane("EDGE")), np.asarray(mask)
    # Without a free bit the border is as unusable as any other edge.
    hasBit = BORDER in mask.planes or len(mask.planes) < MAX_PLANES
    border = np.int32(1 << mask.addPlane(BORDER) if hasBit else 0)
    # What either image calls its edge is one for another reason.
    bits |= np.where(isEdge & ~isLost & ((bits & edge) == 0), border, np.int32(0))
    bits |= np.where(isEdge, edge, np.int32(0))

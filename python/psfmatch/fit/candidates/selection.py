"""Which stars the kernel is fitted to: the cutting of stamps that are good in both images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.later import laterView
from psfmatch.errors import NoKernelCandidatesError, advice
from psfmatch.fit.candidates.cells import KernelCandidate, SpatialCellSet
from psfmatch.images import Box, Exposure, MaskedImage, requireSameShape, stampTuple
from psfmatch.io.sourceTable import AnyTable, asTable
from psfmatch.registration import coveredArea
from psfmatch.sources import Footprint

if TYPE_CHECKING:
    from astropy.table import Row

__all__ = [
    "StampRules",
    "buildCellSet",
    "makeCandidateList",
    "requireSources",
    "stampRules",
]

log = logging.getLogger("psfmatch.fit")


@dataclass(frozen=True)
class StampRules:
    """What a stamp must be like.

    halfWidth : pixels about the nearest pixel of the source, kernelSize : side of the kernel in pixels,
    badPlanes : planes that count against it, maxLostFraction : of its weight that bad pixels may take (0: none).
    """

    halfWidth: int
    kernelSize: int
    badPlanes: tuple[str, ...]
    maxLostFraction: float


def stampRules(options: KernelOptions, kernelSize: int) -> StampRules:
    """Return the rules of a kernel's options for a kernel of `kernelSize` pixels."""
    stamps = options.stamps
    grow = int(stamps.fpGrowKernelScaling * kernelSize + 0.5) if stamps.scaleByFwhm else stamps.fpGrowPix
    planes = dict.fromkeys((*stamps.badMaskPlanes, *options.badPlanes()))
    return StampRules(
        halfWidth=grow,
        kernelSize=kernelSize,
        badPlanes=tuple(planes),
        maxLostFraction=options.maskedStampFraction if options.zeroWeightBadPixels else 0.0,
    )


def requireSources(sources: AnyTable, exposure: Exposure, planes: Iterable[str]) -> None:
    """Raise NoKernelCandidatesError, with what the pixels are like, if detection found nothing."""
    if len(sources):
        return
    planes = tuple(planes)
    usable = int(np.count_nonzero(~exposure.maskedImage.badPixels(planes)))
    if usable:
        message = (
            "no source was found on the science image. Lower selectDetection.thresholdValue"
            f"{advice(' or give a candidateList')}."
        )
    else:
        message = f"no usable pixel on the science image: {describeBadPixels(exposure.maskedImage, planes)}."
    raise NoKernelCandidatesError(f"No kernel candidates: {message}", nSources=0, nUsablePixels=usable)


def describeBadPixels(maskedImage: MaskedImage, planes: Iterable[str]) -> str:
    """Say in words why pixels of an image cannot be used, kind by kind."""
    planes = tuple(dict.fromkeys(planes))
    image, variance = maskedImage.image, maskedImage.variance
    counts = {
        f"have a bad mask plane ({', '.join(planes)})": np.asarray(maskedImage.mask)
        & maskedImage.mask.getPlaneBitMask(planes, ignoreMissing=True)
        != 0,
        "are not finite": ~np.isfinite(image),
        "have a variance that is negative or not finite": ~(np.isfinite(variance) & (variance >= 0.0)),
    }
    told = [f"{np.count_nonzero(found)} {what}" for what, found in counts.items() if found.any()]
    return f"of {image.size} pixels " + (", ".join(told) or "none is bad")


def makeCandidateList(
    template: MaskedImage, science: MaskedImage, sources: AnyTable, rules: StampRules, threads: int = 1
) -> tuple[list[dict[str, Row | Footprint]], dict[str, int]]:
    """Turn sources into stamps and keep those that are good in both images.

    Parameters
    ----------
    template, science
        Images of one shape and one xy0, registered pixel for pixel.
    sources
        Table with x and y, parent pixels.
    rules
        Size of the stamps and what disqualifies one.
    threads
        Number of threads.

    Returns
    -------
    candidates : list of dict
        Each with ``source`` (the table's row) and ``footprint``.
    rejected : dict
        Number of sources by reason of rejection.

    Raises
    ------
    NoKernelCandidatesError
        If there is no source, or none is left.
    """
    requireSameShape(template, science)
    if len(sources) < 1:
        raise NoKernelCandidatesError("No candidates in candidateList: it is empty", nSources=0)
    from astropy.table import Row

    table = asTable(sources)
    width = 2 * rules.halfWidth + 1
    log.info("Growing %d kernel candidate stars by %d pixels", len(sources), rules.halfWidth)
    x, y = np.asarray(sources["x"], dtype=np.float64), np.asarray(sources["y"], dtype=np.float64)
    boxes = _centredBoxes(x, y, rules.halfWidth, science.getBBox())
    isInside = boxes[:, 2] > 0
    isFinite = np.isfinite(x) & np.isfinite(y)
    isLarge = np.minimum(boxes[:, 2], boxes[:, 3]) >= rules.kernelSize
    local = boxes[isLarge] - (*science.xy0, 0, 0)
    images = stampTuple(template, rules.badPlanes), stampTuple(science, rules.badPlanes)
    isNew = _firstOfEachPixel(boxes)
    isGood = isLarge.copy()
    isGood[isLarge] = np.array(_core.lostWeights(*images, local, nThreads=threads)) <= rules.maxLostFraction
    candidates: list[dict[str, Row | Footprint]] = [
        {"source": Row(table, i), "footprint": Footprint(Box(*boxes[i].tolist()), (float(x[i]), float(y[i])))}
        for i in np.flatnonzero(isGood & isNew).tolist()
    ]
    tooSmall = "too close to the edge" if width >= rules.kernelSize else "in stamps smaller than the kernel"
    counts = {
        "without a finite position": int(np.count_nonzero(~isFinite)),
        "outside the image": int(np.count_nonzero(isFinite & ~isInside)),
        tooSmall: int(np.count_nonzero(isInside & ~isLarge)),
        "bad pixels in the stamp": int(np.count_nonzero(isLarge & ~isGood)),
        "named twice": int(np.count_nonzero(isGood & ~isNew)),
    }
    rejected = {reason: count for reason, count in counts.items() if count}
    laterView(
        "showSelection",
        science,
        x,
        y,
        {
            tooSmall: isInside & ~isLarge,
            "bad pixels in the stamp": isLarge & ~isGood,
            "named twice": isGood & ~isNew,
            "outside the image": ~isInside,
        },
    )
    log.info("Selected %d / %d sources for KernelCandidacy", len(candidates), len(sources))
    if not candidates:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
        advice = (
            f"Stamps are {width} pixels wide, the kernel {rules.kernelSize}: raise "
            "detectionConfig.fpGrowPix, or set detectionConfig.scaleByFwhm."
            if width < rules.kernelSize
            else f"Stamps are {width} pixels wide; try a smaller kernelSize or a higher maskedStampFraction. "
            f"Science image: {describeBadPixels(science, rules.badPlanes)}; template: "
            f"{describeBadPixels(template, rules.badPlanes)}."
        )
        raise NoKernelCandidatesError(
            f"Cannot find any objects suitable for KernelCandidacy: of {len(sources)} sources {reasons}. {advice}",
            nSources=len(sources),
            rejected=rejected,
        )
    return candidates, rejected


def _firstOfEachPixel(boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which boxes (N, 4) come first among those of the same place: one star counts once."""
    first = np.zeros(len(boxes), dtype=bool)
    first[np.unique(boxes, axis=0, return_index=True)[1]] = True
    return first


def buildCellSet(
    template: MaskedImage, science: MaskedImage, candidates: Sequence[dict[str, Any]], options: KernelOptions
) -> SpatialCellSet:
    """Cut the candidates' stamps out of both images, as views, and put them into cells.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, of one shape and one xy0.
    candidates
        The list of `makeCandidateList`, or dicts with ``footprint`` alone.
    options
        Of the kernel.

    Raises
    ------
    NoKernelCandidatesError
        If the list is empty.
    """
    if not candidates:
        raise NoKernelCandidatesError("Candidate list must be populated by makeCandidateList", nSources=0)
    area = coveredArea(template, science)
    if not all(area.contains(*candidate["footprint"].centroid) for candidate in candidates):
        area = science.getBBox()
    cellSet = SpatialCellSet(area, options.sizeCellX, options.sizeCellY)
    boxes = [candidate["footprint"].bbox for candidate in candidates]
    ratings = _core.coreSignalToNoise(
        stampTuple(science, options.badPlanes()),
        np.array([(box.x0 - science.xy0[0], box.y0 - science.xy0[1], box.width, box.height) for box in boxes]),
        coreRadius=options.candidateCoreRadius,
    )
    for candidate, box, rating in zip(candidates, boxes, ratings, strict=True):
        x, y = candidate["footprint"].centroid
        stamps = template.subset(box), science.subset(box)
        cellSet.insertCandidate(KernelCandidate(x, y, *stamps, options, source=candidate.get("source"), rating=rating))
    return cellSet


def _centredBoxes(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], halfWidth: int, bbox: Box
) -> npt.NDArray[np.int64]:
    """Return x0, y0, width, height of boxes about the nearest pixels, (N, 4), parent pixels.

    A box shrinks on both sides alike where the image ends; its width is 0 for positions outside, or not finite.
    """
    inside = bbox.contains(x, y)
    px = np.floor(np.where(inside, x, bbox.x0) + 0.5).astype(np.int64)
    py = np.floor(np.where(inside, y, bbox.y0) + 0.5).astype(np.int64)
    rx = np.minimum(halfWidth, np.minimum(px - bbox.x0, bbox.x1 - 1 - px))
    ry = np.minimum(halfWidth, np.minimum(py - bbox.y0, bbox.y1 - 1 - py))
    boxes = np.stack([px - rx, py - ry, 2 * rx + 1, 2 * ry + 1], axis=1)
    boxes[~inside] = 0
    return boxes

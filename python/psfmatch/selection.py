"""Which stars the kernel is fitted to: detection, and the cutting of stamps that are good in both images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Row, Table

from psfmatch.cells import KernelCandidate, SpatialCellSet
from psfmatch.config import SubtractBackgroundConfig
from psfmatch.detection import SourceDetectionTask, estimateBackground
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.exposure import Box, Exposure, MaskedImage
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.visitors import badPlanesOf

__all__ = ["Footprint", "StampRules", "buildCellSet", "getSelectSources", "makeCandidateList", "toSourceTable"]

log = logging.getLogger("psfmatch.selection")


@dataclass(frozen=True)
class Footprint:
    """The pixels that one source contributes: its box and centroid (x, y), parent pixels."""

    bbox: Box
    centroid: tuple[float, float]


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


def stampRules(config: Any, kernelSize: int) -> StampRules:
    """Return the rules of an active kernel configuration for a kernel of `kernelSize` pixels."""
    detection = config.detectionConfig
    grow = int(detection.fpGrowKernelScaling * kernelSize + 0.5) if detection.scaleByFwhm else detection.fpGrowPix
    planes = dict.fromkeys((*detection.badMaskPlanes, *badPlanesOf(config)))
    return StampRules(
        halfWidth=grow,
        kernelSize=kernelSize,
        badPlanes=tuple(planes),
        maxLostFraction=config.maskedStampFraction if config.zeroWeightBadPixels else 0.0,
    )


def getSelectSources(
    exposure: Exposure,
    detection: SourceDetectionTask,
    measurement: SourceMeasurementTask,
    backgroundConfig: SubtractBackgroundConfig,
    sigma: float,
    doSmooth: bool = True,
    threads: int | None = None,
) -> Table:
    """Detect and measure the sources of an exposure, which is not changed.

    Parameters
    ----------
    exposure
        Image to search.
    detection, measurement
        The subtasks.
    backgroundConfig
        Mesh of the temporary background.
    sigma
        Width of the PSF in pixels.
    doSmooth
        Smooth with a Gaussian of that width before detection.
    threads
        Number of threads.

    Returns
    -------
    sources : Table
        As `SourceMeasurementTask.run`, brightest first.
    """
    maskedImage = exposure.maskedImage
    bad = maskedImage.badPixels((*backgroundConfig.ignoredPixelMask, *detection.config.statsMask))
    if bad.all():
        return measurement.run(detection.run(maskedImage, bad, sigma, doSmooth=False), exposure)
    try:
        background: npt.NDArray[np.float32] | float = estimateBackground(maskedImage, bad, backgroundConfig)
    except ValueError as error:
        background = float(np.median(maskedImage.image[~bad]))
        log.warning("Background failed (%s); using the median %.4g for detection", error, background)
    skyless = MaskedImage(maskedImage.image - background, maskedImage.mask, maskedImage.variance, xy0=maskedImage.xy0)
    sources = detection.run(skyless, bad, sigma, doSmooth, threads)
    return measurement.run(sources, exposure)


def toSourceTable(candidates: Any, exposure: Exposure) -> Table:
    """Return a table with columns x and y (parent pixels) from what a caller gave.

    Parameters
    ----------
    candidates
        A Table with x and y, or with ra and dec (degrees) if the exposure has a WCS; or an (N, 2) array of x, y.
    exposure
        Gives the WCS.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For sky positions without a WCS, or an array of another shape.
    """
    if isinstance(candidates, Table):
        names = set(candidates.colnames)
        if {"x", "y"} <= names:
            return candidates
        if {"ra", "dec"} <= names:
            if exposure.wcs is None or not exposure.wcs.has_celestial:
                raise ValueError("candidateList has sky positions but the science image has no celestial WCS")
            table = candidates.copy()
            table["x"], table["y"] = exposure.wcs.celestial.all_world2pix(
                np.asarray(table["ra"], dtype=float), np.asarray(table["dec"], dtype=float), 0
            )
            return table
        raise ValueError(
            f"candidateList has the columns {', '.join(candidates.colnames)}; it needs x and y (pixels) or ra and "
            "dec (degrees)"
        )
    if isinstance(candidates, np.ndarray) or (isinstance(candidates, Sequence) and not isinstance(candidates, str)):
        positions = np.asarray(candidates, dtype=np.float64)
        if positions.size == 0:
            return Table({"x": np.zeros(0), "y": np.zeros(0)})
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise ValueError(f"candidateList has shape {positions.shape}; an array of positions must be (N, 2)")
        return Table({"x": positions[:, 0], "y": positions[:, 1]})
    raise TypeError(f"candidateList is a {type(candidates).__name__}; give None, a Table, or an (N, 2) array of x, y")


def makeCandidateList(
    template: MaskedImage, science: MaskedImage, sources: Table, rules: StampRules
) -> tuple[list[dict[str, Row | Footprint]], dict[str, int]]:
    """Turn sources into stamps and keep those that are good in both images.

    Parameters
    ----------
    template, science
        Images of one shape, registered pixel for pixel; positions are in parent pixels of the science image.
    sources
        Table with x and y.
    rules
        Size of the stamps and what disqualifies one.

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
    if len(sources) < 1:
        raise NoKernelCandidatesError(
            "No candidates in candidateList: no source was found on the science image. Lower "
            "selectDetection.thresholdValue or give a candidateList.",
            nSources=0,
        )
    log.info("Growing %d kernel candidate stars by %d pixels", len(sources), rules.halfWidth)
    rejected: dict[str, int] = {}
    candidates: list[dict[str, Row | Footprint]] = []
    bbox = science.getBBox()
    offset = (template.xy0[0] - science.xy0[0], template.xy0[1] - science.xy0[1])
    for source in sources:
        x, y = float(source["x"]), float(source["y"])
        box = _centredBox(x, y, rules.halfWidth, bbox) if math.isfinite(x) and math.isfinite(y) else None
        if box is None:
            reason: str | None = "outside the image"
        elif min(box.width, box.height) < rules.kernelSize:
            reason = "too close to the edge"
        else:
            templateBox = Box(box.x0 + offset[0], box.y0 + offset[1], box.width, box.height)
            bad = science.subset(box).badPixels(rules.badPlanes)
            bad = bad | template.subset(templateBox).badPixels(rules.badPlanes)
            reason = "bad pixels in the stamp" if _lostWeight(bad) > rules.maxLostFraction else None
        if reason is None:
            assert box is not None
            candidates.append({"source": source, "footprint": Footprint(box, (x, y))})
        else:
            rejected[reason] = rejected.get(reason, 0) + 1
    log.info("Selected %d / %d sources for KernelCandidacy", len(candidates), len(sources))
    if not candidates:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
        raise NoKernelCandidatesError(
            f"Cannot find any objects suitable for KernelCandidacy: of {len(sources)} sources {reasons}. "
            f"Stamps are {2 * rules.halfWidth + 1} pixels wide; try a smaller kernelSize, a higher "
            "maskedStampFraction, or check the masks.",
            nSources=len(sources),
            rejected=rejected,
        )
    return candidates, rejected


def buildCellSet(
    template: MaskedImage, science: MaskedImage, candidates: Sequence[dict[str, Any]], config: Any
) -> SpatialCellSet:
    """Cut the candidates' stamps out of both images, as views, and put them into cells.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, of one shape and one xy0.
    candidates
        The list of `makeCandidateList`.
    config
        Active kernel configuration.

    Raises
    ------
    NoKernelCandidatesError
        If the list is empty.
    """
    if not candidates:
        raise NoKernelCandidatesError("Candidate list must be populated by makeCandidateList", nSources=0)
    cellSet = SpatialCellSet(science.getBBox(), config.sizeCellX, config.sizeCellY)
    for candidate in candidates:
        footprint: Footprint = candidate["footprint"]
        x, y = footprint.centroid
        stamps = template.subset(footprint.bbox), science.subset(footprint.bbox)
        cellSet.insertCandidate(KernelCandidate(x, y, *stamps, config=config, source=candidate["source"]))
    return cellSet


def _centredBox(x: float, y: float, halfWidth: int, bbox: Box) -> Box | None:
    """Return the box about the nearest pixel, shrunk on both sides where the image ends; None if outside."""
    if not bbox.contains(x, y):
        return None
    px, py = math.floor(x + 0.5), math.floor(y + 0.5)
    rx = min(halfWidth, px - bbox.x0, bbox.x1 - 1 - px)
    ry = min(halfWidth, py - bbox.y0, bbox.y1 - 1 - py)
    return Box(px - rx, py - ry, 2 * rx + 1, 2 * ry + 1)


def _lostWeight(bad: npt.NDArray[np.bool_]) -> float:
    """Return the share of a stamp's weight in bad pixels: by area, or by light of a star in its middle.

    The larger of both counts: many lost sky pixels or few in the core spoil a fit alike. The star is taken as a
    Gaussian whose sigma is a tenth of the stamp, 4 pixels for the usual 43.
    """
    if not bad.any():
        return 0.0
    height, width = bad.shape
    sigma = 0.1 * max(height, width)
    profileY = np.exp(-0.5 * ((np.arange(height) - height // 2) / sigma) ** 2)
    profileX = np.exp(-0.5 * ((np.arange(width) - width // 2) / sigma) ** 2)
    light = float(profileY @ bad @ profileX / (profileY.sum() * profileX.sum()))
    return max(float(bad.mean()), light)

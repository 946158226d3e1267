"""Kernel candidates without a catalogue: connected pixels above a threshold, grown to stamps without a bad pixel.

A helper that stands beside the task: its footprints serve as a candidateList.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import StampOptions, usualOptions
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.images import Box, MaskedImage, requireSameShape
from psfmatch.sources import Footprint, FootprintSet

if TYPE_CHECKING:
    from psfmatch.config import DetectionConfig

__all__ = ["KernelCandidateDetection"]

log = logging.getLogger("psfmatch.candidateDetection")


class KernelCandidateDetection:
    """Finds footprints on one image that hold no bad pixel in either.

    Parameters
    ----------
    detectionConfig
        ``detThreshold``, ``detThresholdType``, ``detOnTemplate``, ``badMaskPlanes``, ``fpNpixMin``, ``fpNpixMax`` and
        ``fpGrowPix`` are used; a `DetectionConfig` by default.

    Examples
    --------
    >>> detection = KernelCandidateDetection(config.kernel.active.detectionConfig)
    >>> detection.apply(template, science)
    >>> task.subtractMaskedImages(template, science, candidateList=detection.getFootprints())
    """

    def __init__(self, detectionConfig: DetectionConfig | None = None) -> None:
        self.options = (
            usualOptions().kernel.stamps if detectionConfig is None else StampOptions.fromConfig(detectionConfig)
        )
        self._footprints: list[Footprint] = []

    def getFootprints(self) -> list[Footprint]:
        """Return the footprints of the last `apply`: box of the grown pixels, centroid of those above the threshold."""
        return list(self._footprints)

    def apply(self, templateMaskedImage: MaskedImage, scienceMaskedImage: MaskedImage) -> list[Footprint]:
        """Find the footprints.

        Parameters
        ----------
        templateMaskedImage, scienceMaskedImage
            The image that is convolved and the image that is matched to, of one shape, without their sky; not
            changed. Footprints are in the parent pixels of the second.

        Returns
        -------
        footprints : list of Footprint
            In order of row and column; also kept for `getFootprints`.

        Raises
        ------
        InputImagesError
            If the shapes differ.
        NoKernelCandidatesError
            If none is left; ``rejected`` holds the counts by reason.
        """
        requireSameShape(templateMaskedImage, scienceMaskedImage)
        options = self.options
        self._footprints = []
        searched = templateMaskedImage if options.detOnTemplate else scienceMaskedImage
        with np.errstate(invalid="ignore"):
            isAbove = searched.image > self._threshold(searched)
        raw = FootprintSet.fromPixels(isAbove, scienceMaskedImage.xy0)
        areas = raw.areas
        bad = templateMaskedImage.badPixels(options.badMaskPlanes) | scienceMaskedImage.badPixels(options.badMaskPlanes)
        image = scienceMaskedImage.getBBox()
        rejected: Counter[str] = Counter()
        for box, area, footprint in zip(_stamps(raw, areas, options), areas, raw.toFootprints(), strict=True):
            if area < options.fpNpixMin:
                rejected["fewer pixels than fpNpixMin"] += 1
            elif not image.containsBox(box):
                rejected["too close to the edge"] += 1
            elif bad[box.y0 - image.y0 : box.y1 - image.y0, box.x0 - image.x0 : box.x1 - image.x0].any():
                rejected["bad pixels in the stamp"] += 1
            else:
                self._footprints.append(Footprint(box, _centroid(footprint, area, options)))
        log.info("Found %d clean footprints of %d above the threshold", len(self._footprints), len(raw))
        if not self._footprints:
            reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items()) or "none above the threshold"
            raise NoKernelCandidatesError(
                f"No clean footprint on the {'template' if options.detOnTemplate else 'science image'}: of {len(raw)} "
                f"{reasons}. Take the sky off first, lower detThreshold, or lower fpGrowPix",
                nSources=len(raw),
                rejected=dict(rejected),
            )
        return self.getFootprints()

    def _threshold(self, searched: MaskedImage) -> npt.NDArray[np.float32] | float:
        """Return the threshold in image units; (h, w) for pixel_stdev."""
        value = float(self.options.detThreshold)
        if self.options.detThresholdType == "value":
            return value
        if self.options.detThresholdType == "pixel_stdev":
            with np.errstate(invalid="ignore"):
                return np.float32(value) * np.sqrt(searched.variance)
        good = searched.image[~searched.badPixels(self.options.badMaskPlanes)].astype(np.float64)
        stdev = float(_core.clippedStatistics(good).stdev) if good.size else np.inf
        return value * (stdev if self.options.detThresholdType == "stdev" else stdev**2)


def _centroid(footprint: Footprint, area: int, options: StampOptions) -> tuple[float, float]:
    return _middle(footprint.bbox) if area > options.fpNpixMax else footprint.centroid


def _middle(box: Box) -> tuple[float, float]:
    """Return the central pixel of a box, towards its corner if there are two."""
    return float(box.x0 + (box.width - 1) // 2), float(box.y0 + (box.height - 1) // 2)


def _stamps(raw: FootprintSet, areas: npt.NDArray[np.int64], options: StampOptions) -> Iterable[Box]:
    """Yield the boxes of footprints grown by the Manhattan distance ``fpGrowPix``; large ones count as their middle."""
    for values, area in zip(raw.boxes.tolist(), areas, strict=True):
        box = Box(*values)
        if area > options.fpNpixMax:
            x, y = _middle(box)
            box = Box(int(x), int(y), 1, 1)
        # The box of a diamond about each pixel is the box of the pixels, grown alike on all sides.
        yield box.grown(options.fpGrowPix)

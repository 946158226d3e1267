"""Stars to fit: from files of positions, or found above a threshold, so many in each stamp; and as ds9 regions."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch.hotpants.parsing import Settings
from psfmatch.images import Box, Exposure
from psfmatch.tasks import ImagePsfMatchConfig, ImagePsfMatchTask

__all__ = ["ds9Regions", "readPositions", "starsToFit"]

log = logging.getLogger("psfmatch.hotpants")

FloatArray = npt.NDArray[np.float64]


def starsToFit(settings: Settings, science: Exposure) -> FloatArray | None:
    """Return the positions (N, 2), parent pixels, that the options ask for; None where they leave the choice.

    Parameters
    ----------
    science
        The region of the science image.

    Raises
    ------
    ValueError
        If a file of positions holds none.
    """
    files = [settings[name] for name in ("ssf", "cmp") if name in settings]
    listed = np.concatenate([readPositions(name) for name in files]) if files else np.empty((0, 2))
    if not files and not settings.anyOf("ft", "sft", "nft"):
        return None
    listed = np.asarray(listed - 1.0 + np.array(science.xy0), dtype=np.float64)
    if files and settings["afssc"] == 0:
        return listed
    box = science.getBBox()
    stars = _found(science, settings["ft"])
    occupied, wanted = _nOccupied(stars, box, settings), settings["nsx"] * settings["nsy"]
    if wanted - occupied > settings["nft"] * wanted:
        low = settings["ft"] * settings["sft"]
        log.info("%d of %d stamps have a star above %g sigma: searching from %g", occupied, wanted, settings["ft"], low)
        stars = _found(science, low)
    stars = np.concatenate([listed, stars])
    chosen: FloatArray = stars[_best(stars, box, settings)]
    return chosen


def readPositions(path: str) -> FloatArray:
    """Return the first two numbers (N, 2) of each line that begins with two; ValueError if none does."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8-sig").splitlines():
        try:
            x, y = (float(word) for word in line.split()[:2])
        except ValueError:  # comments and headings
            continue
        rows.append((x, y))
    if not rows:
        raise ValueError(f"{path}: no line begins with two numbers, x and y")
    return np.array(rows)


def ds9Regions(used: Iterable[tuple[float, float, bool]], halfWidth: int) -> str:
    """Return boxes for ds9, pixels from 1: green for stamps that were used, red for rejected ones."""
    lines = ["# Region file format: DS9", "global width=1", "image"]
    side = 2 * halfWidth + 1
    for x, y, isUsed in used:
        lines.append(f"box({x + 1:.2f},{y + 1:.2f},{side},{side},0) # color={'green' if isUsed else 'red'}")
    return "\n".join(lines) + "\n"


def _found(science: Exposure, threshold: float) -> FloatArray:
    """Return the positions of stars above a threshold (sigma), brightest first."""
    config = ImagePsfMatchConfig()
    config.selectDetection.thresholdValue = threshold
    sources: Table = ImagePsfMatchTask(config=config).getSelectSources(science)
    sources = sources[~np.asarray(sources["badCentre"]) & ~np.asarray(sources["isNegative"])]
    return np.stack([np.asarray(sources[name], dtype=np.float64) for name in ("x", "y")], axis=1)


def _stampOf(stars: FloatArray, box: Box, settings: Settings) -> npt.NDArray[np.int64]:
    """Return the number of the stamp that each star lies in."""
    nx, ny = settings["nsx"], settings["nsy"]
    columns = np.clip((stars[:, 0] - box.x0 + 0.5) * nx // box.width, 0, nx - 1)
    rows = np.clip((stars[:, 1] - box.y0 + 0.5) * ny // box.height, 0, ny - 1)
    return np.asarray(rows * nx + columns, dtype=np.int64)


def _nOccupied(stars: FloatArray, box: Box, settings: Settings) -> int:
    return int(np.unique(_stampOf(stars, box, settings)).size)


def _best(stars: FloatArray, box: Box, settings: Settings) -> npt.NDArray[np.int64]:
    """Return which stars are taken: the first ``-nss`` of each stamp."""
    stamps = _stampOf(stars, box, settings)
    order = np.argsort(stamps, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(stamps[order]) != 0]) if len(order) else np.empty(0, dtype=np.int64)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.sort(order[rank < settings["nss"]])

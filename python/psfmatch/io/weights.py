"""What a weight map is - 1/variance, relative, 0/1, or a variance after all - by its own pixels and the image's noise.

Maps of all these kinds have the same names. Where the scatter of the sky squared, times the weight, is about 1 they are
inverse variances; of one value and zeros they only say where data are; all others are taken as relative, and scaled to
the scatter of the sky. Where the weight is not positive there is no data, whatever the kind.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psfmatch.io.detectors import DetectorNoise
from psfmatch.io.masks import freeBit
from psfmatch.io.planes import DEFAULT_MASK_PLANES
from psfmatch.io.variance import blocksOf, estimateVariance, scatterOfBlocks, varianceFromInverse, varianceFromWeight
from psfmatch.threads import mapStrips

log = logging.getLogger("psfmatch.io")

AGREEMENT = 2.0
"""An inverse variance, or a variance, agrees with the sky's within this factor, even if resampled."""
BRIGHT = 0.99
"""Quantile of a block above which pixels show sources, where a variance is larger than that of the sky."""
RISE = 1.02


@dataclass(frozen=True)
class Weighted:
    """Variance (h, w), where it comes from, and, of a weight map, where there are no data, (h, w)."""

    variance: NDArray[np.float32]
    source: str
    noData: NDArray[np.bool_] | None = None


def varianceOfWeights(
    weight: NDArray[np.float32],
    image: NDArray[np.float32],
    label: str,
    name: str,
    gain: float | None = None,
    readNoise: float | None = None,
    detectors: Sequence[DetectorNoise] = (),
) -> Weighted:
    """Turn a weight map into a variance, and say in the log what it was taken for.

    Parameters
    ----------
    weight
        The map, (h, w), float32; NaN, 0 and less mean no data. Not changed.
    image
        The image, (h, w), float32; not changed.
    label, name
        Names of the image and of the map for messages.
    gain, readNoise
        Of the image, e-/count and e-; with them the map says only where data are.
    detectors
        What the header may mean, where the map says only where data are.

    Returns
    -------
    weighted
        New arrays.
    """
    noData = np.empty(weight.shape, dtype=np.bool_)

    def look(strip: slice) -> tuple[int, float, float]:
        good = (weight[strip] > 0) & (weight[strip] < np.inf)
        np.logical_not(good, out=noData[strip])
        values = weight[strip][good]
        return (values.size, float(values.min()), float(values.max())) if values.size else (0, np.inf, -np.inf)

    counts, smallest, largest = zip(*mapStrips(look, weight.shape), strict=True)
    nGood, low, high = sum(counts), min(smallest), max(largest)
    nBad = weight.size - nGood
    told = f"; {nBad} pixels without weight have no data" if nBad else ""
    if nGood == 0:
        log.warning("%s: %s has no positive weight: the image has no data", label, name)
        return Weighted(np.full(weight.shape, np.inf, np.float32), f"{name}, without any weight", noData)
    seen = np.where(noData, np.float32(np.nan), image) if nBad else image
    isFlat = low == high
    product, quotient = _againstTheSky(weight, seen)
    # A map of ones tells no more than where data are, even where the sky happens to scatter by 1.
    isInverse = 1.0 / AGREEMENT <= product <= AGREEMENT and not (isFlat and low == 1.0)
    if not isInverse and (gain is not None or (isFlat and (nBad or low == 1.0))):
        variance, source = estimateVariance(seen, gain, readNoise, label, detectors)
        if gain is None:
            log.warning("%s: %s is %g or no weight, and only says where data are%s", label, name, high, told)
            source = f"{source}, {name} says where data are"
    elif isInverse:
        log.info(
            "%s: %s is taken for 1/variance: the sky's variance times the weight is %.2f%s",
            label, name, product, told,
            extra={"isDecision": True},
        )  # fmt: skip
        variance, source = varianceFromInverse(weight), f"{name} inverted"
    elif 1.0 / AGREEMENT <= quotient <= AGREEMENT and not isFlat and _risesWithLight(weight, seen):
        log.warning(
            "%s: %s is taken for a variance, not a weight: it is larger where there is light, and the sky's variance "
            "is %.2f of it%s",
            label, name, quotient, told,
        )  # fmt: skip
        variance, source = weight.copy(), f"{name}, a variance"
    else:
        told = f"{label}, {name} (the sky's variance times it is {product:.3g}, not 1{told})"
        variance, source = varianceFromWeight(weight, seen, told), f"{name} scaled to the sky"
    if nBad:
        variance[noData] = np.inf
    return Weighted(variance, source, noData)


def withoutData(
    mask: NDArray[np.int32] | None, planes: dict[str, int] | None, noData: NDArray[np.bool_]
) -> tuple[NDArray[np.int32] | None, dict[str, int] | None]:
    """Return a mask, changed, or new if there is none, and its planes, with NO_DATA where an image has no data."""
    if not noData.any():
        return mask, planes
    if mask is None or planes is None:
        mask, planes = np.zeros(noData.shape, dtype=np.int32), {"BAD": DEFAULT_MASK_PLANES["BAD"]}
    planes = dict(planes)
    if "NO_DATA" not in planes:
        if (free := freeBit(planes, "NO_DATA")) is None:
            return mask, planes  # bad they are by their variance
        planes["NO_DATA"] = free
    mask[noData] |= np.int32(1 << planes["NO_DATA"])
    return mask, planes


def _againstTheSky(weight: NDArray[np.float32], seen: NDArray[np.float32]) -> tuple[float, float]:
    """Return the sky's variance times the weight, and over it: medians of blocks; NaN where there is no scatter."""
    known = np.where(np.isfinite(seen), weight, np.float32(np.nan))
    scatters, levels = scatterOfBlocks(seen, known)
    isReal = (scatters > 0) & (levels > 0)
    if not isReal.any():
        return np.nan, np.nan
    variances, levels = scatters[isReal] ** 2, levels[isReal]
    return float(np.median(variances * levels)), float(np.median(variances / levels))


def _risesWithLight(weight: NDArray[np.float32], seen: NDArray[np.float32]) -> bool:
    """Return whether the map is larger where the image is brighter than nearby, as a variance is, not a weight."""
    rises = []
    for light, level in zip(*blocksOf(seen, np.where(np.isfinite(seen), weight, np.float32(np.nan))), strict=True):
        bright = level[light >= np.nanquantile(light, BRIGHT)]
        rises.append(np.median(bright) / np.nanmedian(level))
    return bool(rises) and bool(np.median(rises) > RISE)

"""The variance of an image from what its owner has: noise, weights, gain and read noise, or the sky itself.

From gain g (e-/count) and read noise r (e-) the variance is max(image, 0)/g + (r/g)^2; this needs an image
from which the sky has not been subtracted, and a warning says when the scatter of the sky contradicts it. The
sky estimate is one number for the whole image, unless the header tells gain and read noise and pixels agree.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from psfmatch.errors import advice
from psfmatch.io.detectors import DetectorNoise, agrees, neighbourScatter
from psfmatch.io.photons import addPhotons

log = logging.getLogger("psfmatch.io")

BLOCK_SIZE = 64  # pixels; small against gradients of the sky, large against stars
MAX_BLOCKS = 100  # 400 000 pixels give the scatter to 0.1 per cent
CLIP = 3.0  # sigma
CORRELATED = 5.0  # variance of single pixels over what neighbours differ by, in images that were resampled, at most
# Standard deviation of a normal distribution cut off at 3 sigma: 1 - 2*3*phi(3)/erf(3/sqrt 2) = 0.97334 is
# its variance.
CLIPPED_SIGMA = 0.98658
MAD_TO_SIGMA = 1.4826
SMALLEST = 1e-35  # near the smallest normal float32, 1.2e-38


def betterVariance() -> str:
    """Return what to give for a better variance, by the names that it has where the message appears."""
    return advice(
        "; better: Exposure.readFits(file, noise=...) of 1 sigma, or its variance=, or its gain= and readNoise=",
        "; better: --template-noise and --science-noise, or --gain and --read-noise",
        "; better: --gain and --read-noise",
        manifest="; better: template_noise and science_noise, or gain and read_noise",
    )


def varianceFromSigma(sigma: NDArray[np.float32], label: str) -> NDArray[np.float32]:
    """Square a noise plane; negative noise, which marks bad pixels, becomes a negative variance.

    sigma : standard deviation, (h, w). Returned: a new array, (h, w), float32.
    """
    with np.errstate(over="ignore", under="ignore"):
        variance = sigma * np.abs(sigma)
    largest = float(np.fmax.reduce(sigma, axis=None))
    if 0 < largest < math.sqrt(SMALLEST):
        log.warning(
            "%s: the noise is below %.1e everywhere, its square vanishes in float32; "
            "multiply image and noise by about %.0e",
            label,
            largest,
            1 / largest,
        )
    return variance


def varianceFromInverse(inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn 1/variance into a variance; infinite (bad) where the inverse is not positive."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(inverse > 0, np.float32(1) / inverse, np.float32(np.inf))


def varianceFromWeight(weight: NDArray[np.float32], image: NDArray[np.float32], label: str) -> NDArray[np.float32]:
    """Scale a relative weight map to the scatter of the sky.

    weight : proportional to 1/variance, (h, w); 0 or less means no data; image : the image, (h, w). Returned: 1/weight,
    (h, w), float32, times the median over blocks of the image of the sky's variance times the weight; infinite where
    the weight is not positive.
    """
    seen = np.where(weight > 0, image, np.float32(np.nan))
    scatters, levels = scatterOfBlocks(seen, np.where(np.isfinite(seen), weight, np.float32(np.nan)))
    isReal = (scatters > 0) & (levels > 0)
    sigma = skyScatter(seen)
    log.warning("%s: weights taken as relative, scaled to a sky scatter of %.4g%s", label, sigma, betterVariance())
    if not isReal.any():
        return np.zeros_like(image)
    return varianceFromInverse(weight / np.float32(np.median(scatters[isReal] ** 2 * levels[isReal])))


def estimateVariance(
    image: NDArray[np.float32],
    gain: float | None = None,
    readNoise: float | None = None,
    label: str = "image",
    detectors: Sequence[DetectorNoise] = (),
) -> tuple[NDArray[np.float32], str]:
    """Make a variance for an image that came without one, and say so in the log.

    Parameters
    ----------
    image
        The image, (h, w), counts; not changed.
    gain
        Gain, e-/count. Without it the variance is constant, from the scatter of the sky.
    readNoise
        Read noise, e-; taken as 0 if only the gain is given.
    label
        Name of the image for messages.
    detectors
        What the header may mean, where no gain is given: the first with which the pixels agree is used. Where none
        does, as where the sky has been taken off or the image resampled, but the first does not contradict them, light
        above three times the sky's scatter adds its photon noise.

    Returns
    -------
    variance
        A new array, (h, w), float32.
    source
        What it was made from.

    Raises
    ------
    ValueError
        If the gain is not positive, the read noise negative, or a read noise comes without a gain.
    """
    checkGain(gain, readNoise)
    sigma = skyScatter(image)
    if gain is None:
        return _withoutGain(image, sigma, label, detectors)
    readNoise = readNoise or 0.0
    variance = np.maximum(image, np.float32(0))
    variance *= np.float32(1 / gain)
    variance += np.float32((readNoise / gain) ** 2)
    source = f"gain {gain:g} e-/count, read noise {readNoise:g} e-"
    log.warning("%s: no noise plane, variance made from %s", label, source)
    sampled = variance[:: max(1, image.shape[0] // 512), :: max(1, image.shape[1] // 512)]
    good = sampled[np.isfinite(sampled)]
    expected = math.sqrt(float(np.median(good))) if good.size else 0.0
    # 20 per cent in the variance; small images measure their own scatter no better than 1/sqrt(2 N).
    tolerance = 0.2 + 4 * math.sqrt(2 / image.size)
    if sigma > 0 and abs(sigma**2 - expected**2) > tolerance * sigma**2:
        log.warning(
            "%s: the sky scatters by %.4g, but %s gives %.4g; "
            "was the sky subtracted, or the image resampled or scaled%s?",
            label,
            sigma,
            source,
            expected,
            betterVariance(),
        )
    return variance, source


def checkGain(gain: float | None, readNoise: float | None) -> None:
    """Raise `ValueError` unless gain and read noise make sense together."""
    if gain is not None and not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"{_nameOf('gain')}{gain} e-/count is not a positive number")
    if readNoise is not None and not (math.isfinite(readNoise) and readNoise >= 0):
        raise ValueError(f"{_nameOf('readNoise')}{readNoise} e- is not a number from 0 up")
    if readNoise is not None and gain is None:
        name = _nameOf("gain").rstrip()
        raise ValueError(
            f"{_nameOf('readNoise')}{readNoise} e- was given without {name} (e-/count), which turns it into counts"
        )


def _nameOf(keyword: str) -> str:
    """Return how a number is introduced where the message appears: by a keyword, an option, or a column."""
    words = keyword.replace("readN", "read-n")
    return advice(f"{keyword}=", f"--{words} ", f"{words} ", manifest=f"{words.replace('-', '_')} ")


def isEstimated(source: object) -> bool:
    """Return whether the words for where a variance came from (VARSRC) are those of one estimated here."""
    return str(source).startswith(("estimated from the sky", "the sky's scatter", "the header, "))


def isWithoutPhotons(source: object) -> bool:
    """Return whether a variance is by these words that of the sky alone, without the noise of light above it."""
    return str(source).startswith("estimated from the sky")


def _withoutGain(
    image: NDArray[np.float32], sigma: float, label: str, detectors: Sequence[DetectorNoise]
) -> tuple[NDArray[np.float32], str]:
    """Return the variance by what the header tells, as far as pixels agree, and by the scatter of the sky."""
    variance = np.full(image.shape, sigma**2, dtype=np.float32)
    told = ""
    if detectors and sigma > 0.0:
        level, scatter = neighbourScatter(_squareBlocks(image))
        for detector in detectors:
            if agrees(detector, level, scatter):
                variance = np.maximum(image, np.float32(0))
                variance *= np.float32(1.0 / detector.gain)
                variance += np.float32((detector.readNoise / detector.gain) ** 2)
                source = f"the header, {detector.words}"
                log.warning(
                    "%s: no noise plane, variance from %s: at the sky that is a noise of %.4g, and pixels differ from "
                    "their neighbours by %.4g%s",
                    label, source, math.sqrt(detector.variance(level)), scatter, betterVariance(),
                )  # fmt: skip
                return variance, source
        first = detectors[0]
        expected = first.variance(level)
        isSubtracted = abs(level) < CLIP * sigma
        if isSubtracted or scatter**2 < expected < CORRELATED * scatter**2:
            step = max(1, math.isqrt(image.size // 250_000))
            level = float(np.nanmedian(image[::step, ::step]))
            addPhotons(variance, image, first.gain, level=level, least=CLIP * sigma)
            source = f"the sky's scatter of {sigma:.4g} and the header's {first.words} for what is brighter"
            log.warning("%s: no noise plane, variance from %s%s", label, source, betterVariance())
            return variance, source
        told = (
            f"; {first.words} of the header does not fit, for it says {math.sqrt(expected):.4g} where pixels differ "
            f"from their neighbours by {scatter:.4g}"
        )
    log.warning(
        "%s: no noise plane, variance taken as constant from the sky's scatter of %.4g%s%s",
        label,
        sigma,
        told,
        betterVariance(),
    )
    return variance, "estimated from the sky"


def skyScatter(image: NDArray[np.float32]) -> float:
    """Estimate the scatter of the sky from pixel to pixel, whatever the stars, gradients, NaN and borders.

    In up to 100 blocks of 64x64 pixels spread over the image, pixels farther than 3 sigma from the median are clipped,
    starting from 1.4826 times the median absolute deviation; the result is the median of the blocks' clipped standard
    deviations. Differences of neighbouring pixels are not used: they are biased where the noise is correlated. image :
    the image, (h, w); pixels that are not finite are ignored. Returned: standard deviation in the image's units; 0
    where the sky is constant or no pixel is finite.
    """
    blocks = _sampleBlocks(image)
    if blocks.size == 0:
        return 0.0
    real = _scatters(blocks)
    real = real[real > 0]
    return float(np.median(real)) if real.size else 0.0


def scatterOfBlocks(
    image: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scatters of the sky in the blocks of `skyScatter`, and the medians there of another plane.

    Both are NaN in the same pixels, (h, w); of a block without scatter it is 0. (n,) each.
    """
    blocks, others = blocksOf(image, other)
    if blocks.size == 0:
        return np.empty(0), np.empty(0)
    return _scatters(blocks).ravel(), np.nanmedian(others, axis=1)


def blocksOf(image: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the blocks of `skyScatter`, (n, pixels) each, of two planes (h, w) that are NaN in the same pixels."""
    return _sampleBlocks(image), _sampleBlocks(other)


def _scatters(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clipped standard deviations of blocks as rows, (n, 1); 0 of constants."""
    # Where nothing is missing, the plain median is many times faster.
    median = np.nanmedian if np.isnan(blocks).any() else np.median
    centre = median(blocks, axis=1, keepdims=True)
    sigma = MAD_TO_SIGMA * median(np.abs(blocks - centre), axis=1, keepdims=True)
    # Integer counts of low noise have a median deviation of 0 without being constant.
    sigma = np.where(sigma > 0, sigma, np.nanstd(blocks, axis=1, keepdims=True))
    for _ in range(3):
        kept = np.abs(blocks - centre) <= CLIP * sigma
        n = np.maximum(np.count_nonzero(kept, axis=1, keepdims=True), 1)
        centre = np.where(kept, blocks, 0.0).sum(axis=1, keepdims=True) / n
        sigma = np.sqrt(np.where(kept, (blocks - centre) ** 2, 0.0).sum(axis=1, keepdims=True) / n) / CLIPPED_SIGMA
    # A scatter below the spacing of float32 numbers is a constant with rounding errors.
    result: NDArray[np.float64] = np.where(sigma > np.finfo(np.float32).eps * np.abs(centre), sigma, 0.0)
    return result


def _squareBlocks(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Blocks as `skyScatter` takes them, (nBlocks, h, w), float64; none of images with too little in any."""
    size = min(BLOCK_SIZE, image.shape[0]), min(BLOCK_SIZE, image.shape[1])
    blocks = _sampleBlocks(image)
    isWhole = blocks.size > 0 and blocks.shape[1] == size[0] * size[1]
    return blocks.reshape(-1, *size) if isWhole else np.empty((0, *size))


def _sampleBlocks(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Blocks as rows, (nBlocks, pixels), float64; only those with at least half their pixels finite."""
    height, width = image.shape
    size = min(BLOCK_SIZE, height), min(BLOCK_SIZE, width)
    counts = height // size[0], width // size[1]
    stride = max(1, math.ceil(math.sqrt(counts[0] * counts[1] / MAX_BLOCKS)))
    rows = []
    for j in range((counts[0] - 1) % stride // 2, counts[0], stride):
        for i in range((counts[1] - 1) % stride // 2, counts[1], stride):
            block = image[j * size[0] : (j + 1) * size[0], i * size[1] : (i + 1) * size[1]].astype(np.float64)
            block[~np.isfinite(block)] = np.nan
            if np.count_nonzero(np.isfinite(block)) * 2 >= block.size:
                rows.append(block.ravel())
    if rows:
        return np.stack(rows)
    finite = image[np.isfinite(image)].astype(np.float64)
    return finite[np.newaxis, :: max(1, finite.size // 2**20)] if finite.size else np.empty((0, 0))

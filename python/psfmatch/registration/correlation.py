"""At which shift and right-angled turn the light of two images agrees: for images with too few stars to make patterns.

What stands out of the noise is smoothed and compressed to its logarithm, so that one bright source does not tell all,
and correlated over all shifts that leave the images enough in common (Fourier transforms of a coarse grid; the
place is then found to a pixel). Of places with the same coefficient that with more light in common counts as the
better one. A place is believed if it takes most of the light in common onto light, and no other place does as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import usualOptions
from psfmatch.images import MaskedImage
from psfmatch.registration.turns import TURNS, UNTURNED, Turn, turnedPlane
from psfmatch.sources import subtractBackground

__all__ = ["Correlation", "correlate"]

FloatArray = npt.NDArray[np.float64]

BAD_PLANES = ("BAD", "CR", "EDGE", "NO_DATA", "SAT")
GRID_SIDE = 384
"""Samples along the longer side on which all shifts are looked at."""
SIGMA_SAMPLES, MIN_SIGMA_PIX = 0.8, 2.0
LEAST_SNR = 4.0
"""Of the smoothed light: the rest is noise."""
MIN_OVERLAP, MIN_LIGHT = 0.1, 0.3
"""Share of the smaller image's area, and of the light of either, that must be in common."""
MIN_COEFFICIENT, SECOND_SHARE = 0.6, 0.75
"""Least coefficient, and the share of it that other places may reach. Of other skies 2 in 100 reach 0.7, those with a
single source in common; two sources or more in common have never been seen above 0.6 there."""
NEAR_SIGMAS = 5.0
"""Places within so many widths of the smoothing are one."""
MEDIAN_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Correlation:
    """The place at which the light of a turned template agrees best with that of a science image.

    turn : of the template; shift : whole pixels (x, y) from array indices of the science image to those of the turned
    template; coefficient : of the light in common, at most 1; second, nominal : that of the best of all other places,
    and of equal array indices, less than theirs where they have less light in common.
    """

    turn: Turn
    shift: tuple[int, int]
    coefficient: float
    second: float
    nominal: float

    @property
    def isClear(self) -> bool:
        """Whether the place can be believed."""
        return self.isLike and self.second <= SECOND_SHARE * self.coefficient

    @property
    def isLike(self) -> bool:
        """Whether the light agrees there, though it may do so elsewhere, too."""
        return self.coefficient >= MIN_COEFFICIENT

    @property
    def isElsewhere(self) -> bool:
        """Whether it is another one than that of equal array indices."""
        return self.nominal <= SECOND_SHARE * self.coefficient


NOTHING = Correlation(UNTURNED, (0, 0), 0.0, 0.0, 0.0)


def correlate(template: MaskedImage, science: MaskedImage, threads: int = 1) -> Correlation:
    """Find the place at which the light of two images agrees best.

    Parameters
    ----------
    template, science
        Of any two shapes; not changed.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    correlation : Correlation
        With a coefficient of 0 where an image shows no light.
    """
    step = math.ceil(max(*template.shape, *science.shape) / GRID_SIDE)
    one, other = (_Light.of(image, threads) for image in (science, template))
    grids = one.sampled(step), other.sampled(step)
    if not (grids[0].any() and grids[1].any()):
        return NOTHING
    both = [_coefficients(grids[0], turnedPlane(grids[1], turn)) for turn in TURNS]
    maps = [coefficients * weight for coefficients, weight in both]
    reach = math.ceil(NEAR_SIGMAS * max(SIGMA_SAMPLES, MIN_SIGMA_PIX / step))
    zero = grids[0].shape[0] - 1, grids[0].shape[1] - 1
    nominal = _around(maps[0], zero, reach).max()
    best = [float(found.max()) for found in maps]
    # What is symmetric tells no turn: then there is none.
    chosen = 0 if best[0] >= SECOND_SHARE * max(best) else int(np.argmax(best))
    found = maps[chosen]
    row, column = (int(i) for i in np.unravel_index(int(found.argmax()), found.shape))
    others = found.copy()
    _around(others, (row, column), reach)[...] = 0.0
    second = max([float(others.max()), *([] if chosen == 0 else [best[i] for i in range(len(TURNS)) if i != chosen])])
    shift = _refined(one, other, TURNS[chosen], ((column - zero[1]) * step, (row - zero[0]) * step), step)
    weight = float(both[chosen][1][row, column])
    return Correlation(TURNS[chosen], shift, best[chosen] / weight, second / weight, float(nominal) / weight)


@dataclass(frozen=True, eq=False)
class _Light:
    """What stands out of the noise of an image: pixels without the sky, which are bad, and the threads to use."""

    image: npt.NDArray[np.float32]
    filled: _core.FilledPixels
    threads: int

    @classmethod
    def of(cls, image: MaskedImage, threads: int) -> _Light:
        """Return the light of an image."""
        bad = image.badPixels(BAD_PLANES)
        try:
            skyless, _ = subtractBackground(image, usualOptions().kernel.background, BAD_PLANES, threads)
        except ValueError:
            skyless = image.image - np.float32(0.0 if bad.all() else np.median(image.image[~bad]))
        filled = _core.fillBadPixels(
            skyless,
            image.variance,
            np.asarray(image.mask),
            image.mask.getPlaneBitMask(BAD_PLANES, ignoreMissing=True),
            nThreads=threads,
        )
        return cls(skyless, filled, threads)

    def sampled(self, step: int) -> FloatArray:
        """Return the logarithm of the smoothed light over its noise in every so manieth row and column, (h, w)."""
        sigma = max(MIN_SIGMA_PIX, SIGMA_SAMPLES * step)
        half = min(math.ceil(3.0 * sigma), (min(self.image.shape) - 1) // 2)
        offsets = np.arange(-half, half + 1)
        profile = np.exp(-0.5 * (offsets / sigma) ** 2)
        smooth = _core.smoothedSamples(
            self.image,
            self.filled,
            profile=(profile / profile.sum()).tolist(),
            rowStep=step,
            columnStep=step,
            nThreads=self.threads,
        ).astype(np.float64)
        known = np.isfinite(smooth)
        if not known.any():
            return np.zeros(smooth.shape)
        centre = float(np.median(smooth[known]))
        noise = MEDIAN_TO_SIGMA * float(np.median(np.abs(smooth[known] - centre)))
        if not noise > 0.0:
            return np.zeros(smooth.shape)
        return np.log1p(np.maximum(np.where(known, (smooth - centre) / noise - LEAST_SNR, 0.0), 0.0))


def _coefficients(science: FloatArray, template: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlate two grids (h, w) and (k, l) at all shifts from -(h - 1), -(w - 1) to k - 1, l - 1.

    Returns the coefficients of the light in common, 0 where that is too little, and the root of its share of all light.
    """
    rows, columns = (_Overlap.of(size, other) for size, other in zip(science.shape, template.shape, strict=True))
    size = [_fastSize(axis.shifts.size) for axis in (rows, columns)]
    spectrum = np.conj(np.fft.rfft2(science, size)) * np.fft.rfft2(template, size)
    products = np.fft.irfft2(spectrum, size)[np.ix_(rows.shifts % size[0], columns.shifts % size[1])]
    power = _power(science, rows.first, columns.first) / (science**2).sum()
    otherPower = _power(template, rows.second, columns.second) / (template**2).sum()
    area = np.outer(rows.first[1] - rows.first[0], columns.first[1] - columns.first[0])
    isEnough = area >= MIN_OVERLAP * min(science.size, template.size)
    isEnough &= (power >= MIN_LIGHT) & (otherPower >= MIN_LIGHT)
    shares = np.sqrt(np.where(isEnough, power * otherPower, 1.0))
    norm = math.sqrt(float((science**2).sum()) * float((template**2).sum()))
    return np.where(isEnough, products / (norm * shares), 0.0), np.sqrt(shares)


@dataclass(frozen=True, eq=False)
class _Overlap:
    """What two rows of samples have in common at each shift: (s,) shifts, and begin and end (2, s) in each of them."""

    shifts: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]

    @classmethod
    def of(cls, size: int, other: int) -> _Overlap:
        """Return the overlap of rows of these lengths."""
        shifts = np.arange(1 - size, other)
        begin, end = np.maximum(0, -shifts), np.minimum(size, other - shifts)
        return cls(shifts, np.stack([begin, end]), np.stack([begin + shifts, end + shifts]))


def _power(grid: FloatArray, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> FloatArray:
    """Return the sums of squares of a grid over all pairs of ranges of rows (2, r) and columns (2, c): (r, c)."""
    sums = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1))
    sums[1:, 1:] = (grid**2).cumsum(axis=0).cumsum(axis=1)
    corners = [[sums[np.ix_(rows[i], columns[j])] for j in (0, 1)] for i in (0, 1)]
    return np.asarray(corners[1][1] - corners[0][1] - corners[1][0] + corners[0][0])


def _fastSize(n: int) -> int:
    """Return the least number from n on without prime factors above 5, of which transforms are fast."""
    while True:
        left = n
        for factor in (2, 3, 5):
            while left % factor == 0:
                left //= factor
        if left == 1:
            return n
        n += 1


def _around(coefficients: FloatArray, place: tuple[int, int], reach: int) -> FloatArray:
    """Return a view of what lies about a place (row, column)."""
    row, column = place
    return coefficients[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]


def _refined(one: _Light, other: _Light, turn: Turn, shift: tuple[int, int], step: int) -> tuple[int, int]:
    """Return the shift in whole pixels, from one (x, y) that is good to `step` pixels or two."""
    best = shift
    while step > 1:
        step, before = max(1, step // 2), step
        science, template = one.sampled(step), turnedPlane(other.sampled(step), turn)
        rows, columns = np.nonzero(science)
        light = science[rows, columns]
        reach = 2 * math.ceil(before / step)
        middle = round(best[0] / step), round(best[1] / step)
        largest = -math.inf
        for dy in range(middle[1] - reach, middle[1] + reach + 1):
            for dx in range(middle[0] - reach, middle[0] + reach + 1):
                y, x = rows + dy, columns + dx
                inside = (y >= 0) & (y < template.shape[0]) & (x >= 0) & (x < template.shape[1])
                product = float((light[inside] * template[y[inside], x[inside]]).sum())
                if product > largest:
                    largest, best = product, (dx * step, dy * step)
    return best

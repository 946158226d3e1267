"""Sharp pixels of an image looked up in the other: what both show is a star, and a long trail that one shows is none.

Where stars are undersampled, or hardly any tells how sharp they are, one image alone cannot tell a star from a hot
pixel. Light that the other image shows at the same place, as bright by the flux ratio, is a star's or galaxy's. Pixels
that touch along a line longer than any star is are a cosmic ray, though each may be no sharper than stars, if the other
image does not show them. Single pixels as sharp as stars stay as they are: what one image alone shows may be new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, Mask, MaskedImage, stampTuple
from psfmatch.sources.defects import Defects

__all__ = ["Crossed", "Mapping", "crossDefects", "inverted", "isWorthCrossing"]

FloatArray = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Mapping = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Positions (x, y) of an image as those of the other, parent pixels of both."""

FLAGS = "BAD", "CR"
NEAR, RING = 1, 5
"""Half sides of the box whose light is compared, and of the frame of pixels whose median is the sky."""
BESIDE = 1
"""Pixels from the place, per axis, within which a flagged pixel of the other image may be the same star's."""
SEEN = 5.0
"""Sigma of light that an image shows."""
ALIKE = 0.5, 2.0
"""Least and most light of the other image in units of that expected by the flux ratio."""
LEAST_PEAK = 0.25
"""Of the light in the box that a star's flagged pixel has: a dark one in the light of a star has none."""
CHANCE, MIN_EXCESS = 3.0, 3.0
"""Pixels that both have flagged at one place must outnumber those by chance so many times, and by so many."""
PLAIN = 2.5
"""Stars that may have a higher contrast of pixel and neighbour are undersampled."""
TRAIL_CONTRAST, TRAIL_LENGTH, TRAIL_AREA = 2.2, 4, 2.0
"""Of cosmic rays in undersampled images: least contrast, pixels from end to end, and most pixels for each of these."""


@dataclass(frozen=True)
class Crossed:
    """Numbers of an image's pixels that the other says are none (stars), and those of trails that it does not show."""

    nStars: int = 0
    nRays: int = 0

    def told(self, name: str, other: str) -> str:
        """Return in words what was changed of an image that has a name; empty if nothing was."""
        parts = []
        if self.nStars:
            parts.append(f"{_counted(self.nStars)} no longer flagged, for the {other} shows that light too")
        if self.nRays:
            parts.append(
                f"{_counted(self.nRays)} of trails of {TRAIL_LENGTH} px or more that the {other} does not show: CR"
            )
        return f"Defects of the {name} against the {other}: {'; '.join(parts)}." if parts else ""


def isWorthCrossing(defects: Sequence[Defects | None]) -> bool:
    """Return whether the stars of one of the images are undersampled, or so few that they may be."""
    return any(each.sharp.contrast > PLAIN for each in defects if each is not None)


def crossDefects(
    given: Exposure,
    flagged: Exposure,
    other: Exposure,
    onOther: Mapping,
    fluxRatio: float,
    otherGiven: Exposure,
    threads: int = 1,
) -> tuple[Exposure, Crossed]:
    """Return an image with the flags of its sharp pixels put right by the other image.

    Parameters
    ----------
    given, flagged
        The image before and after its defects were flagged; not changed.
    other, otherGiven
        The other image, flagged, and before.
    onOther
        Positions of the image in the other.
    fluxRatio
        Counts of the image per count of the other.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    exposure, crossed : Exposure, Crossed
        The exposure itself where nothing is to be changed, and where its own stars tell that none can be so sharp.
    """
    stamp = stampTuple(flagged.maskedImage, DEFAULT_BAD_PLANES)
    if not _core.sharpPixels(stamp, nThreads=threads)[2] > PLAIN:
        return flagged, Crossed()
    places = _added(given, flagged)
    image = flagged.maskedImage
    isStar = np.zeros(places.size, dtype=np.bool_)
    if places.size:
        own, _, peak = _light(flagged, places, None)
        isShown, isByFlag = _shown(flagged, other, otherGiven, places, own, onOther, fluxRatio)
        nOther = _added(otherGiven, other).size
        byChance = places.size * nOther / other.image.size * (2 * BESIDE + 1) ** 2
        if np.count_nonzero(isByFlag) <= max(CHANCE * byChance, byChance + MIN_EXCESS) and byChance > 0.05:
            isShown &= ~isByFlag
        isStar = isShown & (peak > LEAST_PEAK * own)
        # What is flagged beside its highest pixel is the same star's.
        steps = np.arange(-2 * BESIDE, 2 * BESIDE + 1)
        near = places[isStar][:, None] + (steps[:, None] * flagged.image.shape[1] + steps).ravel()
        isStar |= (peak > 0.0) & np.isin(places, near)
    rays = _rays(flagged, other, otherGiven, onOther, fluxRatio, threads)
    if not isStar.any() and not rays.size:
        return flagged, Crossed()
    mask = image.mask.copy()
    pixels = np.asarray(mask).reshape(-1)
    bits = np.int32(mask.getPlaneBitMask(FLAGS, ignoreMissing=True))
    pixels[places[isStar]] &= ~bits
    if rays.size:
        pixels[rays] |= np.int32(1 << mask.addPlane("CR"))
    exposure = flagged.withPixels(MaskedImage(image.image, Mask(mask), image.variance, image.xy0))
    return exposure, Crossed(int(np.count_nonzero(isStar)), rays.size)


def inverted(mapping: Mapping, exposure: Exposure) -> Mapping:
    """Return the inverse of a mapping of an exposure's positions, from its affine part on by Newton's steps."""
    x0, y0 = exposure.xy0
    height, width = exposure.shape
    x, y = (each.ravel() for each in np.meshgrid(np.linspace(x0, x0 + width, 9), np.linspace(y0, y0 + height, 9)))
    u, v = mapping(x, y)
    isKnown = np.isfinite(u) & np.isfinite(v)
    design = np.stack([np.ones(x.size), x, y], axis=1)[isKnown]
    if np.count_nonzero(isKnown) < 3:
        return lambda a, b: (np.full_like(a, np.nan), np.full_like(b, np.nan))
    solution = np.linalg.lstsq(design, np.stack([u, v], axis=1)[isKnown], rcond=None)[0]
    back = np.linalg.pinv(solution[1:].T)

    def inverse(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        p, q = back @ (np.stack([a, b]) - solution[0][:, None])
        for _ in range(3):
            u, v = mapping(p, q)
            dp, dq = back @ np.stack([a - u, b - v])
            p, q = p + dp, q + dq
        return p, q

    return inverse


def _added(given: Exposure, flagged: Exposure) -> Places:
    """Return places of pixels that are BAD or CR and were not as given."""
    before = np.int32(given.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True))
    after = np.int32(flagged.mask.getPlaneBitMask(FLAGS, ignoreMissing=True))
    isAdded = ((np.asarray(flagged.mask) & after) != 0) & ((np.asarray(given.mask) & before) == 0)
    return np.flatnonzero(isAdded).astype(np.int64)


def _light(
    exposure: Exposure, places: Places, isHidden: npt.NDArray[np.bool_] | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return light and error in boxes about places, and the pixels' own light, above the sky about them.

    Pixels that are hidden do not count, but for those next to the place.
    """
    image, variance = exposure.image, exposure.variance
    rows, columns = np.divmod(places, image.shape[1])
    steps = np.arange(-RING, RING + 1)
    y = np.clip(rows[:, None, None] + steps[None, :, None], 0, image.shape[0] - 1)
    x = np.clip(columns[:, None, None] + steps[None, None, :], 0, image.shape[1] - 1)
    values = image[y, x].astype(np.float64)
    if isHidden is not None:
        isNear = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :]) <= BESIDE
        values[isHidden[y, x] & ~isNear] = np.nan
    distance = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :])
    with np.errstate(invalid="ignore"):
        frame = values[:, distance == RING]
        frame[~np.isfinite(frame)] = np.nan
        sky = np.zeros(places.size)
        isTold = np.isfinite(frame).any(axis=1)
        sky[isTold] = np.nanmedian(frame[isTold], axis=1)
        inside = values[:, distance <= NEAR] - sky[:, None]
    inside[~np.isfinite(inside)] = 0.0
    noise = np.nan_to_num(variance[y, x][:, distance <= NEAR], nan=0.0, posinf=0.0, neginf=0.0)
    error = np.sqrt(np.maximum(noise, 0.0).sum(axis=1, dtype=np.float64))
    return inside.sum(axis=1), error, inside[:, inside.shape[1] // 2]


def _shown(
    flagged: Exposure,
    other: Exposure,
    otherGiven: Exposure,
    places: Places,
    own: FloatArray,
    onOther: Mapping,
    fluxRatio: float,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which places the other image shows as bright, and those of them that it has flagged itself."""
    rows, columns = np.divmod(places, flagged.image.shape[1])
    x, y = onOther(columns + float(flagged.xy0[0]), rows + float(flagged.xy0[1]))
    height, width = other.image.shape
    with np.errstate(invalid="ignore"):
        u, v = np.rint(x - other.xy0[0]), np.rint(y - other.xy0[1])
        isInside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    at = (np.where(isInside, v, 0) * width + np.where(isInside, u, 0)).astype(np.int64)
    isHidden = np.zeros(other.image.shape, dtype=np.bool_)
    isHidden.ravel()[_added(otherGiven, other)] = True
    before = np.int32(otherGiven.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True) & ~(1 << 1))
    isHidden |= (np.asarray(otherGiven.mask) & before) != 0
    light, error, _ = _light(other, at, isHidden)
    least, most = (limit * own / fluxRatio for limit in ALIKE)
    isShown = isInside & (own > 0.0) & (light > SEEN * error) & (light >= least) & (light <= most)
    steps = range(-BESIDE, BESIDE + 1)
    r, c = np.divmod(at, width)
    near = [isHidden[np.clip(r + j, 0, height - 1), np.clip(c + i, 0, width - 1)] for j in steps for i in steps]
    return isShown, isShown & np.any(near, axis=0)


def _rays(
    flagged: Exposure, other: Exposure, otherGiven: Exposure, onOther: Mapping, fluxRatio: float, threads: int
) -> Places:
    """Return places of trails in an undersampled image that the other does not show."""
    stamp = stampTuple(flagged.maskedImage, DEFAULT_BAD_PLANES)
    places, kinds, *_ = _core.sharpPixels(stamp, mostContrast=TRAIL_CONTRAST, nThreads=threads)
    places = places[kinds == 3]
    clumps = _clumps(places, flagged.image.shape[1])
    long = [clump for clump in clumps if _isLong(clump, flagged.image.shape[1])]
    if not long:
        return np.zeros(0, dtype=np.int64)
    trails = np.concatenate(long)
    own = _light(flagged, trails, None)[0]
    isShown = _shown(flagged, other, otherGiven, trails, own, onOther, fluxRatio)[0]
    ends = np.cumsum([0, *(clump.size for clump in long)])
    kept = [clump for clump, a, b in zip(long, ends, ends[1:], strict=False) if not isShown[a:b].any()]
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, dtype=np.int64)


def _clumps(places: Places, width: int) -> list[Places]:
    """Return the places in groups that touch, corners included."""
    number = {int(place): -1 for place in places}
    clumps: list[Places] = []
    for place in number:
        if number[place] >= 0:
            continue
        number[place] = len(clumps)
        stack, members = [place], []
        while stack:
            one = stack.pop()
            members.append(one)
            for step in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
                if number.get(one + step, 0) == -1:
                    number[one + step] = len(clumps)
                    stack.append(one + step)
        clumps.append(np.array(sorted(members), dtype=np.int64))
    return clumps


def _isLong(clump: Places, width: int) -> bool:
    rows, columns = np.divmod(clump, width)
    length = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    return length >= TRAIL_LENGTH and clump.size <= TRAIL_AREA * length


def _counted(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"

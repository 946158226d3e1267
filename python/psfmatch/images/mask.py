"""Bit planes with names.

Arithmetic and comparisons give plain arrays; views share the names, copies own them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.images.arrays import pixelsOf
from psfmatch.io import DEFAULT_MASK_PLANES, MAX_PLANES
from psfmatch.threads import mapStrips

__all__ = ["DEFAULT_BAD_PLANES", "DEFAULT_MASK_PLANES", "Mask"]

# Planes whose pixels hold no measurement of the sky, and what those of a template may be called in a difference.
DEFAULT_BAD_PLANES = (
    *("BAD", "SAT", "CR", "EDGE", "NO_DATA", "STREAK"),
    *("BAD_TEMPLATE", "SAT_TEMPLATE", "CR_TEMPLATE", "STREAK_TEMPLATE"),
)


class Mask(np.ndarray[tuple[int, ...], np.dtype[np.int32]]):
    """Array of bit planes, (h, w), int32.

    Parameters
    ----------
    array : array_like
        Bits, of any integer type, or booleans that mean BAD. An int32 array is not copied. What is masked is BAD.
    planes : mapping [`str`, `int`], optional
        Bit index, 0 to 30, of each plane. The default planes that are missing are added, at their usual bit
        if it is free.

    Attributes
    ----------
    planes : `dict` [`str`, `int`]
        Bit index of each plane. Views share it with the array that they show, as they share the pixels.

    Raises
    ------
    TypeError
        If the array is neither boolean nor integer.
    ValueError
        If a bit index is out of range or used twice, or a pixel has bits above 30.
    """

    planes: dict[str, int]

    def __new__(cls, array: ArrayLike, planes: Mapping[str, int] | None = None) -> Mask:
        """Wrap an array."""
        if planes is None and isinstance(array, Mask):
            planes = array.planes
        checked = _checkPlanes(DEFAULT_MASK_PLANES if planes is None else planes)
        pixels = pixelsOf(array)
        bits = _bits(pixels.values, 1 << checked["BAD"])
        if pixels.masked is not None:
            bits = np.where(pixels.masked, bits | np.int32(1 << checked["BAD"]), bits)
        mask = bits.view(cls)
        mask.planes = checked
        return mask

    @classmethod
    def ofBits(cls, bits: NDArray[np.int32], planes: Mapping[str, int]) -> Mask:
        """Wrap bits that are known to be sound, with planes that another mask has; nothing is looked at or copied."""
        mask = bits.view(cls)
        mask.planes = dict(planes)
        return mask

    def __repr__(self) -> str:
        sides = "x".join(map(str, self.shape[::-1]))
        # Arithmetic gives masks of other types, and numbers, that are read better as what they are.
        return f"Mask({sides} pixels, planes {', '.join(self.planes)})" if self.ndim == 2 else super().__repr__()

    def __array_finalize__(self, obj: Any) -> None:
        planes = getattr(obj, "planes", None)
        self.planes = dict(DEFAULT_MASK_PLANES) if planes is None else planes

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Compute with plain arrays; only ``out=`` and in-place operators keep the type."""
        out = kwargs.get("out")
        if out is not None:
            kwargs["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*(_plain(array) for array in inputs), **kwargs)
        return out[0] if out is not None and len(out) == 1 else result

    def copy(self, order: Any = "C") -> Mask:
        """Copy pixels and names."""
        duplicate = super().copy(order)
        duplicate.planes = dict(self.planes)
        return duplicate

    def __copy__(self) -> Mask:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Mask:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (np.asarray(self), dict(self.planes))

    def getPlaneBitMask(self, names: str | Iterable[str], ignoreMissing: bool = False) -> int:
        """Bits of one or more planes.

        Parameters
        ----------
        names : `str` or iterable of `str`
            Plane names.
        ignoreMissing : `bool`, optional
            Whether unknown names count as no bit instead of raising.

        Returns
        -------
        bits : `int`
            Sum of the planes' bits.

        Raises
        ------
        ValueError
            If a name is unknown.
        """
        bits = 0
        for name in (names,) if isinstance(names, str) else names:
            if name in self.planes:
                bits |= 1 << self.planes[name]
            elif not ignoreMissing:
                raise ValueError(f"no mask plane {name!r}; known are {', '.join(sorted(self.planes))}")
        return bits

    def addPlane(self, name: str) -> int:
        """Add a plane at the next free bit.

        Parameters
        ----------
        name : `str`
            Plane name; nothing happens if it exists.

        Returns
        -------
        bit : `int`
            Index of its bit.

        Raises
        ------
        ValueError
            If all 31 bits are in use.
        """
        if name not in self.planes:
            self.planes[name] = _freeBit(name, self.planes)
        return self.planes[name]

    def hasAny(self, names: str | Iterable[str]) -> NDArray[np.bool_]:
        """Where any of the planes is set, (h, w); names must be known."""
        return np.asarray(np.asarray(self) & np.int32(self.getPlaneBitMask(names)) != 0)

    def merge(self, other: Mask) -> None:
        """OR another mask into this one, planes matched by name; unknown planes are added.

        Parameters
        ----------
        other : `Mask`
            Of the same shape; bits without a name are left out.

        Raises
        ------
        ValueError
            If shapes differ or no bits are left for new planes.
        """
        if other.shape != self.shape:
            raise ValueError(f"masks of shape {self.shape} and {other.shape} cannot be merged")
        same, moved = 0, []
        pixels, source = np.asarray(self), np.asarray(other)
        for name, bit in other.planes.items():
            target = self.planes.get(name)
            if target == bit:
                same |= 1 << bit
            else:
                moved.append((name, bit))
        for name, bit in moved:
            isSet = (source & np.int32(1 << bit)) != 0
            # An unused plane of the other image costs no bit here.
            if isSet.any():
                pixels[isSet] |= np.int32(1 << self.addPlane(name))

        def unite(strip: slice) -> None:
            pixels[strip] |= source[strip] & np.int32(same)

        mapStrips(unite, pixels.shape)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Mask) else value


def _bits(array: NDArray[Any], bad: int) -> NDArray[np.int32]:
    if array.dtype.kind == "b":
        return array * np.int32(bad)
    if array.dtype.kind not in "iu":
        raise TypeError(f"a mask holds bits or booleans, not {array.dtype}")
    if array.size:
        # An int32 has no bit above 30 but its sign.
        limits = int(array.min()), 0 if array.dtype == np.int32 else int(array.max())
        if limits[0] < 0 or limits[1] >= 1 << MAX_PLANES:
            raise ValueError(
                f"mask values from {limits[0]} to {int(array.max())} do not fit the bits 0 to {MAX_PLANES - 1}"
            )
    return array.astype(np.int32, copy=False)


def _checkPlanes(planes: Mapping[str, int]) -> dict[str, int]:
    checked: dict[str, int] = {}
    for name, bit in planes.items():
        if not 0 <= bit < MAX_PLANES:
            raise ValueError(f"mask plane {name!r} has bit {bit}; bits go from 0 to {MAX_PLANES - 1}")
        if bit in checked.values():
            raise ValueError(f"bit {bit} is used by two of the mask planes {dict(planes)}")
        checked[name] = int(bit)
    for name, bit in DEFAULT_MASK_PLANES.items():
        if name not in checked:
            checked[name] = _freeBit(name, checked) if bit in checked.values() else bit
    return checked


def _freeBit(name: str, planes: Mapping[str, int]) -> int:
    used = set(planes.values()) | {bit for key, bit in DEFAULT_MASK_PLANES.items() if key not in planes}
    for bit in range(MAX_PLANES):
        if bit not in used:
            return bit
    raise ValueError(f"no bit left for mask plane {name!r}: {', '.join(sorted(planes))} use all {MAX_PLANES}")

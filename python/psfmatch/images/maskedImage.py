"""An image with mask and variance, and the arithmetic that keeps the three consistent (LSST's MaskedImage).

Variances add under subtraction, correlations between the operands are left out; masks are combined by plane
name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.config.equality import ByValue
from psfmatch.errors import InputImagesError
from psfmatch.images.arrays import inUnitOf, pixelsOf
from psfmatch.images.box import Box
from psfmatch.images.mask import Mask
from psfmatch.threads import mapStrips

__all__ = ["MaskedImage", "StampTuple", "stampTuple"]

Function = Callable[[NDArray[np.float64], NDArray[np.float64]], ArrayLike]
StampTuple = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], int]


class MaskedImage(ByValue):
    """Image, mask and variance on the same pixels.

    Parameters
    ----------
    image : array_like
        Pixel values, (h, w). Native float32 with contiguous rows is kept without a copy, everything else is
        converted once. What an array of numpy.ma or `astropy.utils.masked` masks is BAD.
    mask : `Mask` or array_like, optional
        Bit planes, (h, w), or booleans that mean BAD; without it no bit is set.
    variance : array_like, optional
        Variance, (h, w), in squared units of the image; without it the image is noiseless. Values are kept as
        given: zero is noiseless, a negative or infinite one marks a bad pixel; what is masked is BAD. A Quantity is
        converted to the squared unit of an image that has one.
    xy0 : `tuple` [`int`, `int`], optional
        Parent coordinates of the first pixel.

    Raises
    ------
    InputImagesError
        If a plane is not two-dimensional, is empty or has another shape than the image, or the variance is of something
        else.
    TypeError
        If a plane is complex or not numeric.
    """

    def __init__(
        self,
        image: ArrayLike,
        mask: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        xy0: tuple[int, int] = (0, 0),
    ) -> None:
        pixels = pixelsOf(image)
        self._image = _floatPlane(pixels.values, "image")
        shape = self._image.shape
        if len(shape) != 2 or self._image.size == 0:
            raise InputImagesError(
                f"the image has shape {shape}; two dimensions with at least one pixel are needed", shape=shape
            )
        noise = None if variance is None else inUnitOf(pixelsOf(variance), pixels)
        self._mask = _maskPlane(mask, shape)
        self._variance = np.zeros(shape, dtype=np.float32) if noise is None else _floatPlane(noise.values, "variance")
        for name, plane in (("mask", self._mask), ("variance", self._variance)):
            if plane.shape != shape:
                raise InputImagesError(
                    f"the {name} has shape {plane.shape}, but the image {shape}",
                    shape=shape,
                    otherShape=plane.shape,
                )
        self._xy0 = operator.index(xy0[0]), operator.index(xy0[1])
        masked = [plane.masked for plane in (pixels, noise) if plane is not None and plane.masked is not None]
        if masked:
            # The mask given is not changed.
            self._mask = self._mask.copy()
        for bad in masked:
            self._flag(bad)

    @property
    def image(self) -> NDArray[np.float32]:
        """Pixel values, (h, w); assignment copies into the existing array."""
        return self._image

    @image.setter
    def image(self, values: ArrayLike) -> None:
        self._assign(self._image, values)

    @property
    def mask(self) -> Mask:
        """Bit planes, (h, w); assignment copies into the existing array, planes matched by name."""
        return self._mask

    @mask.setter
    def mask(self, values: ArrayLike) -> None:
        if values is not self._mask:
            # Planes of another mask may sit at other bits, so they are taken over by name.
            other = values.copy() if isinstance(values, Mask) else Mask(values, self._mask.planes)
            self._checkMaskShape(other)
            self._mask[...] = 0
            self._mask.merge(other)

    @property
    def variance(self) -> NDArray[np.float32]:
        """Variance, (h, w); assignment copies into the existing array."""
        return self._variance

    @variance.setter
    def variance(self, values: ArrayLike) -> None:
        self._assign(self._variance, values)

    @property
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates of the first pixel."""
        return self._xy0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (h, w)."""
        return self._image.shape[0], self._image.shape[1]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def getBBox(self) -> Box:
        """Box of the pixels, parent coordinates."""
        return Box(*self._xy0, self.width, self.height)

    def subset(self, box: Box) -> MaskedImage:
        """View of a part; shares the pixels.

        Parameters
        ----------
        box : `Box`
            The part, parent coordinates.

        Returns
        -------
        part : `MaskedImage`
            With ``xy0`` set to the corner of the box.

        Raises
        ------
        InputImagesError
            If the box is empty or reaches beyond the image.
        """
        x, y = box.x0 - self._xy0[0], box.y0 - self._xy0[1]
        height, width = self._image.shape
        # Without a Box of its own: stamps are cut by the thousand.
        if box.isEmpty or not (0 <= x <= width - box.width and 0 <= y <= height - box.height):
            bbox = self.getBBox()
            raise InputImagesError(f"the box of {box} is no part of the image of {bbox}", box=box, bbox=bbox)
        part = np.s_[y : y + box.height, x : x + box.width]
        view = MaskedImage.__new__(type(self))
        view._image, view._variance = self._image[part], self._variance[part]
        view._mask = cast(Mask, self._mask[part])
        view._xy0 = box.x0, box.y0
        return view

    def copy(self) -> MaskedImage:
        """Copy all three planes."""
        return MaskedImage(self._image.copy(), self._mask.copy(), self._variance.copy(), self._xy0)

    def badPixels(self, planes: Iterable[str], part: Any = None) -> NDArray[np.bool_]:
        """Find the pixels that must not be used.

        Parameters
        ----------
        planes : iterable of `str`
            Mask planes that make a pixel bad; unknown names are ignored.
        part : index, optional
            Which pixels are asked about, any index of the arrays (h, w); by default all.

        Returns
        -------
        bad : `numpy.ndarray` of `bool`
            (h, w), or the shape of the part; true where a plane is set, image or variance is not finite, or the
            variance is negative.
        """
        bits = np.int32(self._mask.getPlaneBitMask(planes, ignoreMissing=True))
        mask = np.asarray(self._mask)

        def find(pixels: Any, bad: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
            variance = self._variance[pixels]
            # Written so that NaN is bad too.
            good = np.isfinite(self._image[pixels])
            good &= variance >= 0
            good &= variance < np.inf
            if bits:
                good &= (mask[pixels] & bits) == 0
            result: NDArray[np.bool_] = np.logical_not(good, out=bad)
            return result

        if part is not None:
            return find(part)
        whole = np.empty(self.shape, dtype=np.bool_)
        mapStrips(lambda strip: find(strip, whole[strip]), self.shape)
        return whole

    def mergeMask(self, other: Mask) -> None:
        """OR another mask into this one, planes matched by name.

        Parameters
        ----------
        other : `Mask`
            Mask of the same shape.

        Raises
        ------
        InputImagesError
            If the shapes differ.
        """
        self._checkMaskShape(other)
        self._mask.merge(other)

    @np.errstate(invalid="ignore", over="ignore")
    def __isub__(self, other: MaskedImage | ArrayLike | Function) -> Self:
        """Subtract a MaskedImage; or a number, array or function f(x, y) from the values only."""
        if isinstance(other, MaskedImage):
            self._checkSameShape(other)
            self._image -= other.image
            self._variance += other.variance
            self._mask.merge(other.mask)
            return self
        pixels = pixelsOf(self._evaluate(other) if callable(other) else other)
        values = pixels.values
        if values.dtype.kind not in "iuf":
            raise TypeError(f"cannot subtract values of type {values.dtype} from a MaskedImage")
        if not _isBroadcastable(values.shape, self.shape):
            raise InputImagesError(
                f"an array of shape {values.shape} does not fit an image of shape {self.shape}",
                shape=self.shape,
                otherShape=values.shape,
            )
        # Formed in the wider of the two types and rounded once.
        np.subtract(self._image, values, out=self._image, casting="same_kind")
        if pixels.masked is not None:
            self._flag(pixels.masked)
        return self

    @np.errstate(invalid="ignore", over="ignore")
    def __imul__(self, factor: float) -> Self:
        """Scale the image, and the variance by the square."""
        scale = _scalar(factor)
        # The float64 scalar keeps scale^2 exact; the product is rounded once.
        np.multiply(self._image, np.float64(scale), out=self._image, casting="same_kind")
        np.multiply(self._variance, np.float64(scale) ** 2, out=self._variance, casting="same_kind")
        return self

    @np.errstate(invalid="ignore", over="ignore")
    def __itruediv__(self, divisor: float) -> Self:
        """Divide the image, and the variance by the square."""
        scale = _scalar(divisor)
        if scale == 0:
            raise ZeroDivisionError("a MaskedImage cannot be divided by 0")
        np.divide(self._image, np.float64(scale), out=self._image, casting="same_kind")
        np.divide(self._variance, np.float64(scale) ** 2, out=self._variance, casting="same_kind")
        return self

    def __repr__(self) -> str:
        return f"MaskedImage({self.getBBox()})"

    def _evaluate(self, function: Function) -> NDArray[Any]:
        x = np.arange(self._xy0[0], self._xy0[0] + self.width, dtype=np.float64)[np.newaxis, :]
        y = np.arange(self._xy0[1], self._xy0[1] + self.height, dtype=np.float64)[:, np.newaxis]
        return np.asarray(function(x, y))

    def _assign(self, target: NDArray[np.float32], values: ArrayLike) -> None:
        """Copy values into a plane; what they mask becomes BAD."""
        # `x.image -= 1` ends with the assignment of the very same array.
        if values is target:
            return
        pixels = pixelsOf(values)
        target[...] = pixels.values
        if pixels.masked is not None:
            self._flag(pixels.masked)

    def _flag(self, bad: NDArray[np.bool_]) -> None:
        self._mask[np.broadcast_to(bad, self.shape)] |= np.int32(self._mask.getPlaneBitMask("BAD"))

    def _checkMaskShape(self, other: Mask) -> None:
        if other.shape != self.shape:
            raise InputImagesError(
                f"a mask of shape {other.shape} does not fit an image of shape {self.shape}",
                shape=self.shape,
                otherShape=other.shape,
            )

    def _checkSameShape(self, other: MaskedImage) -> None:
        if other.shape != self.shape:
            raise InputImagesError(
                f"images of shape {self.shape} and {other.shape} cannot be subtracted; "
                "warp or cut one to the other's pixels first",
                shape=self.shape,
                otherShape=other.shape,
            )


def stampTuple(stamp: MaskedImage, planes: Iterable[str]) -> StampTuple:
    """Return image, variance, mask and the bits of the planes that are bad in it, as the core takes them."""
    bits = stamp.mask.getPlaneBitMask(planes, ignoreMissing=True)
    return stamp.image, stamp.variance, np.asarray(stamp.mask), bits


def _scalar(value: float) -> float:
    if np.ndim(value) != 0 or isinstance(value, complex):
        raise TypeError(f"a MaskedImage is scaled by one real number, not by {type(value).__name__}")
    scale = float(value)
    if not math.isfinite(scale):
        raise ValueError(f"a MaskedImage cannot be scaled by {scale}")
    return scale


def _floatPlane(values: ArrayLike, name: str) -> NDArray[np.float32]:
    """Native float32 with contiguous rows; the same memory where it is so already."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} has type {array.dtype}; real numbers are needed")
    if _isKept(array, np.dtype(np.float32)):
        return array
    with np.errstate(over="ignore"):
        # Values beyond float32 become infinite, that is bad.
        return np.array(array, dtype=np.float32, order="C")


def _maskPlane(values: ArrayLike | None, shape: tuple[int, int]) -> Mask:
    if values is None:
        return Mask(np.zeros(shape, dtype=np.int32))
    if not isinstance(values, Mask):
        # The mask of a masked array without masked pixels is one False.
        mask = Mask(np.broadcast_to(np.asarray(values), shape) if np.ndim(values) == 0 else values)
    else:
        mask = values
    if not _isKept(np.asarray(mask), np.dtype(np.int32)):
        planes = mask.planes
        mask = Mask(np.array(mask, order="C", subok=False), planes)
    return mask


def _isKept(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether the core can use the memory as it is: its type, aligned, rows contiguous and apart."""
    return (
        array.dtype == dtype
        and array.flags.aligned
        and array.ndim == 2
        and array.strides[1] == dtype.itemsize
        and array.strides[0] >= dtype.itemsize * array.shape[1]
        and array.strides[0] % dtype.itemsize == 0
    )


def _isBroadcastable(shape: tuple[int, ...], target: tuple[int, int]) -> bool:
    return len(shape) <= 2 and all(n in (1, m) for n, m in zip(shape[::-1], target[::-1], strict=False))

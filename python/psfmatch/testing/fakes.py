"""Two small problems with an exact answer: LSST's fake kernel set, and nine stars with a constant kernel.

The kernel functions are computed here a second time, straight from their definition (Alard & Lupton 1998, ApJ
503, 325), so that tests compare two independent implementations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psfmatch.images import Box, MaskedImage
from psfmatch.testing.mixtures import FloatArray, GaussianMixture, addSource, ellipse

__all__ = ["FakeKernelSet", "alardLuptonBasis", "makeFakeKernelSet", "makeNineStars"]

FAKE_COEFFICIENTS = np.array(
    [
        (1.0, 0.0, 0.0),
        (0.005, -1e-6, 1e-6),
        (0.005, 4e-6, 4e-6),
        (-0.001, -3e-5, 3e-5),
        (-0.001, 1.5e-5, 1.5e-5),
        (-0.005, -5e-5, 5e-5),
    ]
)
"""Of six functions: constant, x and y terms in pixels from the corner of the image."""

NINE_STARS = ((32, 32), (96, 32), (160, 32), (96, 95), (31, 96), (160, 96), (96, 160), (160, 160), (32, 160))


@dataclass(frozen=True, eq=False)
class FakeKernelSet:
    """A science image that is its template through a known varying kernel, plus a known constant.

    Candidates are square stamps of half width `stampHalfWidth` around `starCentres`, one per cell of
    `sizeCell` over `box`; configure an Alard-Lupton kernel of one Gaussian of sigma 2.5 and degree 2, size
    21, spatial order 1 of type `spatialModelType`, no scaling with the width, both clippings off, and fit the
    background when `background` is not zero.

    Parameters
    ----------
    template, science : MaskedImage
        Square images of nCell * sizeCell pixels; variance planes are the images.
    basis : array, shape (n, 21, 21)
        Kernel functions.
    coefficients : array, shape (n, 3)
        Of the spatial functions 1, x, y of parent pixels (polynomial), or 1, T1(x'), T1(y') over `box`
        (chebyshev1).
    background : float
        Science minus convolved template, counts.
    starCentres : array, shape (nCell^2, 2)
        Parent pixel coordinates (x, y).
    """

    template: MaskedImage
    science: MaskedImage
    basis: FloatArray
    coefficients: FloatArray
    background: float
    starCentres: NDArray[np.int64]
    sizeCell: int
    stampHalfWidth: int
    box: Box
    spatialModelType: str

    def kernelImage(self, x: float, y: float) -> FloatArray:
        """True kernel (21, 21) at parent position (x, y)."""
        if self.spatialModelType == "chebyshev1":
            centreX, centreY = self.box.centre
            x, y = 2 * (x - centreX) / self.box.width, 2 * (y - centreY) / self.box.height
        image: FloatArray = np.tensordot(self.coefficients @ np.array([1.0, x, y]), self.basis, axes=1)
        return image


def alardLuptonBasis(halfWidth: int = 10, sigma: float = 2.5, degree: int = 2) -> FloatArray:
    """Functions (n, side, side) of one Gaussian: the first sums to one, the others to zero with unit norm."""
    u = np.arange(-halfWidth, halfWidth + 1) / halfWidth
    gaussian = np.exp(-(u**2) * halfWidth**2 / (2 * sigma**2))
    gaussian /= gaussian.sum()
    basis: list[FloatArray] = []
    for total in range(degree + 1):
        for powerY in range(total + 1):
            raw = np.outer(gaussian * u**powerY, gaussian * u ** (total - powerY))
            if basis:
                # Odd functions sum to zero already, but for rounding.
                raw = raw / raw.sum() - basis[0] if abs(raw.sum()) > 1.2e-7 else raw
                raw = raw / np.sqrt(np.sum(raw**2))
            basis.append(raw)
    return np.array(basis)


def makeFakeKernelSet(
    sizeCell: int = 128,
    nCell: int = 3,
    deltaFunctionCounts: float = 1e4,
    tGaussianWidth: float = 1.0,
    addNoise: bool = True,
    bgValue: float = 100.0,
    *,
    seed: int = 0,
    spatialModelType: str = "polynomial",
    xy0: tuple[int, int] = (0, 0),
    basis: FloatArray | None = None,
) -> FakeKernelSet:
    """Make the fake kernel set: one narrow star in the middle of each of nCell x nCell cells.

    Every science pixel is the template under the kernel at that very pixel. Pixels do not depend on
    `spatialModelType` and `xy0`, only the coefficients that describe them do. Differs from LSST's in size
    (nCell * sizeCell, not one more) and leaves out its lift of the template by twice the lowest value, which
    is zero.

    Parameters
    ----------
    sizeCell, nCell : int
        Cell side in pixels and number of cells per side.
    deltaFunctionCounts, tGaussianWidth : float
        Counts and sigma (px) of the template's stars.
    addNoise : bool
        Replace both images by Poisson draws. The variance planes are the images either way.
    bgValue : float
        Constant added to the science image, counts.
    seed : int
        Of the Poisson draws.
    spatialModelType : str
        Family of the coefficients, ``"polynomial"`` or ``"chebyshev1"``.
    xy0 : (int, int)
        Parent coordinates of the first pixel.
    basis : array, shape (n, h, w), optional
        Kernel functions, n <= 6; by default the six of one Gaussian of sigma 2.5 and degree 2 on 21 x 21
        pixels.

    Returns
    -------
    fakes : FakeKernelSet

    Raises
    ------
    ValueError
        For an unknown `spatialModelType`, more than six functions, or images too small for the kernel.
    """
    if spatialModelType not in ("polynomial", "chebyshev1"):
        raise ValueError(f"spatialModelType is {spatialModelType!r}: it must be 'polynomial' or 'chebyshev1'")
    basis = alardLuptonBasis() if basis is None else np.asarray(basis, dtype=np.float64)
    if basis.ndim != 3 or len(basis) > len(FAKE_COEFFICIENTS):
        raise ValueError(
            f"basis has shape {basis.shape}: give (n, h, w) with at most {len(FAKE_COEFFICIENTS)} functions"
        )
    if sizeCell < 32 or nCell < 1:
        raise ValueError(f"{nCell} cells of {sizeCell} px: give at least one cell of at least 32 px")
    side = nCell * sizeCell
    centres = np.array([(ix, iy) for iy in range(nCell) for ix in range(nCell)]) * sizeCell + sizeCell // 2
    star = _deltaAsGaussian(sizeCell // 2, tGaussianWidth) * deltaFunctionCounts
    template = np.zeros((side, side))
    _paste(template, star, centres)

    # K = sum a_i(x, y) K_i: with each K_i applied first and a_i multiplied after, every pixel has its own.
    corner = FAKE_COEFFICIENTS[: len(basis)]
    science = np.full((side, side), float(bgValue))
    y, x = np.indices((side, side), dtype=np.float64)
    for (constant, slopeX, slopeY), function in zip(corner, basis, strict=True):
        convolved = np.zeros((side, side))
        _paste(convolved, _correlateFull(star, function), centres)
        science += (constant + slopeX * x + slopeY * y) * convolved

    if addNoise:
        generator = np.random.default_rng(seed)
        template, science = (
            generator.poisson(np.maximum(image, 0)).astype(np.float64) for image in (template, science)
        )
    box = Box(*xy0, side, side)
    return FakeKernelSet(
        template=MaskedImage(template, variance=np.maximum(template, 0), xy0=xy0),
        science=MaskedImage(science, variance=np.maximum(science, 0), xy0=xy0),
        basis=basis,
        coefficients=_inFamily(corner, spatialModelType, box),
        background=float(bgValue),
        starCentres=centres + np.array(xy0),
        sizeCell=sizeCell,
        stampHalfWidth=2 * basis.shape[1],
        box=box,
        spatialModelType=spatialModelType,
    )


def makeNineStars(seed: int | None = 0) -> tuple[MaskedImage, MaskedImage, NDArray[np.int64]]:
    """Make nine stars of sigma 1.0 on 193 x 193 pixels, and a science image through a Gaussian of sigma 2.5.

    Each star holds 1e4 counts, the template no noise. The science image has a sky variance of 100 and the
    stars' own, rounded to whole counts; `seed` None leaves out noise and rounding.

    Returns
    -------
    template, science : MaskedImage
        Kernel sum 1, no background.
    starCentres : array, shape (9, 2)
        Pixel coordinates (x, y).
    """
    images = []
    for size in (1.0, 1.0 + 2.5**2):  # px^2
        image = np.zeros((193, 193), dtype=np.float32)
        star = GaussianMixture(np.array([1e4]), np.zeros((1, 2)), ellipse(size)[None])
        for x, y in NINE_STARS:
            addSource(image, (0, 0), x, y, star)
        images.append(image)
    template, science = images
    variance = science + np.float32(100)
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(science.shape)
        science = np.round(science + noise * np.sqrt(variance)).astype(np.float32)
    return (
        MaskedImage(template, variance=template.copy()),
        MaskedImage(science, variance=variance),
        np.array(NINE_STARS),
    )


def _deltaAsGaussian(width: int, sigma: float) -> FloatArray:
    """Unit-sum Gaussian on an odd number of pixels, at least `width`."""
    u = np.arange(-(width // 2), width // 2 + 1)
    line = np.exp(-(u**2) / (2 * sigma**2))
    line /= line.sum()
    return np.outer(line, line)


def _correlateFull(image: FloatArray, kernel: FloatArray) -> FloatArray:
    """All non-zero pixels of sum_ji K[j, i] image[y - cy + j, x - cx + i]: `image` grown by the kernel."""
    height, width = kernel.shape
    result = np.zeros((image.shape[0] + height - 1, image.shape[1] + width - 1))
    for j in range(height):
        for i in range(width):
            top, left = height - 1 - j, width - 1 - i
            result[top : top + image.shape[0], left : left + image.shape[1]] += kernel[j, i] * image
    return result


def _paste(image: FloatArray, stamp: FloatArray, centres: NDArray[np.int64]) -> None:
    """Add an odd-sided stamp at each centre (x, y); what falls off the image is lost."""
    halfY, halfX = stamp.shape[0] // 2, stamp.shape[1] // 2
    for x, y in centres:
        x0, x1 = max(x - halfX, 0), min(x + halfX + 1, image.shape[1])
        y0, y1 = max(y - halfY, 0), min(y + halfY + 1, image.shape[0])
        image[y0:y1, x0:x1] += stamp[y0 - y + halfY : y1 - y + halfY, x0 - x + halfX : x1 - x + halfX]


def _inFamily(corner: FloatArray, spatialModelType: str, box: Box) -> FloatArray:
    """Turn coefficients of (1, x, y), counted from the corner of `box`, into those of a spatial family."""
    constant, slopeX, slopeY = corner.T
    if spatialModelType == "polynomial":
        return np.column_stack([constant - slopeX * box.x0 - slopeY * box.y0, slopeX, slopeY])
    middle = constant + slopeX * (box.width - 1) / 2 + slopeY * (box.height - 1) / 2
    return np.column_stack([middle, slopeX * box.width / 2, slopeY * box.height / 2])

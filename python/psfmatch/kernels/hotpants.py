"""Kernels that HOTPANTS found, as kernels of ours.

Its basis: for each Gaussian the products u^i v^j exp(-(u^2 + v^2) / (2 sigma^2)) with i + j up to its degree, j
running fastest. Those with i and j even are divided by their sum, and all of them but the very first lose the first;
the others stay as they are. They are convolved with, ours are correlated with: hence the flip. The first
coefficient does not vary; each of the others, and the background, is a polynomial of the position scaled to
[-1, 1] over the region, x^i y^j with j running fastest. This is what the published comparison with LSST's code
(spec of the test compareToHotpants) tells of it; for more than one Gaussian it follows Alard (2000, A&AS 144, 363).
"""

from __future__ import annotations

from os import PathLike

import numpy as np
import numpy.typing as npt

from psfmatch import io
from psfmatch.errors import ExposureReadError
from psfmatch.kernels.linearCombination import LinearCombinationKernel
from psfmatch.kernels.spatialFunction import Polynomial2D

__all__ = ["hotpantsBasis", "readHotpantsKernel"]

FloatArray = npt.NDArray[np.float64]


def hotpantsBasis(side: int, sigmas: tuple[float, ...], degrees: tuple[int, ...]) -> FloatArray:
    """Return the basis images (n, side, side) of HOTPANTS in its sequence and scale, flipped for correlation.

    Parameters
    ----------
    side
        Pixels, odd.
    sigmas, degrees
        Widths (pixels) and polynomial degrees of the Gaussians.
    """
    u = np.arange(side, dtype=np.float64) - side // 2
    images: list[FloatArray] = []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        gaussian = np.exp(-(u**2) / (2.0 * sigma**2))
        for i, j in _powers(degree):
            image = np.outer(gaussian * u**j, gaussian * u**i)
            if i % 2 == 0 and j % 2 == 0:
                image /= image.sum()
                if images:
                    image -= images[0]
            images.append(image)
    return np.array(images)[:, ::-1, ::-1].copy()


def readHotpantsKernel(
    path: str | PathLike[str], region: int = 0, shape: tuple[int, int] | None = None
) -> tuple[LinearCombinationKernel, Polynomial2D]:
    """Read a kernel and its differential background from a table of HOTPANTS (`-hki`, `-oki`).

    Parameters
    ----------
    path
        The file.
    region
        Number of the region of the image, from 0.
    shape
        Shape (h, w) of the image, for a table that does not say which pixels it holds for.

    Returns
    -------
    kernel, background
        For pixels that count from 0 at the first; the image convolved and background add up to the other one.
        `psfmatch.StoredKernel.readFits` and `psfmatch.applyKernel` read such tables too, and which image they convolve.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ExposureReadError
        If there is no such table in it, its numbers do not fit together, or nothing tells the region's pixels.
    """
    table = io.readHotpantsTable(path, region)
    x0, y0, width, height = table.x0, table.y0, table.width, table.height
    if shape is not None and width is None:
        x0, y0, width, height = 0, 0, shape[1], shape[0]
    if x0 is None or y0 is None or width is None or height is None:
        raise ExposureReadError(
            f"{path}: neither REGION{region:02d} nor an image in the file tells for which pixels the kernel holds; "
            "pass shape=(height, width) of the image",
            path=path,
        )
    basis = hotpantsBasis(table.side, table.sigmas, table.degrees)
    nTerms, nBackground = len(_powers(table.kernelOrder)), len(_powers(table.backgroundOrder))
    nExpected = 1 + (len(basis) - 1) * nTerms + nBackground
    values = table.coefficients
    if values.size == nExpected + 1:
        # A vector that counts from 1, with its unused first element.
        values = values[1:]
    if values.size != nExpected:
        raise ExposureReadError(
            f"{path}: the kernel table has {table.coefficients.size} coefficients for region {region}, but its "
            f"{len(basis)} basis functions of spatial order {table.kernelOrder} and background of order "
            f"{table.backgroundOrder} have {nExpected}",
            path=path,
            nCoefficients=table.coefficients.size,
            nExpected=nExpected,
        )
    if not np.isfinite(values).all():
        raise ExposureReadError(
            f"{path}: {int(np.count_nonzero(~np.isfinite(values)))} of {values.size} coefficients are not finite",
            path=path,
        )
    frame = (x0 + 0.5 * width, y0 + 0.5 * height, 0.5 * width, 0.5 * height)
    parameters = np.zeros((len(basis), nTerms))
    parameters[0, 0] = values[0]
    parameters[1:] = values[1 : nExpected - nBackground].reshape(len(basis) - 1, nTerms)
    return (
        LinearCombinationKernel(basis, _reordered(parameters, table.kernelOrder), "polynomial", frame=frame),
        Polynomial2D(_reordered(values[nExpected - nBackground :], table.backgroundOrder), frame),
    )


def _powers(order: int) -> list[tuple[int, int]]:
    """Return the powers (of x, of y) up to a total order, that of y running fastest."""
    return [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]


def _reordered(parameters: FloatArray, order: int) -> FloatArray:
    """Return parameters (..., p) in the sequence 1; x, y; x^2, xy, y^2; ..."""
    theirs = _powers(order)
    ours = [(total - j, j) for total in range(order + 1) for j in range(total + 1)]
    return parameters[..., [theirs.index(power) for power in ours]]

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
from typing import Literal

import numpy as np
import numpy.typing as npt

from psfmatch.errors import ExposureReadError, advice
from psfmatch.hotpants.tables import HotpantsTable, readHotpantsTable
from psfmatch.images import Box
from psfmatch.kernels.linearCombination import LinearCombinationKernel
from psfmatch.kernels.spatialFunction import Polynomial2D, SpatialFunction2D

__all__ = ["hotpantsBasis", "hotpantsTable", "readHotpantsKernel"]

FloatArray = npt.NDArray[np.float64]

SAME = 1e-6
"""Part of the kernel that may be lost when it is written in the other basis."""


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
    table = readHotpantsTable(path, region)
    box = table.box or (None if shape is None else Box(0, 0, shape[1], shape[0]))
    if box is None:
        raise ExposureReadError(
            f"{path}: neither REGION{region:02d} nor an image in the file tells for which pixels the kernel holds"
            + advice("; pass shape=(height, width) of the image"),
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
    frame = (box.x0 + 0.5 * box.width, box.y0 + 0.5 * box.height, 0.5 * box.width, 0.5 * box.height)
    parameters = np.zeros((len(basis), nTerms))
    parameters[0, 0] = values[0]
    parameters[1:] = values[1 : nExpected - nBackground].reshape(len(basis) - 1, nTerms)
    return (
        LinearCombinationKernel(basis, _reordered(parameters, table.kernelOrder), "polynomial", frame=frame),
        Polynomial2D(_reordered(values[nExpected - nBackground :], table.backgroundOrder), frame),
    )


def hotpantsTable(
    kernel: LinearCombinationKernel,
    background: SpatialFunction2D,
    degrees: tuple[int, ...],
    sigmas: tuple[float, ...],
    box: Box,
    convolved: Literal["template", "science"],
) -> HotpantsTable | None:
    """Return a kernel and its background in the basis of HOTPANTS; None if it is no kernel of these Gaussians.

    Parameters
    ----------
    kernel, background
        In pixels that count from 0 at the image's first.
    degrees, sigmas
        Of the Gaussians (pixels).
    box
        The region that they were fitted to.
    convolved
        "template" or "science".
    """
    side = kernel.shape[0]
    basis = hotpantsBasis(side, sigmas, degrees)
    if kernel.shape != (side, side) or len(kernel.basis) > len(basis):
        return None
    flat, ours = basis.reshape(len(basis), -1).T, kernel.basis.reshape(len(kernel.basis), -1).T
    # Columns of one size: products of high degree are larger than others by powers of ten.
    sizes = np.linalg.norm(flat, axis=0)
    change = np.linalg.lstsq(flat / sizes, ours, rcond=None)[0] / sizes[:, np.newaxis]

    # As many positions as determine polynomials of the order, and more.
    count = max(kernel.order, background.order) + 3
    steps = np.linspace(-0.9, 0.9, count)
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps))
    x, y = (low + 0.5 * size * (1.0 + w) for low, size, w in ((box.x0, box.width, u), (box.y0, box.height, v)))

    def polynomials(order: int, values: FloatArray) -> FloatArray:
        terms = np.stack([u**i * v**j for i, j in _powers(order)], axis=1)
        return np.asarray(np.linalg.lstsq(terms, values, rcond=None)[0].T)

    coefficients = kernel.coefficients(x, y)
    parameters = polynomials(kernel.order, coefficients @ change.T)
    lost = coefficients @ (ours - flat @ change).T
    scale = float(np.abs(coefficients @ ours.T).max())
    if np.abs(lost).max() > SAME * scale or np.abs(parameters[0, 1:]).max(initial=0.0) > SAME * abs(parameters[0, 0]):
        return None
    return HotpantsTable(
        degrees=degrees,
        sigmas=sigmas,
        side=side,
        kernelOrder=kernel.order,
        backgroundOrder=background.order,
        coefficients=np.concatenate(
            [parameters[0, :1], parameters[1:].ravel(), polynomials(background.order, np.asarray(background(x, y)))]
        ),
        box=box,
        convolved=convolved,
    )


def _powers(order: int) -> list[tuple[int, int]]:
    """Return the powers (of x, of y) up to a total order, that of y running fastest."""
    return [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]


def _reordered(parameters: FloatArray, order: int) -> FloatArray:
    """Return parameters (..., p) in the sequence 1; x, y; x^2, xy, y^2; ..."""
    theirs = _powers(order)
    ours = [(total - j, j) for total in range(order + 1) for j in range(total + 1)]
    return parameters[..., [theirs.index(power) for power in ours]]

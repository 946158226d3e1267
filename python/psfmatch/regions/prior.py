"""What is expected of a kernel before any pixel is seen: how far it departs from a point, how far it varies.

Normal priors of zero mean, their standard deviations told in units of the kernel's norm: one for the kernel's shape,
and one for its variation over the field, halved with every order (Tikhonov; Becker et al. 2012, MNRAS 425, 1341
penalise roughness in the same way). One way to vary is expected more than all others: as the width of the PSFs varies
over a field, so does the kernel's, by parts of its norm, where all other changes are of hundredths. Between few stars
that leaves one free number for each spatial term, not one for every image of the basis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["precisionOf", "wideningOf"]

FloatArray = npt.NDArray[np.float64]


def wideningOf(coefficients: FloatArray, basisList: FloatArray) -> FloatArray:
    """Return the coefficients (n) of a kernel's change with its width, of unit norm; 0 if it cannot change so.

    A Gaussian's derivative by its variance is half its Laplacian, which has no sum.

    Parameters
    ----------
    coefficients : (n,)
        The kernel.
    basisList : (n, h, w)
        Only the first image has a sum; it takes no part in the change.
    """
    kernel = np.tensordot(coefficients, basisList, 1)
    padded = np.pad(kernel, 1)
    laplacian = (padded[1:-1, 2:] + padded[1:-1, :-2] + padded[2:, 1:-1] + padded[:-2, 1:-1] - 4.0 * kernel).ravel()
    widening = np.zeros(len(basisList))
    if len(basisList) == 1:
        return widening
    images = basisList[1:].reshape(len(basisList) - 1, -1)
    widening[1:] = np.linalg.lstsq(images @ images.T, images @ laplacian, rcond=1e-12)[0]
    norm = float(np.linalg.norm(widening[1:] @ images))
    return widening / norm if norm > 0.0 else np.zeros_like(widening)


def precisionOf(
    gram: FloatArray, scale: float, widening: FloatArray | None = None, widthScale: float = 0.0
) -> FloatArray:
    """Return the inverse covariance (n, n) of the coefficients of one spatial term; those of the first image have none.

    Parameters
    ----------
    gram : (n, n)
        Scalar products of the basis images.
    scale
        Standard deviation of the norm in any direction; 0: no prior.
    widening : (n,)
        Direction of unit norm, in which `widthScale` is added in quadrature.
    """
    precision = np.zeros_like(gram)
    if scale <= 0.0:
        return precision
    inner = gram[1:, 1:]
    precision[1:, 1:] = inner / scale**2
    if widening is not None and widthScale > 0.0 and widening.any():
        # Inverse of the sum of both covariances (Sherman and Morrison 1950).
        along = inner @ widening[1:]
        precision[1:, 1:] -= np.outer(along, along) / (scale**2 * (1.0 + (scale / widthScale) ** 2))
    return precision

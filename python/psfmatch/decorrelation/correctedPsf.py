"""The PSF of a decorrelated difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.psf import Psf, averagePosition

__all__ = ["CorrectedPsf"]


class CorrectedPsf:
    """A PSF seen through a kernel: that of a decorrelated difference.

    Parameters
    ----------
    psf
        PSF of the image that was not convolved.
    correction
        The kernel that was applied to the difference.
    """

    def __init__(self, psf: Psf, correction: LinearCombinationKernel) -> None:
        self._psf, self._correction = psf, correction

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return where the PSF calls itself typical (x, y), parent pixels; None if it does not say."""
        return averagePosition(self._psf)

    def computeKernelImage(self, x: float, y: float) -> npt.NDArray[np.float64]:
        """Return the PSF at (x, y), parent pixels, with sum 1 and the sides of PSF and kernel together, less one."""
        image = np.asarray(self._psf.computeKernelImage(x, y), dtype=np.float64)
        # The kernel correlates, so a star takes its mirror image.
        result = _core.composed(image, self._correction.computeImage(x, y)[::-1, ::-1])[0]
        return np.asarray(result / result.sum())

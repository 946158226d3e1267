"""The PSF of a decorrelated difference, and what a fit of it sees of the noise of a source's own photons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.difference.decorrelation.correction import transformSize
from psfmatch.images import Psf, averagePosition
from psfmatch.kernels import LinearCombinationKernel

__all__ = ["CorrectedPsf"]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

LEAST_POWER = 1e-3
"""Of a kernel, below which what it was applied to cannot be told."""


class CorrectedPsf:
    """A PSF seen through a kernel: that of a decorrelated difference.

    Parameters
    ----------
    psf
        PSF of the image that was not convolved.
    correction
        The kernel that was applied to the difference.
    matching
        The kernel that was applied to the other image before, if it is known.
    isScienceConvolved
        Whether that is the science image.
    """

    def __init__(
        self,
        psf: Psf,
        correction: LinearCombinationKernel,
        matching: LinearCombinationKernel | None = None,
        *,
        isScienceConvolved: bool = False,
    ) -> None:
        self._psf, self._correction = psf, correction
        self._matching, self._isScienceConvolved = matching, isScienceConvolved

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return where the PSF calls itself typical (x, y), parent pixels; None if it does not say."""
        return averagePosition(self._psf)

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels, with sum 1 and the sides of PSF and kernel together, less one."""
        image = np.asarray(self._psf.computeKernelImage(x, y), dtype=np.float64)
        # The kernel correlates, so a star takes its mirror image.
        result = _core.composed(image, self._correction.computeImage(x, y)[::-1, ::-1])[0]
        return np.asarray(result / result.sum())

    def photonNoise(self, x: float, y: float) -> tuple[float, float] | None:
        """Return what a fit of this PSF sees of a point source's photon noise in the two images it came from.

        The noise of the sky is white, that of a source's own photons is not: it came with one image alone, whose noise
        the kernels have correlated. With p the source in that image as it was, T the kernels that its noise has gone
        through, m those before the decorrelation, and w the weights of the fit, the variance of the flux is
        sum p (T w)^2; here it is divided by sum (m^2 p) w^2, what the image's own variance plane lets expect.

        Returns
        -------
        science, template : float
            Of photons of either image, the convolved one as it is after that; None where the matching kernel is not
            known.
        """
        if self._matching is None:
            return None
        correction = self._correction.computeImage(x, y)[::-1, ::-1]
        psf = np.asarray(self._psf.computeKernelImage(x, y), dtype=np.float64)
        unconvolved = _noiseSeen(psf, correction)
        convolved = _noiseSeen(psf, correction, self._matching.computeImage(x, y)[::-1, ::-1])
        return (convolved, unconvolved) if self._isScienceConvolved else (unconvolved, convolved)


def _noiseSeen(psf: FloatArray, correction: FloatArray, kernel: FloatArray | None = None) -> float:
    """Return sum p (T w)^2 over sum (m^2 p) w^2, see `CorrectedPsf.photonNoise`; the PSF is p through the kernel."""
    size = 2 * transformSize(max(image.shape[0] for image in (psf, correction, kernel) if image is not None))

    def spectrum(image: FloatArray) -> ComplexArray:
        wide = np.zeros((size, size))
        wide[: image.shape[0], : image.shape[1]] = image
        return np.fft.rfft2(np.roll(wide, [-(side // 2) for side in image.shape], (0, 1)))

    def picture(transform: ComplexArray) -> FloatArray:
        return np.fft.irfft2(transform, s=(size, size))

    star, transfer = spectrum(psf), spectrum(correction)
    weights = star * transfer
    before = np.array(1.0 + 0.0j) if kernel is None else spectrum(kernel / kernel.sum())
    source = star * before.conj() / np.maximum(np.abs(before) ** 2, LEAST_POWER)
    told = picture(source) if kernel is None else picture(source * np.fft.rfft2(picture(before) ** 2))
    seen = picture(source) * picture(weights * (transfer * before).conj()) ** 2
    return float(seen.sum() / (told * picture(weights) ** 2).sum())

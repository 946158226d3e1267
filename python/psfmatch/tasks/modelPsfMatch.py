"""The task that brings an exposure to a given PSF: a PSF model is matched to a PSF model, without any star.

Both models are drawn on a grid of cells over the exposure. These images take the place of stars in the ordinary
solution for a spatially varying kernel (Alard & Lupton 1998, ApJ 503, 325); as they are free of noise, all pixels have
the same weight and no candidate is rejected. The exposure is convolved with the result.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config.later import laterClass
from psfmatch.config.task import Struct, timeMethod
from psfmatch.difference import convolveBy
from psfmatch.fit.candidates.cells import KernelCandidate, SpatialCellSet
from psfmatch.images import NOT_THERE, Exposure, MaskedImage, Psf, asPsf, averagePosition, getFwhmPix
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.kernels.basis import KernelBasis, makeKernelBasis
from psfmatch.sources import exposureFwhmPix
from psfmatch.tasks.psfMatch import KernelFit, PsfMatchTask

__all__ = ["ModelPsfMatchTask", "withShape"]

FloatArray = npt.NDArray[np.float64]


PIXELS_PER_FUNCTION = 2
"""To fit, at least, where images of PSFs must be padded further than the configuration says."""


class ModelPsfMatchTask(PsfMatchTask):
    """Gives an exposure the PSF of a model.

    Parameters
    ----------
    *args, **kwargs
        As for `PsfMatchTask`: config, name, parentTask, log, threads.

    Examples
    --------
    >>> task = ModelPsfMatchTask()
    >>> result = task.run(exposure, GaussianPsf(2.5))  # doctest: +SKIP
    >>> result.psfMatchedExposure.writeFits("matched.fits")  # doctest: +SKIP
    """

    ConfigClass = laterClass("psfmatch.tasks.configs:ModelPsfMatchConfig")
    _DefaultName = "modelPsfMatch"

    @timeMethod
    def run(self, exposure: Exposure, referencePsfModel: Any, kernelSum: float = 1.0) -> Struct:
        """Convolve an exposure so that its PSF becomes that of a model.

        Parameters
        ----------
        exposure
            With a PSF; not changed.
        referencePsfModel
            The PSF to reach, defined on the exposure's parent pixels.
        kernelSum
            Sum of the kernel: the factor by which fluxes change.

        Returns
        -------
        result : Struct
            ``psfMatchedExposure`` (the exposure, convolved, with `referencePsfModel` as its PSF; all else is kept, the
            photoCalib too, whatever `kernelSum`), ``psfMatchingKernel``, ``backgroundModel`` (zero),
            ``kernelCellSet``, ``kernelFit``, ``metadata`` (of the task).

        Raises
        ------
        ValueError
            If the exposure has no PSF that can be measured, `kernelSum` is not positive, `padPsfBy` is odd, or the
            kernel is not smaller than the image of the PSF, padded as configured. (Where that leaves fewer pixels than
            functions of the kernel, it is padded further.)
        InputImagesError
            If the exposure is smaller than the kernel.
        KernelSolutionError
            If the equations have no solution.
        """
        if not (math.isfinite(kernelSum) and kernelSum > 0.0):
            raise ValueError(f"kernelSum is {kernelSum}; the factor of the fluxes must be positive")
        if exposure.psf is None:
            raise ValueError("the exposure has no PSF to start from; set exposure.psf")
        self.requireKernelFits(exposure.maskedImage)
        basisList = self._basisFor(exposure, asPsf(referencePsfModel))
        with self.timer("stamps"):
            cellSet = self._buildCellSet(exposure, asPsf(referencePsfModel), kernelSum, basisList)
        fit = _withSum(self._solve(cellSet, basisList), kernelSum, exposure)
        self.metadata["spatialKernelSum"] = kernelSum
        self._recordResidual(cellSet)
        with self.timer("convolve"):
            pixels = convolveBy(fit.kernel, exposure.maskedImage, self.options, self.threads)
        matched = exposure.withPixels(pixels)
        matched.psf = referencePsfModel
        return Struct(
            psfMatchedExposure=matched,
            psfMatchingKernel=fit.kernel,
            backgroundModel=fit.background,
            kernelCellSet=cellSet,
            kernelFit=fit,
            metadata=self.metadata,
        )

    def _basisFor(self, exposure: Exposure, reference: Psf) -> KernelBasis:
        fwhm = exposureFwhmPix(exposure)
        if fwhm is None:
            raise ValueError("the exposure's PSF has no measurable width anywhere on the exposure")
        referenceFwhm = getFwhmPix(reference, averagePosition(reference) or exposure.getBBox().centre)
        self.metadata["exposureFwhmPix"] = fwhm
        self.metadata["referenceFwhmPix"] = referenceFwhm
        self._log.info("Matching Psf FWHM %.3f -> %.3f pix", fwhm, referenceFwhm)
        if referenceFwhm < fwhm:
            self._log.warning(
                "The PSF to reach is the narrower one (%.2f < %.2f px): the kernel must sharpen, which amplifies noise",
                referenceFwhm,
                fwhm,
            )
        return makeKernelBasis(self.options, fwhm, referenceFwhm, metadata=self.metadata)

    def _buildCellSet(
        self, exposure: Exposure, reference: Psf, kernelSum: float, basisList: KernelBasis
    ) -> SpatialCellSet:
        """Return cells with one candidate each: both PSFs at the cell's centre."""
        # So many cells along each axis that the spatial model is overdetermined on small images, too.
        least = self.options.spatialKernelOrder + 2
        box = exposure.getBBox()
        sides = zip((self.options.sizeCellX, self.options.sizeCellY), (box.width, box.height), strict=True)
        cellSet = SpatialCellSet(box, *(min(size, -(-side // least)) for size, side in sides))
        psf = asPsf(exposure.psf)
        places, images, wanted = [], [], []
        for cell in cellSet.cells:
            x, y = cell.bbox.centre
            try:
                drawn = psf.computeKernelImage(x, y), reference.computeKernelImage(x, y)
            except NOT_THERE as error:
                self._log.debug("No candidate at (%.1f, %.1f): %s", x, y, error)
                continue
            places.append((x, y))
            images.append(np.asarray(drawn[0], dtype=np.float64))
            wanted.append(np.asarray(drawn[1], dtype=np.float64) * kernelSum)
        if not places:
            raise ValueError(f"no cell of {box} has both PSFs defined at its centre")
        shape = self._paddedShape(images, len(basisList), basisList.shape[-1])
        for (x, y), image, target in zip(places, images, wanted, strict=True):
            stamps = [_flatMaskedImage(withShape(pixels, shape)) for pixels in (image, target)]
            cellSet.insertCandidate(KernelCandidate(x, y, stamps[0], stamps[1], self.options, rating=1.0))
        return cellSet

    def _paddedShape(self, images: list[FloatArray], nBasis: int, kernelSize: int) -> tuple[int, int]:
        """Return the height and width in pixels that all images of PSFs are brought to."""
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        if self.config.doAutoPadPsf:
            least = math.ceil(self.config.autoPadPsfTo * kernelSize)
            least += 1 - least % 2
            shape = max(height, least), max(width, least)
        else:
            pad = self.config.padPsfBy or 0
            if pad % 2:
                raise ValueError(f"padPsfBy is {pad}; it must be even, so that the PSF keeps its middle pixel")
            shape = height + pad, width + pad
        if min(shape) <= kernelSize:
            raise ValueError(
                f"the kernel of {kernelSize}x{kernelSize} pixels must be smaller than the PSF's image of "
                f"{shape[1]}x{shape[0]}: set doAutoPadPsf, or padPsfBy without it, or choose a smaller kernelSize"
            )
        # Pixels on which the whole kernel lies: fewer than unknowns leave the kernel undetermined.
        if math.prod(side - kernelSize + 1 for side in shape) < nBasis:
            least = kernelSize + math.ceil(math.sqrt(PIXELS_PER_FUNCTION * nBasis))
            least += 1 - least % 2
            shape = max(shape[0], least), max(shape[1], least)
        self._log.debug("PSF images of %dx%d pixels padded to %dx%d", width, height, shape[1], shape[0])
        return shape

    def _recordResidual(self, cellSet: SpatialCellSet) -> None:
        """Write the largest rms residual of a candidate, in units of the peak that it should have."""
        residuals = [
            candidate.spatialResidual.rms / float(candidate.scienceMaskedImage.image.max())
            for candidate in cellSet
            if candidate.spatialResidual is not None
        ]
        self.metadata["psfModelResidual"] = max(residuals, default=math.nan)
        self._log.info(
            "The matched PSF differs from the model by %.2g of its peak, rms", max(residuals, default=math.nan)
        )


def withShape(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return an image of odd sides cut or surrounded with zeros to a shape of odd sides, the middle pixel kept."""
    result = np.zeros(shape)
    half = [min(have // 2, want // 2) for have, want in zip(image.shape, shape, strict=True)]
    source, target = (
        tuple(slice(side // 2 - h, side // 2 + h + 1) for side, h in zip(sides, half, strict=True))
        for sides in (image.shape, shape)
    )
    result[target] = image[source]
    return result


def _flatMaskedImage(pixels: FloatArray) -> MaskedImage:
    return MaskedImage(pixels.astype(np.float32), variance=np.ones(pixels.shape, dtype=np.float32))


def _withSum(fit: KernelFit, kernelSum: float, exposure: Exposure) -> KernelFit:
    """Return a solution whose kernel has exactly a given sum: the models' cut wings must not change fluxes."""
    kernel = fit.kernel
    factor = kernelSum / kernel.kernelSum(*exposure.getBBox().centre)
    scaled = LinearCombinationKernel(kernel.basis, factor * kernel.scaledParameters, kernel.model, frame=kernel.frame)
    return replace(fit, kernel=scaled)

"""The task: match the PSF of one image to that of another, and subtract.

The way of the data through `ImagePsfMatchTask.subtractExposures`: registration is checked, PSF sizes are found,
stars are selected and cut out of both images, the spatially varying kernel and background are solved for, the
template is convolved and subtracted (Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch import psf as psfs
from psfmatch.basis import makeKernelBasisList
from psfmatch.detection import SourceDetectionTask
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import EdgeHandling
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.psfMatch import PsfMatchTask, PsfMatchTaskConfig
from psfmatch.registration import atOrigin, registerTemplate, requireSameShape
from psfmatch.selection import (
    buildCellSet,
    getSelectSources,
    isFinishedList,
    makeCandidateList,
    requireSources,
    stampRules,
    toSourceTable,
)
from psfmatch.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.task import Struct
from psfmatch.warping import Warper

__all__ = ["ImagePsfMatchConfig", "ImagePsfMatchTask"]

MAX_MEASURED_SOURCES = 300
"""The brightest sources tell the PSF's width; more would only take time."""


class ImagePsfMatchConfig(PsfMatchTaskConfig):
    """Configuration of `ImagePsfMatchTask`."""

    selectDetection = SourceDetectionTask.makeField("Detection of the sources from which kernel candidates are chosen.")
    selectMeasurement = SourceMeasurementTask.makeField(
        "Measurement of the sources from which kernel candidates are chosen."
    )

    def setDefaults(self) -> None:
        """Set the threshold of kernel stars."""
        super().setDefaults()
        self.selectDetection.reEstimateBackground = False
        self.selectDetection.thresholdValue = 10.0


class ImagePsfMatchTask(PsfMatchTask):
    """PSF-matches and subtracts images.

    Parameters
    ----------
    *args, **kwargs
        As for `PsfMatchTask`: config, name, parentTask, log, threads.

    Examples
    --------
    >>> config = ImagePsfMatchTask.ConfigClass()
    >>> config.kernel.active.spatialKernelOrder = 1
    >>> task = ImagePsfMatchTask(config=config)
    """

    ConfigClass = ImagePsfMatchConfig
    _DefaultName = "imagePsfMatch"

    selectDetection: SourceDetectionTask
    selectMeasurement: SourceMeasurementTask

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.makeSubtask("selectDetection")
        self.makeSubtask("selectMeasurement")

    # The four ways in

    def subtractExposures(
        self,
        templateExposure: Exposure,
        scienceExposure: Exposure,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
        candidateList: Any = None,
        doWarping: bool = True,
        convolveTemplate: bool = True,
    ) -> Struct:
        """Match and subtract two exposures: D = science - (matched + background).

        Parameters
        ----------
        templateExposure, scienceExposure
            Images of the same sky; not changed. The template may have any size, orientation and pixel scale if both
            have a WCS.
        templateFwhmPix, scienceFwhmPix
            FWHM of the PSFs in pixels; by default from the exposure's PSF, else measured from its stars.
        candidateList
            Stars to use: None detects them on the science image; else a Table or (N, 2) array of positions.
        doWarping
            Warp the template if its pixels are not those of the science image; False raises then.
        convolveTemplate
            Convolve the template; otherwise the science image, and the difference is scaled back by the kernel
            sum at the image's centre.

        Returns
        -------
        result : Struct
            As `matchExposures`, and ``subtractedExposure``, with all properties of the science exposure (with the
            PSF of the image that was not convolved).

        Raises
        ------
        InputImagesError
            If the images do not overlap, or the template's grid differs and cannot or may not be warped.
        NoKernelCandidatesError, InsufficientKernelSourcesError
            If there are no, or too few, stars.
        KernelSolutionError
            If the equations have no solution.
        """
        result = self.matchExposures(
            templateExposure,
            scienceExposure,
            templateFwhmPix,
            scienceFwhmPix,
            candidateList,
            doWarping,
            convolveTemplate,
        )
        with self.timer("subtract"):
            template = atOrigin(result.warpedExposure.maskedImage, scienceExposure.maskedImage)
            if convolveTemplate:
                pixels = subtractMatchedTemplate(
                    scienceExposure.maskedImage, result.matchedImage, result.backgroundModel
                )
            else:
                kernelSum = result.psfMatchingKernel.kernelSum(*scienceExposure.getBBox().centre)
                pixels = subtractMatchedScience(result.matchedImage, template, result.backgroundModel, kernelSum)
        result.subtractedExposure = Exposure(
            pixels,
            wcs=scienceExposure.wcs,
            psf=scienceExposure.psf if convolveTemplate else result.warpedExposure.psf,
            photoCalib=scienceExposure.photoCalib,
            filter=scienceExposure.filter,
            metadata=dict(scienceExposure.metadata),
        )
        return result

    def matchExposures(
        self,
        templateExposure: Exposure,
        scienceExposure: Exposure,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
        candidateList: Any = None,
        doWarping: bool = True,
        convolveTemplate: bool = True,
    ) -> Struct:
        """Convolve the template to the PSF of the science image (or the reverse).

        Parameters and errors are those of `subtractExposures`.

        Returns
        -------
        result : Struct
            ``matchedImage`` (MaskedImage), ``matchedExposure`` (the same with the science image's WCS and
            calibration and the template's filter), ``psfMatchingKernel``, ``backgroundModel``, ``kernelCellSet``,
            ``warpedExposure`` (the template on the science image's grid), ``kernelFit``.
        """
        templateExposure = self.registerTemplate(templateExposure, scienceExposure, doWarping)
        template = atOrigin(templateExposure.maskedImage, scienceExposure.maskedImage)
        science = scienceExposure.maskedImage

        self.requireKernelFits(scienceExposure.maskedImage)
        with self.timer("select"):
            isFinished = isFinishedList(candidateList)
            sources = candidateList if isFinished else self._sources(candidateList, scienceExposure)
        with self.timer("measurePsf"):
            templateFwhmPix, scienceFwhmPix = self.measureFwhms(
                templateExposure, scienceExposure, sources, templateFwhmPix, scienceFwhmPix
            )

        if convolveTemplate:
            result = self.matchMaskedImages(template, science, sources, templateFwhmPix, scienceFwhmPix)
        else:
            result = self.matchMaskedImages(science, template, sources, scienceFwhmPix, templateFwhmPix)
        result.warpedExposure = templateExposure
        result.matchedExposure = Exposure(
            result.matchedImage,
            wcs=scienceExposure.wcs,
            photoCalib=scienceExposure.photoCalib,
            filter=templateExposure.filter if convolveTemplate else scienceExposure.filter,
        )
        return result

    def subtractMaskedImages(
        self,
        templateMaskedImage: MaskedImage,
        scienceMaskedImage: MaskedImage,
        candidateList: Any = None,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
    ) -> Struct:
        """Match and subtract images that are registered pixel for pixel.

        Parameters, results and errors are those of `matchMaskedImages`; the result also has
        ``subtractedMaskedImage``.
        """
        result = self.matchMaskedImages(
            templateMaskedImage, scienceMaskedImage, candidateList, templateFwhmPix, scienceFwhmPix
        )
        with self.timer("subtract"):
            result.subtractedMaskedImage = subtractMatchedTemplate(
                scienceMaskedImage, result.matchedImage, result.backgroundModel
            )
        return result

    def matchMaskedImages(
        self,
        templateMaskedImage: MaskedImage,
        scienceMaskedImage: MaskedImage,
        candidateList: Any = None,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
    ) -> Struct:
        """Convolve one image to the PSF of another that is registered with it pixel for pixel.

        Parameters
        ----------
        templateMaskedImage, scienceMaskedImage
            The image to convolve and the image to match, of one shape; not changed.
        candidateList
            None detects stars on the science image; else a Table or (N, 2) array of positions in the science
            image's parent pixels, or the list of `makeCandidateList`.
        templateFwhmPix, scienceFwhmPix
            FWHM of the PSFs in pixels; without both, the configured Gaussians and kernel size are used.

        Returns
        -------
        result : Struct
            ``matchedImage`` (also as ``psfMatchedMaskedImage``; without the background), ``psfMatchingKernel``,
            ``backgroundModel``, ``kernelCellSet``, ``kernelFit``.

        Raises
        ------
        InputImagesError
            If the shapes differ.
        NoKernelCandidatesError, InsufficientKernelSourcesError
            If there are no, or too few, stars.
        KernelSolutionError
            If the equations have no solution.
        """
        requireSameShape(templateMaskedImage, scienceMaskedImage)
        self.requireKernelFits(scienceMaskedImage)
        template = atOrigin(templateMaskedImage, scienceMaskedImage)
        if templateFwhmPix is not None and scienceFwhmPix is not None:
            self.log.info("Matching Psf FWHM %.3f -> %.3f pix", templateFwhmPix, scienceFwhmPix)
            if templateFwhmPix > scienceFwhmPix:
                self.log.warning(
                    "The image to convolve has the wider PSF (%.2f > %.2f px): its kernel must sharpen, which "
                    "amplifies noise; convolve the other image instead (convolveTemplate)",
                    templateFwhmPix,
                    scienceFwhmPix,
                )
        basisList = self.makeKernelBasisList(templateFwhmPix, scienceFwhmPix, metadata=self.metadata)
        with self.timer("stamps"):
            candidates = self._candidates(template, scienceMaskedImage, basisList.shape[-1], candidateList)
            cellSet = buildCellSet(template, scienceMaskedImage, candidates, self.kConfig)
        fit = self._solve(cellSet, basisList)
        with self.timer("convolve"):
            matched = fit.kernel.convolve(template, self._edgeHandling(), threads=self.threads)
        return Struct(
            matchedImage=matched,
            psfMatchedMaskedImage=matched,
            psfMatchingKernel=fit.kernel,
            backgroundModel=fit.background,
            kernelCellSet=cellSet,
            kernelFit=fit,
        )

    # Parts

    def registerTemplate(
        self, templateExposure: Exposure, scienceExposure: Exposure, doWarping: bool = True
    ) -> Exposure:
        """Return the template on the science image's pixels; itself if it lies there already.

        Errors are those of `psfmatch.warping.registerTemplate`.
        """
        warper = Warper(
            self.kConfig.warpingConfig,
            badPlanes=[plane for plane in self.kConfig.badPixelMaskPlanes if plane != "EDGE"],
            maskedKernelFraction=self.kConfig.maskedKernelFraction,
            threads=self.threads,
        )
        with self.timer("warp"):
            return registerTemplate(templateExposure, scienceExposure, warper, doWarping)

    def getFwhmPix(self, psf: psfs.Psf, position: tuple[float, float] | None = None) -> float:
        """Return the FWHM in pixels of a PSF at a position (x, y); see `psfmatch.psf.getFwhmPix`."""
        return psfs.getFwhmPix(psf, (0.0, 0.0) if position is None else position)

    def getSelectSources(
        self, exposure: Exposure, sigma: float | None = None, doSmooth: bool = True, idFactory: Any = None
    ) -> Table:
        """Detect and measure sources; the exposure is not changed.

        Parameters
        ----------
        exposure
            Image to search.
        sigma
            Width of the PSF in pixels, for smoothing; by default that of the exposure's PSF.
        doSmooth
            Smooth with the PSF before detection.
        idFactory
            Callable that returns the next source id; by default ids count from 1.

        Returns
        -------
        sources : Table
            Brightest first: id, x, y (parent pixels), flux, fluxErr, snr, peak, a, b, npix, flags, ra, dec, badCentre.
        """
        if sigma is None:
            fwhm = (
                psfs.DEFAULT_FWHM_PIX
                if exposure.psf is None
                else psfs.getFwhmPix(exposure.psf, exposure.getBBox().centre)
            )
            sigma = fwhm / psfs.SIGMA_TO_FWHM
        sources = getSelectSources(
            exposure,
            self.selectDetection,
            self.selectMeasurement,
            self.kConfig.afwBackgroundConfig,
            sigma,
            doSmooth,
            self.threads,
        )
        if idFactory is not None:
            sources["id"] = [idFactory() for _ in range(len(sources))]
        self.metadata["nDetectedSources"] = len(sources)
        return sources

    def makeCandidateList(
        self,
        templateExposure: Exposure,
        scienceExposure: Exposure,
        kernelSize: int,
        candidateList: Any = None,
    ) -> list[dict[str, Any]]:
        """Accept or find candidates, and keep those whose stamps are good in both images.

        Parameters
        ----------
        templateExposure, scienceExposure
            Images on one grid.
        kernelSize
            Side of the kernel in pixels; stamps scale with it.
        candidateList
            None detects; else a Table or (N, 2) array of positions.

        Returns
        -------
        candidates : list of dict
            Each with ``source`` and ``footprint``.

        Raises
        ------
        NoKernelCandidatesError
            If none is given, found, or left.
        """
        sources = self._sources(candidateList, scienceExposure)
        template = atOrigin(templateExposure.maskedImage, scienceExposure.maskedImage)
        candidates, rejected = makeCandidateList(
            template, scienceExposure.maskedImage, sources, stampRules(self.kConfig, kernelSize), self.threads
        )
        self.metadata["nSelectedSources"] = len(candidates)
        self.metadata["rejectedSources"] = rejected
        return candidates

    def makeKernelBasisList(
        self,
        targetFwhmPix: float | None = None,
        referenceFwhmPix: float | None = None,
        basisDegGauss: Sequence[int] | None = None,
        basisSigmaGauss: Sequence[float] | None = None,
        metadata: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Return the basis images (n, h, w); see `psfmatch.basis.makeKernelBasisList`."""
        return makeKernelBasisList(
            self.kConfig, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata
        )

    def requireKernelFits(self, maskedImage: MaskedImage) -> None:
        """Raise InputImagesError if an image is smaller than the smallest kernel that may be chosen for it."""
        size = self.kConfig.kernelSizeMin if self.kConfig.scaleByFwhm else self.kConfig.kernelSize
        size = min(size, self.kConfig.kernelSize)
        if min(maskedImage.shape) < size:
            raise InputImagesError(
                f"Input images of {maskedImage.width}x{maskedImage.height} pixels are smaller than the kernel of "
                f"{size}x{size}; use larger cut-outs, or a smaller kernelSize with scaleByFwhm off",
                shape=maskedImage.shape,
                kernelSize=size,
            )

    def _sources(self, candidateList: Any, exposure: Exposure) -> Table:
        """Return the caller's candidates as a table with x and y, or detect them."""
        if candidateList is not None:
            return toSourceTable(candidateList, exposure)
        sources = self.getSelectSources(exposure)
        requireSources(sources, exposure, self.selectDetection.config.statsMask)
        return sources

    def _candidates(
        self, template: MaskedImage, science: MaskedImage, kernelSize: int, candidateList: Any
    ) -> list[dict[str, Any]]:
        if isFinishedList(candidateList):
            return list(candidateList)
        return self.makeCandidateList(Exposure(template), Exposure(science), kernelSize, candidateList)

    def _edgeHandling(self) -> EdgeHandling:
        config = self.kConfig
        return EdgeHandling(
            copyEdge=config.doCopyEdge,
            badPlanes=tuple(dict.fromkeys((*config.badPixelMaskPlanes, *config.badMaskPlanes))),
            maskedKernelFraction=config.maskedKernelFraction,
        )

    def measureFwhms(
        self,
        templateExposure: Exposure,
        scienceExposure: Exposure,
        sources: Any,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
    ) -> tuple[float | None, float | None]:
        """Return the FWHMs (pixels) of template and science image: as given, of the PSF, or of the stars.

        Stars are told from galaxies and artefacts by both images together. `sources` are positions in the science
        image's parent pixels; None stands for what cannot be measured, and a warning says so.
        """
        given = {"template": templateFwhmPix, "science": scienceFwhmPix}
        exposures = {"template": templateExposure, "science": scienceExposure}
        positions = None
        if None in given.values():
            table = toSourceTable(sources, scienceExposure)[:MAX_MEASURED_SOURCES]
            positions = np.column_stack([table["x"], table["y"]]).astype(float) - scienceExposure.xy0
        fwhms = psfs.findFwhms(exposures, given, positions, self.kConfig.badPixelMaskPlanes)
        for which, fwhm in fwhms.items():
            if fwhm is None:
                self.log.warning(
                    "No PSF and no measurable star on the %s image: the configured Gaussians are used; give %sFwhmPix",
                    which,
                    which,
                )
                continue
            self.metadata[f"{which}FwhmPix"] = fwhm
            if given[which] is None:
                origin = "its PSF" if exposures[which].psf is not None else "its stars"
                self.log.info("%sFwhmPix: %.3f, from %s", which, fwhm, origin)
        return fwhms["template"], fwhms["science"]

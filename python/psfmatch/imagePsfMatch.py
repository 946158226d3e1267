"""The task: match the PSF of one image to that of another, and subtract.

The way of the data through `ImagePsfMatchTask.subtractExposures`: registration is checked, PSF sizes are found,
stars are selected and cut out of both images, the spatially varying kernel and background are solved for, the
template is convolved and subtracted (Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from lsst.pex.config import ChoiceField

from psfmatch import displays
from psfmatch import psf as psfs
from psfmatch.basis import makeKernelBasisList
from psfmatch.candidates import isFinishedList, toSourceTable
from psfmatch.cells import SpatialCellSet
from psfmatch.degrees import chooseDegrees
from psfmatch.detection import SourceDetectionTask
from psfmatch.exposure import Exposure, Mask, MaskedImage
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.psfMatch import PsfMatchTask, PsfMatchTaskConfig
from psfmatch.registration import atOrigin, registerTemplate, requireSameShape
from psfmatch.selection import buildCellSet, getSelectSources, makeCandidateList, requireSources, stampRules
from psfmatch.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.task import Struct, timeMethod
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

    fwhmDefinition = ChoiceField[str](
        doc="What the FWHM of a PSF is, from which kernel and smoothing follow.",
        allowed={
            "determinantRadius": "2.3548 (Ixx Iyy - Ixy^2)^(1/4), of adaptive moments",
            "traceRadius": "2.3548 ((Ixx + Iyy) / 2)^(1/2), of adaptive moments",
            "halfMaximum": "mean width of the brightest row and column at half maximum",
        },
        default="determinantRadius",
        optional=False,
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

    @timeMethod
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
        displays.showDifference(template, result.matchedImage, scienceExposure, pixels, convolveTemplate)
        result.subtractedExposure = Exposure(
            pixels,
            wcs=scienceExposure.wcs,
            psf=scienceExposure.psf if convolveTemplate else result.warpedExposure.psf,
            photoCalib=scienceExposure.photoCalib,
            filter=scienceExposure.filter,
            metadata=dict(scienceExposure.metadata),
        )
        return result

    @timeMethod
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

    @timeMethod
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
        displays.showDifference(
            templateMaskedImage, result.matchedImage, scienceMaskedImage, result.subtractedMaskedImage
        )
        return result

    @timeMethod
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
        displays.showInputs(template, scienceMaskedImage)
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
        if self.kConfig.useBicForKernelBasis:
            with self.timer("chooseDegrees"):
                basisList = self._basisByBic(cellSet, templateFwhmPix, scienceFwhmPix)
        fit = self._solve(cellSet, basisList)
        displays.showSpatialCells(scienceMaskedImage, cellSet)
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

    def getSchemaCatalogs(self) -> dict[str, Table]:
        """Return the empty catalogue of the sources that `getSelectSources` measures, under the task's name."""
        nothing = Exposure(MaskedImage(np.full((1, 1), np.nan)))
        # Of copies: asking for the columns leaves no trace in the subtasks' metadata.
        subtasks = copy(self.selectDetection), copy(self.selectMeasurement)
        return {self.getName(): getSelectSources(nothing, *subtasks, self.kConfig.afwBackgroundConfig, 1.0)}

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

    @timeMethod
    def getFwhmPix(self, psf: Any, position: tuple[float, float] | None = None) -> float:
        """Return the FWHM in pixels of a PSF at a position (x, y), by default its average one.

        ``config.fwhmDefinition`` says what a FWHM is; see `psfmatch.psf.getFwhmPix`.
        """
        return psfs.getFwhmPix(psf, position, self.config.fwhmDefinition)

    @timeMethod
    def getSelectSources(
        self,
        exposure: Exposure,
        sigma: float | None = None,
        doSmooth: bool = True,
        idFactory: Callable[[], int] | None = None,
        *,
        detectedMask: Mask | None = None,
    ) -> Table:
        """Detect and measure sources; the exposure is not changed.

        Parameters
        ----------
        exposure
            Image to search.
        sigma
            Width of the PSF in pixels, for smoothing; by default that of the exposure's PSF, without one a usual width.
        doSmooth
            Smooth with the PSF before detection.
        idFactory
            Callable that returns the next source id, each different; by default ids count from 1.
        detectedMask
            Mask of the exposure's shape in which the planes DETECTED and DETECTED_NEGATIVE are set anew, in place:
            ``exposure.mask`` to have them where the reference puts them.

        Returns
        -------
        sources : Table
            Brightest first. id; x, y (pixels of the parent); flux, fluxErr (image units, isophotal), snr, peak; a, b
            (pixels), npix, flags (of sep), isNegative, footprint (its number); ra, dec (degrees; NaN without a WCS);
            ixx, iyy, ixy (square pixels); psfFlux, psfFluxErr, gaussianFlux, gaussianFluxErr (image units);
            badCentre and the pixel flags (see `SourceMeasurementTask.run`).

        Raises
        ------
        ValueError
            If sigma is not positive, or ids repeat.
        """
        if sigma is None:
            fwhm = psfs.exposureFwhmPix(exposure, self.config.fwhmDefinition)
            if fwhm is None:
                fwhm = psfs.DEFAULT_FWHM_PIX
                self.log.info("No PSF on the image and no sigma: smoothing for a FWHM of %.1f pixels", fwhm)
            sigma = fwhm / psfs.SIGMA_TO_FWHM
        sources = getSelectSources(
            exposure,
            self.selectDetection,
            self.selectMeasurement,
            self.kConfig.afwBackgroundConfig,
            sigma,
            doSmooth,
            self.threads,
            detectedMask,
        )
        if idFactory is not None:
            ids = [idFactory() for _ in range(len(sources))]
            if len(set(ids)) < len(ids):
                raise ValueError(f"idFactory gave {len(set(ids))} different ids for {len(ids)} sources")
            sources["id"] = ids
        self.metadata["nDetectedSources"] = len(sources)
        return sources

    @timeMethod
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
            None detects on the science image; else any form of `psfmatch.candidates.toSourceTable`. Sky positions
            are turned into pixels by the science image's WCS.

        Returns
        -------
        candidates : list of dict
            Each with ``source``, a table row, and ``footprint``.

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

    @timeMethod
    def makeKernelBasisList(
        self,
        targetFwhmPix: float | None = None,
        referenceFwhmPix: float | None = None,
        basisDegGauss: Sequence[int] | None = None,
        basisSigmaGauss: Sequence[float] | None = None,
        metadata: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Return the basis images (n, h, w) and log how they were chosen; see `psfmatch.basis.makeKernelBasisList`."""
        chosen: dict[str, Any] = {}
        basisList = makeKernelBasisList(
            self.kConfig, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, chosen
        )
        n, height, width = basisList.shape
        if chosen:
            self.log.info(
                "Basis mode %s: sigmas %s px, degrees %s, kernel %dx%d px",
                chosen["ALBasisMode"],
                " ".join(f"{sigma:.3f}" for sigma in chosen["ALBasisSigGauss"]),
                " ".join(str(degree) for degree in chosen["ALBasisDegGauss"]),
                width,
                height,
            )
        else:
            self.log.info("Basis of %d delta functions: kernel %dx%d px", n, width, height)
        if metadata is not None:
            metadata.update(chosen)
        return basisList

    def _basisByBic(
        self, cellSet: SpatialCellSet, targetFwhmPix: float | None, referenceFwhmPix: float | None
    ) -> npt.NDArray[np.float64]:
        """Return the basis of the degrees that most candidates prefer."""
        degrees = chooseDegrees(
            cellSet,
            self.kConfig,
            lambda tried: makeKernelBasisList(self.kConfig, targetFwhmPix, referenceFwhmPix, tried),
            self.threads,
        )
        return self.makeKernelBasisList(targetFwhmPix, referenceFwhmPix, degrees, metadata=self.metadata)

    def _sources(self, candidateList: Any, exposure: Exposure) -> Table:
        """Return the caller's candidates as a table with x and y, or detect them."""
        if candidateList is not None:
            return toSourceTable(candidateList, exposure)
        sources = self.getSelectSources(exposure)
        requireSources(sources, exposure, getattr(self.selectDetection.config, "statsMask", ()))
        return sources

    def _candidates(
        self, template: MaskedImage, science: MaskedImage, kernelSize: int, candidateList: Any
    ) -> list[dict[str, Any]]:
        if isFinishedList(candidateList):
            return list(candidateList)
        return self.makeCandidateList(Exposure(template), Exposure(science), kernelSize, candidateList)

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
        exposures = {"template": templateExposure, "science": scienceExposure}
        given = {"template": templateFwhmPix, "science": scienceFwhmPix}
        positions = None
        if None in given.values():
            table = toSourceTable(sources, scienceExposure)[:MAX_MEASURED_SOURCES]
            positions = np.column_stack([table["x"], table["y"]]).astype(float) - scienceExposure.xy0
        planes, definition = self.kConfig.badPixelMaskPlanes, self.config.fwhmDefinition
        fwhms = psfs.findFwhms(exposures, given, positions, planes, definition)
        psfs.recordFwhms(fwhms, self.log, self.metadata)
        return fwhms["template"][0], fwhms["science"][0]

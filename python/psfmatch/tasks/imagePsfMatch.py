"""The task: match the PSF of one image to that of another, and subtract.

The way of the data through `ImagePsfMatchTask.subtractExposures`: registration is checked, PSF sizes are found,
stars are selected and cut out of both images, the spatially varying kernel and background are solved for, the
template is convolved and subtracted (Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.config import ImagePsfMatchOptions
from psfmatch.config.later import laterClass, laterView
from psfmatch.config.task import Struct, timeMethod
from psfmatch.difference import convolveBy, warperOf
from psfmatch.difference.background import refineBackground
from psfmatch.difference.subtraction import matchedExposure, subtractMatched, subtractMatchedTemplate
from psfmatch.errors import advice
from psfmatch.fit import (
    RegionCells,
    buildCellSet,
    isFinishedList,
    makeCandidateList,
    requireSources,
    stampRules,
    toSourceTable,
)
from psfmatch.fit.candidates.cells import SpatialCellSet
from psfmatch.images import Exposure, Mask, MaskedImage, atOrigin, getFwhmPix, requireSameShape
from psfmatch.io.sourceTable import AnyTable, asTable
from psfmatch.registration import Warper, coveredArea, registerTemplate
from psfmatch.sources import (
    SourceDetectionTask,
    findFwhms,
    getSelectSources,
    ignoredPlanes,
    recordFwhms,
    smoothingSigma,
)
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.tasks.psfMatch import PsfMatchTask
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["ImagePsfMatchTask"]


MAX_MEASURED_SOURCES = 300
"""The brightest sources tell the PSF's width; more would only take time."""
EQUAL_WIDTHS = 0.03
"""Of PSFs that count as equally wide: neither direction has to sharpen beyond what their measurement tells."""


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

    ConfigClass = laterClass("psfmatch.tasks.configs:ImagePsfMatchConfig")
    _DefaultName = "imagePsfMatch"

    selectDetection: SourceDetectionTask
    selectMeasurement: SourceMeasurementTask

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self._given
        self.fwhmDefinition: str = given.fwhmDefinition
        if isinstance(given, ImagePsfMatchOptions):
            # Nobody can have put others in their place.
            self.selectDetection = SourceDetectionTask(given.selectDetection, "selectDetection", self)
            self.selectMeasurement = SourceMeasurementTask(given.selectMeasurement, "selectMeasurement", self)
        else:
            self.makeSubtask("selectDetection")
            self.makeSubtask("selectMeasurement")

    @property
    def _warper(self) -> Warper:
        """What resamples templates, of the kernel's ``warpingConfig``."""
        return warperOf(self.options, self.threads)

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
            Stars to use: None detects them on the science image; else any form of
            `psfmatch.fit.toSourceTable`, in pixels of the science image's parent frame or on the sky, or the
            list of `makeCandidateList`.
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
            result.subtractedExposure = subtractMatched(
                result.warpedExposure,
                scienceExposure,
                result.matchedImage,
                result.backgroundModel,
                isScienceConvolved=not convolveTemplate,
                kernelSum=result.psfMatchingKernel.kernelSum(*scienceExposure.getBBox().centre),
                threads=self.threads,
            )
        template = atOrigin(result.warpedExposure.maskedImage, scienceExposure.maskedImage)
        pixels = result.subtractedExposure.maskedImage
        laterView("showDifference", template, result.matchedImage, scienceExposure, pixels, convolveTemplate)
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
        filters = templateExposure.filter, scienceExposure.filter
        if all(filters) and filters[0] != filters[1]:
            self._log.warning(
                "Template in the filter %s, science image in %s: colours stay in the difference", *filters
            )
        with self.timer("select"):
            isFinished = isinstance(candidateList, RegionCells) or isFinishedList(candidateList)
            sources = candidateList if isFinished else self._sources(candidateList, scienceExposure)
        if not isinstance(candidateList, RegionCells):
            with self.timer("measurePsf"):
                templateFwhmPix, scienceFwhmPix = self.measureFwhms(
                    templateExposure, scienceExposure, sources, templateFwhmPix, scienceFwhmPix
                )

        if convolveTemplate:
            result = self.matchMaskedImages(template, science, sources, templateFwhmPix, scienceFwhmPix)
        else:
            result = self.matchMaskedImages(science, template, sources, scienceFwhmPix, templateFwhmPix)
        result.warpedExposure = templateExposure
        result.matchedExposure = matchedExposure(
            result.matchedImage, templateExposure, scienceExposure, isScienceConvolved=not convolveTemplate
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
                scienceMaskedImage, result.matchedImage, result.backgroundModel, self.threads
            )
        views = templateMaskedImage, result.matchedImage, scienceMaskedImage, result.subtractedMaskedImage
        laterView("showDifference", *views)
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
            None detects stars on the science image; else any form of `psfmatch.fit.toSourceTable` in the
            science image's parent pixels, or the list of `makeCandidateList`.
        templateFwhmPix, scienceFwhmPix
            FWHM of the PSFs in pixels; without both, the configured Gaussians and kernel size are used.

        Returns
        -------
        result : Struct
            ``matchedImage`` (also as ``psfMatchedMaskedImage``; without the background), ``psfMatchingKernel``,
            ``backgroundModel``, ``kernelCellSet``, ``kernelFit``; ``blankSky`` of the difference if it was refined.

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
        laterView("showInputs", template, scienceMaskedImage)
        if templateFwhmPix is not None and scienceFwhmPix is not None:
            self._log.info("Matching Psf FWHM %.3f -> %.3f pix", templateFwhmPix, scienceFwhmPix)
            if templateFwhmPix > (1.0 + EQUAL_WIDTHS) * scienceFwhmPix:
                self._log.warning(
                    "The image to convolve has the wider PSF (%.2f > %.2f px): its kernel must sharpen, which "
                    "amplifies noise; convolve the other image instead%s",
                    templateFwhmPix,
                    scienceFwhmPix,
                    advice(" (convolveTemplate= of the task, mode= of subtract)", " (--mode)"),
                )
        basisList = self.makeKernelBasisList(templateFwhmPix, scienceFwhmPix, metadata=self.metadata)
        with self.timer("stamps"):
            cellSet = self._makeCells(template, scienceMaskedImage, basisList.shape[-1], candidateList)
        if self.options.useBicForKernelBasis:
            with self.timer("chooseDegrees"):
                basisList = self._basisByBic(cellSet, templateFwhmPix, scienceFwhmPix)
        fit = self._solve(cellSet, basisList)
        laterView("showSpatialCells", scienceMaskedImage, cellSet)
        with self.timer("convolve"):
            matched = convolveBy(fit.kernel, template, self.options, self.threads)
        options, sky = self.options, None
        if options.fitMethod == "regions" and options.fitForBackground and options.regions.refineBackground:
            with self.timer("background"):
                background, sky = refineBackground(scienceMaskedImage, matched, fit.background, self.threads)
                fit = replace(fit, background=background)
        result = Struct(
            matchedImage=matched,
            psfMatchedMaskedImage=matched,
            psfMatchingKernel=fit.kernel,
            backgroundModel=fit.background,
            kernelCellSet=cellSet,
            kernelFit=fit,
        )
        if sky is not None:
            result.blankSky = sky
        return result

    # Parts

    def _makeCells(
        self, template: MaskedImage, science: MaskedImage, kernelSize: int, candidateList: Any
    ) -> SpatialCellSet:
        """Return the candidates in their cells: stamps of stars, or regions of pixels."""
        if self.options.fitMethod == "candidates":
            candidates = self._candidates(template, science, kernelSize, candidateList)
            return buildCellSet(template, science, candidates, self.options)
        if isinstance(candidateList, RegionCells):
            cells = candidateList
        else:
            sources = None
            if self.options.regions.layout == "stars":
                if isFinishedList(candidateList):
                    candidateList = [item["footprint"] for item in candidateList]
                sources = self._sources(candidateList, Exposure(science))
            area = coveredArea(template, science, self.threads)
            pair = template.subset(area), science.subset(area)
            cells = RegionCells(*pair, self.options, kernelSize, sources, self.threads)
        self.metadata["rejectedSources"] = (
            {"outside, or too close to the edge": cells.nOutside} if cells.nOutside else {}
        )
        return cells

    def registerTemplate(
        self, templateExposure: Exposure, scienceExposure: Exposure, doWarping: bool = True
    ) -> Exposure:
        """Return the template on the science image's pixels; itself if it lies there already.

        Errors are those of `psfmatch.registration.registerTemplate`.
        """
        with self.timer("warp"):
            return registerTemplate(templateExposure, scienceExposure, self._warper, doWarping)

    def getSchemaCatalogs(self) -> dict[str, Table]:
        """Return the empty catalogue of the sources that `getSelectSources` measures, under the task's name."""
        nothing = Exposure(MaskedImage(np.full((1, 1), np.nan)))
        # Of copies: asking for the columns leaves no trace in the subtasks' metadata.
        subtasks = copy(self.selectDetection), copy(self.selectMeasurement)
        found = getSelectSources(nothing, *subtasks, self.options.background, 1.0)
        return {self.getName(): asTable(found)}

    @property
    def selectSchema(self) -> Table:
        """The empty catalogue of the sources among which candidates are chosen: columns, types and units."""
        return self.getSchemaCatalogs()[self.getName()]

    @timeMethod
    def getFwhmPix(self, psf: Any, position: tuple[float, float] | None = None) -> float:
        """Return the FWHM in pixels of a PSF at a position (x, y), by default its average one.

        ``config.fwhmDefinition`` says what a FWHM is; see `psfmatch.images.getFwhmPix`.
        """
        return getFwhmPix(psf, position, self.fwhmDefinition)

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
            (pixels), npix, flags, isNegative, footprint (its number); ra, dec (degrees; NaN without a WCS);
            ixx, iyy, ixy (square pixels); psfFlux, psfFluxErr, gaussianFlux, gaussianFluxErr (image units);
            badCentre and the pixel flags (see `SourceMeasurementTask.run`).

        Raises
        ------
        ValueError
            If sigma is not positive, or ids repeat.
        """
        sources = asTable(self.selectSources(exposure, sigma, doSmooth, detectedMask))
        if idFactory is not None:
            ids = [idFactory() for _ in range(len(sources))]
            if len(set(ids)) < len(ids):
                raise ValueError(f"idFactory gave {len(set(ids))} different ids for {len(ids)} sources")
            sources["id"] = ids
        return sources

    def selectSources(
        self,
        exposure: Exposure,
        sigma: float | None = None,
        doSmooth: bool = True,
        detectedMask: Mask | None = None,
        *,
        isGrown: bool = True,
        most: int | None = None,
    ) -> AnyTable:
        """Detect and measure sources as `getSelectSources` does, timed under its name; a `SourceTable` if it can be.

        `isGrown`, `most` : see `psfmatch.sources.finding.getSelectSources`.
        """
        with self.timer("getSelectSources"):
            sources = getSelectSources(
                exposure,
                self.selectDetection,
                self.selectMeasurement,
                self.options.background,
                smoothingSigma(exposure, self.fwhmDefinition) if sigma is None else sigma,
                doSmooth,
                resolveThreads(self.threads),  # another image may be searched at the same time
                detectedMask,
                isGrown=isGrown,
                most=most,
            )
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
            None detects on the science image; else any form of `psfmatch.fit.toSourceTable`. Sky positions
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
            template, scienceExposure.maskedImage, sources, stampRules(self.options, kernelSize), self.threads
        )
        self.metadata["nSelectedSources"] = len(candidates)
        self.metadata["rejectedSources"] = rejected
        return candidates

    def _sources(self, candidateList: Any, exposure: Exposure) -> AnyTable:
        """Return the caller's candidates as a table with x and y, or detect them."""
        if candidateList is not None:
            return toSourceTable(candidateList, exposure)
        sources = self.getSelectSources(exposure)
        requireSources(sources, exposure, ignoredPlanes(self.selectDetection))
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
        planes, definition = self.options.badPixelMaskPlanes, self.fwhmDefinition
        fwhms = findFwhms(exposures, given, positions, planes, definition, self.threads)
        recordFwhms(fwhms, self._log, self.metadata)
        return fwhms["template"][0], fwhms["science"][0]

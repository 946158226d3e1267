"""How a PSF-matching task comes to its stars: PSF sizes, detection and measurement, candidates, and the basis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.config import StarMatchOptions
from psfmatch.config.later import laterClass, laterNames
from psfmatch.config.task import timeMethod
from psfmatch.fit import (
    isFinishedList,
    makeCandidateList,
    requireSources,
    stampRules,
    toSourceTable,
)
from psfmatch.fit.candidates.cells import SpatialCellSet
from psfmatch.fit.stars.degrees import chooseDegrees
from psfmatch.images import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, Exposure, Mask, MaskedImage, atOrigin, getFwhmPix
from psfmatch.io.sourceTable import AnyTable, asTable
from psfmatch.kernels.basis import KernelBasis, makeKernelBasis, makeKernelBasisList
from psfmatch.sources import (
    SourceDetectionTask,
    exposureFwhmPix,
    findFwhms,
    getSelectSources,
    ignoredPlanes,
    recordFwhms,
)
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.tasks.psfMatch import PsfMatchTask
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.tasks.configs import StarMatchConfig

__all__ = ["StarMatchConfig", "StarMatchTask"]

__getattr__ = laterNames(__name__, {"StarMatchConfig": "psfmatch.tasks.configs"})

MAX_MEASURED_SOURCES = 300
"""The brightest sources tell the PSF's width; more would only take time."""


class StarMatchTask(PsfMatchTask):
    """Base of the tasks that match PSFs by the stars of the images.

    Parameters
    ----------
    *args, **kwargs
        As for `PsfMatchTask`: config, name, parentTask, log, threads.
    """

    ConfigClass = laterClass("psfmatch.tasks.configs:StarMatchConfig")
    _DefaultName = "starMatch"

    selectDetection: SourceDetectionTask
    selectMeasurement: SourceMeasurementTask

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self._given
        self.fwhmDefinition: str = given.fwhmDefinition
        if isinstance(given, StarMatchOptions):
            # Nobody can have put others in their place.
            self.selectDetection = SourceDetectionTask(given.selectDetection, "selectDetection", self)
            self.selectMeasurement = SourceMeasurementTask(given.selectMeasurement, "selectMeasurement", self)
        else:
            self.makeSubtask("selectDetection")
            self.makeSubtask("selectMeasurement")

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
    ) -> AnyTable:
        """Detect and measure sources as `getSelectSources` does, timed under its name; a `SourceTable` if it can be."""
        with self.timer("getSelectSources"):
            return self._selectSources(exposure, sigma, doSmooth, detectedMask)

    def _selectSources(
        self, exposure: Exposure, sigma: float | None, doSmooth: bool, detectedMask: Mask | None
    ) -> AnyTable:
        if sigma is None:
            fwhm = exposureFwhmPix(exposure, self.fwhmDefinition)
            if fwhm is None:
                fwhm = DEFAULT_FWHM_PIX
                self._log.info("No PSF on the image and no sigma: smoothing for a FWHM of %.1f pixels first", fwhm)
            else:
                sigma = fwhm / SIGMA_TO_FWHM
        sources = getSelectSources(
            exposure,
            self.selectDetection,
            self.selectMeasurement,
            self.options.background,
            sigma,
            doSmooth,
            resolveThreads(self.threads),  # another image may be searched at the same time
            detectedMask,
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

    @timeMethod
    def makeKernelBasisList(
        self,
        targetFwhmPix: float | None = None,
        referenceFwhmPix: float | None = None,
        basisDegGauss: Sequence[int] | None = None,
        basisSigmaGauss: Sequence[float] | None = None,
        metadata: Any = None,
    ) -> KernelBasis:
        """Return the basis, of images (n, h, w), and log how it was chosen; see `psfmatch.kernels.makeKernelBasis`."""
        basis = makeKernelBasis(self.options, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata)
        self._log.info("%s", basis)
        return basis

    def _basisByBic(
        self, cellSet: SpatialCellSet, targetFwhmPix: float | None, referenceFwhmPix: float | None
    ) -> KernelBasis:
        """Return the basis of the degrees that most candidates prefer."""
        degrees = chooseDegrees(
            cellSet,
            self.options,
            lambda tried: makeKernelBasisList(self.options, targetFwhmPix, referenceFwhmPix, tried),
            self.threads,
        )
        return self.makeKernelBasisList(targetFwhmPix, referenceFwhmPix, degrees, metadata=self.metadata)

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

"""`SubtractionResult`: a difference image with everything that belongs to it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from psfmatch.config.choices import Choice
from psfmatch.config.equality import ByValue
from psfmatch.config.later import laterCall
from psfmatch.difference import (
    Decorrelation,
    DifferenceNoise,
    StoredKernel,
    SubtractionRecipe,
    edgeHandlingOf,
    smoothedExposure,
)
from psfmatch.difference.background import BorderLevels
from psfmatch.errors import PsfMatchError
from psfmatch.frontdoor.changes import FindsChanges, detectionPlanes
from psfmatch.frontdoor.options import RunOptions
from psfmatch.frontdoor.provenance import provenanceCards
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, atOrigin
from psfmatch.io.sourceTable import columnsOf, tableField
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.kernels.covariance import kernelUncertaintyPlane
from psfmatch.noise import ErrorFloor, LitDifference
from psfmatch.quality import Quality
from psfmatch.registration import Alignment, Coverage, Preparation
from psfmatch.threads import mapStrips

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table
    from matplotlib.figure import Figure

    from psfmatch.frontdoor.score import Score
    from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["SubtractionResult"]

log = logging.getLogger("psfmatch.frontdoor")


@tableField("candidates")
@dataclass(frozen=True, eq=False)
class SubtractionResult(FindsChanges, ByValue):
    """A difference image and what it was made from.

    difference : science - matched - background, or where the science image is convolved (matched + background -
    template) / kernel sum, on the science image's flux scale either way; its variance plane is that of each pixel
    alone, neighbours are correlated; matched : the convolved image;
    template, science : as they were subtracted: on the science image's pixels, saturation flagged, variances scaled,
    before any convolution; convolved : "template" or "science";
    kernel, background : the spatial model, background being what is added to the matched image; candidates : one row
    per star or region, with its fate;
    noise : scatter of the difference against its variance plane; metadata : numbers of the run;
    options : what the run was told and has chosen; `config` is made of it;
    quality : figures and grade; decorrelation : what makes the difference white, None where it was not asked for;
    alignment, coverage, preparation : what was done to the images before; varianceFactor : what the variance plane of
    the difference was multiplied by, so that its sky scatters by its noise; borderLevels : of the sky, taken off the
    difference beside the background, None: none; choices : what was chosen and why;
    errorFloor : what is left of sources in proportion to their light, None where the width of the PSF is unknown or the
    quality was not asked for; smoothing : sigma (pixels) of the Gaussian by which the image that is not convolved was
    smoothed before the fit, 0: it was not; difference and matched image are then those of the smoothed one;
    steps : the simpler models that had to be taken, in words; provenance : names of the files that the images came
    from, and checksums of their pixels.
    """

    difference: Exposure
    matched: Exposure
    template: Exposure
    science: Exposure
    convolved: Literal["template", "science"]
    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    candidates: Table
    noise: DifferenceNoise
    metadata: Mapping[str, Any]
    options: RunOptions
    quality: Quality | None = None
    decorrelation: Decorrelation | None = None
    alignment: Alignment | None = None
    coverage: Coverage | None = None
    preparation: Preparation = field(default_factory=Preparation)
    varianceFactor: float = 1.0
    borderLevels: BorderLevels | None = None
    choices: tuple[Choice, ...] = ()
    errorFloor: ErrorFloor | None = None
    smoothing: float = 0.0
    steps: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def config(self) -> ImagePsfMatchConfig:
        """The configuration that was used, frozen: given to `psfmatch.subtract` it makes the same result."""
        return self.options.toConfig()

    def __repr__(self) -> str:
        sentence = "not graded" if self.quality is None else f"grade {self.quality.grade}"
        return "\n".join(
            (
                f"SubtractionResult: {sentence}, the {self.convolved} convolved",
                f"  difference  {self.difference!r}",
                f"  kernel      {self.kernel!r}",
                f"  background  {self.background.model} order {self.background.order}",
                f"  candidates  {len(self.candidates)}",
            )
        )

    @property
    def grade(self) -> str | None:
        """A to F, from `quality`."""
        return None if self.quality is None else self.quality.grade

    @property
    def unconvolved(self) -> Exposure:
        """The image that was not convolved, as it was subtracted: smoothed where `smoothing` says so."""
        image = self.science if self.convolved == "template" else self.template
        if not self.smoothing:
            return image
        return smoothedExposure(image, self.smoothing, edgeHandlingOf(self.options.kernel))

    def explain(self) -> str:
        """Return why each choice was made, a sentence each, with the numbers compared; then the grade and why."""
        sentences = [choice.sentence for choice in self.choices]
        sentences += self.steps
        if self.quality is not None:
            reasons = [f"{reason}." for reason in self.quality.reasons]
            # Each reason begins with its own grade, the first with the worst, which is the whole's.
            isOne = len(reasons) == 1
            sentences += [f"Grade {reasons[0]}"] if isOne else [f"Grade {self.grade}:", *(f"  {r}" for r in reasons)]
        return "\n".join(sentences)

    @cached_property
    def score(self) -> Score:
        """The score image of this difference, made when it is first asked for; see `psfmatch.computeScore`."""
        from psfmatch.frontdoor.score import scoreOf

        return scoreOf(self)

    @cached_property
    def errorFloorPlane(self) -> npt.NDArray[np.float32] | None:
        """Error of a point source's flux (ny, nx) beyond its noise, by `errorFloor`; None where there is none.

        One standard deviation, in units of the difference; `detect` and `score` include it.
        """
        if self.errorFloor is None or not self.errorFloor.share:
            return None
        isTemplate = self.convolved == "template"
        scale = 1.0 if isTemplate else 1.0 / self.kernel.kernelSum(*self.difference.getBBox().centre)
        difference = self.difference.maskedImage
        unconvolved = atOrigin(self.unconvolved.maskedImage, difference)
        return LitDifference(difference, unconvolved, scale, isTemplate).errorFloorPlane(self.errorFloor)

    def systematicVariance(self) -> npt.NDArray[np.float32]:
        """Return the variance (ny, nx) that the uncertainty of the kernel adds to the difference near bright stars.

        It is common to the pixels of a star, not independent noise: add it to the variance plane to judge what is left
        of a bright star, not to weigh faint sources.

        Raises
        ------
        ValueError
            If the kernel has no covariance (``calculateKernelUncertainty``).
        """
        isTemplate = self.convolved == "template"
        convolved = atOrigin((self.template if isTemplate else self.science).maskedImage, self.science.maskedImage)
        scale = 1.0 if isTemplate else self.kernel.kernelSum(*self.difference.getBBox().centre)
        return kernelUncertaintyPlane(self.kernel, convolved, self.difference.variance, scale=scale)

    def report(
        self,
        path: str | PathLike[str],
        *,
        title: str | None = None,
        threads: int | None = None,
        overwrite: bool = True,
    ) -> dict[str, Any]:
        """Write one self-contained HTML file about this result, its numbers beside it as .json; return the numbers.

        See `psfmatch.pictures.writeReport`.
        """
        numbers: dict[str, Any] = laterCall(
            "psfmatch.pictures:writeReport", self, path, title=title, threads=threads, overwrite=overwrite
        )
        return numbers

    def plotDifference(self, detections: Table | None = None, title: str | None = None) -> Figure:
        """Return template, matched, science and difference image as a figure; circles about `detections`."""
        figure: Figure = laterCall("psfmatch.pictures:plotDifference", self, detections, title)
        return figure

    def plotTriplets(
        self,
        what: Literal["candidates", "detections"] = "candidates",
        number: int = 16,
        detections: Table | None = None,
    ) -> Figure:
        """Return stamps of both images and of the difference as a figure. See `psfmatch.pictures.plotTriplets`."""
        figure: Figure = laterCall("psfmatch.pictures:plotTriplets", self, what, number, detections)
        return figure

    def plotCandidates(self) -> Figure:
        """Return the science image with candidates used, and rejected by reason, as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotCandidates", self)
        return figure

    def plotResiduals(self) -> Figure:
        """Return what is left of sources against their brightness as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotResiduals", self)
        return figure

    def plotField(self) -> Figure:
        """Return where in the field the difference is worse than its noise as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotField", self)
        return figure

    def plotNoise(self) -> Figure:
        """Return difference / noise of blank sky against N(0, 1), and the noise's correlation, as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotNoise", self)
        return figure

    def plotKernel(self) -> Figure:
        """Return the kernel on a grid over the field as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotKernel", self)
        return figure

    def plotBackground(self) -> Figure:
        """Return background and kernel sum over the field as a figure."""
        figure: Figure = laterCall("psfmatch.pictures:plotBackground", self)
        return figure

    def _repr_html_(self) -> str:
        text: str = laterCall("psfmatch.pictures.page:summaryHtml", self)
        return text

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the run, ready for JSON."""
        mask = self.difference.mask
        box = self.difference.getBBox()
        pixels, bits = np.asarray(mask), np.int32(mask.getPlaneBitMask(("NO_DATA", "BAD", "SAT", "EDGE")))
        nBad = sum(mapStrips(lambda strip: int(np.count_nonzero(pixels[strip] & bits)), pixels.shape))
        status = np.asarray(columnsOf(self, "candidates")["status"])
        numbers = {
            "grade": self.grade,
            "gradeReasons": [] if self.quality is None else list(self.quality.reasons),
            "shape": [box.height, box.width],
            "convolved": self.convolved,
            "templateFwhmPix": self.metadata.get("templateFwhmPix"),
            "scienceFwhmPix": self.metadata.get("scienceFwhmPix"),
            "basisMode": self.metadata.get("ALBasisMode"),
            "basisSigmas": self.metadata.get("ALBasisSigGauss"),
            "kernelSize": self.kernel.shape[1],
            "nBasis": len(self.kernel.scaledParameters),
            "spatialKernelOrder": self.kernel.order,
            "nSources": self.metadata.get("nDetectedSources"),
            "nCandidates": len(status),
            "nGood": int((status == "GOOD").sum()),
            "nRejected": int((status == "BAD").sum()),
            "rejectedSources": dict(self.metadata.get("rejectedSources", {})),
            "rejectionReasons": dict(self.metadata.get("rejectionReasons", {})),
            "kernelSum": self.kernel.kernelSum(*box.centre),
            "backgroundAtCentre": float(self.background(*box.centre)),
            "conditionNumber": self.metadata.get("spatialConditionNum"),
            "chiRobustStdev": self.noise.robustStdev,
            "noiseMedian": self.noise.median,
            "badFraction": nBad / pixels.size,
            "steps": list(self.steps),
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in numbers.items()
        }

    def storedKernel(self) -> StoredKernel:
        """Return kernel and background with the recipe that makes this difference again."""
        recipe = SubtractionRecipe.fromConfig(
            self.options.kernel,
            self.convolved,
            self.kernel,
            self.difference.getBBox(),
            self.preparation,
            varianceFactor=self.varianceFactor,
            borderLevels=self.borderLevels,
            traceGrowth=self.options.traceGrowth(self.kernel.shape),
            planes=self.options.planeRules,
            smoothing=self.smoothing,
            edgeFraction=self.options.edgeFraction,
        )
        return StoredKernel(self.kernel, self.background, recipe)

    def toCCDData(self, badPlanes: tuple[str, ...] = DEFAULT_BAD_PLANES) -> CCDData:
        """Return the difference as an astropy CCDData, see `Exposure.toCCDData`; ``meta`` tells how it was made."""
        return self.described(self.difference).toCCDData(badPlanes)

    def writeFits(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write difference, mask, variance, PSF, matched image, kernel, background, stars and configuration to a file.

        And with what ``psfmatch detect`` finds on it what `detect` finds here: the error floor, where there is one,
        the variance of the image that was not convolved, and the kernel that decorrelates.

        Cards of the primary header name the inputs and their checksums, and the kernel's sum as HOTPANTS does.
        """
        self.described(self.difference).writeFits(
            path,
            overwrite=overwrite,
            matched=self.matched.image,
            floor=self.errorFloorPlane,
            kernel=self.storedKernel().toTables(),
            stamps=columnsOf(self, "candidates"),
            detection=detectionPlanes(self),
            config=self.options.toData(),
        )

    def writeDecorrelated(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write the decorrelated difference to a file, with a PSF of its own wherever one can be told."""
        described = self.described(self.decorrelated)
        if described.psf is None:
            try:
                described.psf = self.decorrelatedPsf()
            except PsfMatchError as error:
                log.warning("The decorrelated difference is written without a PSF: %s", error)
        described.writeFits(path, overwrite=overwrite, floor=self.errorFloorPlane)

    def described(self, exposure: Exposure) -> Exposure:
        """Return an image that this run has made with the cards that tell how."""
        described = exposure.withPixels(exposure.maskedImage)
        kernelSum = self.kernel.kernelSum(*self.difference.getBBox().centre)
        described.metadata |= provenanceCards(self.provenance, self.convolved, kernelSum, self.grade)
        return described

"""How changes are found on a difference: by the run that made it, and later from its file, with the same numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from psfmatch import io
from psfmatch.difference import (
    CorrectedPsf,
    Correction,
    Decorrelation,
    StoredKernel,
    restoredSpread,
    smoothedPsf,
    smoothingKernel,
)
from psfmatch.images import Exposure, Mask, MaskedImage, asPsf, atOrigin
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.threads import mapStrips, resolveThreads, usingThreads

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FindsChanges", "StoredDifference", "detectionPlanes"]

SAME = 1e-4
"""Share of a variance by which it may be off, where it is told by others."""


class FindsChanges(ABC):
    """Finding of what has changed, of the images of a subtraction; their meaning is that of `SubtractionResult`."""

    difference: Exposure
    matched: Exposure
    template: Exposure
    science: Exposure
    convolved: Literal["template", "science"]
    kernel: LinearCombinationKernel
    metadata: Mapping[str, Any]
    decorrelation: Decorrelation | None
    smoothing: float
    varianceFactor: float

    @property
    @abstractmethod
    def errorFloorPlane(self) -> npt.NDArray[np.float32] | None:
        """Error of a point source's flux (ny, nx) beyond its noise."""

    @property
    def decorrelated(self) -> Exposure:
        """The difference with white noise and the PSF that belongs to it; the plain one if it was not decorrelated."""
        return self.difference if self.decorrelation is None else self.decorrelation.exposure

    def detect(self, threshold: float = 5.0, **options: Any) -> Table:
        """Find and measure what has changed, on the decorrelated difference.

        ``psf`` is that of the image that was not convolved; by default its own, else from its stars, and where too few
        stand alone, a Gaussian of the FWHM that the run has used: ``meta["PSFFROM"]`` tells. See
        `psfmatch.transients.detectOnDifference` for other options, columns and errors.
        """
        from psfmatch.transients import PhotometryImage, detectOnDifference

        # An image as PSF has no truth value.
        psf, origin = options.pop("psf", None), "given"
        if psf is None:
            with usingThreads(options.get("threads")):
                psf, origin = self.unconvolvedPsf
        # Both have the PSF of the image that was not convolved, the matched one as it was smoothed.
        matched = self._differencePsf(psf)
        if self.convolved == "template":
            science, template = PhotometryImage(self.science, psf), PhotometryImage(self.matched, matched)
        else:
            scale = 1.0 / self.kernel.kernelSum(*self.difference.getBBox().centre)
            science = PhotometryImage(self.matched, matched, scale)
            template = PhotometryImage(self.template, psf, scale)
        table = detectOnDifference(
            self.decorrelated,
            self.decorrelatedPsf(psf),
            threshold=threshold,
            **({"science": science, "template": template, "floor": self.errorFloorPlane} | options),
        )
        table.meta["PSFFROM"] = origin
        return table

    @cached_property
    def changes(self) -> Table:
        """What `detect` finds above 5 sigma, looked for when first asked for; not to be changed.

        Pictures, reports, summaries and tables of one run all read this list. Errors are those of `detect`.
        """
        return self.detect()

    @cached_property
    def unconvolvedPsf(self) -> tuple[Any, str]:
        """PSF of the image that was not convolved, and in words where it comes from; measured when first asked for.

        Its own, else that of its stars, else a Gaussian of the FWHM that the run has used.
        """
        from psfmatch.sources import psfOrStars

        name = "science" if self.convolved == "template" else "template"
        fwhm = self.metadata.get(f"{name}FwhmPix")
        exposure = getattr(self, name)
        # The template may have an origin of its own; the PSF is asked for at places of the difference.
        exposure = exposure.withPixels(atOrigin(exposure.maskedImage, self.difference.maskedImage))
        return psfOrStars(exposure, None if fwhm is None else float(fwhm), f"{name} image")

    def decorrelatedPsf(self, psf: Any = None) -> Any:
        """Return the PSF of `decorrelated`, given that of the image that was not convolved (`unconvolvedPsf`)."""
        psf = self._differencePsf(self.unconvolvedPsf[0] if psf is None else psf)
        if self.decorrelation is None or not self.decorrelation.isApplied:
            return psf
        # Photon noise that was smoothed besides is left to the variance plane.
        matching = None if self.smoothing else self.kernel
        isScience = self.convolved == "science"
        return CorrectedPsf(asPsf(psf), self.decorrelation.kernel, matching, isScienceConvolved=isScience)

    def _differencePsf(self, psf: Any) -> Any:
        """Return the PSF of the difference, given that of the image that was not convolved."""
        return smoothedPsf(psf, self.smoothing, self.difference.getBBox()) if self.smoothing else psf


@dataclass(frozen=True, eq=False)
class StoredDifference(FindsChanges):
    """A difference from the file that ``SubtractionResult.writeFits`` writes, with all that changes are found with.

    Fields are those of `SubtractionResult`; of template and science image the one that was not convolved is as it was
    subtracted, and the matched image stands for the other. floor : `errorFloorPlane`.
    """

    difference: Exposure
    matched: Exposure
    template: Exposure
    science: Exposure
    convolved: Literal["template", "science"]
    kernel: LinearCombinationKernel
    metadata: Mapping[str, Any]
    decorrelation: Decorrelation | None
    smoothing: float
    varianceFactor: float
    floor: npt.NDArray[np.float32] | None

    @property
    def errorFloorPlane(self) -> npt.NDArray[np.float32] | None:
        """Error of a point source's flux (ny, nx) beyond its noise, None where there is none."""
        return self.floor

    @classmethod
    def readFits(
        cls,
        path: str | PathLike[str],
        difference: Exposure,
        matched: npt.NDArray[np.float32] | None,
        floor: npt.NDArray[np.float32] | None = None,
        threads: int | None = None,
    ) -> Self | None:
        """Return what a file holds besides its difference, its matched image and its error floor (all as read).

        None where it does not hold enough: it is no file of `SubtractionResult`, or of an older version.

        Raises
        ------
        ExposureReadError
            If what is there does not fit together.
        """
        planes = io.readDetectionPlanes(path, np.asarray(difference.mask))
        if planes is None or matched is None:
            return None
        stored = StoredKernel.readFits(path)
        recipe, background, facts = stored.recipe, stored.background, planes.facts
        if recipe is None or background is None:
            return None
        pixels, box = difference.maskedImage, difference.getBBox()
        ownMask, matchedMask = (
            Mask(bits, facts[f"{name}Planes"])
            for name, bits in (("own", planes.ownMask), ("matched", planes.matchedMask))
        )
        ownImage = planes.ownImage
        if ownImage is None:
            sign = 1.0 if recipe.convolved == "template" else -recipe.divisor
            ownImage = _ownImage(pixels, matched, background, sign)
        own = difference.withPixels(MaskedImage(ownImage, ownMask, planes.ownVariance, pixels.xy0))
        own.psf = difference.psf if facts["hasPsf"] else None
        plain = pixels.variance / np.float32(recipe.varianceFactor)
        variance = planes.matchedVariance
        if variance is None:
            variance = _matchedVariance(plain, planes.ownVariance, recipe.divisor)
        matchedImage = MaskedImage(matched, matchedMask, variance, pixels.xy0)
        decorrelation = None
        if planes.correction is not None and planes.lentVariance is not None:
            kernel = LinearCombinationKernel.fromTables(planes.correction)
            nThreads = resolveThreads(threads)
            lent = MaskedImage(matched, None, planes.lentVariance, pixels.xy0)
            correction = Correction(
                kernel,
                restoredSpread(kernel, stored.kernel, lent, facts["isWhole"], nThreads),
                isKnown=True,
                varianceRatio=float("nan"),
                matching=stored.kernel,
                convolved=matchedImage,
                unconvolved=own.maskedImage,
                scale=recipe.divisor,
                smoothing=smoothingKernel(recipe.smoothing, box) if recipe.smoothing else None,
            )
            unscaled = difference.withPixels(MaskedImage(pixels.image, pixels.mask, plain, pixels.xy0))
            decorrelation = Decorrelation(kernel, None, unscaled, correction, facts["maskedKernelFraction"], nThreads)
        convolved = difference.withPixels(matchedImage)
        isTemplate = recipe.convolved == "template"
        return cls(
            difference=difference,
            matched=convolved,
            template=convolved if isTemplate else own,
            science=own if isTemplate else convolved,
            convolved=recipe.convolved,
            kernel=stored.kernel,
            metadata={f"{'science' if isTemplate else 'template'}FwhmPix": facts["fwhmPix"]},
            decorrelation=decorrelation,
            smoothing=recipe.smoothing,
            varianceFactor=recipe.varianceFactor,
            floor=floor,
        )


def detectionPlanes(result: FindsChanges) -> io.DetectionPlanes:
    """Return what a file has to hold besides difference, matched image, kernels and error floor."""
    isTemplate = result.convolved == "template"
    exposure = result.science if isTemplate else result.template
    own, decorrelation = exposure.maskedImage, result.decorrelation
    facts = {
        "ownPlanes": dict(own.mask.planes),
        "matchedPlanes": dict(result.matched.mask.planes),
        "hasPsf": exposure.psf is not None,
        "fwhmPix": result.metadata.get(f"{'science' if isTemplate else 'template'}FwhmPix"),
    }
    masks = np.asarray(own.mask), np.asarray(result.matched.mask)
    image = own.image if result.smoothing else None
    before: npt.NDArray[np.float32] = result.matched.variance
    variance: npt.NDArray[np.float32] | None = before
    if not result.smoothing:
        divisor = 1.0 if isTemplate else result.kernel.kernelSum(*result.difference.getBBox().centre)
        scaled, factor = result.difference.variance, np.float32(result.varianceFactor)

        def isTold(strip: slice) -> bool:
            with np.errstate(invalid="ignore"):
                told = _matchedVariance(scaled[strip] / factor, own.variance[strip], divisor)
                return bool((np.abs(told - before[strip]) <= SAME * before[strip]).all())

        if all(mapStrips(isTold, before.shape)):
            variance = None
    if decorrelation is None or not decorrelation.isApplied:
        return io.DetectionPlanes(own.variance, *masks, facts, ownImage=image, matchedVariance=variance)
    facts["isWhole"] = decorrelation.correction.spread.factors is None
    facts["maskedKernelFraction"] = decorrelation.maskedKernelFraction
    spread = decorrelation.correction.spread.plane
    return io.DetectionPlanes(own.variance, *masks, facts, spread, decorrelation.kernel.toTables(), image, variance)


def _matchedVariance(
    plain: npt.NDArray[np.float32], own: npt.NDArray[np.float32], divisor: float
) -> npt.NDArray[np.float32]:
    """Return the variance of the matched image: that of the difference before it was scaled, less the other one's."""
    with np.errstate(invalid="ignore"):
        variance: npt.NDArray[np.float32] = np.maximum(plain * np.float32(divisor**2) - own, np.float32(0.0))
    return variance


def _ownImage(
    difference: MaskedImage, matched: npt.NDArray[np.float32], background: SpatialFunction2D, sign: float
) -> npt.NDArray[np.float32]:
    """Return the image that was not convolved: matched + background + sign x difference, to the last bits."""
    own = np.empty(matched.shape, dtype=np.float32)
    x0, y0 = difference.xy0
    x = np.arange(x0, x0 + matched.shape[1], dtype=np.float64)
    y = np.arange(y0, y0 + matched.shape[0], dtype=np.float64)

    def fill(strip: slice) -> None:
        level = background(x[np.newaxis], y[strip, np.newaxis])
        own[strip] = sign * difference.image[strip].astype(np.float64) + matched[strip] + level

    mapStrips(fill, matched.shape)
    return own

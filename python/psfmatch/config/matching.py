"""Configuration that all matching kernels share: candidates, fits, clipping, spatial model, bad pixels.

K is the kernel, T the image that is convolved and S the image that it is matched to; D = S - (K * T + b) with
the differential background b. What only one family of basis kernels has is in `psfmatch.config.kernel`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigField,
    Field,
    FieldValidationError,
    ListField,
    RangeField,
)

from psfmatch.config.detection import DetectionConfig, SubtractBackgroundConfig, isPlaneName
from psfmatch.config.options import plainValue
from psfmatch.config.regions import RegionConfig
from psfmatch.config.warping import WarperConfig

__all__ = ["STAR_FIT_FIELDS", "PsfMatchConfig"]

STAR_FIT_FIELDS = (
    "singleKernelClipping",
    "kernelSumClipping",
    "spatialKernelClipping",
    "checkConditionNumber",
    "iterateSingleKernel",
    "usePcaForSpatialKernel",
    "subtractMeanForPca",
    "weightPcaByInformation",
    "numPrincipalComponents",
    "useBicForKernelBasis",
    "candidateResidualMeanMax",
    "candidateResidualStdMax",
    "useCoreStats",
    "candidateCoreRadius",
    "maxKsumSigma",
    "maxConditionNumber",
    "conditionNumberType",
    "maxSpatialIterations",
    "maskedStampFraction",
)
"""Fields that the fit to stars one by one uses, and that to regions does not."""


def _rises(knots: Sequence[float]) -> bool:
    """Return whether knots rise within the field."""
    return all(a < b for a, b in zip([-1.0, *knots], [*knots, 1.0], strict=True))


class PsfMatchConfig(Config):
    """What all families of kernels have in common.

    family : what ``kernelBasisSet`` is in configurations of this class; hasDegrees : whether polynomial degrees can be
    chosen; isRegistered : whether it is a family of the user's; ownNames : of the fields that only this one has.
    """

    family: ClassVar[str | None] = None
    hasDegrees: ClassVar[bool] = False
    isRegistered: ClassVar[bool] = False
    ownNames: ClassVar[tuple[str, ...]] = ()

    warpingConfig = ConfigField[WarperConfig](doc="How the template is brought onto the science image's pixels.")
    detectionConfig = ConfigField[DetectionConfig](doc="How stars become the stamps that the kernel is fitted to.")
    fitMethod = ChoiceField[str](
        doc="How the kernel is fitted.",
        allowed={
            "candidates": "a kernel for every star, then the spatial fit with clipping of stars, as the reference",
            "regions": "all pixels of many regions in one spatial fit, each its own weight, pixels rejected one by one",
        },
        default="candidates",
        optional=False,
    )
    regionConfig = ConfigField[RegionConfig](doc="Regions and their fit, for fitMethod regions.")
    afwBackgroundConfig = ConfigField[SubtractBackgroundConfig](
        doc="The background that is taken off while sources are searched."
    )
    useAfwBackground = Field[bool](
        doc="Declared by the reference, which never reads it; True is refused: set fitForBackground.", default=False
    )
    fitForBackground = Field[bool](
        doc="Fit a differential background: a constant in each stamp, a polynomial over the field.",
        default=False,
    )
    kernelBasisSet = ChoiceField[str](
        doc="Family of basis kernels.",
        allowed={
            "alard-lupton": "Gaussians times polynomials; the kernel sum is constant over the field",
            "delta-function": "one free value for each pixel of the kernel",
        },
        default="alard-lupton",
        optional=False,
    )
    kernelSize = RangeField(
        doc="Side of the kernel (px), odd for Gaussians; derived with scaleByFwhm if both FWHMs are known.",
        dtype=int,
        default=21,
        min=1,
    )
    scaleByFwhm = Field[bool](
        doc="Derive the Gaussians' sigmas and the side of the kernel from the FWHMs of both PSFs.",
        default=True,
    )
    kernelSizeFwhmScaling = RangeField(
        doc="Side of the kernel in units of the largest sigma, when it is derived.",
        dtype=float,
        default=6.0,
        min=1.0,
    )
    kernelSizeMin = RangeField(doc="Smallest derived side of the kernel (px).", dtype=int, default=21, min=1)
    kernelSizeMax = RangeField(doc="Largest derived side of the kernel (px).", dtype=int, default=35, min=1)
    spatialModelType = ChoiceField[str](
        doc="Functions of x and y that carry the variation of kernel and background over the field.",
        allowed={
            "chebyshev1": "Chebyshev polynomials of the first kind",
            "polynomial": "plain monomials",
            "bspline": "B-splines of splineDegree with knots at splineKnotsX and splineKnotsY; those of degree 0 are "
            "steps, which go with Chebyshev polynomials of the configured order",
        },
        default="chebyshev1",
        optional=False,
    )
    spatialBgModelType = ChoiceField[str](
        doc="The same for the background alone.",
        allowed={
            "same": "as spatialModelType",
            "chebyshev1": "Chebyshev polynomials of the first kind",
            "polynomial": "plain monomials",
            "bspline": "B-splines, as for spatialModelType",
        },
        default="same",
        optional=False,
    )
    splineDegree = RangeField(
        doc="Degree of B-splines over the field; 0: a step at every knot.", dtype=int, default=3, min=0, max=5
    )
    splineKnotsX = ListField[float](
        doc="Knots of B-splines along x, rising, where the field reaches from -1 to 1.",
        default=[0.0],
        listCheck=_rises,
    )
    splineKnotsY = ListField[float](doc="The same along y.", default=[0.0], listCheck=_rises)
    scaleModelType = ChoiceField[str](
        doc="How the sum of a kernel of Gaussians, the ratio of fluxes, varies, whatever its shape does.",
        allowed={
            "constant": "it does not",
            "chebyshev1": "Chebyshev polynomials of the first kind of scaleOrder",
            "polynomial": "plain monomials of scaleOrder",
            "bspline": "B-splines, as for spatialModelType, with scaleOrder",
        },
        default="constant",
        optional=False,
    )
    scaleOrder = RangeField(doc="Total order of the variation of the kernel sum.", dtype=int, default=1, min=0)
    spatialKernelOrder = RangeField(
        doc="Total order of the kernel's variation; 0: one kernel for the whole field.",
        dtype=int,
        default=2,
        min=0,
    )
    spatialBgOrder = RangeField(
        doc="Total order of the differential background; without fitForBackground it counts as 0.",
        dtype=int,
        default=1,
        min=0,
    )
    sizeCellX = RangeField(doc="Width of a spatial cell (px).", dtype=int, default=128, min=32)
    sizeCellY = RangeField(doc="Height of a spatial cell (px).", dtype=int, default=128, min=32)
    nStarPerCell = Field[int](
        doc="How many candidates of each cell, best first, enter a fit; -1: all.",
        default=3,
        check=lambda count: count >= 1 or count == -1,
    )
    minKernelSources = RangeField(
        doc="Fewest candidates from which a kernel is fitted; below this the task raises an error.",
        dtype=int,
        default=3,
        min=1,
    )
    maxSpatialIterations = RangeField(
        doc="Most rounds of spatial fit and rejection.",
        dtype=int,
        default=3,
        min=1,
        max=5,
        inclusiveMax=True,
    )
    usePcaForSpatialKernel = Field[bool](
        doc="Fit the field with the principal components of the stars' own kernels as basis.", default=False
    )
    subtractMeanForPca = Field[bool](
        doc="Take off the mean kernel before the principal components; it becomes the first basis kernel.",
        default=True,
    )
    weightPcaByInformation = Field[bool](
        doc=(
            "Weight each star's kernel by how well it is known; False: the kernels of faint stars, which are mostly "
            "noise, count as much as those of bright ones, as in the reference."
        ),
        default=True,
    )
    numPrincipalComponents = RangeField(
        doc="Number of basis kernels kept by the principal components, the mean included.",
        dtype=int,
        default=5,
        min=3,
    )
    singleKernelClipping = Field[bool](doc="Reject candidates by the residuals of their own fit.", default=True)
    kernelSumClipping = Field[bool](
        doc="Reject candidates whose kernel sum is an outlier (maxKsumSigma).", default=True
    )
    spatialKernelClipping = Field[bool](
        doc="Reject candidates by their residuals under the spatial model.", default=True
    )
    checkConditionNumber = Field[bool](
        doc="Reject candidates whose normal matrix has a condition number above maxConditionNumber.",
        default=False,
    )
    badMaskPlanes = ListField[str](
        doc="Mask planes whose pixels are left out of residual statistics and of the rating of candidates.",
        default=["NO_DATA", "EDGE", "SAT"],
        itemCheck=isPlaneName,
    )
    badPixelMaskPlanes = ListField[str](
        doc=(
            "Mask planes whose pixels are bad: no weight in the fit, filled from their neighbours before the "
            "convolution, carried over to the result by maskedKernelFraction."
        ),
        default=["BAD", "SAT", "CR", "EDGE", "NO_DATA"],
        itemCheck=isPlaneName,
    )
    zeroWeightBadPixels = Field[bool](
        doc=(
            "Give pixels of badPixelMaskPlanes no weight in the fit; False: the fit does not look at masks, "
            "as in the reference."
        ),
        default=True,
    )
    maskedKernelFraction = RangeField(
        doc=(
            "A pixel of the convolved image receives a bad plane where such pixels hold more than this "
            "fraction of sum |K|; 0: wherever one lies under the kernel, as in the reference."
        ),
        dtype=float,
        default=0.01,
        min=0.0,
        max=1.0,
        inclusiveMax=False,
    )
    safeKernelFraction = RangeField(
        doc=(
            "Bad pixels that stand alone in even light are filled nearly as well as measured: a pixel of the convolved "
            "image receives their plane only where all bad pixels together hold more than this fraction of sum |K|. "
            "Not above maskedKernelFraction: they count as all others do."
        ),
        dtype=float,
        default=0.0,
        min=0.0,
        max=1.0,
        inclusiveMax=False,
    )
    maskedStampFraction = RangeField(
        doc=(
            "A stamp is dropped when bad pixels cost it more than this fraction of its weight; 0: when it "
            "has any, as in the reference."
        ),
        dtype=float,
        default=0.1,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    doCopyEdge = Field[bool](
        doc=(
            "Border of the convolved image, half a kernel wide: copied from the input and marked EDGE "
            "(True), or NaN with infinite variance and NO_DATA (False)."
        ),
        default=False,
    )
    candidateResidualMeanMax = RangeField(
        doc="Largest |mean| of D / sqrt(variance) of a candidate that is kept (sigma).",
        dtype=float,
        default=0.25,
        min=0.0,
    )
    candidateResidualStdMax = RangeField(
        doc="Largest rms of D / sqrt(variance) of a candidate that is kept (sigma).",
        dtype=float,
        default=1.50,
        min=0.0,
    )
    useCoreStats = Field[bool](
        doc="Judge the residuals in the core of the stamp (candidateCoreRadius) instead of all of it.",
        default=False,
    )
    candidateCoreRadius = RangeField(
        doc="Half width r of a stamp's core (px), which holds (2r+1) x (2r+1) pixels.",
        dtype=int,
        default=3,
        min=1,
    )
    maxKsumSigma = RangeField(
        doc="Clipping of kernel sums, in units of their clipped standard deviation.",
        dtype=float,
        default=3.0,
        min=0.0,
    )
    maxConditionNumber = RangeField(
        doc="Largest condition number of one candidate's fit; also where the biased risk cuts eigenvalues.",
        dtype=float,
        default=5.0e7,
        min=0.0,
    )
    conditionNumberType = ChoiceField[str](
        doc="How condition numbers are computed.",
        allowed={"SVD": "ratio of singular values", "EIGENVALUE": "ratio of eigenvalues"},
        default="EIGENVALUE",
        optional=False,
    )
    maxSpatialConditionNumber = RangeField(
        doc="Condition number of the spatial fit above which a warning is logged.",
        dtype=float,
        default=1.0e10,
        min=0.0,
    )
    iterateSingleKernel = Field[bool](
        doc="Fit each candidate again with the variance of its own difference; not with a constant variance.",
        default=False,
    )
    constantVarianceWeighting = Field[bool](
        doc="Weight all pixels of a stamp alike, by its median variance; protects bright stars' cores.",
        default=True,
    )
    calculateKernelUncertainty = Field[bool](
        doc=(
            "Compute the covariance of the coefficients of kernel and background, from the variance planes of both "
            "images: the sigma of every kernel pixel and of the kernel sum."
        ),
        default=False,
    )
    useBicForKernelBasis = Field[bool](
        doc="Choose the polynomial degrees by the Bayesian information criterion; Gaussians only.",
        default=False,
    )

    def setDefaults(self) -> None:
        """Choose the family of the class."""
        super().setDefaults()
        if self.family is not None:
            self.kernelBasisSet = self.family

    @property
    def ownFields(self) -> tuple[tuple[str, Any], ...]:
        """Name and value of each field that only a family of the user's has; a list is a tuple."""
        return tuple((name, plainValue(getattr(self, name))) for name in self.ownNames)

    @ownFields.setter
    def ownFields(self, values: Sequence[tuple[str, Any]]) -> None:
        self.update(**dict(values))

    def badPlanes(self) -> tuple[str, ...]:
        """Return the mask planes whose pixels are left out of fits, ratings and residual statistics."""
        planes = dict.fromkeys(self.badMaskPlanes)
        if self.zeroWeightBadPixels:
            planes |= dict.fromkeys(self.badPixelMaskPlanes)
        return tuple(planes)

    def validate(self) -> None:
        """Check the fields, the range of kernel sizes, that the BIC has degrees, and that the fit uses what is set."""
        super().validate()
        if self.fitMethod == "regions":
            _requireUnset(self, STAR_FIT_FIELDS)
        if self.useAfwBackground:
            raise FieldValidationError(
                type(self).useAfwBackground,
                self,
                "no background but the differential one is fitted; set fitForBackground to True for that, and "
                "useAfwBackground to False",
            )
        if self.kernelSizeMin > self.kernelSizeMax:
            raise FieldValidationError(
                type(self).kernelSizeMin,
                self,
                f"kernelSizeMin={self.kernelSizeMin} is above kernelSizeMax={self.kernelSizeMax}; lower the "
                "one or raise the other",
            )
        if self.useBicForKernelBasis and not self.hasDegrees:
            raise FieldValidationError(
                type(self).useBicForKernelBasis,
                self,
                f"the {self.kernelBasisSet} basis has no polynomial degrees to choose; set "
                "useBicForKernelBasis to False or take the AL kernel",
            )


def _requireUnset(config: PsfMatchConfig, names: Sequence[str]) -> None:
    """Raise FieldValidationError if a field that the fit to regions does not use has been changed."""
    usual = _usualValues(type(config))
    for name in names:
        value = getattr(config, name)
        if value != usual[name]:
            raise FieldValidationError(
                config._fields[name],
                config,
                f"{name}={value!r} has no effect on a fit to regions, where no star is fitted by itself; leave it "
                f"{usual[name]!r}, or set fitMethod to 'candidates'",
            )


@functools.cache
def _usualValues(ConfigClass: type[PsfMatchConfig]) -> dict[str, Any]:
    """Return what the fields of `STAR_FIT_FIELDS` are in a configuration that nobody has changed."""
    config = ConfigClass()
    return {name: getattr(config, name) for name in STAR_FIT_FIELDS}

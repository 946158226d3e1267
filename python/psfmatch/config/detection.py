"""Configuration of detection: the stars' stamps, the search for sources, their measurement, the sky.

Names and defaults are those of the reference's classes, so that a configuration written for it can be
replayed here.
"""

from __future__ import annotations

from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigField,
    Field,
    FieldValidationError,
    ListField,
    RangeField,
)

__all__ = [
    "DetectionConfig",
    "SourceDetectionConfig",
    "SourceMeasurementConfig",
    "SubtractBackgroundConfig",
    "isPlaneName",
]


def isPlaneName(name: str) -> bool:
    """Whether a list item can be the name of a mask plane.

    The string "SAT" assigned where the list ["SAT"] is meant gives the items "S", "A", "T"; hence a name of
    one letter is taken for a slip.
    """
    return len(name) > 1


class DetectionConfig(Config):
    """How stars become the stamps from which the kernel is fitted."""

    detThreshold = RangeField(
        doc="Threshold of the footprint search, in the unit that detThresholdType names.",
        dtype=float,
        default=10.0,
        min=3.0,
    )
    detThresholdType = ChoiceField[str](
        doc="Unit of detThreshold.",
        allowed={
            "value": "counts of the image",
            "stdev": "standard deviations of the image",
            "variance": "variance of the image",
            "pixel_stdev": "standard deviations from the variance plane, pixel by pixel",
        },
        default="pixel_stdev",
        optional=False,
    )
    detOnTemplate = Field[bool](
        doc="Search the image that is convolved (True) or the one that is matched to (False).",
        default=True,
    )
    badMaskPlanes = ListField[str](
        doc="Mask planes that count against a star when found in its stamp, in either image.",
        default=["NO_DATA", "EDGE", "SAT"],
        itemCheck=isPlaneName,
    )
    fpNpixMin = RangeField(doc="Fewest pixels of a footprint, before it is grown.", dtype=int, default=5, min=5)
    fpNpixMax = RangeField(
        doc="Most pixels of a footprint, up to 500; a larger one is reduced to its centre, then grown.",
        dtype=int,
        default=500,
        min=1,
        max=500,
        inclusiveMax=True,
    )
    fpGrowKernelScaling = RangeField(
        doc="With scaleByFwhm: half width of a stamp in units of the kernel's side.",
        dtype=float,
        default=1.0,
        min=1.0,
    )
    fpGrowPix = RangeField(doc="Without scaleByFwhm: half width of a stamp (px).", dtype=int, default=30, min=10)
    scaleByFwhm = Field[bool](
        doc="Scale the stamps with the kernel (fpGrowKernelScaling), or give them fpGrowPix.",
        default=True,
    )

    def validate(self) -> None:
        """Check the fields, and that the range of footprint sizes is not empty."""
        super().validate()
        if self.fpNpixMin > self.fpNpixMax:
            raise FieldValidationError(
                type(self).fpNpixMin,
                self,
                f"fpNpixMin={self.fpNpixMin} is above fpNpixMax={self.fpNpixMax}; no footprint could pass",
            )


class SubtractBackgroundConfig(Config):
    """How the sky is modelled: clipped statistics on a coarse grid, then a smooth surface through them."""

    statisticsProperty = ChoiceField[str](
        doc="Statistic of each super-pixel.",
        allowed={"MEANCLIP": "mean after clipping", "MEAN": "mean", "MEDIAN": "median"},
        default="MEANCLIP",
        optional=False,
    )
    undersampleStyle = ChoiceField[str](
        doc="What to do when the grid has too few super-pixels for the surface.",
        allowed={
            "THROW_EXCEPTION": "raise an error",
            "REDUCE_INTERP_ORDER": "lower the order of the surface",
            "INCREASE_NXNYSAMPLE": "make the grid finer",
        },
        default="REDUCE_INTERP_ORDER",
        optional=False,
    )
    binSize = RangeField(doc="Side of a super-pixel (px).", dtype=int, default=128, min=1)
    binSizeX = RangeField(doc="Width of a super-pixel (px); 0: binSize.", dtype=int, default=0, min=0)
    binSizeY = RangeField(doc="Height of a super-pixel (px); 0: binSize.", dtype=int, default=0, min=0)
    algorithm = ChoiceField[str](
        doc="How the grid is interpolated when useApprox is False.",
        allowed={
            "CONSTANT": "one constant, the weighted mean",
            "LINEAR": "linear interpolation",
            "NATURAL_SPLINE": "cubic spline with zero second derivative at the ends",
            "AKIMA_SPLINE": "Akima spline, which does not overshoot at outliers",
            "NONE": "no background is estimated, with useApprox neither",
        },
        default="AKIMA_SPLINE",
        optional=False,
    )
    ignoredPixelMask = ListField[str](
        doc="Mask planes whose pixels are left out of the statistics.",
        default=["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
        itemCheck=isPlaneName,
    )
    isNanSafe = Field[bool](
        doc="Not used: pixels that are not finite are always left out of the statistics.", default=False
    )
    useApprox = Field[bool](
        doc="Fit a 2-D Chebyshev polynomial to the grid (True) instead of interpolating it (False).",
        default=True,
    )
    approxOrderX = RangeField(
        doc="Order in x of the Chebyshev polynomial; the order in y is the same.",
        dtype=int,
        default=6,
        min=0,
    )
    approxOrderY = Field[int](
        doc="Order in y of the Chebyshev polynomial: -1, or the value of approxOrderX.", default=-1
    )
    weighting = Field[bool](doc="Weight super-pixels by their inverse variance in the fit.", default=True)

    def validate(self) -> None:
        """Check the fields, that the polynomial has one order for both axes, and that isNanSafe is left alone."""
        super().validate()
        if self.isNanSafe:
            raise FieldValidationError(
                type(self).isNanSafe,
                self,
                "isNanSafe=True asks for what is always done: pixels that are not finite are left out of the "
                "statistics, masked or not; leave it False",
            )
        if self.approxOrderY not in (-1, self.approxOrderX):
            raise FieldValidationError(
                type(self).approxOrderY,
                self,
                f"approxOrderY={self.approxOrderY} with approxOrderX={self.approxOrderX}; the orders cannot "
                "differ: set approxOrderY to -1",
            )


class SourceDetectionConfig(Config):
    """How sources are found on an image."""

    minPixels = RangeField(doc="Fewest pixels of a footprint.", dtype=int, default=1, min=1)
    isotropicGrow = Field[bool](
        doc="Grow footprints by a disc (True, slower) or by Manhattan distance (False).", default=False
    )
    combinedGrow = Field[bool](
        doc="Grow and merge all footprints together (True), or each by itself (False).", default=True
    )
    nSigmaToGrow = RangeField(
        doc="Distance by which footprints are grown, in units of the PSF's sigma.",
        dtype=float,
        default=2.4,
        min=0.0,
    )
    returnOriginalFootprints = Field[bool](doc="Return the footprints as they were before growing.", default=False)
    thresholdValue = RangeField(
        doc="Detection threshold, in the unit that thresholdType names.", dtype=float, default=5.0, min=0.0
    )
    includeThresholdMultiplier = RangeField(
        doc="A footprint is kept when it reaches this many times the threshold.",
        dtype=float,
        default=1.0,
        min=0.0,
    )
    thresholdType = ChoiceField[str](
        doc="Unit of thresholdValue.",
        allowed={
            "stdev": "standard deviations of the smoothed image, after clipping",
            "pixel_stdev": "standard deviations from the smoothed variance plane, pixel by pixel",
            "value": "counts of the smoothed image",
            "variance": "variance of the smoothed image",
        },
        default="stdev",
        optional=False,
    )
    thresholdPolarity = ChoiceField[str](
        doc="Which sources are looked for.",
        allowed={
            "positive": "above the sky",
            "negative": "below the sky",
            "both": "above and below the sky",
        },
        default="positive",
        optional=False,
    )
    adjustBackground = Field[float](
        doc="Counts that are added to the background before sources are searched and measured.", default=0.0
    )
    reEstimateBackground = Field[bool](
        doc="Estimate the background once more after detection, without the sources, for their measurement.",
        default=True,
    )
    background = ConfigField[SubtractBackgroundConfig](doc="The background of reEstimateBackground.")
    doTempLocalBackground = Field[bool](
        doc="Count as peaks of a blend only what is above the threshold over a local background, not lumps of a halo.",
        default=True,
    )
    tempLocalBackground = ConfigField[SubtractBackgroundConfig](doc="The background of doTempLocalBackground.")
    doTempWideBackground = Field[bool](
        doc="Take off a background of large scale before detection and put it back afterwards.",
        default=False,
    )
    tempWideBackground = ConfigField[SubtractBackgroundConfig](doc="The background of doTempWideBackground.")
    nPeaksMaxSimple = RangeField(
        doc="Footprints with more peaks than this have them judged against the local background.",
        dtype=int,
        default=1,
        min=1,
    )
    nSigmaForKernel = RangeField(
        doc="Side of the Gaussian that smooths the image, in units of its sigma.",
        dtype=float,
        default=7.0,
        min=1.0,
    )
    statsMask = ListField[str](
        doc="Mask planes whose pixels are left out of the statistics of the image.",
        default=["BAD", "SAT", "EDGE", "NO_DATA"],
        itemCheck=isPlaneName,
    )

    def setDefaults(self) -> None:
        """Give the temporary backgrounds their bins and a spline through them."""
        super().setDefaults()
        for background, binSize in ((self.tempLocalBackground, 64), (self.tempWideBackground, 512)):
            background.binSize = binSize
            background.algorithm = "AKIMA_SPLINE"
            background.useApprox = False


class SourceMeasurementConfig(Config):
    """How sources are measured after detection."""

    badMaskPlanes = ListField[str](
        doc="Mask planes whose pixels take no part; a source whose central pixel is hit is flagged.",
        default=["BAD", "SAT", "CR", "EDGE", "NO_DATA"],
        itemCheck=isPlaneName,
    )

"""Configuration of the fit to pixel regions: where they lie, what is rejected, what is expected of the kernel."""

from __future__ import annotations

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

__all__ = ["RegionConfig"]


class RegionConfig(Config):
    """Regions of pixels, each with a weight of its own, as `psfmatch.fit` fits them."""

    layout = ChoiceField[str](
        doc="Where the regions lie.",
        allowed={
            "stars": "around the sources",
            "tiles": "side by side over the whole field",
        },
        default="stars",
        optional=False,
    )
    halfWidth = RangeField(
        doc="Half width r of a region (px), which holds (2r+1) x (2r+1) fitted pixels.", dtype=int, default=15, min=3
    )
    maxRegions = RangeField(
        doc="Most regions of a fit: the first sources, or the tiles with most light and some spread evenly.",
        dtype=int,
        default=600,
        min=1,
    )
    iterations = RangeField(
        doc="Most passes of solution, rejection and new weights before the last solution.",
        dtype=int,
        default=3,
        min=1,
    )
    refineBackground = Field[bool](
        doc="Fit the background once more, to blank sky all over the image, the kernel held fixed.",
        default=True,
    )
    rejectPixels = Field[bool](doc="Leave out pixels that the model of the other regions cannot explain.", default=True)
    threshold = RangeField(
        doc=(
            "Rejection of residuals smoothed over 5 px, in units of their robust spread among pixels of like signal, "
            "and in sigma."
        ),
        dtype=float,
        default=5.0,
        min=1.0,
    )
    growth = RangeField(doc="Growth of rejected pixels (px).", dtype=int, default=6, min=0)
    shapeScale = RangeField(
        doc="Expected size of the kernel's departure from the first Gaussian, in units of kernelNorm; 0: any.",
        dtype=float,
        default=1.0,
        min=0.0,
    )
    variationScale = RangeField(
        doc="Expected change of the kernel over half the field, in units of kernelNorm, halved by order; 0: any.",
        dtype=float,
        default=0.1,
        min=0.0,
    )
    widthScale = RangeField(
        doc=(
            "Expected change of the kernel as with its width, which varies most with the PSFs, in the same units; "
            "added in quadrature to variationScale."
        ),
        dtype=float,
        default=0.2,
        min=0.0,
    )
    kernelNorm = RangeField(
        doc="Expected root of the sum of squares of the kernel's pixels.",
        dtype=float,
        default=0.35,
        min=0.0,
        inclusiveMin=False,
    )
    firstDegrees = ListField[int](
        doc=(
            "Degrees of the Gaussians' polynomials in the first pass, which takes usual orders and priors: what it "
            "rejects no later choice has touched. Empty: the first pass is as all others."
        ),
        default=[],
    )

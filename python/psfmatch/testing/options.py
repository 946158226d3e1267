"""What a simulated pair of images holds: every knob of `simulatePair`, its default and its check.

The defaults are the sparse field on which psfmatch and its peers are measured; `DENSE_FIELD` is the crowded
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["DENSE_FIELD", "FieldOptions"]


@dataclass(frozen=True)
class FieldOptions:
    """Contents of a simulated pair; fluxes and counts are those of the science image unless said otherwise.

    Parameters
    ----------
    brightStars, faintStars, galaxies : float
        Numbers per megapixel.
    brightFlux, faintFlux, galaxyFlux : (float, float)
        Range of fluxes in counts; inside it the number brighter than F falls as F to the power -0.5.
    galaxySize : (float, float)
        Range of galaxy sizes, root mean square radius along one axis in pixels.
    variableFraction : float
        Part of the stars whose science flux differs, by 10 to 50 per cent either way.
    templateFwhm, scienceFwhm : float
        Widths of the point-spread functions at half maximum, pixels, pixel included.
    templateVariation, scienceVariation : float
        Peak-to-peak variation of these widths over the field, relative.
    ellipticity : float
        Largest ellipticity (difference over sum of the second moments) of template and kernel.
    moffatWings : bool
        Give the template the wings of a Moffat profile of beta 3.5 out to 12 widths, instead of three Gaussians
        that follow it to twice the width. Rendering takes several times as long.
    fluxRatio, fluxRatioVariation : float
        Science counts per template count, which is the sum of the matching kernel, and its relative
        peak-to-peak variation.
    offset : (float, float)
        Registration error in pixels: a star at (x, y) of the science image lies at (x, y) + offset in the
        template.
    scienceSky, templateSky : float
        Sky levels in counts of each image; they make the noise and, unless `skySubtracted`, stay in the
        images.
    skySubtracted : bool
        Take the constant sky levels off both images; the variation of the background stays.
    backgroundOrder : int
        Order of the polynomial (0, 1 or 2) that is added to the science sky.
    backgroundVariation : float
        Its peak-to-peak variation, counts; order 0 has none.
    gain, readNoise : float
        Electrons per count and electrons, of the science image and of each exposure in the template.
    templateDepth : int
        Number of exposures averaged in the template.
    noise : bool
        Whether to add noise. Without it the images are exact, the variance planes as with it.
    estimateVariance : bool
        Compute the variance planes from the noisy pixels, as a survey would, instead of from the truth.
    saturation : float
        Full well in counts of either image; infinity for none. Excess bleeds along the column, flagged SAT.
    badFraction, templateBadFraction : float
        Part of the pixels that are defects, flagged BAD: half of them single, half in columns and clusters.
    transients : int, tuple of float or None
        Number of transients in the image, or the signed signal-to-noise ratio of each; None for 20 per
        megapixel, at least one.
    transientFluxes : tuple of float or None
        Signed fluxes in counts; overrides `transients`. A negative one is a star that only the template
        shows.
    transientSignalToNoise : (float, float)
        Range of drawn ratios, uniform in the logarithm.
    negativeFraction, hostFraction : float
        Part of the drawn transients that are negative, and part of all that sit in a galaxy.
    transientMargin : float
        Least distance of a transient from the edges, pixels; on small images at most a quarter of the side.
    avoidBad : bool
        Keep transients 5 px away from defects and saturated pixels and 10 px from bright and variable stars.
    xy0 : (int, int)
        Parent coordinates of the first pixel; all positions of the truth are parent coordinates.
    withWcs, withPsf : bool
        Whether the exposures carry the common TAN projection and their true point-spread functions.
    pixelScale : float
        Of the projection, seconds of arc.
    """

    brightStars: float = 40
    faintStars: float = 200
    galaxies: float = 80
    brightFlux: tuple[float, float] = (8e3, 1.5e6)
    faintFlux: tuple[float, float] = (400.0, 8e3)
    galaxyFlux: tuple[float, float] = (2e3, 1e5)
    galaxySize: tuple[float, float] = (0.8, 3.5)
    variableFraction: float = 0.02
    templateFwhm: float = 2.6
    scienceFwhm: float = 3.8
    templateVariation: float = 0.04
    scienceVariation: float = 0.15
    ellipticity: float = 0.06
    moffatWings: bool = False
    fluxRatio: float = 1.25
    fluxRatioVariation: float = 0.0
    offset: tuple[float, float] = (0.15, -0.10)
    scienceSky: float = 400.0
    templateSky: float = 300.0
    skySubtracted: bool = False
    backgroundOrder: int = 2
    backgroundVariation: float = 20.0
    gain: float = 1.5
    readNoise: float = 6.0
    templateDepth: int = 16
    noise: bool = True
    estimateVariance: bool = False
    saturation: float = 5e4
    badFraction: float = 0.01
    templateBadFraction: float = 0.0
    transients: int | tuple[float, ...] | None = None
    transientFluxes: tuple[float, ...] | None = None
    transientSignalToNoise: tuple[float, float] = (6.0, 40.0)
    negativeFraction: float = 0.3
    hostFraction: float = 0.3
    transientMargin: float = 40.0
    avoidBad: bool = True
    xy0: tuple[int, int] = (0, 0)
    withWcs: bool = True
    withPsf: bool = False
    pixelScale: float = 0.2

    def __post_init__(self) -> None:
        positive = (
            "templateFwhm",
            "scienceFwhm",
            "fluxRatio",
            "gain",
            "templateDepth",
            "saturation",
            "pixelScale",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        zeroOrMore = (
            *("brightStars", "faintStars", "galaxies", "templateVariation", "scienceVariation"),
            *("fluxRatioVariation", "scienceSky", "templateSky", "readNoise", "transientMargin"),
        )
        for name in zeroOrMore:
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}: it must be finite and not negative")
        fractions = (
            *("variableFraction", "badFraction", "templateBadFraction", "negativeFraction", "hostFraction"),
            "ellipticity",
        )
        for name in fractions:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        for name in ("brightFlux", "faintFlux", "galaxyFlux", "galaxySize", "transientSignalToNoise"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}): give a positive range, the lower end first")
        if self.backgroundOrder not in (0, 1, 2):
            raise ValueError(f"backgroundOrder is {self.backgroundOrder}: it must be 0, 1 or 2")
        if isinstance(self.transients, int) and self.transients < 0:
            raise ValueError(f"transients is {self.transients}: give a number >= 0 or a tuple of ratios")


DENSE_FIELD = FieldOptions(brightStars=300, faintStars=1200, galaxies=150)
"""The crowded field of the comparisons: 1650 sources per megapixel."""

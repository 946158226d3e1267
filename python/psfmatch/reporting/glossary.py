"""The figures of the quality in words: group, unit, which value is good, and what a bad one comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from psfmatch.quality import RULES, Rule, gateNames
from psfmatch.quality.figures import FIGURES, unitOf

__all__ = ["GROUPS", "goodValue", "headingOf", "meaningOf", "ruleOfReason", "sectionOf", "unitOf"]

GROUPS = {
    "Candidates of the kernel": ("nFound", "nUsed"),
    "What is left of sources": (
        "nSources",
        "saturatedFraction",
        "starsAboveLevel",
        "brightLost",
        "sourceRobust",
        "sourcePlain",
        "worstRegion",
        "badSourceFraction",
        "nRemaining",
        "remainingFraction",
        "fluxMean",
        "fluxMeanSize",
        "fluxScatter",
        "errorFloor",
        "heldOutMean",
        "heldOutRms",
        "footprintRatioMean",
        "footprintRatioStdev",
    ),
    "Blank sky": (
        "nSkyPixels",
        "noiseRobustStdev",
        "noiseMedian",
        "skyLevel",
        "outlierFraction",
        "lag1",
        "lag2",
        "varianceScale",
    ),
    "Kernel": ("kernelSum", "kernelSumError", "kernelSumScatter", "conditionNumber"),
    "Alignment": ("kernelShiftPix", "appliedShiftPix", "residualShiftPix"),
    "Background": ("backgroundAtCentre", "backgroundRange"),
    "Image": ("maskedFraction", "coverage", "limitingMagnitude"),
}
SECTIONS = {
    "Candidates of the kernel": "candidates",
    "What is left of sources": "residuals",
    "Blank sky": "noise",
    "Kernel": "kernel",
    "Alignment": "alignment",
    "Background": "background",
    "Image": "images",
}
OWN_HEADINGS = {
    "fluxMeanSize": "its size",
    "nSkyPixels": "pixels of blank sky",
    "kernelSumError": "error of the kernel sum",
    "kernelSumScatter": "range of the kernel sum over the image, relative",
    "fluxScatter": "scatter of the light left beyond the noise",
    "remainingFraction": "share of sources that keep more than half their light",
    "skyLevel": "scatter of the sky level over the image",
    "backgroundRange": "range of the background over the image",
}
SUFFIXES = (", px", ", counts", " (AB)")
OTHER_GOOD = {
    "nFound": "many",
    "remainingFraction": "0, but for real changes",
    "fluxMean": "0",
    "heldOutMean": "0",
    "footprintRatioStdev": "small",
    "nSkyPixels": "many",
    "noiseMedian": "0",
    "lag2": "0",
    "kernelSum": "above 0: the flux ratio",
    "kernelSumError": "small against the sum",
    "backgroundAtCentre": "any: the skies differ",
    "backgroundRange": "any: the skies differ",
    "limitingMagnitude": "large",
    "nRemaining": "0, but for real changes; at most two and a tenth of the sources is A",
}
MEANINGS = {
    "kernelSum": "The images do not show the same sky, or one of them is inverted.",
    "nUsed": "Few stars or tiles constrain the kernel; it may be wrong between them.",
    "nSources": "So few sources can be checked that the grade rests on little.",
    "saturatedFraction": "Saturated stars are masked; what is around them cannot be judged.",
    "starsAboveLevel": "The saturation level is too low: good stars are flagged with the saturated ones.",
    "brightLost": "Masks take the stars that tell most: is the saturation level right, in both images?",
    "sourceRobust": "The matched PSF is not quite that of the other image: the kernel's model is too simple, or the "
    "PSF changes faster over the field than it.",
    "sourcePlain": "A few sources are subtracted much worse than most: look at the worst triplets.",
    "worstRegion": "One part of the field is worse than the rest: the PSF changes there, or the mask misses something.",
    "badSourceFraction": "Many sources leave more than noise: look at the worst triplets.",
    "remainingExcess": "Sources keep their light: the images are not aligned, not of the same filter, or many vary.",
    "fluxScatter": "The fluxes of the two images do not scale alike: flat field, filters, or a PSF that varies.",
    "errorFloor": "More is left of sources than noise: undersampled or equal PSFs, or one that varies faster than the "
    "kernel; changes on bright sources are known no better than this share of their light.",
    "fluxMeanSize": "The flux ratio is off: fluxes of changes will be biased by as much near bright sources.",
    "heldOutRms": "The model does not predict stars that it has not seen: too few stars, or too many terms.",
    "footprintRatioMean": "More light is left on sources than their noise allows.",
    "noiseRobustStdev": "The variance plane does not say how the sky scatters: thresholds are off by this factor.",
    "skyLevel": "The level of the sky wanders: the background model is too simple, or one image has gradients.",
    "outlierFraction": "Pixels stand out where neither image has a source: cosmic rays, defects, ghosts.",
    "lag1": "Noise of neighbours is correlated, as resampling leaves it; errors of "
    "fluxes need more than the variance plane.",
    "kernelShiftPix": "The kernel moves the image: the WCSs disagree.",
    "appliedShiftPix": "The WCSs disagree; it was corrected before the subtraction.",
    "residualShiftPix": "Sources are not on top of each other: positive and negative halves (dipoles) are left.",
    "kernelSumScatter": "The flux ratio changes over the field: flat field, clouds, or a photometric calibration.",
    "varianceScale": "The noise that came with an image was wrong; it was put right, but check where it came from.",
    "maskedFraction": "Much of the image cannot be used.",
    "coverage": "The template covers little of the science image.",
    "conditionNumber": "The terms of the kernel are hard to tell apart; their values mean "
    "little, their sum may be good.",
}

_NUMBER = re.escape("{}")


def withNewFigures(groups: Mapping[str, tuple[str, ...]], figures: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the groups with the figures that none of them names, each behind the one that it follows in `Quality`."""
    lists = {group: list(names) for group, names in groups.items()}
    before = next(iter(lists.values()))[0]
    for figure in figures:
        names = next((names for names in lists.values() if figure in names), None)
        if names is None:
            names = next(names for names in lists.values() if before in names)
            names.insert(names.index(before) + 1, figure)
        before = figure
    return {group: tuple(names) for group, names in lists.items()}


GROUPS = withNewFigures(GROUPS, (name for name in gateNames() if name in FIGURES))


def headingOf(figure: str) -> str:
    """Return what a figure is, without its unit."""
    told = FIGURES[figure].metadata
    heading: str = OWN_HEADINGS.get(figure) or told["heading"] or told["more"]
    for suffix in SUFFIXES:
        heading = heading.removesuffix(suffix)
    return heading


def goodValue(figure: str) -> str:
    """Return which value is good: the limit of an A, else in words."""
    if figure in OTHER_GOOD:
        return OTHER_GOOD[figure]
    rule = next((rule for rule in RULES if rule.figure == figure), None)
    return "" if rule is None else rule.asked(rule.limits[0])


def ruleOfReason(reason: str) -> Rule | None:
    """Return the rule that a reason of the quality comes from; None for a cap."""
    words = reason.partition(": ")[2]
    return next((rule for rule in RULES if re.match(f"{re.escape(rule.words).replace(_NUMBER, '.+')};", words)), None)


def meaningOf(rule: Rule | None) -> str:
    """Return what a figure beyond its limit usually comes from."""
    return "" if rule is None else MEANINGS.get(rule.figure, "")


def sectionOf(rule: Rule | None) -> str:
    """Return the section of the page that shows a figure."""
    figure = "" if rule is None else {"remainingExcess": "nRemaining"}.get(rule.figure, rule.figure)
    return next((SECTIONS[group] for group, names in GROUPS.items() if figure in names), "figures")

"""The figures of the quality in words: group, which value is good, and what a bad one comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psfmatch.quality import RULES, Rule, gateNames
from psfmatch.quality.figures import FIGURES

__all__ = ["WORDS", "Words", "goodValue", "headingOf", "ruleOfReason", "sectionOf"]


@dataclass(frozen=True)
class Words:
    """Group and section of a figure; its good value, if no rule says; what a bad one comes from."""

    group: str
    section: str
    good: str
    meaning: str


_TABLE = """
# Candidates of the kernel, candidates
nFound | many |
nUsed | | Few stars or tiles constrain the kernel; it may be wrong between them.
# What is left of sources, residuals
nSources | | So few sources can be checked that the grade rests on little.
saturatedFraction | | Saturated stars are masked; what is around them cannot be judged.
starsAboveLevel | | The saturation level is too low: good stars are flagged with the saturated ones.
brightLost | | Masks take the stars that tell most: is the saturation level right, in both images?
sourceRobust | | The matched PSF is not quite that of the other image: the kernel's model is too
  simple, or the PSF changes faster over the field than it.
sourcePlain | | A few sources are subtracted much worse than most: look at the worst triplets.
worstRegion | | One part of the field is worse than the rest: the PSF changes there, or the mask misses something.
badSourceFraction | | Many sources leave more than noise: look at the worst triplets.
remainingExcess | | Sources keep their light: the images are not aligned, not of the same filter, or many vary.
nRemaining | 0, but for real changes; at most two and a tenth of the sources is A |
remainingFraction | 0, but for real changes |
fluxMean | 0 |
fluxMeanSize | | The flux ratio is off: fluxes of changes will be biased by as much near bright sources.
fluxScatter | | The fluxes of the two images do not scale alike: flat field, filters, or a PSF that varies.
errorFloor | | More is left of sources than noise: undersampled or equal PSFs, or one that varies faster than
  the kernel; changes on bright sources are known no better than this share of their light.
heldOutMean | 0 |
heldOutRms | | The model does not predict stars that it has not seen: too few stars, or too many
  terms.
footprintRatioMean | | More light is left on sources than their noise allows.
footprintRatioStdev | small |
# Blank sky, noise
nSkyPixels | many |
noiseRobustStdev | | The variance plane does not say how the sky scatters: thresholds are off by this
  factor.
noiseMedian | 0 |
skyLevel | | The level of the sky wanders: the background model is too simple, or one image has
  gradients.
outlierFraction | | Pixels stand out where neither image has a source: cosmic rays, defects, ghosts.
lag1 | | Noise of neighbours is correlated, as resampling leaves it; errors of fluxes need more than the variance
  plane.
lag2 | 0 |
varianceScale | | The noise that came with an image was wrong; it was put right, but check where it came from.
# Kernel, kernel
kernelSum | above 0: the flux ratio | The images do not show the same sky, or one of them is inverted.
kernelSumError | small against the sum |
kernelSumScatter | | The flux ratio changes over the field: flat field, clouds, or a photometric calibration.
conditionNumber | | The terms of the kernel are hard to tell apart; their values mean little, their sum may be good.
# Alignment, alignment
kernelShiftPix | | The kernel moves the image: the WCSs disagree.
appliedShiftPix | | The WCSs disagree; it was corrected before the subtraction.
residualShiftPix | | Sources are not on top of each other: positive and negative halves (dipoles) are left.
# Background, background
backgroundAtCentre | any: the skies differ |
backgroundRange | any: the skies differ |
# Image, images
maskedFraction | | Much of the image cannot be used.
coverage | | The template covers little of the science image.
limitingMagnitude | large |
"""

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


def _read(text: str) -> dict[str, Words]:
    words = {}
    group = section = ""
    for line in text.strip().replace("\n  ", " ").split("\n"):
        if line.startswith("# "):
            group, _, section = line.removeprefix("# ").partition(", ")
        else:
            name, *told = (part.strip() for part in line.split("|"))
            words[name] = Words(group, section, *told)
    return words


def withNewFigures(words: Mapping[str, Words], figures: Iterable[str]) -> dict[str, Words]:
    """Return the words with figures that have none, each behind the one that it follows in `Quality`."""
    found = list(words)
    before = found[0]
    groups = {name: (told.group, told.section) for name, told in words.items()}
    for figure in figures:
        if figure not in groups:
            groups[figure] = groups[before]
            found.insert(found.index(before) + 1, figure)
        before = figure
    return {name: words.get(name) or Words(*groups[name], "", "") for name in found}


WORDS = withNewFigures(_read(_TABLE), (name for name in gateNames() if name in FIGURES))
"""Of each figure, in the sequence of print; `remainingExcess` stands for nRemaining in the rules."""


def headingOf(figure: str) -> str:
    """Return what a figure is, without its unit."""
    told = FIGURES[figure].metadata
    return re.sub(r", (px|counts)$| \(AB\)$", "", OWN_HEADINGS.get(figure) or told["heading"] or told["more"])


def goodValue(figure: str) -> str:
    """Return which value is good: in words, else the limit of an A."""
    rule = next((rule for rule in RULES if rule.figure == figure), None)
    return WORDS[figure].good or ("" if rule is None else rule.asked(rule.limits[0]))


def ruleOfReason(reason: str) -> Rule | None:
    """Return the rule that a reason of the quality comes from; None for a cap."""
    words = reason.partition(": ")[2]
    return next((r for r in RULES if re.match(re.escape(r.words).replace(r"\{\}", ".+") + ";", words)), None)


def sectionOf(rule: Rule | None) -> str:
    """Return the section of the page that shows a figure."""
    return "figures" if rule is None else WORDS[rule.figure].section

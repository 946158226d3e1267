"""The figures of the quality in words: group, which value is good, and what a bad one comes from.

`glossary.txt` holds them: a line with # begins a group, in which section of the page it is shown behind the comma; one
line for a figure: its name, which value is good if no rule says, what a bad one comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from psfmatch.quality import RULES, Rule, gateNames
from psfmatch.quality.figures import FIGURES


@dataclass(frozen=True)
class Words:
    """Group and section of a figure; its good value, if no rule says; what a bad one comes from."""

    group: str
    section: str
    good: str
    meaning: str


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


_written = (files("psfmatch.pictures") / "glossary.txt").read_text(encoding="utf-8")
WORDS = withNewFigures(_read(_written), (name for name in gateNames() if name in FIGURES))
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

"""The figures of the quality in words: group, which value is good, and what a bad one comes from.

`glossary.txt` holds them. A line with # begins a group; behind the comma the section of the page that shows it. A line
for a figure has its name, and behind a colon a heading where that of the quality says too little alone; then which
value is good, where no rule says it; and what a bad one comes from.
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
    """Group and section of a figure; its good value, if no rule says; what a bad one comes from; another heading."""

    group: str
    section: str
    good: str
    meaning: str
    heading: str = ""


def _read(text: str) -> dict[str, Words]:
    words = {}
    group = section = ""
    for line in text.strip().replace("\n  ", " ").split("\n"):
        if line.startswith("# "):
            group, _, section = line.removeprefix("# ").partition(", ")
        else:
            (name, _, heading), good, meaning = line.partition("|")[0].partition(":"), *line.split("|")[1:]
            words[name.strip()] = Words(group, section, good.strip(), meaning.strip(), heading.strip())
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
    return re.sub(r", (px|counts)$| \(AB\)$", "", WORDS[figure].heading or told["heading"] or told["more"])


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

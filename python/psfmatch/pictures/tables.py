"""Tables of the figures of the quality: value, unit, which value is good, and what it alone allows."""

from __future__ import annotations

from typing import Any

from psfmatch.quality import scaleOf
from psfmatch.reporting.glossary import GROUPS, goodValue, headingOf, unitOf
from psfmatch.reporting.markup import Markup, badge, table, tell

__all__ = ["chiSquareTable", "figureTables"]


def figureTables(numbers: dict[str, Any]) -> list[str]:
    """Return a table for each group of figures."""
    quality = numbers["quality"]
    if quality is None:
        return ["<p>The quality was not measured (doAssessQuality).</p>"]
    rows: list[tuple[Any, ...]] = []
    for group, names in GROUPS.items():
        rows.append((Markup(f"<strong>{group}</strong>"), "", "", "", ""))
        for name in names:
            grade = numbers["grades"].get(name)
            rows.append(
                (
                    headingOf(name),
                    tell(quality[name], scaleOf(name)),
                    unitOf(name),
                    goodValue(name),
                    Markup("" if grade is None else badge(grade)),
                )
            )
    return [table(("figure", "value", "unit", "good", "alone"), rows, (1,))]


def chiSquareTable(quality: dict[str, Any] | None) -> str:
    """Return chi-square per pixel in ranges of brightness."""
    if quality is None:
        return ""
    rows = []
    for name, what in (
        ("chiSquareByFlux", "sources found anew, signal-to-noise; median"),
        ("heldOutChiSquareByFlux", "kept out of the fit, signal of the brightest pixels in sigma; mean"),
    ):
        for low, high, number, value in quality[name]:
            rows.append((what, low, "and more" if high is None else high, number, value))
    headings = ("what", "from", "to", "number", "chi-square per pixel, ideal 1")
    return table(headings, rows, (1, 2, 3, 4)) if rows else ""

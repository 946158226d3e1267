"""The page of a report: the grade and its reasons first, then pictures and tables, one file for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.io import PAGES, formOf, requireNew, writeWhole
from psfmatch.messages import significant
from psfmatch.reporting import figures, noiseFigures
from psfmatch.reporting.drawing import pngOf, requireMatplotlib
from psfmatch.reporting.glossary import meaningOf, ruleOfReason, sectionOf
from psfmatch.reporting.markup import badge, escape, flatRows, folded, image, page, section, table, tell
from psfmatch.reporting.numbers import isReport, reportNumbers, writeNumbers
from psfmatch.reporting.subject import Detections, Reported, findDetections
from psfmatch.reporting.summary import smallTriplet
from psfmatch.reporting.tables import chiSquareTable, figureTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["reportPage", "requireReportPath", "writeReport"]

SECTIONS = {
    "glance": "Glance",
    "images": "Images",
    "changes": "Changes",
    "candidates": "Candidates",
    "residuals": "Residuals",
    "noise": "Noise",
    "kernel": "Kernel",
    "background": "Background",
    "alignment": "Alignment",
    "figures": "Figures",
    "why": "Choices",
    "everything": "Everything else",
}
TRIPLETS = 16
DPI = 85.0
FINE_DPI = 100.0
"""Of figures of lines and text, that compress well."""
KEYS = (
    ("noiseRobustStdev", "sky / predicted noise, ideal 1"),
    ("sourceRobust", "difference / noise on sources, ideal 1"),
    ("residualShiftPix", "px shift left at sources"),
    ("lag1", "correlation of neighbours, ideal 0"),
    ("kernelSum", "kernel sum: the flux ratio"),
    ("nUsed", "candidates used"),
)


def writeReport(
    result: Reported,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    threads: int | None = None,
    overwrite: bool = True,
) -> dict[str, Any]:
    """Write a report: one self-contained HTML file, and the same numbers beside it with the suffix .json.

    Parameters
    ----------
    result
        Of `psfmatch.subtract`.
    path
        Of the HTML file.
    title
        What the pair is called; by default the name of the file.
    threads
        For the detection of what has changed.
    overwrite
        Whether a report that exists may be replaced.

    Returns
    -------
    numbers : dict
        Those of `reportNumbers`, as written.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    ValueError
        If the path does not end in .html or .htm, or the file beside it is no report.
    FileExistsError
        If one of the files exists and ``overwrite`` is false.
    OSError
        If a file cannot be written.
    """
    requireMatplotlib()
    target = Path(path)
    requireReportPath(target)
    formOf(target, PAGES)
    for output in () if overwrite else (target, target.with_suffix(".json")):
        requireNew(output)
    detections = findDetections(result, threads)
    numbers = reportNumbers(result, title=title or target.stem, detections=detections)
    text = reportPage(result, numbers, detections)
    writeWhole(target, text.encode())
    writeNumbers(result, target.with_suffix(".json"), numbers=numbers)
    return numbers


def requireReportPath(path: str | os.PathLike[str]) -> None:
    """Raise ValueError where a report would overwrite what is none: the path is JSON's, or the file beside it other."""
    target = Path(path)
    beside = target.with_suffix(".json")
    if target == beside:
        raise ValueError(f"the report {target} is HTML; its numbers go beside it with the suffix .json")
    if beside.exists() and not isReport(beside):
        raise ValueError(f"{beside}, where the numbers of the report would go, is another file; choose another name")


def reportPage(result: Reported, numbers: dict[str, Any], detections: Detections) -> str:
    """Return the text of the page."""
    parts = [
        _glance(result, numbers),
        _images(result, detections),
        _changes(result, numbers, detections),
        _candidates(result, numbers),
        section(
            "residuals",
            "What is left of sources",
            _picture(lambda: figures.plotResiduals(result), "Residuals of sources against their brightness", FINE_DPI),
            chiSquareTable(numbers["quality"]),
        ),
        section(
            "noise",
            "Noise",
            _picture(
                lambda: noiseFigures.plotNoise(result),
                "Histogram of difference over noise on blank sky, correlation of neighbouring pixels",
                FINE_DPI,
                "Left: the local sky of 32 px is taken off. Right: correlation of pixels up to two apart, of the "
                "difference and of the decorrelated one, which is what detections are made on; the figures at one and "
                "two pixels are means over x, y and both diagonals.",
            ),
            folded(
                "Noise and decorrelation in numbers",
                "<p>Of all pixels that are not masked, sources among them; the quality's are of blank sky alone.</p>"
                + table((), flatRows({"noise": numbers["noise"], "decorrelation": numbers["decorrelation"]})),
            ),
        ),
        section(
            "kernel",
            "Kernel over the field",
            _picture(lambda: figures.plotKernel(result), "Kernel on a grid over the field", DPI),
            folded("The run in numbers", table((), flatRows(numbers["summary"]))),
        ),
        section(
            "background",
            "Background model and flux ratio",
            _picture(lambda: figures.plotBackground(result), "Background and kernel sum over the field", FINE_DPI),
            folded("The background's coefficients", table((), flatRows(numbers["background"]))),
        ),
        _alignment(numbers),
        section("figures", "All figures of the quality", *figureTables(numbers)),
        _why(numbers),
        section(
            "everything",
            "Everything else",
            folded("Configuration", table((), flatRows(numbers["config"]))),
            folded("Preparation of the images", table((), flatRows(numbers["preparation"]))),
            folded(
                "Scatter of the difference in ninths and spots of the field",
                table(tuple(numbers["field"][0]), [tuple(row.values()) for row in numbers["field"]])
                + table(("spot at x", "y", "scatter"), [tuple(spot.values()) for spot in numbers["hotSpots"]]),
            ),
        ),
    ]
    navigation = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in SECTIONS.items())
    title = numbers["title"] or "Difference image"
    run = numbers["summary"]
    heading = (
        f'<h1>{escape(title)}</h1>\n<p class="quiet">{run["shape"][1]} × {run["shape"][0]} pixels; the '
        f"{escape(run['convolved'])} image was convolved; PSF FWHM {tell(run['templateFwhmPix'])} px of the template, "
        f"{tell(run['scienceFwhmPix'])} px of the science image.</p>\n"
    )
    footer = (
        f"{escape(numbers['format'])} {numbers['formatVersion']}, psfmatch {escape(numbers['psfmatch'])}. "
        "The same numbers are in the .json file beside this page."
    )
    return page(f"{tell(numbers['grade'])}: {title}", navigation, heading + "\n".join(parts), footer)


def _picture(
    draw: Callable[[], Figure], alternative: str, dpi: float = DPI, caption: str = "", isWide: bool = True
) -> str:
    return image(pngOf(draw(), dpi), alternative, caption, isWide)


def _glance(result: Reported, numbers: dict[str, Any]) -> str:
    reasons = []
    for reason in numbers["reasons"]:
        grade, _, words = reason.partition(": ")
        rule = ruleOfReason(reason)
        told = f'<a href="#{sectionOf(rule)}">{escape(words[:1].upper() + words[1:])}</a>.'
        meaning = "" if grade == "A" else meaningOf(rule)
        reasons.append(
            f"<li>{badge(grade)} {told}"
            + (f'<br><span class="quiet">{escape(meaning)}</span>' if meaning else "")
            + "</li>"
        )
    quality = numbers["quality"] or {}
    keys = [(tell(quality[name]), words) for name, words in KEYS if quality.get(name) is not None]
    detections = numbers["detections"]
    if detections is not None and detections["nDetections"] is not None:
        keys.append((tell(detections["nDetections"]), f"changes above {tell(detections['threshold'])} sigma"))
    steps = "".join(f"<p><strong>{escape(step)}</strong></p>" for step in numbers["steps"])
    grid = "".join(f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in keys)
    words = (
        f'<div class="verdict">{badge(numbers["grade"], isBig=True)}<div>'
        f"<p><strong>{escape(numbers['verdict'])}</strong></p><p>{escape(numbers['worstPart'])}</p></div></div>"
        f'{steps}<ul class="reasons">{"".join(reasons)}</ul><figure>{smallTriplet(result)}</figure>'
    )
    field = _picture(
        lambda: noiseFigures.plotField(result),
        "Map of the scatter of the difference over its noise",
        FINE_DPI,
        "Where it is bad: scatter of the difference in units of its noise, in blocks, and as numbers in ninths of the "
        "field. Pulls are cut off at 5, so that one star does not spoil a part. Grey: masked.",
        isWide=False,
    )
    return (
        f'<section id="glance">\n<div class="glance"><div>{words}</div>'
        f'<div>{field}<div class="keys">{grid}</div></div></div>\n</section>'
    )


def _images(result: Reported, detections: Detections) -> str:
    found = detections.table
    isDrawn = found is not None and len(found) > 0
    return section(
        "images",
        "Template, matched image, science image, difference",
        _picture(
            lambda: figures.plotDifference(result, found if isDrawn else None),
            "Template, matched image, science image and difference",
            DPI,
            "Circles: changes that were detected." if isDrawn else "",
        ),
    )


def _changes(result: Reported, numbers: dict[str, Any], detections: Detections) -> str:
    told = numbers["detections"]
    note = f"<p>{escape(told['note'])}</p>" if told["note"] else ""
    if detections.table is None:
        return section("changes", "What has changed", note)
    counts = (
        f"<p>{told['nDetections']} detections above {tell(told['threshold'])} sigma: {tell(told['nPositive'])} "
        f"brighter, {tell(told['nNegative'])} fainter in the science image; {tell(told['nDipoles'])} dipoles. PSF FWHM "
        f"{tell(told['psfFwhmPix'])} px; the significance of blank sky scatters by {_scatter(told['noiseScale'])}.</p>"
    )
    if not told["rows"]:
        return section("changes", "What has changed", note, counts)
    listed = table(
        tuple(told["rows"][0]), [tuple(row.values()) for row in told["rows"]], range(len(told["rows"][0]) - 1)
    )
    return section(
        "changes",
        "What has changed",
        note,
        counts,
        _picture(
            lambda: figures.plotTriplets(result, "detections", TRIPLETS, detections.table),
            "Triplets of detections",
            FINE_DPI,
            "The most significant. Frames: red brighter, blue fainter in the science image, grey doubtful by a flag.",
        ),
        folded(f"The {len(told['rows'])} most significant", listed),
    )


def _scatter(noiseScale: float | None) -> str:
    """Return in words by what the significance of blank sky scatters, and what follows of it."""
    if noiseScale is None or significant(noiseScale) == "1":
        return "1, as it should"
    return f"{tell(noiseScale)}, by which the errors were multiplied"


def _candidates(result: Reported, numbers: dict[str, Any]) -> str:
    rejected = (numbers["quality"] or {}).get("rejected") or numbers["summary"]["rejectionReasons"]
    fates = [("used", numbers["summary"]["nGood"]), *((f"rejected: {reason}", n) for reason, n in rejected.items())]
    return section(
        "candidates",
        "Candidates of the kernel",
        table(("candidates", "number"), fates, (1,)),
        _picture(
            lambda: figures.plotCandidates(result),
            "Candidates on the science image",
            DPI,
            "Sources rejected before they became candidates are counted above, but not drawn.",
        ),
        "<h3>Triplets</h3>",
        _picture(
            lambda: figures.plotTriplets(result, "candidates", TRIPLETS),
            "Triplets of candidates",
            FINE_DPI,
            "The brightest used, the worst used (residual: scatter in units of the noise), and, framed in red, those "
            "rejected.",
        ),
    )


def _alignment(numbers: dict[str, Any]) -> str:
    alignment, coverage = numbers["alignment"], numbers["coverage"]
    # Pixels, shares and numbers of stars.
    rows = flatRows({"alignment": alignment, "coverage": coverage})
    words = "The alignment was not measured." if alignment is None else alignment["reason"]
    return section(
        "alignment",
        "Alignment and coverage",
        f"<p>{escape(words)}</p>",
        folded("In numbers", table((), [(name, tell(value, 1.0)) for name, value in rows])),
    )


def _why(numbers: dict[str, Any]) -> str:
    sentences = "".join(f"<li>{escape(choice['sentence'])}</li>" for choice in numbers["choices"])
    sentences += "".join(f"<li>{escape(step)}</li>" for step in numbers["steps"])
    told = (
        f'<ol class="why">{sentences}</ol>'
        if sentences
        else "<p>Nothing was chosen: the configuration says it all.</p>"
    )
    rows = [
        (choice["name"], choice["chosen"], choice["figure"], choice["alternative"], choice["alternativeFigure"])
        for choice in numbers["choices"]
    ]
    headings = ("choice", "taken", "its figure", "instead of", "its figure")
    return section(
        "why", "What was chosen, and why", told, folded("The figures compared", table(headings, rows)) if rows else ""
    )

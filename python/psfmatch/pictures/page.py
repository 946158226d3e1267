"""The page of a report: the grade and its reasons first, then pictures and tables, one file for all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.errors import significant
from psfmatch.io import PAGES, formOf, requireNew, writeWhole
from psfmatch.pictures import plots
from psfmatch.pictures.drawing import requireMatplotlib
from psfmatch.pictures.files import dataUri, pngOf
from psfmatch.pictures.glossary import WORDS, goodValue, headingOf, ruleOfReason, sectionOf
from psfmatch.pictures.markup import Markup, badge, escape, flatRows, folded, image, link, page, section, table, tell
from psfmatch.pictures.numbers import Detections, findDetections, isReport, reportNumbers, writeNumbers
from psfmatch.pictures.triplets import matchedPair, plotTriplets, thumbnail
from psfmatch.quality import scaleOf
from psfmatch.quality.figures import unitOf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from psfmatch.frontdoor import SubtractionResult

_NAMES = [
    "Glance",
    "Images",
    "Changes",
    "Candidates",
    "Residuals",
    "Noise",
    "Kernel",
    "Background",
    "Alignment",
    "Figures",
]
SECTIONS = {name.lower(): name for name in _NAMES} | {"why": "Choices", "everything": "Everything else"}
TRIPLETS = 16
DPI, FINE_DPI = 85.0, 100.0
"""The finer of figures of lines and text, that compress well."""
PREVIEW_SIDE = 190  # px, of the small images
MOST_REASONS = 3  # in a notebook
KEYS = (
    ("noiseRobustStdev", "sky / predicted noise, ideal 1"),
    ("sourceRobust", "difference / noise on sources, ideal 1"),
    ("residualShiftPix", "px shift left at sources"),
    ("lag1", "correlation of neighbours, ideal 0"),
    ("kernelSum", "kernel sum: the flux ratio"),
    ("nUsed", "candidates used"),
)
CHI_SQUARES = (
    ("chiSquareByFlux", "sources found anew, signal-to-noise; median"),
    ("heldOutChiSquareByFlux", "kept out of the fit, signal of the brightest pixels in sigma; mean"),
)


def writeReport(
    result: SubtractionResult,
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
    writeWhole(target, reportPage(result, numbers, detections).encode())
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


def reportPage(result: SubtractionResult, numbers: dict[str, Any], detections: Detections) -> str:
    """Return the text of the page."""

    def rows(*names: str) -> str:
        """Return a table of all numbers under some names; of one alone, without it."""
        return table((), flatRows(numbers[names[0]] if len(names) == 1 else {name: numbers[name] for name in names}))

    noise = _picture(
        plots.plotNoise(result),
        "Histogram of difference over noise on blank sky, correlation of neighbouring pixels",
        FINE_DPI,
        "Left: the local sky of 32 px is taken off. Right: correlation of pixels up to two apart, of the difference "
        "and of the decorrelated one, which is what detections are made on; the figures at one and two pixels are "
        "means over x, y and both diagonals.",
    )
    told = "<p>Of all pixels that are not masked, sources among them; the quality's are of blank sky alone.</p>"
    residuals = _picture(plots.plotResiduals(result), "Residuals of sources against their brightness", FINE_DPI)
    kernel = _picture(plots.plotKernel(result), "Kernel on a grid over the field")
    background = _picture(plots.plotBackground(result), "Background and kernel sum over the field", FINE_DPI)
    scatter = table(tuple(numbers["field"][0]), [tuple(row.values()) for row in numbers["field"]])
    spots = table(("spot at x", "y", "scatter"), [tuple(spot.values()) for spot in numbers["hotSpots"]])
    parts = [
        _glance(result, numbers),
        _images(result, detections),
        _changes(result, numbers, detections),
        _candidates(result, numbers),
        section("residuals", "What is left of sources", residuals, _chiSquares(numbers["quality"])),
        section(
            "noise", "Noise", noise, folded("Noise and decorrelation in numbers", told + rows("noise", "decorrelation"))
        ),
        section("kernel", "Kernel over the field", kernel, folded("The run in numbers", rows("summary"))),
        section(
            "background",
            "Background model and flux ratio",
            background,
            folded("The background's coefficients", rows("background")),
        ),
        _alignment(numbers),
        section("figures", "All figures of the quality", _figures(numbers)),
        _why(numbers),
        section(
            "everything",
            "Everything else",
            folded("Configuration", rows("config")),
            folded("Preparation of the images", rows("preparation")),
            folded("Scatter of the difference in ninths and spots of the field", scatter + spots),
        ),
    ]
    run, title = numbers["summary"], numbers["title"] or "Difference image"
    heading = (
        f'<h1>{escape(title)}</h1>\n<p class="quiet">{run["shape"][1]} × {run["shape"][0]} pixels; the '
        f"{escape(run['convolved'])} image was convolved; PSF FWHM {tell(run['templateFwhmPix'])} px of the template, "
        f"{tell(run['scienceFwhmPix'])} px of the science image.</p>\n"
    )
    footer = (
        f"{escape(numbers['format'])} {numbers['formatVersion']}, psfmatch {escape(numbers['psfmatch'])}. "
        "The same numbers are in the .json file beside this page."
    )
    navigation = "".join(link(f"#{name}", words) for name, words in SECTIONS.items())
    return page(f"{tell(numbers['grade'])}: {title}", navigation, heading + "\n".join(parts), footer)


def _picture(figure: Figure, alternative: str, dpi: float = DPI, caption: str = "", kind: str = "wide") -> Markup:
    return image(pngOf(figure, dpi), alternative, caption, kind)


def _preview(result: SubtractionResult) -> Markup:
    """Return a small picture of the two images of one PSF and their difference."""
    caption = "From the left: " + ", ".join(matchedPair(result)) + "."
    return image(dataUri(thumbnail(result, PREVIEW_SIDE)), "matched images and their difference", caption, "")


def _glance(result: SubtractionResult, numbers: dict[str, Any]) -> str:
    reasons = ""
    for reason in numbers["reasons"]:
        grade, _, words = reason.partition(": ")
        rule = ruleOfReason(reason)
        told = link(f"#{sectionOf(rule)}", words[:1].upper() + words[1:])
        meaning = "" if grade == "A" or rule is None else WORDS[rule.figure].meaning
        more = f'<br><span class="quiet">{escape(meaning)}</span>' if meaning else ""
        reasons += f"<li>{badge(grade)} {told}.{more}</li>"
    quality, detections = numbers["quality"] or {}, numbers["detections"] or {}
    keys = [(tell(quality[name]), words) for name, words in KEYS if quality.get(name) is not None]
    if detections.get("nDetections") is not None:
        keys.append((tell(detections["nDetections"]), f"changes above {tell(detections['threshold'])} sigma"))
    steps = "".join(f"<p><strong>{escape(step)}</strong></p>" for step in numbers["steps"])
    grid = "".join(f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in keys)
    field = _picture(
        plots.plotField(result),
        "Map of the scatter of the difference over its noise",
        FINE_DPI,
        "Where it is bad: scatter of the difference in units of its noise, in blocks, and as numbers in ninths of the "
        "field. Pulls are cut off at 5, so that one star does not spoil a part. Grey: masked.",
        "",
    )
    return f"""<section id="glance">
<div class="verdict">{badge(numbers["grade"], "big")}<div>
<p><strong>{escape(numbers["verdict"])}</strong></p><p>{escape(numbers["worstPart"])}</p></div></div>
{steps}<div class="glance"><ul class="reasons">{reasons}</ul>
{_preview(result)}
<div class="keys">{grid}</div>
{field}</div>
</section>"""


def _images(result: SubtractionResult, detections: Detections) -> str:
    found = detections.table if detections.table is not None and len(detections.table) else None
    caption = "" if found is None else "Circles: changes that were detected."
    title = "Template, matched image, science image, difference"
    figure = plots.plotDifference(result, found)
    return section("images", title, _picture(figure, "Template, matched, science and difference image", DPI, caption))


def _changes(result: SubtractionResult, numbers: dict[str, Any], detections: Detections) -> str:
    told = numbers["detections"]
    content = [f"<p>{escape(told['note'])}</p>"] if told["note"] else []
    if detections.table is not None:
        scale = told["noiseScale"]
        isOne = scale is None or significant(scale) == "1"
        words = "1, as it should" if isOne else f"{tell(scale)}, by which the errors were multiplied"
        content.append(
            f"<p>{told['nDetections']} detections above {tell(told['threshold'])} sigma: {tell(told['nPositive'])} "
            f"brighter, {tell(told['nNegative'])} fainter in the science image; {tell(told['nDipoles'])} dipoles. PSF "
            f"FWHM {tell(told['psfFwhmPix'])} px; the significance of blank sky scatters by {words}.</p>"
        )
    if told["rows"]:
        caption = (
            "The most significant. Frames: red brighter, blue fainter in the science image, grey doubtful by a flag."
        )
        figure = plotTriplets(result, "detections", TRIPLETS, detections.table)
        content.append(_picture(figure, "Triplets of detections", FINE_DPI, caption))
        names = tuple(told["rows"][0])
        listed = table(names, [tuple(row.values()) for row in told["rows"]], range(len(names) - 1))
        content.append(folded(f"The {len(told['rows'])} most significant", listed))
    return section("changes", "What has changed", *content)


def _candidates(result: SubtractionResult, numbers: dict[str, Any]) -> str:
    rejected = (numbers["quality"] or {}).get("rejected") or numbers["summary"]["rejectionReasons"]
    fates = [("used", numbers["summary"]["nGood"]), *((f"rejected: {reason}", n) for reason, n in rejected.items())]
    places = "Sources rejected before they became candidates are counted above, but not drawn."
    caption = (
        "The brightest used, the worst used (residual: scatter in units of the noise), and, framed in red, those "
        "rejected."
    )
    return section(
        "candidates",
        "Candidates of the kernel",
        table(("candidates", "number"), fates, (1,)),
        _picture(plots.plotCandidates(result), "Candidates on the science image", DPI, places),
        "<h3>Triplets</h3>",
        _picture(plotTriplets(result, "candidates", TRIPLETS), "Triplets of candidates", FINE_DPI, caption),
    )


def _chiSquares(quality: dict[str, Any] | None) -> str:
    """Return chi-square per pixel in ranges of brightness."""
    rows = [
        (what, low, "and more" if high is None else high, number, value)
        for name, what in CHI_SQUARES
        for low, high, number, value in (quality or {}).get(name, ())
    ]
    headings = ("what", "from", "to", "number", "chi-square per pixel, ideal 1")
    return table(headings, rows, (1, 2, 3, 4)) if rows else ""


def _alignment(numbers: dict[str, Any]) -> str:
    alignment = numbers["alignment"]
    # Pixels, shares and numbers of stars.
    rows = flatRows({"alignment": alignment, "coverage": numbers["coverage"]})
    words = "The alignment was not measured." if alignment is None else alignment["reason"]
    listed = table((), [(name, tell(value, 1.0)) for name, value in rows])
    return section("alignment", "Alignment and coverage", f"<p>{escape(words)}</p>", folded("In numbers", listed))


def _figures(numbers: dict[str, Any]) -> str:
    """Return the figures of the quality: value, unit, which value is good, and what it alone allows."""
    quality = numbers["quality"]
    if quality is None:
        return "<p>The quality was not measured (doAssessQuality).</p>"
    rows: list[tuple[Any, ...]] = []
    group = ""
    for name, words in WORDS.items():
        if name not in quality:
            continue
        if words.group != group:
            group = words.group
            rows.append((Markup(f"<strong>{group}</strong>"), "", "", "", ""))
        grade = numbers["grades"].get(name)
        value = tell(quality[name], scaleOf(name))
        rows.append((headingOf(name), value, unitOf(name), goodValue(name), badge(grade) if grade else ""))
    return table(("figure", "value", "unit", "good", "alone"), rows, (1,))


def _why(numbers: dict[str, Any]) -> str:
    choices = numbers["choices"]
    sentences = [*(choice["sentence"] for choice in choices), *numbers["steps"]]
    told = f'<ol class="why">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ol>'
    if not sentences:
        told = "<p>Nothing was chosen: the configuration says it all.</p>"
    names = ("name", "chosen", "figure", "alternative", "alternativeFigure")
    headings = ("choice", "taken", "its figure", "instead of", "its figure")
    compared = table(headings, [[choice[name] for name in names] for choice in choices])
    return section("why", "What was chosen, and why", told, folded("The figures compared", compared) if choices else "")


def summaryHtml(result: SubtractionResult) -> str:
    """Return what a notebook shows: a small table, and the two images of one PSF with their difference."""
    numbers = result.summary()
    known = numbers["chiRobustStdev"] if result.quality is None else result.quality.noiseRobustStdev
    kernel = f"kernel {numbers['kernelSize']} px, sum {tell(numbers['kernelSum'])}"
    rows = [
        ("grade", "not graded" if numbers["grade"] is None else numbers["grade"]),
        *(("", reason) for reason in numbers["gradeReasons"][:MOST_REASONS]),
        ("convolved", f"the {numbers['convolved']}, {kernel}"),
        ("PSF FWHM", f"template {tell(numbers['templateFwhmPix'])} px, science {tell(numbers['scienceFwhmPix'])} px"),
        ("candidates", f"{numbers['nGood']} good of {numbers['nCandidates']}"),
        ("noise", f"the sky scatters by {tell(known)} of its predicted noise (1 is ideal)"),
    ]
    left = ' style="text-align:left"'
    body = "".join(f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(text)}</td></tr>" for name, text in rows)
    height, width = numbers["shape"]
    caption = f"Difference image, {width} × {height} px"
    return f"<div><table><caption>{caption}</caption><tbody>{body}</tbody></table>{_preview(result)}</div>"

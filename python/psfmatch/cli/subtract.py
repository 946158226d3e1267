"""``psfmatch subtract``: two files in, the difference out."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.cli.ccds import commonCcds, subtractCcds
from psfmatch.cli.gates import EXIT_QUALITY_GATE, addGates, gatesOf
from psfmatch.cli.inputs import addInputs, addWidths, readImage
from psfmatch.cli.options import changedConfiguration
from psfmatch.cli.outputs import TABLE_ENDINGS, addOverwrite, requireSubtractOutputs, sendTable
from psfmatch.cli.reporting import draw, report

if TYPE_CHECKING:
    from psfmatch.frontdoor import SubtractionResult

__all__ = ["addCommand", "pairName", "subtractInputs"]

log = logging.getLogger("psfmatch.cli")


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "subtract",
        parents=parents,
        help="subtract a template from a science image",
        description="Warp the template to the science image's pixels, match the PSFs and subtract. Files are FITS "
        "(also .fz and .gz); brackets choose an HDU: 'file.fits[SCI]'. Where both files hold several images, "
        "as of the detectors of a camera, those of the same names are subtracted, each into a file of its own.",
    )
    addWidths(addInputs(parser))
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="difference image to write")
    parser.add_argument("--decorrelated", metavar="FILE", help="also write the difference made white (decorrelated)")
    parser.add_argument("--score", metavar="FILE", help="also write the score image: a point source's score everywhere")
    parser.add_argument(
        "--sources",
        metavar="FILE",
        help=f"also find and measure what has changed, as a table: {TABLE_ENDINGS}; - is standard output",
    )
    parser.add_argument(
        "--picture", metavar="FILE", help="also draw template, matched, science, difference: .png, .pdf, .svg, .jpg"
    )
    parser.add_argument("--report", metavar="HTML", help="also write a report, and its numbers beside it as .json")
    addOverwrite(parser)
    addGates(parser)
    parser.set_defaults(run=_subtract)


def subtractInputs(options: argparse.Namespace) -> SubtractionResult:
    """Read both images as the options say and subtract them."""
    from concurrent.futures import ThreadPoolExecutor

    from psfmatch.images import readInput

    with ThreadPoolExecutor(1) as reader:
        template, science = (reader.submit(readImage, readInput, options, which) for which in ("template", "science"))
        # The other half of what the run needs is imported while the pixels are read, here alone: two threads that
        # import the same modules can find them half made.
        from psfmatch.frontdoor import subtract

        config = changedConfiguration(options)
    return subtract(
        template.result(),
        science.result(),
        config=config,
        mode=options.mode,
        templateFwhmPix=options.template_fwhm,
        scienceFwhmPix=options.science_fwhm,
        threads=options.threads,
    )


def pairName(options: argparse.Namespace) -> str:
    """Return what a report calls the pair."""
    return f"{Path(options.science).name} - {Path(options.template).name}"


def _subtract(options: argparse.Namespace) -> int:
    requireSubtractOutputs(options, overwrite=True)
    gates = gatesOf(options.gates)
    if ccds := commonCcds(options):
        return subtractCcds(options, ccds, lambda one: _subtractFiles(one, gates))
    requireSubtractOutputs(options)
    result, extra, seconds = _subtractFiles(options, gates)
    report(result, options, extra, seconds)
    return EXIT_QUALITY_GATE if extra.get("failedGates") else 0


def _subtractFiles(
    options: argparse.Namespace, gates: dict[str, Any]
) -> tuple[SubtractionResult, dict[str, Any], float]:
    """Subtract and write what is asked for; return the result, what the command adds to its summary, and seconds."""
    start = time.perf_counter()
    result = subtractInputs(options)
    result.writeFits(options.output)
    extra: dict[str, Any] = {"output": options.output}
    if options.decorrelated is not None:
        result.writeDecorrelated(options.decorrelated)
        extra["decorrelated"] = options.decorrelated
    if options.score is not None:
        result.score.writeFits(options.score)
        extra["score"] = options.score
    if any(getattr(options, name) is not None for name in ("sources", "picture", "report")):
        extra |= _changes(result, options)
    if options.report is not None:
        result.report(options.report, title=pairName(options), threads=options.threads)
        extra["report"] = options.report
    if gates:
        extra["failedGates"] = _failedGates(result, gates)
    return result, extra, time.perf_counter() - start


def _changes(result: SubtractionResult, options: argparse.Namespace) -> dict[str, Any]:
    """Look for what has changed, once for all outputs, and write the table and the picture of it."""
    from psfmatch.pictures.numbers import detectionCounts, findDetections

    detections = findDetections(result, options.threads)
    extra: dict[str, Any] = detectionCounts(detections)
    if options.sources is not None:
        # Where nothing could be looked for, this raises why.
        extra |= {"sources": options.sources, **sendTable(result.changes, options.sources, "SOURCES", options)}
    if options.picture is not None:
        draw(result, options.picture, detections)
        extra["picture"] = options.picture
    return extra


def _failedGates(result: SubtractionResult, gates: dict[str, Any]) -> list[str]:
    """Return in words which gates the difference does not pass."""
    from psfmatch.quality import checkGates

    failures = checkGates(result.quality, gates)
    for failure in failures:
        log.error("Quality gate: %s", failure)
    return failures

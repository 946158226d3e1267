"""``psfmatch subtract``: two files in, the difference out."""

from __future__ import annotations

import argparse
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.cli.inputs import addInputs, addWidths, readInput, requireOtherOutput, requireReport
from psfmatch.cli.options import configuration
from psfmatch.cli.reporting import draw, report

if TYPE_CHECKING:
    from psfmatch.differencing import SubtractionResult
    from psfmatch.exposure import Exposure

__all__ = ["addCommand", "pairName", "subtractFiles"]

log = logging.getLogger("psfmatch.cli")

EXIT_QUALITY_GATE = 5


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "subtract",
        parents=parents,
        help="subtract a template from a science image",
        description="Warp the template to the science image's pixels, match the PSFs and subtract. Files are FITS "
        "(also .fz and .gz); brackets choose an HDU: 'file.fits[SCI]'.",
    )
    addWidths(addInputs(parser))
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="difference image to write")
    parser.add_argument("--decorrelated", metavar="FILE", help="also write the difference made white (decorrelated)")
    parser.add_argument("--sources", metavar="FILE", help="also find and measure what has changed, as a FITS table")
    parser.add_argument("--picture", metavar="PNG", help="also draw template, matched, science, difference")
    parser.add_argument("--report", metavar="HTML", help="also write a report, and its numbers beside it as .json")
    parser.add_argument(
        "--gate",
        metavar="FIGURE=LIMIT",
        dest="gates",
        action="append",
        default=[],
        help="exit with status 5 unless the quality is within it: grade=B, noiseRobustStdev=1.1; may be repeated",
    )
    parser.set_defaults(run=_subtract)


def subtractFiles(options: argparse.Namespace) -> tuple[Exposure, SubtractionResult]:
    """Read both images as the options say and subtract them; return the science image as read, and the result."""
    from psfmatch.exposure import Exposure

    with ThreadPoolExecutor(1) as reader:
        template, science = (reader.submit(readInput, Exposure, options, which) for which in ("template", "science"))
        # The other half of what the run needs is imported while the pixels are read, here alone: two threads that
        # import the same modules can find them half made.
        from psfmatch.differencing import subtract

        config = configuration(options)
    result = subtract(
        template.result(),
        science.result(),
        config=config,
        mode=options.mode,
        templateFwhmPix=options.template_fwhm,
        scienceFwhmPix=options.science_fwhm,
        threads=options.threads,
    )
    return science.result(), result


def pairName(options: argparse.Namespace) -> str:
    """Return what a report calls the pair."""
    return f"{Path(options.science).name} - {Path(options.template).name}"


def _subtract(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    gates = _gatesOf(options.gates)
    requireOtherOutput(options.output, options.template, options.science)
    if options.report is not None:
        requireReport(options.report)
    science, result = subtractFiles(options)
    result.writeFits(options.output)
    extra: dict[str, Any] = {"output": options.output}
    if options.decorrelated is not None:
        result.decorrelated.writeFits(options.decorrelated)
        extra["decorrelated"] = options.decorrelated
    if options.sources is not None:
        from psfmatch.transients import writeSources

        sources = result.detect(threads=options.threads)
        writeSources(sources, options.sources)
        extra |= {"sources": options.sources, "nDetections": len(sources)}
    if options.picture is not None:
        draw(science, result, options.picture, None)
        extra["picture"] = options.picture
    if options.report is not None:
        result.report(options.report, title=pairName(options), threads=options.threads)
        extra["report"] = options.report
    failures = _failedGates(result, gates)
    if gates:
        extra["failedGates"] = failures
    report(result, options, extra, time.perf_counter() - start)
    return EXIT_QUALITY_GATE if failures else 0


def _gatesOf(texts: list[str]) -> dict[str, Any]:
    """Return the gates given as FIGURE=LIMIT; ValueError for another form."""
    gates: dict[str, Any] = {}
    for text in texts:
        name, separator, limit = text.partition("=")
        if not (separator and name and limit):
            raise ValueError(f"gate {text!r}: give FIGURE=LIMIT, such as grade=B")
        gates[name] = limit if name == "grade" else _number(text, limit)
    return gates


def _number(gate: str, limit: str) -> float:
    try:
        return float(limit)
    except ValueError:
        raise ValueError(f"gate {gate!r}: {limit} is not a number") from None


def _failedGates(result: SubtractionResult, gates: dict[str, Any]) -> list[str]:
    """Return in words which gates the difference does not pass."""
    if not gates:
        return []
    if result.quality is None:
        raise ValueError("gates need the quality: leave doAssessQuality on")
    from psfmatch.quality import checkGates

    failures = checkGates(result.quality, gates)
    for failure in failures:
        log.error("Quality gate: %s", failure)
    return failures

"""``psfmatch report``: a page about a subtraction, or the index of a directory of such pages."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from psfmatch.cli.inputs import addInputs, addWidths
from psfmatch.cli.outputs import addOverwrite, inputsOf, requireOutputs, requireReport
from psfmatch.cli.reporting import report, tell
from psfmatch.cli.subtract import pairName, subtractInputs

__all__ = ["addCommand"]


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "report",
        parents=parents,
        help="subtract and write a report as one HTML file, or an index over a directory of reports",
        description="Subtract as psfmatch subtract does and write what came of it as one self-contained HTML file, "
        "with the same numbers beside it as .json. With a directory in place of the two images, write a page over all "
        "reports in it (NAME.json, and links to NAME.html) and all pairs of a batch, failed ones first, then the "
        "worst. Such a page is made anew without --overwrite.",
    )
    addWidths(addInputs(parser, "a directory of reports"))
    parser.add_argument(
        "-o",
        "--output",
        metavar="HTML",
        help="page to write (default: report.html, or index.html in the directory)",
    )
    addOverwrite(parser)
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    if Path(options.template).is_dir():
        if options.science is not None:
            raise ValueError(f"{options.template} is a directory: give it alone, or two images")
        return _index(options)
    if options.science is None:
        raise ValueError(f"{options.template} is no directory: give TEMPLATE and SCIENCE, or a directory of reports")
    start = time.perf_counter()
    output = options.output or "report.html"
    from psfmatch import io
    from psfmatch.pictures.numbers import detectionCounts, findDetections

    outputs = [(output, io.PAGES), (requireReport(output), io.NUMBERS)]
    requireOutputs(outputs, inputsOf(options), options.overwrite)
    result = subtractInputs(options)
    result.report(output, title=pairName(options), threads=options.threads)
    counts = detectionCounts(findDetections(result, options.threads))
    report(result, options, {"output": output, **counts}, time.perf_counter() - start)
    return 0


def _index(options: argparse.Namespace) -> int:
    from psfmatch import io
    from psfmatch.pictures.index import requireIndexPath, writeIndex

    output = options.output or str(Path(options.template) / "index.html")
    requireOutputs([(output, io.PAGES)], [], overwrite=True)
    requireIndexPath(output, options.overwrite)
    counts = writeIndex(options.template, output)
    grades = {grade or "none": number for grade, number in counts.items()}
    told = ", ".join(f"{number} {grade}" for grade, number in grades.items())
    tell(options, {"output": output, "grades": grades}, {"grades": told, "written": output})
    return 0

"""What a subtraction came to: words or JSON on standard output, and a picture."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psfmatch.cli.outputs import toldTo

if TYPE_CHECKING:
    from psfmatch.frontdoor import SubtractionResult
    from psfmatch.pictures import Detections

__all__ = ["draw", "errorOf", "printJson", "report", "summarize", "tell"]


def draw(result: SubtractionResult, path: str, detections: Detections) -> None:
    """Write the picture of template, matched, science and difference, with circles about what has changed."""
    from psfmatch.pictures import savePicture

    title = (
        f"{result.convolved} convolved, kernel sum {result.kernel.kernelSum(*result.difference.getBBox().centre):.4f}"
    )
    savePicture(result.plotDifference(detections.table, title), path)


def summarize(
    result: SubtractionResult, options: argparse.Namespace, extra: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the summary of a result with what the command adds to it."""
    summary = {**extra, **result.summary(), "seconds": round(seconds, 3)}
    summary["quality"] = None if result.quality is None else result.quality.toDict()
    if options.explain and options.json:
        summary["explanation"] = result.explain().split("\n")
    return summary


def report(result: SubtractionResult, options: argparse.Namespace, extra: dict[str, Any], seconds: float) -> None:
    """Print the summary of a result with what the command adds to it, and why each choice was made."""
    summary = summarize(result, options, extra, seconds)
    tell(options, summary, _inWords(summary))
    if options.explain and not options.json:
        print("\n" + result.explain(), file=toldTo(options))


def tell(options: argparse.Namespace, summary: dict[str, Any], rows: dict[str, str]) -> None:
    """Print a summary as JSON, or in words, a row each; these go to standard error where a table has the output."""
    options.isTold = True
    if options.json:
        printJson(summary)
        return
    for name, text in rows.items():
        print(f"{name:<17} {text}", file=toldTo(options))


def printJson(value: Any) -> None:
    """Print as JSON that every reader takes: a number that is not finite is null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def errorOf(error: BaseException) -> dict[str, str]:
    """Return an error for JSON: its class, and its message in one line."""
    return {"type": type(error).__name__, "message": " ".join(str(error).split()) or type(error).__name__}


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers of NumPy as those of Python, null for what is not finite, names of files."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        # And no zero with a sign.
        return value + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _inWords(summary: dict[str, Any]) -> dict[str, str]:
    def number(name: str, form: str = ".4g") -> str:
        value = summary[name]
        return "unknown" if value is None else format(value, form)

    def told(name: str) -> str:
        return "; ".join(f"{count} for {reason}" for reason, count in summary[name].items())

    templateFwhm, scienceFwhm = number("templateFwhmPix", ".2f"), number("scienceFwhmPix", ".2f")
    kernel = f"{summary['kernelSize']}x{summary['kernelSize']} px, {summary['nBasis']} functions"
    unusable, rejected = told("rejectedSources"), told("rejectionReasons")
    stamps = f"{summary['nCandidates']} regions or stamps, {summary['nGood']} good"
    rows = {
        "PSF FWHM": f"template {templateFwhm} px, science {scienceFwhm} px; {summary['convolved']} convolved",
        "kernel": f"{kernel} of order {summary['spatialKernelOrder']}, sum {number('kernelSum', '.4f')}",
        "stars": f"{number('nSources', 'd')} found, {stamps}",
        "not cut out": unusable or "none",
        "rejected": rejected or "none",
        "grade": "; ".join([summary["grade"] or "none", *(reason[3:] for reason in summary["gradeReasons"][:2])]),
        "noise": f"difference / sqrt(variance) scatters by {number('chiRobustStdev', '.3f')} (1 is ideal)",
        "flagged pixels": f"{summary['badFraction']:.2%}",
    }
    if "nInjected" in summary:
        found = f"{summary['nDetected']} of {summary['nInjected']}"
        rows["transients"] = f"{found} injected above 8 sigma are among the changes"
    if "trueKernelSum" in summary:
        rows["true kernel sum"] = format(summary["trueKernelSum"], ".4f")
    if summary["steps"]:
        rows["simpler model"] = " ".join(summary["steps"])
    if "nDetections" in summary:
        rows["changes"] = _changesInWords(summary)
    if summary.get("failedGates"):
        rows["failed gates"] = "; ".join(summary["failedGates"])
    rows["written"] = f"{summary['output']} in {summary['seconds']:.1f} s"
    if "picture" in summary:
        rows["picture"] = summary["picture"]
    if "report" in summary:
        rows["report"] = summary["report"]
    return rows


def _changesInWords(summary: dict[str, Any]) -> str:
    if summary["nDetections"] is None:
        return "could not be looked for"
    signs = f"{summary['nPositive']} brighter, {summary['nNegative']} fainter; {summary['nDipoles']} dipoles"
    written = f", written to {summary['sources']}" if "sources" in summary else ""
    return f"{summary['nDetections']} found: {signs}{written}"

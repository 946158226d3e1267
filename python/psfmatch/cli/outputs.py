"""The files that a command is to write, looked at before anything is computed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ["OUTPUTS", "requireOutputs", "requireReport", "requireSubtractOutputs"]

OUTPUTS = ("output", "decorrelated", "score", "sources", "picture", "report")
"""Options of ``psfmatch subtract`` that name a file to write."""


def requireOutputs(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Raise OSError if an output cannot be written, ValueError if it is one of the inputs or named twice."""
    from psfmatch import io

    resolved = [Path(output).resolve() for output in outputs]
    for output, path in zip(outputs, resolved, strict=True):
        io.requireOutput(output)
        if resolved.count(path) > 1:
            raise ValueError(f"two outputs go to the same file {output}; choose another name for one")
        # Asked only where there is a file: the name of an input can be a URL, which would be fetched.
        if path.exists() and any(io.parseFileName(name)[0].resolve() == path for name in inputs):
            raise ValueError(f"the output {output} is one of the inputs; choose another name")


def requireSubtractOutputs(options: argparse.Namespace) -> None:
    """Raise for any output of ``psfmatch subtract`` as `requireOutputs` does, and for pictures without matplotlib."""
    outputs = [path for name in OUTPUTS if (path := getattr(options, name)) is not None]
    requireOutputs(outputs, [options.template, options.science])
    if options.picture is not None:
        from psfmatch.reporting import requireMatplotlib

        requireMatplotlib()
    if options.report is not None:
        requireReport(options.report)


def requireReport(path: str) -> None:
    """Raise where a report cannot be drawn or would overwrite another file."""
    from psfmatch.reporting import requireMatplotlib, requireReportPath

    requireMatplotlib()
    requireReportPath(path)

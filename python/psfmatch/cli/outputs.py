"""The files that a command is to write, looked at before anything is computed; tables to files or standard output.

One rule for all commands: the ending chooses the format, an unknown one is refused; what exists is replaced only with
--overwrite, an input never; "-" is standard output for tables, which is then theirs alone. Directories that a command
fills (``batch``, ``demo``) are made; that of a single file has to be there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.io import Endings

__all__ = [
    "OUTPUTS",
    "addOverwrite",
    "inputsOf",
    "isPiped",
    "requireOutputs",
    "requireReport",
    "requireSubtractOutputs",
    "sendTable",
    "toldTo",
]

OUTPUTS = ("output", "decorrelated", "score", "sources", "picture", "report")
"""Options of ``psfmatch subtract`` that name a file to write."""

TABLE_ENDINGS = ".ecsv, .csv, .tsv, .txt, .html, .vot, .xml, .parquet, .fits"
"""For help texts, which are made before anything is imported."""


def addOverwrite(parser: argparse._ActionsContainer) -> None:
    """Add ``--overwrite``."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist (default: refuse before anything is done)"
    )


def requireOutputs(
    outputs: Sequence[tuple[str | None, Endings | None]], inputs: Sequence[str | None], overwrite: bool = False
) -> None:
    """Raise for outputs that cannot or may not be written.

    Parameters
    ----------
    outputs
        Names, None for what is not asked for, each with the endings that its kind knows; None: the command checks them.
    inputs
        Names of the files that are read.
    overwrite
        Whether files that exist may be replaced.

    Raises
    ------
    ValueError
        If an ending is unknown, or an output is one of the inputs, named twice, or standard output but no table.
    ModuleNotFoundError
        If a format needs what is not installed.
    FileExistsError
        If one exists.
    OSError
        If it cannot be written.
    """
    from psfmatch import io

    named = [(name, endings) for name, endings in outputs if name is not None]
    for name, endings in named:
        if name != io.STANDARD_OUTPUT:
            io.requireOutput(name)
            if endings is not None:
                io.formOf(name, endings)
        elif endings is not None and endings is not io.TABLES:
            raise ValueError(f"{endings.what} cannot go to standard output (-), only tables and JSON")
    files = [name for name, _ in named if name != io.STANDARD_OUTPUT]
    if len(named) - len(files) > 1:
        raise ValueError("two outputs go to standard output (-); give one of them a name")
    resolved = [Path(file).resolve() for file in files]
    for file, path in zip(files, resolved, strict=True):
        if resolved.count(path) > 1:
            raise ValueError(f"two outputs go to the same file {file}; choose another name for one")
        # Asked only where there is a file: the name of an input can be a URL, which would be fetched.
        if path.exists() and any(_isSame(path, name) for name in inputs if name is not None):
            raise ValueError(f"the output {file} is one of the inputs; choose another name")
    existing = [file for file in files if Path(file).exists()]
    if existing and not overwrite:
        raise FileExistsError(f"{', '.join(existing)} exists already; choose another name, or add --overwrite")


def requireSubtractOutputs(options: argparse.Namespace, overwrite: bool | None = None) -> None:
    """Raise for any output of ``psfmatch subtract`` as `requireOutputs` does, and for pictures without matplotlib.

    Whether files that exist may be replaced is what the options say, unless it is given.
    """
    from psfmatch import io

    kinds = (io.FITS_FILES, io.FITS_FILES, io.FITS_FILES, io.TABLES, io.PICTURES, io.PAGES)
    outputs = [(getattr(options, name), kind) for name, kind in zip(OUTPUTS, kinds, strict=True)]
    if options.picture is not None:
        from psfmatch.pictures.drawing import requireMatplotlib

        requireMatplotlib()
    if options.report is not None:
        outputs.append((requireReport(options.report), io.NUMBERS))
    requireOutputs(outputs, inputsOf(options), options.overwrite if overwrite is None else overwrite)


def inputsOf(options: argparse.Namespace) -> list[str]:
    """Return the names of the files that the options name to be read: images, what belongs to them, configuration."""
    names = ("difference", "kernel", "manifest", "config")
    return [
        value
        for name, value in vars(options).items()
        if isinstance(value, str) and (name in names or name.startswith(("template", "science")))
    ]


def requireReport(path: str) -> str:
    """Raise where a report cannot be drawn or its numbers would replace another file; return the name of these."""
    from psfmatch import io
    from psfmatch.pictures.drawing import requireMatplotlib
    from psfmatch.pictures.page import requireReportPath

    if path == io.STANDARD_OUTPUT:
        raise ValueError("a report cannot go to standard output (-), only tables and JSON")
    requireMatplotlib()
    requireReportPath(path)
    return str(Path(path).with_suffix(".json"))


def isPiped(options: argparse.Namespace) -> bool:
    """Whether standard output belongs to a table."""
    return "-" in (getattr(options, name, None) for name in OUTPUTS)


def toldTo(options: argparse.Namespace) -> TextIO:
    """Return where the words about a run go."""
    return sys.stderr if isPiped(options) and not options.json else sys.stdout


def sendTable(table: Table, path: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Write a table to a file or, as ECSV, to standard output; return its rows where they go into a JSON document."""
    from psfmatch import io

    if path != io.STANDARD_OUTPUT:
        io.writeTable(path, table, name)
        return {}
    if options.json:
        from psfmatch.pictures.numbers import plainData

        return {"rows": [plainData(dict(zip(table.colnames, row, strict=True))) for row in table.iterrows()]}
    sys.stdout.write(io.tableText(table))
    return {}


def _isSame(path: Path, name: str) -> bool:
    """Whether an input is this file, under whatever name."""
    from psfmatch import io

    other = io.parseFileName(name)[0]
    return other.exists() and path.samefile(other)

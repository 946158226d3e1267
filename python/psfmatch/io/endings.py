"""Which format the name of an output asks for: its ending decides, in upper or lower case, and nothing else does.

A name is looked at before anything is computed; one whose ending says nothing is refused with the list of those that
do. What stands here is told by the command's help, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

STANDARD_OUTPUT = "-"
"""Name of an output that goes to where it can be piped on."""


@dataclass(frozen=True)
class Endings:
    """What can be written, in words, and the formats by the endings that choose them."""

    what: str
    forms: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The endings as a sentence lists them."""
        *others, last = self.forms
        return f"{', '.join(others)} or {last}"


_FITS = {f"{stem}{packing}": "fits" for packing in ("", ".gz", ".fz") for stem in (".fits", ".fit", ".fts")}

FITS_FILES = Endings("an image", _FITS)

TABLES = Endings(
    "a table",
    {
        ".ecsv": "ascii.ecsv",
        ".csv": "ascii.csv",
        ".tsv": "ascii.tab",
        ".txt": "ascii.commented_header",
        ".dat": "ascii.commented_header",
        ".html": "ascii.html",
        ".htm": "ascii.html",
        ".vot": "votable",
        ".votable": "votable",
        ".xml": "votable",
        ".parquet": "parquet",
        **{ending: form for ending, form in _FITS.items() if not ending.endswith(".fz")},
    },
)

PICTURES = Endings("a picture", {".png": "png", ".pdf": "pdf", ".svg": "svg", ".jpg": "jpg", ".jpeg": "jpg"})

PAGES = Endings("a page", {".html": "html", ".htm": "html"})

NUMBERS = Endings("numbers", {".json": "json"})

LIBRARIES = {"parquet": ("pyarrow", "pip install pyarrow")}
"""What a format needs beyond our own dependencies, and where it comes from."""


def formOf(path: str | os.PathLike[str], endings: Endings) -> str:
    """Return the format that a name asks for.

    path : of the output; endings : those that are known for what is written. Returned: as `Endings.forms` names it.
    ValueError if no known ending fits; ModuleNotFoundError if the format needs a library that is not installed.
    """
    name = Path(path).name.lower()
    # The longest first: .fits.gz is not .gz.
    ending = next((e for e in sorted(endings.forms, key=len, reverse=True) if name.endswith(e)), None)
    if ending is None:
        raise ValueError(f"cannot write {endings.what} to {path}: its name must end in {endings.shown}")
    form = endings.forms[ending]
    if form in LIBRARIES and find_spec(LIBRARIES[form][0]) is None:
        library, remedy = LIBRARIES[form]
        raise ModuleNotFoundError(f"cannot write {path}: {ending} needs {library} ({remedy})", name=library)
    return form

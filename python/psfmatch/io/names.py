"""What names an image: paths and URLs with HDU brackets, open lists and files.

``file.fits[SCI]`` is an HDU, ``file.fits[SCI][2]`` one plane of a cube in it, counted from 0. Image sections, as in
``[a:b,c:d]``, are not understood.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias
from urllib.request import url2pathname

from astropy.io import fits


@dataclass(frozen=True)
class PlaneSelector:
    """One plane of a cube: the HDU as brackets name it, and the number of the plane, from 0."""

    hdu: int | str | tuple[str, int]
    plane: int

    def __str__(self) -> str:
        hdu = "".join(str(part) for part in self.hdu) if isinstance(self.hdu, tuple) else self.hdu
        return f"{hdu}_{self.plane}"


HduSelector: TypeAlias = int | str | tuple[str, int] | PlaneSelector
Source: TypeAlias = str | os.PathLike[str] | fits.HDUList | BinaryIO
OpenSource: TypeAlias = os.PathLike[str] | fits.HDUList | BinaryIO


def parseFileName(name: str | os.PathLike[str]) -> tuple[Path, HduSelector | None]:
    """Split ``file.fits[SCI]`` into the path and the HDU.

    name : a path, optionally followed by ``[index]``, ``[NAME]`` or ``[NAME,version]``, and that by ``[plane]`` for a
    cube. An existing file whose own name ends with brackets is taken as it is. What a URL names is fetched, once, into
    astropy's cache. Returned: hdu, the HDU asked for; None where the name has no brackets. ValueError if the brackets
    hold neither an index nor a name; FileNotFoundError if a URL leads nowhere.
    """
    text = os.fspath(name)
    match = re.fullmatch(r"(.+?)\[([^\[\]]*)\](?:\[ *(\d+) *\])?", text)
    if match is None or Path(text).exists():
        return _local(text), None
    if match[3] is not None and Path(cut := text[: text.rindex("[")]).exists():
        # The brackets before the last ones belong to the file's own name.
        return Path(cut), int(match[3])
    hdu = _hdu(match[2].strip(), text)
    return _local(match[1]), hdu if match[3] is None else PlaneSelector(hdu, int(match[3]))


def _hdu(inside: str, text: str) -> int | str | tuple[str, int]:
    if re.fullmatch(r"\d+", inside):
        return int(inside)
    selected = re.fullmatch(r"([^,:]+?)\s*(?:,\s*(\d+))?", inside)
    if selected is None:
        raise ValueError(
            f"[{inside}] in {text!r} names no HDU; write [1], [SCI] or [SCI,2] (sections are not supported)"
        )
    return (selected[1], int(selected[2])) if selected[2] else selected[1]


def isRemote(name: str) -> bool:
    """Whether a name is a URL of what has to be fetched."""
    return bool(re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://", name, re.IGNORECASE))


def _local(name: str) -> Path:
    """Return the path of a name, which may be a URL."""
    if name.lower().startswith("file://"):
        return Path(url2pathname(name[len("file://") :].removeprefix("localhost")))
    if not isRemote(name):
        return Path(name)
    from http.client import HTTPException

    from astropy.utils.data import download_file

    try:
        return Path(download_file(name, cache=True, show_progress=False))
    except (OSError, ValueError, HTTPException) as error:
        raise FileNotFoundError(f"{name}: cannot be fetched ({error})") from error


def splitSource(source: Source) -> tuple[OpenSource, HduSelector | None]:
    """Return what `openFits` opens and the HDU asked for, of a name with brackets, an open list or file."""
    if isinstance(source, str | os.PathLike):
        return parseFileName(source)
    return source, None

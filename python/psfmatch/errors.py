"""Exceptions of psfmatch, and what its messages have in common.

Everything that the data can cause is a `PsfMatchError`; a caller's slip is a `ValueError` or `TypeError`.
Each message says what was found, where, and what to try; the numbers in it are attributes too, so that a
pipeline can act on them without parsing text. All of them survive pickling, as worker processes need.

A message of the library names keywords of Python (``gain=``). The same message under the command has to name the
command's option (``--gain``), if that command has it, and in a batch the manifest's column. Whoever stands at the door
says which it is (`speakingTo`); who writes a message gives the words for each (`advice`), and numbers as people write
them (`fixed`, `significant`).
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

__all__ = [
    "Audience",
    "ExposureReadError",
    "InputImagesError",
    "InsufficientKernelSourcesError",
    "KernelSolutionError",
    "NoKernelCandidatesError",
    "NumericalError",
    "OnceFilter",
    "PsfMatchError",
    "advice",
    "fixed",
    "significant",
    "speakingTo",
]


class PsfMatchError(RuntimeError):
    """Base of all errors that the data cause.

    Parameters
    ----------
    message : `str`
        What was found, where, and what to try.
    **counts
        Numbers and names behind the message; each becomes an attribute, all together are `counts`.

    Examples
    --------
    >>> error = InsufficientKernelSourcesError("2 of 3 stars", nSources=2, nRequired=3)
    >>> error.nSources, error.counts
    (2, {'nSources': 2, 'nRequired': 3})
    """

    def __init__(self, message: str, **counts: Any) -> None:
        super().__init__(message)
        self.counts = counts

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that ordinary look-up does not find. Unpickling asks before `counts` exists.
        counts = self.__dict__.get("counts", {})
        if name in counts:
            return counts[name]
        known = ", ".join(sorted(counts)) or "none"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its counts: {known}")


class InputImagesError(PsfMatchError):
    """The images cannot be matched as they are: empty, of unequal sizes, not registered, without overlap."""


class NoKernelCandidatesError(PsfMatchError):
    """Not one star is left from which the matching kernel could be found."""


class InsufficientKernelSourcesError(PsfMatchError):
    """Some stars were found, but fewer than the kernel solution requires."""


class NumericalError(PsfMatchError):
    """The numbers allow no finite answer: no value to take a median of, a kernel of sum 0 to divide by."""


class KernelSolutionError(NumericalError):
    """The equations for the kernel have no usable solution."""


class ExposureReadError(PsfMatchError, OSError):
    """A file exists but holds no image that can be read.

    Parameters
    ----------
    message : `str`
        What was found in the file and what to try.
    path : `str` or `os.PathLike`
        The file; kept as `str` in `path`.
    **counts
        As for `PsfMatchError`.
    """

    if not TYPE_CHECKING:
        # Of the two bases, that which lays out the object: the pickles of a cluster call it by this name.
        __new__ = OSError.__new__

    def __init__(self, message: str, path: str | os.PathLike[str] = "", **counts: Any) -> None:
        super().__init__(message, **counts)
        self.path = os.fspath(path)


Audience = Literal["python", "command", "manifest"]

_audiences: list[tuple[Audience, frozenset[str]]] = [("python", frozenset())]
"""Who is spoken to, the innermost last, and the options of the command; of the process, for its threads speak alike."""

NEGLIGIBLE = 1e-9
"""A number that is smaller than this share of what it is compared with is a rounding error."""

LARGE = 1e7
"""Numbers from here on are written with an exponent."""


@contextmanager
def speakingTo(audience: Audience, options: Iterable[str] = ()) -> Iterator[None]:
    """Let messages name what this audience has, in this block: for a command its options."""
    entry = audience, frozenset(options)
    _audiences.append(entry)
    try:
        yield
    finally:
        _audiences.remove(entry)


def advice(python: str, *command: str, manifest: str = "") -> str:
    """Return the words that name what there is where the message appears.

    Parameters
    ----------
    python
        Words with keywords of Python.
    command
        Words with options of the command, the best first: those are taken all of whose options the command at work
        has. Without any the message goes without.
    manifest
        Words with columns of a batch's manifest.
    """
    audience, options = _audiences[-1]
    if audience == "python":
        return python
    if audience == "manifest":
        return manifest
    return next((words for words in command if set(_OPTION.findall(words)) <= options), "")


class OnceFilter(logging.Filter):
    """Lets no line of a log through twice."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is new."""
        line = record.levelno, record.getMessage()
        isNew = line not in self._seen
        self._seen.add(line)
        return isNew


_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def fixed(value: float, decimals: int = 2, *, sign: bool = False) -> str:
    """Return a number with so many decimals; zero has no sign, and what is not finite is said in a word.

    >>> fixed(-0.0004), fixed(0.25, 1, sign=True), fixed(float("nan"))
    ('0.00', '+0.2', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite" if value > 0.0 else "-infinite"
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    return text.lstrip("+-") if float(text) == 0.0 else text


def significant(value: float, digits: int = 4, *, of: float = 0.0) -> str:
    """Return a number with so many digits; where it is a rounding error beside `of`, it is 0.

    >>> significant(3.551e-16, of=1.0), significant(-0.0), significant(0.12345), significant(123.4, 2)
    ('0', '0', '0.1235', '120')
    """
    if not math.isfinite(value):
        return fixed(value)
    if abs(value) <= NEGLIGIBLE * abs(of):
        return "0"
    text = f"{value:.{digits}g}"
    # 120, not 1.2e+02.
    return f"{float(text):.0f}" if "e+" in text and abs(value) < LARGE else text

"""What messages have in common: options by the names that they have where a message appears, and numbers as people
write them.

A message of the library names keywords of Python (``gain=``). The same message under the command has to name the
command's option (``--gain``), if that command has it, and in a batch the manifest's column. Whoever stands at the door
says which it is; who writes a message gives the words for each.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Audience", "OnceFilter", "advice", "fixed", "significant", "speakingTo"]

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

"""A command line of HOTPANTS taken apart: single dashes, several values, negative numbers."""

from __future__ import annotations

import difflib
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psfmatch.hotpants.options import GROUPS, OPTIONS, Option

__all__ = ["Settings", "helpText", "parse"]

REQUIRED = ("inim", "tmplim", "outim")
COUNTS = {"flag": 0, "text": 1, "int": 1, "float": 1, "box": 4, "keyword": 2}
POSITIVE = ("r", "nsx", "nsy", "nss", "rss", "nrx", "nry", "tg", "ig", "ft", "sft", "ssig", "ks", "obs", "nbs")
NOT_NEGATIVE = ("ko", "bgo", "tr", "ir", "nft", "mins", "mous", "kfm")


@dataclass(frozen=True)
class Settings:
    """What a command line says: the options given, by their names, and the line itself."""

    given: Mapping[str, Any]
    command: str

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def __getitem__(self, name: str) -> Any:
        """Return what was given, else HOTPANTS' default."""
        return self.given.get(name, OPTIONS[name].default)

    def anyOf(self, *names: str) -> bool:
        """Whether any of some options was given."""
        return any(name in self.given for name in names)


def parse(arguments: Sequence[str]) -> Settings:
    """Take a command line apart.

    Parameters
    ----------
    arguments
        Words after ``psfmatch hotpants``.

    Raises
    ------
    ValueError
        If an option is unknown, given twice or lacks a value, a value makes no sense, or a required option is missing.
    """
    words, given = list(arguments), {}
    while words:
        word = words.pop(0)
        option = OPTIONS.get(word[1:]) if word.startswith("-") else None
        if option is None:
            raise ValueError(_unknown(word))
        if option.name in given:
            raise ValueError(f"-{option.name} is given twice; give it once")
        given[option.name] = _take(option, words)
    missing = [f"-{name}" for name in REQUIRED if name not in given]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing: give -inim SCIENCE -tmplim TEMPLATE -outim DIFFERENCE")
    _check(given)
    return Settings(given, shlex.join(["psfmatch", "hotpants", *arguments]))


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} belongs to no option: options begin with a dash and take as many values as their row says"
    close = difflib.get_close_matches(word[1:], OPTIONS, n=2)
    hint = f"did you mean {' or '.join(f'-{name}' for name in close)}?" if close else "see psfmatch hotpants --help"
    return f"unknown option {word}; {hint}"


def _take(option: Option, words: list[str]) -> Any:
    """Return the value of an option, taken from the front of the words."""

    def next_(what: str) -> str:
        # A number may begin with a dash, an option never is a number.
        if not words or (words[0].startswith("-") and words[0][1:] in OPTIONS):
            raise ValueError(f"-{option.name} needs {option.values}; {what} is missing")
        return words.pop(0)

    def number(what: str, kind: type = float) -> Any:
        text = next_(what)
        try:
            return kind(text)
        except ValueError:
            whole = "whole number" if kind is int else "number"
            raise ValueError(f"-{option.name} needs {option.values}; {text!r} is no {whole}") from None

    if option.kind == "flag":
        return True
    if option.kind in ("int", "float"):
        value = number(option.values, int if option.kind == "int" else float)
        if option.choices and str(value) not in option.choices:
            raise ValueError(f"-{option.name} is {' or '.join(option.choices)}, not {value}")
        return value
    if option.kind == "box":
        return tuple(number(what, int) for what in option.values.split())
    if option.kind == "gaussians":
        pairs = [(number("a degree", int), number("a sigma")) for _ in range(number("their number", int))]
        return tuple(degree for degree, _ in pairs), tuple(sigma for _, sigma in pairs)
    if option.kind == "images":
        return tuple(next_("a file") for _ in range(number("their number", int)))
    if option.kind == "keyword":
        return next_("the keyword"), number("the number of regions", int)
    text = next_(option.values)
    if option.choices and text not in option.choices:
        raise ValueError(f"-{option.name} is {' or '.join(option.choices)}, not {text!r}")
    return text


def _check(given: Mapping[str, Any]) -> None:
    for name in POSITIVE:
        if not given.get(name, 1) > 0:
            raise ValueError(f"-{name} is {given[name]}; it must be above 0")
    for name in NOT_NEGATIVE:
        if not given.get(name, 0) >= 0:
            raise ValueError(f"-{name} is {given[name]}; it must not be negative")
    if not given.get("kfm", 0.99) <= 1.0:
        raise ValueError(f"-kfm is {given['kfm']}; a part of the kernel is at most 1")
    degrees, sigmas = given.get("ng", ((0,), (1.0,)))
    if not degrees or min(degrees) < 0 or not min(sigmas) > 0:
        raise ValueError("-ng needs at least one Gaussian, degrees from 0 up and sigmas above 0")
    if given.get("pca") == ():
        raise ValueError("-pca needs at least one image")
    for one, other in (("pca", "ng"), ("ki", "pca"), ("rf", "rkw"), ("ssf", "cmp")):
        if one in given and other in given:
            raise ValueError(f"-{one} and -{other} exclude each other; give one of them")


def helpText(width: int = 118) -> str:
    """Return the help, every option in its group."""
    lines = [
        "usage: psfmatch hotpants -inim SCIENCE -tmplim TEMPLATE -outim DIFFERENCE [options]",
        "",
        *textwrap.wrap(
            "Subtract a template from a science image on the same pixels, with the options, header keywords and mask "
            "bits of HOTPANTS. What is given is honoured; what is not given is chosen from the images (kernel, orders, "
            "stars, direction, saturation), which does better than fixed defaults.",
            width,
        ),
    ]
    for title, options in GROUPS.items():
        lines += ["", f"{title}:"]
        for number, option in enumerate(options):
            isSecond = number > 0 and option.does == options[number - 1].does and bool(option.does)
            if isSecond:
                continue
            both = f", -i{option.name[1:]}" if f"i{option.name[1:]}" in OPTIONS and option.name[0] == "t" else ""
            default = f" ({option.default:g})" if isinstance(option.default, float) else ""
            if option.choices and option.default is not None:
                default = f" ({option.default})"
            if option.kind == "int" and not option.reason and option.name not in ("r", "ko", "bgo"):
                default = f" ({option.default})"
            text = f"no meaning here: {option.reason}" if option.reason else option.does + default
            head = f"  -{option.name}{both} {option.values}".ljust(28)
            lines += textwrap.wrap(text, width, initial_indent=f"{head} ", subsequent_indent=" " * 29)
    lines += [
        "",
        "In brackets: the defaults. Exit status: 0 done, 2 usage, 3 bad input, 4 too few stars, no solution.",
    ]
    return "\n".join(lines)

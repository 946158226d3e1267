"""The parser of the command: errors in one line, with what the wrong word may stand for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "commandsOf", "optionsOf"]

EXIT_USAGE = 2


class UsageError(Exception):
    """A command line that cannot be understood, in words."""


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` with one line where the usual one prints the usage and leaves."""

    def error(self, message: str) -> NoReturn:
        """Raise, with the nearest known words where one is unknown."""
        raise UsageError(f"{_withSuggestion(self, message)} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is left over here, where the options of this command are known."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            raise UsageError(f"{_unknown(self, left)} (see {self.prog} --help)")
        return found, left


def commandsOf(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def optionsOf(parser: argparse.ArgumentParser) -> list[str]:
    """Return all options of a parser, such as ``-o`` and ``--output``."""
    return [option for action in parser._actions for option in action.option_strings]


def _unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    options = [word for word in words if word.startswith("-")]
    if not options:
        return f"unexpected {' '.join(words)}"
    wrong = options[0].partition("=")[0]
    return f"no option {wrong}{_hint(wrong, optionsOf(parser))}"


def _withSuggestion(parser: argparse.ArgumentParser, message: str) -> str:
    """Return a message of argparse in our words where it is about a choice."""
    found = re.fullmatch(r"argument (\S+): invalid choice: '([^']*)' \(choose from (.*)\)", message, re.DOTALL)
    if found is None:
        return message.removeprefix("argument ") if message.startswith("argument -") else message
    name, wrong, _ = found.groups()
    action = next(a for a in parser._actions if name in ("/".join(a.option_strings), a.metavar, a.dest))
    known = [str(choice) for choice in action.choices or ()]
    what = "command" if name == "COMMAND" else f"{name}"
    told = f"no command {wrong!r}" if what == "command" else f"{name} {wrong!r} is unknown"
    return told + (_hint(wrong, known) or f"; choose from {', '.join(known)}")


def _hint(wrong: str, known: Iterable[str]) -> str:
    """Return in words which of the known ones may be meant; nothing where none is near."""
    import difflib

    near = difflib.get_close_matches(wrong.lower(), list(known), n=2, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else ""

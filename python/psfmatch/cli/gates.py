"""Limits on the quality, beyond which a command ends with a status of its own."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["EXIT_QUALITY_GATE", "addGates", "gatesOf"]

EXIT_QUALITY_GATE = 5


def addGates(parser: argparse._ActionsContainer) -> None:
    """Add ``--gate``."""
    parser.add_argument(
        "--gate",
        metavar="FIGURE=LIMIT",
        dest="gates",
        action="append",
        default=[],
        help="exit with status 5 unless the quality is within it: grade=B, noiseRobustStdev=1.1; may be repeated",
    )


def gatesOf(texts: list[str]) -> dict[str, Any]:
    """Return the gates given as FIGURE=LIMIT; ValueError for another form, figure or limit."""
    gates: dict[str, Any] = {}
    for text in texts:
        name, separator, limit = text.partition("=")
        if not (separator and name and limit):
            raise ValueError(f"gate {text!r}: give FIGURE=LIMIT, such as grade=B")
        gates[name] = limit
    if gates:
        from psfmatch.quality import requireGates

        requireGates(gates)
    return gates

"""The usual configuration as plain data: what a run without one reads, which needs no configuration library.

`defaults.json` holds what `configToDict` makes of the front door's configuration; a test holds the two equal.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["DEFAULTS", "usualData", "usualFields"]

DEFAULTS = Path(__file__).with_name("defaults.json")


def usualData() -> dict[str, Any]:
    """Return the front door's configuration that nobody has changed as `configToDict` does, a copy."""
    return json.loads(DEFAULTS.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@functools.cache
def usualFields() -> SimpleNamespace:
    """Return the same with fields that are read as those of a configuration."""
    fields: SimpleNamespace = json.loads(
        DEFAULTS.read_text(encoding="utf-8"), object_hook=lambda group: SimpleNamespace(**group)
    )
    fields.kernel.active = getattr(fields.kernel.values, fields.kernel.name)
    return fields

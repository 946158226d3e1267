"""The usual configuration as plain data: what a run without one reads, which needs no configuration library.

`defaults.json` holds what `configToDict` makes of the front door's configuration; a test holds the two equal.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from lsst.pex.config import Config

__all__ = ["DEFAULTS", "Settings", "usualSettings"]

DEFAULTS = Path(__file__).with_name("defaults.json")


class Settings:
    """Fields that are read as those of a configuration; lists are tuples.

    Parameters
    ----------
    data
        What `configToDict` makes of a configuration.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._data:
            raise AttributeError(f"there is no field {name!r}")
        value = self._data[name]
        if isinstance(value, dict):
            return Settings(value)
        return tuple(value) if isinstance(value, list) else value

    def __contains__(self, name: str) -> bool:
        return name in self._data

    @property
    def active(self) -> Settings:
        """Of a choice the one that is chosen."""
        return Settings(self._data["values"][self._data["name"]])

    def with_(self, **fields: Any) -> Self:
        """Return these fields with others in place of some."""
        return type(self)({**self._data, **fields})

    def toDict(self) -> dict[str, Any]:
        """Return the data, a copy."""
        return json.loads(json.dumps(self._data))  # type: ignore[no-any-return]

    def toConfig(self, ConfigClass: type[Config]) -> Config:
        """Return the configuration of a class that has these fields, frozen."""
        from psfmatch.config.serialization import configFromDict

        config = configFromDict(ConfigClass, self._data)
        config.freeze()
        return config


@functools.cache
def usualSettings() -> Settings:
    """Return the fields of the front door's configuration that nobody has changed."""
    return Settings(json.loads(DEFAULTS.read_text()))

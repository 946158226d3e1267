"""Turns a configuration into plain data that JSON can hold, and back.

Results and ledgers carry their configuration this way: unlike a saved configuration file, which is Python and
is executed when loaded, plain data can be read from an untrusted file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from lsst.pex.config import (
    Config,
    ConfigChoiceField,
    ConfigField,
    ConfigurableField,
    Field,
    FieldValidationError,
)

from psfmatch.config.overrides import closeNames

__all__ = ["configFromDict", "configToDict", "updateFromDict"]

ConfigT = TypeVar("ConfigT", bound=Config)

_targetKey = "_target"
_nonFinite = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def configToDict(config: Config, activeOnly: bool = False) -> dict[str, Any]:
    """Turn a configuration into plain data.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration.
    activeOnly : `bool`
        Leave the configurations of a choice out that are not chosen.

    Returns
    -------
    data : `dict` [`str`, `Any`]
        Field names and values: numbers, strings, `None`, lists and such dicts. Numbers that are not finite,
        which JSON lacks, are strings ("inf"). A choice is ``{"name": ..., "values": {key: data}}``, with
        ``"names"`` if several can be chosen. A replaced subtask has the other's name as ``"_target"``.
    """
    data: dict[str, Any] = {}
    for name, field in config._fields.items():
        value = getattr(config, name)
        if isinstance(field, ConfigChoiceField):
            chosen = value.names if field.multi else value.name
            keys = (sorted(chosen) if field.multi else [chosen]) if activeOnly and chosen else list(value)
            # Who reads the data need not know the families of kernels that a user has registered, but for the chosen.
            keys = [key for key in keys if key == chosen or not getattr(value.types[key], "isRegistered", False)]
            data[name] = {"names": sorted(chosen or [])} if field.multi else {"name": chosen}
            data[name]["values"] = {key: configToDict(value[key], activeOnly) for key in keys}
        elif isinstance(field, ConfigurableField):
            data[name] = configToDict(value.value, activeOnly)
            if value.target is not field.target:
                data[name][_targetKey] = _typeName(value.target)
        elif isinstance(field, ConfigField):
            data[name] = configToDict(value, activeOnly)
        else:
            data[name] = _toPlain(field.toDict(config))
    return data


def configFromDict(ConfigClass: type[ConfigT], data: Mapping[str, Any]) -> ConfigT:
    """Make a configuration from what `configToDict` returned.

    Parameters
    ----------
    ConfigClass : `type`
        Class of the configuration.
    data : `~collections.abc.Mapping` [`str`, `Any`]
        Field names and values; fields that are missing keep their defaults.

    Returns
    -------
    config : ``ConfigClass``
        The configuration, validated and not frozen.

    Raises
    ------
    ValueError
        Raised if a field is unknown or refuses its value, or if a subtask was replaced by another: which code
        runs is never decided by data.
    """
    config = ConfigClass()
    updateFromDict(config, data)
    config.validate()
    return config


def updateFromDict(config: Config, data: Mapping[str, Any]) -> None:
    """Set those fields of a configuration, in place, that such data hold; ValueError as for `configFromDict`.

    As people write them, data may also have paths for names (``"kernel.active.kernelSize"``), ``active`` for the
    configuration that a choice has taken, the names of its configurations without ``values``, and a bare name for a
    choice (``kernel = "DF"``).
    """
    _fill(config, _nested(data), "")


def _nested(data: Any) -> Any:
    """Return data with paths taken apart, ``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    if not isinstance(data, Mapping):
        return data
    nested: dict[str, Any] = {}
    for path, value in data.items():
        *parents, last = str(path).split(".")
        group = nested
        for name in parents:
            group = group.setdefault(name, {})
            _requireMapping(group, name)
        value = _nested(value)
        _merge(group, {last: value}, str(path))
    return nested


def _merge(group: dict[str, Any], more: dict[str, Any], path: str) -> None:
    """Add to a group, in place, and to the groups in it; ValueError for what is there already."""
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(group.get(name), dict):
            _merge(group[name], value, path)
        elif name in group:
            raise ValueError(f"{path} is given twice")
        else:
            group[name] = value


def _fill(config: Config, data: Mapping[str, Any], prefix: str) -> None:
    _requireMapping(data, prefix or type(config).__name__)
    for name, value in data.items():
        path = prefix + name
        field = config._fields.get(name)
        if field is None:
            close = " or ".join(closeNames(name, config.keys())) or "one of " + ", ".join(config.keys())
            raise ValueError(f"{type(config).__name__} has no field {path}; use {close}")
        if isinstance(field, ConfigChoiceField):
            _fillChoice(getattr(config, name), value, path)
        elif isinstance(field, ConfigurableField):
            _requireMapping(value, path)
            target = _typeName(getattr(config, name).target)
            if value.get(_targetKey, target) != target:
                raise ValueError(
                    f"{path} was made for {value[_targetKey]}, here it is {target}; retarget the field in "
                    f"your own configuration, and take {path} out of the data"
                )
            rest = {key: item for key, item in value.items() if key != _targetKey}
            _fill(getattr(config, name).value, rest, path + ".")
        elif isinstance(field, ConfigField):
            _fill(getattr(config, name), value, path + ".")
        else:
            setattr(config, name, _fromPlain(field, value))


def _fillChoice(choices: Any, data: Mapping[str, Any], path: str) -> None:
    if isinstance(data, str):
        data = {"name": data}
    _requireMapping(data, path)
    values = data.get("values", {})
    _requireMapping(values, f"{path}.values")
    words = ("name", "names", "values", "active")
    for key, value in {**values, **{key: value for key, value in data.items() if key not in words}}.items():
        if key not in choices:
            close = closeNames(key, (*choices, *words))
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(choices)}"
            raise ValueError(f"{path} has no choice {key!r}; {hint}")
        _fill(choices[key], value, f"{path}.{key}.")
    try:
        if "names" in data:
            choices.names = data["names"]
        elif "name" in data:
            choices.name = data["name"]
    except FieldValidationError as error:
        known = ", ".join(choices)
        raise ValueError(f"{path} cannot be {data.get('names', data.get('name'))!r}; it has {known}") from error
    if "active" in data:
        if not isinstance(choices.active, Config):
            raise ValueError(f"{path} has no single active configuration; name one of {', '.join(choices)}")
        _fill(choices.active, data["active"], f"{path}.active.")


def _requireMapping(data: Any, path: str) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} is a group of fields, but the data hold {data!r}")


def _typeName(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def _toPlain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_toPlain(item) for item in value]
    return value


def _fromPlain(field: Field[Any], value: Any) -> Any:
    if getattr(field, "itemtype", field.dtype) is not float:
        return value
    if isinstance(value, list):
        return [_nonFinite.get(item, item) if isinstance(item, str) else item for item in value]
    if isinstance(value, str):
        value = _nonFinite.get(value, value)
        # YAML takes 1e-3 for a word.
        with suppress(ValueError):
            return float(value)
    return value

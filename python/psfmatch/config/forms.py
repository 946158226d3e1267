"""Configurations in files: JSON, TOML and YAML, which are data, and Python, which is a program and is executed.

The ending chooses the form. Data may name fields as `psfmatch.config.configToDict` does, or by their paths,
``kernel.active.spatialKernelOrder``. TOML has no word for None: a field without a value is left out.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lsst.pex.config import Config

from psfmatch.config.serialization import configToDict, updateFromDict

__all__ = ["FORMS", "configText", "formOf", "updateFromFile"]

FORMS = {"json": (".json",), "toml": (".toml",), "yaml": (".yaml", ".yml"), "py": (".py",)}
"""The forms, and the endings of their files."""


def formOf(path: str | os.PathLike[str]) -> str:
    """Return the form that the ending of a file's name means; ValueError for another ending."""
    ending = Path(path).suffix.lower()
    for form, endings in FORMS.items():
        if ending in endings:
            return form
    known = ", ".join(ending for endings in FORMS.values() for ending in endings)
    raise ValueError(f"{path} cannot be a configuration: its name must end in one of {known}")


def updateFromFile(config: Config, path: str | os.PathLike[str]) -> None:
    """Set those fields of a configuration, in place, that a file holds.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration; must not be frozen.
    path : `str` or `os.PathLike`
        File; a ``.py`` is executed.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its ending is unknown or does not tell its form, or a field is unknown or refuses its value.
    ModuleNotFoundError
        If it is YAML, and PyYAML is not installed.
    """
    form = formOf(path)
    load = _yaml().safe_load if form == "yaml" else None
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    # Editors of Windows begin files with a mark of their encoding.
    text = Path(path).read_text(encoding="utf-8-sig")
    try:
        if form == "py":
            config.loadFromString(text, filename=os.fspath(path))
        elif form == "json":
            updateFromDict(config, json.loads(text))
        elif form == "toml":
            import tomllib

            updateFromDict(config, tomllib.loads(text))
        elif load is not None:
            updateFromDict(config, load(text) or {})
    except Exception as error:  # a .py is a program: anything can go wrong in it
        told = " ".join(str(error).split())
        raise ValueError(f"configuration {path}: {type(error).__name__}: {told}") from error


def configText(config: Config, form: str) -> str:
    """Return a configuration as the text of a file that `updateFromFile` reads; `form` is a key of `FORMS`.

    Raises
    ------
    ValueError
        If the form is unknown.
    ModuleNotFoundError
        If it is YAML, and PyYAML is not installed.
    """
    if form == "py":
        stream = io.StringIO()
        config.saveToStream(stream)
        return stream.getvalue()
    data = configToDict(config)
    if form == "json":
        return json.dumps(data, indent=2, allow_nan=False) + "\n"
    if form == "toml":
        return "\n".join(_tomlLines(data)).lstrip("\n") + "\n"
    if form == "yaml":
        text: str = _yaml().safe_dump(data, sort_keys=False, allow_unicode=True)
        return text
    raise ValueError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("configurations in YAML need PyYAML: pip install 'psfmatch[yaml]'") from error
    return yaml


def _tomlLines(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of a table: its values first, then the tables in it."""
    values = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    if path and values:
        yield f"\n[{'.'.join(map(_tomlKey, path))}]"
    for key, value in values.items():
        yield f"# {key} has no value" if value is None else f"{_tomlKey(key)} = {_tomlValue(value)}"
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _tomlLines(value, (*path, key))


def _tomlKey(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _tomlValue(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_tomlValue, value))}]"
    # Words, numbers and truth values are written as in JSON; it has no numbers that are not finite.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)

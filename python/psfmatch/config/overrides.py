"""Sets one configuration field from a string such as ``kernel.active.spatialKernelOrder=1``.

Values are Python literals, or bare words; nothing is executed. A name that does not exist is answered with
the names that come close to it.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable
from typing import Any

from lsst.pex.config import (
    Config,
    ConfigChoiceField,
    ConfigField,
    ConfigurableField,
    Field,
    FieldValidationError,
    ListField,
)

from psfmatch.config.listing import listFields

__all__ = ["applyOverride", "closeNames"]

_truthWords = {"true": True, "false": False}


def applyOverride(config: Config, assignment: str) -> None:
    """Set one field of a configuration, in place.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration; must not be frozen.
    assignment : `str`
        ``field=value`` with the field's path below ``config``, its steps joined by periods. A choice is
        entered by ``active`` or by a key, ``kernel.AL.kernelSize`` or ``kernel['AL'].kernelSize``, and made
        by ``kernel=DF`` or ``kernel.name=DF``. A leading ``config.`` is allowed, as in saved files. The
        value is a Python literal, else a bare word; a list needs no brackets, ``alardDegGauss=4,2,2``.

    Raises
    ------
    ValueError
        Raised if there is no such field (the message names the closest ones), or if the field refuses the
        value.
    """
    path, separator, text = (part.strip() for part in assignment.partition("="))
    if not separator or not path:
        raise ValueError(f"cannot read {assignment!r}: expected field=value, such as kernelSize=21")
    path = path.removeprefix("config.")
    # kernel['AL'].kernelSize means kernel.AL.kernelSize
    *parents, last = re.sub(r"\[\s*['\"]?(\w+)['\"]?\s*\]", r".\1", path).split(".")
    if parents and last in ("name", "names") and _isChoice(_descend(config, parents, path)):
        last = parents.pop()
    owner = _descend(config, parents, path)
    value = _enter(owner, last, config, path)
    field = None if _isChoice(owner) else owner._fields[last]
    if field is None or isinstance(field, (ConfigField, ConfigurableField)):
        raise ValueError(f"cannot set {path}: it is a group; set one of its fields: {', '.join(value.keys())}")
    try:
        setattr(owner, last, _parseValue(field, text))
    except (FieldValidationError, TypeError) as error:
        hint = f"Known are {', '.join(value)}." if _isChoice(value) else f"It means: {field.doc}"
        raise ValueError(f"cannot set {path} to {text!r}: {_briefly(error)} {hint}") from error


def closeNames(name: str, names: Iterable[str]) -> list[str]:
    """Find the names that a wrong one may stand for.

    Parameters
    ----------
    name : `str`
        The wrong name.
    names : `~collections.abc.Iterable` [`str`]
        The right ones; of a path its last step is compared.

    Returns
    -------
    close : `list` [`str`]
        At most three, the best first; those that differ in nothing but upper case exclude all others.
    """
    byLeaf: dict[str, list[str]] = {}
    for known in names:
        byLeaf.setdefault(known.rpartition(".")[2].lower(), []).append(known)
    leaf = name.lower()
    matches = [leaf] if leaf in byLeaf else difflib.get_close_matches(leaf, byLeaf)
    return [known for match in matches for known in byLeaf[match]][:3]


def _isChoice(value: Any) -> bool:
    return isinstance(value, ConfigChoiceField.instanceDictClass)


def _descend(config: Config, steps: list[str], path: str) -> Any:
    """Return the group of fields, a configuration or a choice of them, that some steps lead to."""
    owner: Any = config
    for step in steps:
        owner = _enter(owner, step, config, path)
        if not hasattr(owner, "keys"):
            raise ValueError(f"cannot set {path}: {step} is a value, not a group of fields")
    return owner


def _enter(owner: Any, step: str, config: Config, path: str) -> Any:
    """Return what a step below a group of fields holds."""
    if _isChoice(owner):
        if step == "active" and isinstance(owner.active, Config):
            return owner.active
        if step in owner:
            return owner[step]
        raise ValueError(f"cannot set {path}: there is no choice {step!r}; known are {', '.join(owner)}")
    if step not in owner._fields:
        close = closeNames(step, owner.keys()) or closeNames(step, (entry.path for entry in listFields(config)))
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(owner.keys())}"
        raise ValueError(f"cannot set {path}: there is no field {step!r}; {hint}")
    return getattr(owner, step)


def _parseValue(field: Field[Any], text: str) -> Any:
    """Turn text into a value of the field's type, as far as that goes; the field itself has the last word."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if isinstance(field, ListField) or getattr(field, "multi", False):
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return list(value) if isinstance(value, (list, tuple, set)) else [value]
    if field.dtype in (int, float) and isinstance(value, bool):
        raise TypeError(f"Expected a number, not {value}.")
    if not isinstance(value, str):
        # kernelBasisSet=5 and kernel=1 mean names
        return text if field.dtype not in (bool, int, float) and value is not None else value
    if field.dtype is bool:
        return _truthWords.get(value.lower(), value)
    if field.dtype is float and value.lower().lstrip("+-") in ("inf", "nan"):
        return float(value)
    return value


def _briefly(error: Exception) -> str:
    """Return what a field says against a value, without the sources of field and configuration."""
    text = str(error).partition("\nFor more information")[0].rpartition("failed validation: ")[2]
    text = " ".join(text.split())
    return text if text.endswith(".") else text + "."

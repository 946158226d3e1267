"""The fields of a configuration one by one: path, value, type, limits and what each is for.

Lists and reference pages are made from this. A path is what `psfmatch.config.applyOverride` takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lsst.pex.config import Config, ConfigChoiceField, ConfigField, ConfigurableField, Field, ListField, RangeField

__all__ = ["FieldEntry", "listFields"]


@dataclass(frozen=True)
class FieldEntry:
    """One field of a configuration.

    path : its steps joined by periods; value : as it is set, plain; type : in a word or two; doc : what it is for, and
    in which unit; choices : words that it may take, and what each means; limits : of a number, "" if there are none.
    """

    path: str
    value: Any
    type: str
    doc: str
    choices: tuple[tuple[str, str], ...] = ()
    limits: str = ""


def listFields(config: Config, prefix: str = "") -> Iterator[FieldEntry]:
    """Yield the fields that hold a value, groups opened; of a choice the chosen one, ``active``, first.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration, or the value of a field that is a group.
    prefix : `str`
        What the paths begin with.
    """
    for name, field in config._fields.items():
        value = getattr(config, name)
        path = prefix + name
        if isinstance(field, ConfigChoiceField):
            chosen = sorted(value.names) if field.multi else value.name
            yield FieldEntry(path, chosen, "choice", _inOneLine(field.doc), tuple((key, "") for key in value))
            for key in sorted(value, key=lambda key: value[key] is not value.active):
                step = "active" if value[key] is value.active else key
                yield from listFields(value[key], f"{path}.{step}.")
        elif isinstance(field, (ConfigField, ConfigurableField)):
            yield from listFields(value, f"{path}.")
        else:
            yield _entryOf(path, field, field.toDict(config))


def _entryOf(path: str, field: Field[Any], value: Any) -> FieldEntry:
    kind = f"list of {field.itemtype.__name__}" if isinstance(field, ListField) else field.dtype.__name__
    allowed = getattr(field, "allowed", None) or {}
    choices = tuple((str(word), _inOneLine(meaning)) for word, meaning in allowed.items() if word is not None)
    return FieldEntry(path, value, kind, _inOneLine(field.doc), choices, _limitsOf(field))


def _limitsOf(field: Field[Any]) -> str:
    if not isinstance(field, RangeField):
        return ""
    opening, closing = field.rangeString[0], field.rangeString[-1]
    parts = []
    if field.min is not None:
        parts.append(f"{'at least' if opening == '[' else 'above'} {field.min:g}")
    if field.max is not None:
        parts.append(f"{'at most' if closing == ']' else 'below'} {field.max:g}")
    return ", ".join(parts)


def _inOneLine(text: Any) -> str:
    return " ".join(str(text).split())

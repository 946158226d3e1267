"""Which fields of the kernel a user has set, and what that means for the choice of all the others.

What was set is read from the history that a configuration keeps of its fields; a configuration of which every field
has been set, as one from a file that holds all of them, is compared with the defaults instead.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lsst.pex.config import Config, ConfigField

from psfmatch.config.matching import STAR_FIT_FIELDS
from psfmatch.config.overrides import closeNames
from psfmatch.differencing.configuration import FrontDoorConfig, frontDoorConfig
from psfmatch.modelChoice import Choice

__all__ = ["PinnedKernel", "pinnedFields", "withPins"]

log = logging.getLogger("psfmatch.differencing")

CHOSEN = (
    "fitMethod",
    "fitForBackground",
    "kernelSize",
    "kernelSizeMin",
    "kernelSizeMax",
    "scaleByFwhm",
    "alardNGauss",
    "alardSigGauss",
    "alardDegGauss",
    "spatialKernelOrder",
    "spatialBgOrder",
    "nStarPerCell",
    "calculateKernelUncertainty",
    "regionConfig.layout",
    "regionConfig.maxRegions",
    "regionConfig.kernelNorm",
    "regionConfig.rejectPixels",
    "regionConfig.shapeScale",
    "regionConfig.variationScale",
    "regionConfig.widthScale",
)
"""Fields that the choice sets or is limited by; all others are as configured in any case."""

WIDTH_RULE = (
    "alardWidthRule",
    "alardGaussBeta",
    "alardMinSig",
    "alardMinSigDeconv",
    "alardDegGaussDeconv",
    "alardNGaussDeconv",
    "kernelSizeFwhmScaling",
)
"""Fields that say how Gaussians and kernel follow from the FWHMs."""


@dataclass(frozen=True)
class PinnedKernel:
    """What the choice of the kernel must keep.

    values : what was set, and what that implies, by field of the active kernel and as ``regionConfig.NAME`` of its
    regions; lists are tuples. choices : the sentences. isFixed : nothing is left to choose, the kernel is fitted as it
    is configured.
    """

    values: Mapping[str, Any]
    choices: tuple[Choice, ...] = ()
    isFixed: bool = False


def pinnedFields(config: FrontDoorConfig) -> PinnedKernel:
    """Return what of the kernel was set by the user, and what that implies.

    Parameters
    ----------
    config
        With ``chooseKernel``. If ``fixedKernelFields`` names fields these are what was set, else those that have been
        assigned since `psfmatch.frontDoorConfig` made it.

    Raises
    ------
    ValueError
        If ``fixedKernelFields`` names a field that does not exist.
    """
    names = _setFields(config)
    if config.kernel.name != "AL":
        return _fixed(
            f"Kernel {config.kernel.name}: only that of Gaussians is chosen, this one is fitted as configured."
        )
    known = {path: _plain(value) for path, value, _ in _fieldsOf(config.kernel.active)}
    values = {name: known[name] for name in names if name in CHOSEN}
    if values.get("fitMethod") == "candidates":
        return _fixed("The kernel is fitted to stars one by one (fitMethod 'candidates'), its model as configured.")
    usual = _usualFields("AL")
    starFit = [name for name in names if name in STAR_FIT_FIELDS and known[name] != usual[name].value]
    if starFit and "fitMethod" not in values:
        verb = "belongs" if len(starFit) == 1 else "belong"
        return _fixed(
            f"{', '.join(starFit)} {verb} to the fit to stars one by one: fitMethod is 'candidates', the model of the "
            "kernel as configured."
        )
    told = [f"{name} = {_told(value)}" for name, value in values.items()]
    sentences = [f"Set, not chosen: {', '.join(told)}."] if told else []
    rule = [name for name in names if name in WIDTH_RULE]
    implied: dict[str, Any] = {}
    if rule and "scaleByFwhm" not in values:
        implied["scaleByFwhm"] = True
        sentences.append(f"{', '.join(rule)}: widths and size of the kernel follow from the FWHMs as configured.")
    if "alardSigGauss" in values or "alardDegGauss" in values:
        count = len(values["alardSigGauss" if "alardSigGauss" in values else "alardDegGauss"])
        if "alardNGauss" not in values:
            implied["alardNGauss"] = count
            sentences.append(f"{count} values mean as many Gaussians: alardNGauss = {count}.")
    if values.get("scaleByFwhm") is False:
        own = [name for name in ("alardNGauss", "alardSigGauss", "kernelSize") if name not in values | implied]
        implied |= {name: known[name] for name in own}
        if own:
            sentences.append(
                "Without scaleByFwhm the kernel is as wide as configured: "
                + ", ".join(f"{name} = {_told(known[name])}" for name in own)
                + "."
            )
    if values.get("fitForBackground") is False:
        implied["spatialBgOrder"] = 0
        sentences.append(
            "Without fitForBackground a constant is fitted beside the kernel, and stays in the difference."
        )
    return PinnedKernel(values | implied, tuple(_choice("; ".join(told) or "implied", s) for s in sentences))


def withPins(config: FrontDoorConfig) -> tuple[FrontDoorConfig, PinnedKernel]:
    """Return a configuration that names what is pinned in ``fixedKernelFields``, and is fit to be checked.

    The given one is returned where that changes nothing. Lists of Gaussians that are left to the choice get the length
    that the others say.
    """
    if not config.chooseKernel:
        return config, PinnedKernel({})
    pins = pinnedFields(config)
    for choice in pins.choices:
        log.info("%s", choice.sentence)
    kernel = config.kernel.active
    changes: dict[str, Any] = {}
    if "alardNGauss" in pins.values:
        count = pins.values["alardNGauss"]
        changes["alardNGauss"] = count
        for name in ("alardSigGauss", "alardDegGauss"):
            if name not in pins.values:
                own = list(getattr(kernel, name))
                changes[name] = (own + own[-1:] * count)[:count]
    changes |= {name: pins.values[name] for name in ("scaleByFwhm",) if name in pins.values}
    changes = {name: value for name, value in changes.items() if _plain(getattr(kernel, name)) != _plain(value)}
    names = sorted(pins.values)
    if not changes and names == list(config.fixedKernelFields) and not pins.isFixed:
        return config, pins
    pinned: Any = config.copy()
    pinned.kernel.active.update(**changes)
    pinned.fixedKernelFields = names
    pinned.chooseKernel = not pins.isFixed
    return pinned, pins


@dataclass(frozen=True)
class _Usual:
    value: Any
    nSet: int


def _setFields(config: FrontDoorConfig) -> list[str]:
    """Return the fields of the active kernel that the user has set."""
    fields = {path: (value, nSet) for path, value, nSet in _fieldsOf(config.kernel.active)}
    if config.fixedKernelFields:
        for name in config.fixedKernelFields:
            if name not in fields:
                close = closeNames(name, fields)
                hint = f"did you mean {' or '.join(close)}?" if close else "they are those below kernel.active"
                raise ValueError(f"fixedKernelFields names {name!r}, which the kernel does not have; {hint}")
        return list(config.fixedKernelFields)
    usual = _usualFields(config.kernel.name)
    nSet = {path: count - usual[path].nSet for path, (_, count) in fields.items() if path in usual}
    nEach = max(0, min(nSet.values()))
    differs = {path: nEach > 0 and _plain(fields[path][0]) != usual[path].value for path in nSet}
    return [path for path, count in nSet.items() if count > nEach or differs[path]]


@functools.cache
def _usualFields(kernelName: str) -> dict[str, _Usual]:
    """Return value and length of the history of each field in a configuration that nobody has changed."""
    kernel = frontDoorConfig().kernel[kernelName]
    return {path: _Usual(_plain(value), nSet) for path, value, nSet in _fieldsOf(kernel)}


def _fieldsOf(kernel: Config) -> Iterator[tuple[str, Any, int]]:
    """Yield path, value and number of assignments of the fields of a kernel and of its regions."""
    for prefix, group in (("", kernel), ("regionConfig.", kernel.regionConfig)):  # type: ignore[attr-defined]
        for name, field in group._fields.items():
            if not isinstance(field, ConfigField):
                yield prefix + name, getattr(group, name), len(group._history[name])


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else tuple(value)


def _told(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else repr(value)


def _fixed(sentence: str) -> PinnedKernel:
    return PinnedKernel({}, (_choice("as configured", sentence),), isFixed=True)


def _choice(chosen: str, sentence: str) -> Choice:
    return Choice("pinned", chosen, math.nan, "", math.nan, sentence)

"""Which fields of the kernel a user has set, and what that means for the choice of all the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from psfmatch.config import PsfMatchConfigAL
from psfmatch.config.choices import Choice
from psfmatch.config.matching import STAR_FIT_FIELDS
from psfmatch.config.options import plainValue
from psfmatch.frontdoor.configuration import FrontDoorConfig, kernelFields, setKernelFields, usualKernel
from psfmatch.frontdoor.options import RunOptions
from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["PinnedKernel", "pinnedFields", "withPins"]

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
    "regionConfig.halfWidth",
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
        With ``chooseKernel``.

    Raises
    ------
    ValueError
        If ``fixedKernelFields`` names a field that does not exist.
    """
    names = setKernelFields(config)
    if not isinstance(config.kernel.active, PsfMatchConfigAL):
        return _fixed(
            f"Kernel {config.kernel.name}: only that of Gaussians is chosen, this one is fitted as configured."
        )
    known = {path: field.value for path, field in kernelFields(config.kernel.active).items()}
    values = {name: known[name] for name in names if name in CHOSEN}
    if values.get("fitMethod") == "candidates":
        return _fixed("The kernel is fitted to stars one by one (fitMethod 'candidates'), its model as configured.")
    usual = usualKernel(config.kernel.name)
    starFit = [name for name in names if name in STAR_FIT_FIELDS and known[name] != usual[name].value]
    if starFit and "fitMethod" not in values:
        verb = "belongs" if len(starFit) == 1 else "belong"
        return _fixed(
            f"{', '.join(starFit)} {verb} to the fit to stars one by one: fitMethod is 'candidates', the model of the "
            "kernel as configured."
        )
    told = [f"{name} = {_inWords(value)}" for name, value in values.items()]
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
                + ", ".join(f"{name} = {_inWords(known[name])}" for name in own)
                + "."
            )
    if values.get("fitForBackground") is False:
        implied["spatialBgOrder"] = 0
        sentences.append(
            "Without fitForBackground a constant is fitted beside the kernel, and stays in the difference."
        )
    return PinnedKernel(values | implied, tuple(_choice("; ".join(told) or "implied", s) for s in sentences))


def withPins(config: ImagePsfMatchConfig) -> tuple[ImagePsfMatchConfig, PinnedKernel]:
    """Return the configuration that is run, and what is pinned: the given one where nothing has to be changed.

    Of one without ``chooseKernel``, as the task's own, nothing is. Where nothing is left to choose the returned one has
    none either. Lists of Gaussians that are left to the choice get the length that the others say.
    """
    if not RunOptions.fromConfig(config).chooseKernel:
        return config, PinnedKernel({})
    front = cast("FrontDoorConfig", config)
    pins = pinnedFields(front)
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
    changes = {name: value for name, value in changes.items() if plainValue(getattr(kernel, name)) != plainValue(value)}
    pinned: Any = front.withNames()
    if changes or pins.isFixed:
        pinned = pinned.copy()
        pinned.kernel.active.update(**changes)
        pinned.chooseKernel = not pins.isFixed
    return pinned, pins


def _inWords(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else repr(value)


def _fixed(sentence: str) -> PinnedKernel:
    return PinnedKernel({}, (_choice("as configured", sentence),), isFixed=True)


def _choice(chosen: str, sentence: str) -> Choice:
    return Choice.told("pinned", chosen, sentence)

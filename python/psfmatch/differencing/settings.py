"""What a run reads of its configuration, and chooses of it; without one no configuration library is imported."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psfmatch.config import KernelOptions, Settings, usualSettings
from psfmatch.config.options import plainValue

if TYPE_CHECKING:
    from psfmatch.taskConfigs import ImagePsfMatchConfig

__all__ = [
    "ChosenFields",
    "FrontDoorOptions",
    "FrontDoorSettings",
    "chosenConfig",
    "chosenData",
    "chosenOptions",
    "frontDoorSettings",
]


class FrontDoorSettings(Settings):
    """Fields of a `FrontDoorConfig`."""

    def toConfig(self, ConfigClass: Any = None) -> Any:
        """Return the configuration, frozen, whatever the class of the task's own."""
        from psfmatch.differencing.configuration import FrontDoorConfig

        return super().toConfig(FrontDoorConfig)


@functools.cache
def frontDoorSettings() -> FrontDoorSettings:
    """Return the fields of a run without a configuration."""
    return FrontDoorSettings(usualSettings().toDict())


@dataclass(frozen=True)
class FrontDoorOptions:
    """The steps around the task, from a `FrontDoorConfig`; none with the task's own configuration."""

    doFindSaturation: bool = False
    doScaleVariance: bool = False
    doAlign: bool = False
    doDecorrelate: bool = False
    doAssessQuality: bool = False

    @classmethod
    def fromConfig(cls, config: ImagePsfMatchConfig | Settings) -> FrontDoorOptions:
        """Read the configuration of `psfmatch.subtract`."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__ if name in config})


@dataclass(frozen=True)
class ChosenFields:
    """A configuration, and what has been chosen of its active kernel and of its ``regionConfig``."""

    config: Any
    kernel: Mapping[str, Any]
    regions: Mapping[str, Any]

    def options(self, options: KernelOptions) -> KernelOptions:
        """Return the options of the kernel with what has been chosen."""
        kernel, regions = (
            {name: plainValue(value) for name, value in fields.items()} for fields in (self.kernel, self.regions)
        )
        return replace(options, **kernel, regions=replace(options.regions, **regions))


def chosenConfig(config: Any) -> Any:
    """Return the configuration with what has been chosen; a configuration itself as it is.

    It is made when somebody wants it, for that takes a fifteenth of the time of a small image.
    """
    if isinstance(config, FrontDoorSettings):
        return config.toConfig()
    if not isinstance(config, ChosenFields):
        return config
    from psfmatch.config import configFromDict, configToDict

    whole = chosenConfig(config.config)
    chosen: Any = configFromDict(type(whole), configToDict(whole))
    chosen.chooseKernel = False
    chosen.kernel.active.update(**config.kernel)
    chosen.kernel.active.regionConfig.update(**config.regions)
    chosen.freeze()
    return chosen


def chosenData(config: Any) -> dict[str, Any]:
    """Return the configuration with what has been chosen as plain data, as `configToDict` does."""
    if isinstance(config, ChosenFields) and isinstance(config.config, Settings):
        data = config.config.toDict()
        kernel = data["kernel"]["values"][data["kernel"]["name"]]
        data["chooseKernel"] = False
        for group, fields in ((kernel, config.kernel), (kernel["regionConfig"], config.regions)):
            group |= {name: _asStored(value, group[name]) for name, value in fields.items()}
        return data
    if isinstance(config, Settings):
        return config.toDict()
    from psfmatch.config import configToDict

    return configToDict(chosenConfig(config))


def chosenOptions(config: Any) -> KernelOptions:
    """Return the options of the kernel with what has been chosen."""
    if isinstance(config, ChosenFields):
        return config.options(KernelOptions.fromConfig(config.config.kernel.active))
    return KernelOptions.fromConfig(config.kernel.active)


def _asStored(value: Any, usual: Any) -> Any:
    """Return a field's value as the field would hold it, of which another value is known."""
    if isinstance(usual, list):
        return [_asStored(item, usual[0] if usual else item) for item in value]
    return float(value) if isinstance(usual, float) else value

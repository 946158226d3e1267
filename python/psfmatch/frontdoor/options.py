"""What a run is told, once; without a configuration no configuration library is imported."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from psfmatch.config import KernelOptions, usualOptions
from psfmatch.config.brief import Brief
from psfmatch.config.options import plainValue
from psfmatch.config.usual import usualData, usualFields
from psfmatch.images.planeRules import PlaneRules
from psfmatch.registration import PairSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["STEPS", "RunOptions"]


@dataclass(frozen=True)
class RunOptions(Brief, PairSteps):
    """A run: its kernel, read or chosen, and the steps around the task, of which the task's own configuration has none.

    source : the configuration that was read, of which all else is kept; None: nobody gave one; pinned : what is not
    chosen of the kernel, see `psfmatch.frontdoor.pins`.
    """

    kernel: KernelOptions
    source: ImagePsfMatchConfig | None = None
    pinned: Mapping[str, Any] = field(default_factory=dict)
    chooseKernel: bool = False
    doFindTraces: bool = False
    doDecorrelate: bool = False
    doAssessQuality: bool = False
    smoothingSigma: float | None = None
    middleOfCutout: str = "auto"
    renameTemplateMask: tuple[str, ...] = ()
    preserveMaskPlanes: tuple[str, ...] = ()

    @property
    def planeRules(self) -> PlaneRules:
        """What becomes of the images' mask planes."""
        return PlaneRules(self.renameTemplateMask, self.preserveMaskPlanes)

    def traceGrowth(self, kernelShape: tuple[int, int]) -> int:
        """Pixels that rings about saturated stars may reach, half the kernel's; 0: their traces are not flagged."""
        return max(kernelShape) // 2 if self.doFindTraces else 0

    @classmethod
    def fromConfig(cls, config: ImagePsfMatchConfig | None) -> RunOptions:
        """Read the configuration of `psfmatch.subtract`."""
        fields = usualFields() if config is None else config
        kernel = usualOptions().kernel if config is None else KernelOptions.fromConfig(config.kernel.active)
        return cls(
            kernel, config, **{name: plainValue(getattr(fields, name)) for name in STEPS if hasattr(fields, name)}
        )

    def toConfig(self) -> ImagePsfMatchConfig:
        """Return the configuration that has these options, frozen; made for who asks, for that takes milliseconds."""
        from psfmatch.frontdoor.configuration import FrontDoorConfig

        source = FrontDoorConfig() if self.source is None else self.source
        config = cast("ImagePsfMatchConfig", source.copy())
        self.kernel.setIn(config.kernel.active)
        if "chooseKernel" in config:
            config.update(chooseKernel=self.chooseKernel, smoothingSigma=self.smoothingSigma)
        config.freeze()
        return config

    def toData(self) -> dict[str, Any]:
        """Return what `configToDict` makes of that configuration."""
        if self.source is not None:
            from psfmatch.config import configToDict

            return configToDict(self.toConfig())
        data = usualData()
        self.kernel.setInData(data["kernel"]["values"][data["kernel"]["name"]])
        return data | {"chooseKernel": self.chooseKernel, "smoothingSigma": self.smoothingSigma}


STEPS = tuple(one.name for one in dataclasses.fields(RunOptions) if one.name not in ("kernel", "source", "pinned"))
"""Fields that only a `FrontDoorConfig` has, in the order of the work."""

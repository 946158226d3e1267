"""Configuration of the front door: that of the task, and which steps are taken around it."""

from __future__ import annotations

from dataclasses import dataclass

from lsst.pex.config import Field, ListField

from psfmatch.imagePsfMatch import ImagePsfMatchConfig

__all__ = ["FrontDoorConfig", "FrontDoorOptions", "frontDoorConfig"]


class FrontDoorConfig(ImagePsfMatchConfig):
    """Configuration of `subtract`: that of the task, and which steps are taken around it."""

    chooseKernel = Field[bool](
        doc=(
            "Choose basis, orders, priors and regions of the kernel from the images, around the fields of the kernel "
            "that are set; False: as `kernel` says."
        ),
        default=True,
    )
    fixedKernelFields = ListField[str](
        doc=(
            "Fields of the active kernel that chooseKernel keeps, such as kernelSize or regionConfig.shapeScale; none: "
            "those that have been set."
        ),
        default=[],
    )
    doFindSaturation = Field[bool](doc="Find where the images saturate, and flag these pixels.", default=True)
    doScaleVariance = Field[bool](doc="Scale each variance plane to the noise of its own sky.", default=True)
    doAlign = Field[bool](
        doc="Measure shift and affine from matched stars, and correct where it is worth it.", default=True
    )
    doDecorrelate = Field[bool](doc="Make the decorrelated difference, too.", default=True)
    doAssessQuality = Field[bool](doc="Measure the quality and grade it.", default=True)


@dataclass(frozen=True)
class FrontDoorOptions:
    """The steps around the task, from a `FrontDoorConfig`; none with the task's own configuration."""

    doFindSaturation: bool = False
    doScaleVariance: bool = False
    doAlign: bool = False
    doDecorrelate: bool = False
    doAssessQuality: bool = False

    @classmethod
    def fromConfig(cls, config: ImagePsfMatchConfig) -> FrontDoorOptions:
        """Read the configuration of `psfmatch.subtract`."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__ if name in config})


def frontDoorConfig() -> FrontDoorConfig:
    """Return the configuration of a run without one: the kernel is chosen around the fields that are set in it."""
    config = FrontDoorConfig()
    kernel = config.kernel["AL"]
    kernel.fitForBackground = True
    kernel.doCopyEdge = True
    for name in ("AL", "DF"):
        config.kernel[name].warpingConfig.keepCentroids = True
    return config

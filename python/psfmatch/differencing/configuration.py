"""Configuration of the front door: that of the task, and which steps are taken around it."""

from __future__ import annotations

from lsst.pex.config import Field, ListField

from psfmatch.imagePsfMatch import ImagePsfMatchConfig

__all__ = ["FrontDoorConfig", "frontDoorConfig"]


class FrontDoorConfig(ImagePsfMatchConfig):
    """Configuration of `subtract`: that of the task, and which steps are taken around it."""

    chooseKernel = Field[bool](
        doc="Choose basis, orders, priors and regions of the kernel from the images; False: as `kernel` says.",
        default=False,
    )
    fixedKernelFields = ListField[str](
        doc="Fields of the active kernel that chooseKernel leaves as they are: kernelSize, regionConfig.shapeScale.",
        default=[],
    )
    doFindSaturation = Field[bool](doc="Find where the images saturate, and flag these pixels.", default=True)
    doScaleVariance = Field[bool](doc="Scale each variance plane to the noise of its own sky.", default=True)
    doAlign = Field[bool](
        doc="Measure shift and affine from matched stars, and correct where it is worth it.", default=True
    )
    doDecorrelate = Field[bool](doc="Make the decorrelated difference, too.", default=True)
    doAssessQuality = Field[bool](doc="Measure the quality and grade it.", default=True)


def frontDoorConfig() -> FrontDoorConfig:
    """Return the configuration that `subtract` starts from."""
    config = FrontDoorConfig()
    kernel = config.kernel["AL"]
    kernel.fitForBackground = True
    kernel.doCopyEdge = True
    for name in ("AL", "DF"):
        config.kernel[name].warpingConfig.keepCentroids = True
    return config

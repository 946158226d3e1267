"""Configurations of the tasks, imported when somebody asks for one: a run without a configuration needs none."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from typing import Any

from lsst.pex.config import ChoiceField, Config, ConfigChoiceField, Field, FieldValidationError, RangeField

from psfmatch.config import KERNEL_CONFIGS, PsfMatchConfigAL, PsfMatchConfigDF, configToDict
from psfmatch.sources import SourceDetectionTask
from psfmatch.sources.measurement import SourceMeasurementTask

__all__ = [
    "ImagePsfMatchConfig",
    "ModelPsfMatchConfig",
    "PsfMatchTaskConfig",
    "SnapPsfMatchConfig",
    "SnapPsfMatchConfigAL",
    "SnapPsfMatchConfigDF",
]


class PsfMatchTaskConfig(Config):
    """Which kernel basis a PSF-matching task uses."""

    kernel = ConfigChoiceField(
        doc="Kernel basis and all of its fit: AL (Alard-Lupton), DF (delta functions), or another that is registered.",
        typemap=KERNEL_CONFIGS,
        default="AL",
    )

    def __eq__(self, other: object) -> bool:
        """Whether all fields are the same; configurations of subtasks have no equality of their own."""
        return type(other) is type(self) and configToDict(self) == configToDict(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        # The families first: to find their classes another process imports the modules that register them.
        return _remake, (tuple(type(kernel) for kernel in self.kernel.values()), *super().__reduce__())


def _remake(_: tuple[type, ...], unreduce: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return unreduce(*arguments)


class ImagePsfMatchConfig(PsfMatchTaskConfig):
    """Configuration of `ImagePsfMatchTask`: of the selection of stars, and of the kernel."""

    selectDetection = SourceDetectionTask.makeField("Detection of the sources from which kernel candidates are chosen.")
    selectMeasurement = SourceMeasurementTask.makeField(
        "Measurement of the sources from which kernel candidates are chosen."
    )

    fwhmDefinition = ChoiceField[str](
        doc="What the FWHM of a PSF is, from which kernel and smoothing follow.",
        allowed={
            "determinantRadius": "2.3548 (Ixx Iyy - Ixy^2)^(1/4), of adaptive moments",
            "traceRadius": "2.3548 ((Ixx + Iyy) / 2)^(1/2), of adaptive moments",
            "halfMaximum": "mean width of the brightest row and column at half maximum",
        },
        default="determinantRadius",
        optional=False,
    )

    def setDefaults(self) -> None:
        """Set the threshold of kernel stars."""
        super().setDefaults()
        self.selectDetection.reEstimateBackground = False
        self.selectDetection.thresholdValue = 10.0


SNAP_KERNEL: dict[str, Any] = {
    "spatialKernelOrder": 0,
    "spatialKernelClipping": False,
    "fitForBackground": False,
    "kernelSize": 7,
    "scaleByFwhm": False,
}
"""Of both bases: what two exposures of one visit need."""


class SnapPsfMatchConfigAL(PsfMatchConfigAL):
    """A small constant kernel of two Gaussians."""

    def setDefaults(self) -> None:
        """Set the kernel of snaps."""
        super().setDefaults()
        self.update(**SNAP_KERNEL, alardNGauss=2, alardSigGauss=[1.0, 2.5], alardDegGauss=[4, 2])


class SnapPsfMatchConfigDF(PsfMatchConfigDF):
    """A small constant kernel of delta functions, of their principal components, without a penalty."""

    def setDefaults(self) -> None:
        """Set the kernel of snaps."""
        super().setDefaults()
        self.update(
            **SNAP_KERNEL,
            useRegularization=False,
            usePcaForSpatialKernel=True,
            subtractMeanForPca=True,
            numPrincipalComponents=5,
        )


class SnapPsfMatchConfig(ImagePsfMatchConfig):
    """Configuration of `SnapPsfMatchTask`."""

    kernel = ConfigChoiceField(
        doc="Kernel basis and all of its fit: AL (Alard-Lupton), DF (delta functions), or another that is registered.",
        typemap=ChainMap({"AL": SnapPsfMatchConfigAL, "DF": SnapPsfMatchConfigDF}, KERNEL_CONFIGS),
        default="AL",
    )
    doWarping = Field[bool](doc="Warp the first snap onto the second.", default=False)


class ModelPsfMatchConfig(PsfMatchTaskConfig):
    """Configuration of `ModelPsfMatchTask`."""

    doAutoPadPsf = Field[bool](
        doc="Surround the PSF's image with zeros up to autoPadPsfTo; False: by padPsfBy.", default=True
    )
    autoPadPsfTo = RangeField(
        doc="Least side of the PSF's image in units of the kernel's, with doAutoPadPsf; rounded up to an odd number.",
        dtype=float,
        default=1.4,
        min=1.0,
        inclusiveMin=False,
    )
    padPsfBy = Field[int](
        doc="Pixels, an even number, added to each side of the PSF's image without doAutoPadPsf.",
        default=None,
        optional=True,
        check=lambda pixels: pixels >= 0,
    )

    def setDefaults(self) -> None:
        """Switch off what deals with noise, background and artefacts."""
        super().setDefaults()
        for kernel in self.kernel.values():
            kernel.update(
                fitForBackground=False,
                constantVarianceWeighting=True,
                singleKernelClipping=False,
                kernelSumClipping=False,
                spatialKernelClipping=False,
                checkConditionNumber=False,
                minKernelSources=1,
            )

    def validate(self) -> None:
        """Check the fields, and that no uncertainty is asked for: models have no noise."""
        super().validate()
        kernel = self.kernel.active
        if kernel.calculateKernelUncertainty:
            raise FieldValidationError(
                type(kernel).calculateKernelUncertainty,
                kernel,
                "models have no noise, so a kernel between them has no uncertainty; set it to False",
            )

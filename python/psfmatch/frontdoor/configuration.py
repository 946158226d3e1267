"""Configuration of the front door: that of the task, which steps are taken around it, and what the user has set of it.

What was set is read from the history that a configuration keeps of its fields. One of which every field has been set,
as from a file that holds all of them, is compared with the defaults instead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, ListField, RangeField

from psfmatch.config import PsfMatchConfigDF
from psfmatch.config.options import plainValue
from psfmatch.config.overrides import closeNames
from psfmatch.difference.borders import EDGE_FRACTION
from psfmatch.images.planeRules import PlaneRules
from psfmatch.registration import REQUIRED_FRACTION
from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["FrontDoorConfig", "frontDoorConfig"]


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
            "Fields of the active kernel that chooseKernel keeps beside those that are set, such as kernelSize or "
            "regionConfig.shapeScale."
        ),
        default=[],
    )
    doFindDefects = Field[bool](
        doc="Find blocks of one value, dead and hot pixels, columns and cosmic rays, and flag them.", default=True
    )
    doFindSaturation = Field[bool](doc="Find where the images saturate, and flag these pixels.", default=True)
    doFindStreaks = Field[bool](
        doc="Find lines that one image shows alone, such as trails of satellites, and flag them STREAK.", default=True
    )
    doFindTraces = Field[bool](
        doc=(
            "Find what detectors leave in the difference: levels of the sky towards a border, which are taken off, and "
            "rings and lines of saturated stars, which are flagged SAT."
        ),
        default=True,
    )
    doScaleVariance = Field[bool](doc="Scale each variance plane to the noise of its own sky.", default=True)
    doAlign = Field[bool](
        doc="Measure shift and affine from matched stars, and correct where it is worth it.", default=True
    )
    doDecorrelate = Field[bool](doc="Make the decorrelated difference, too.", default=True)
    doAssessQuality = Field[bool](doc="Measure the quality and grade it.", default=True)
    requiredCoverage = RangeField(
        doc="Share of the science image's pixels that must be good in both images, or the run is refused.",
        dtype=float,
        default=REQUIRED_FRACTION,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    smoothingSigma = RangeField(
        doc=(
            "Sigma (pixels) of the Gaussian by which the image that is not convolved is smoothed before the fit; 0: it "
            "is not; None: where chooseKernel finds that it leaves less of equal, narrow PSFs."
        ),
        dtype=float,
        default=None,
        optional=True,
        min=0.0,
        max=5.0,
        inclusiveMax=True,
    )
    middleOfCutout = ChoiceField[str](
        doc="What the middle of a cut-out holds: it has an account of its own in the fit of alerts' stamps.",
        allowed={
            "auto": "a transient in squares of odd side up to 101 pixels without coordinates",
            "transient": "a transient, as in alerts",
            "nothing": "nothing of its own",
        },
        default="auto",
    )

    edgeFraction = RangeField(
        doc=(
            "Share of the kernel's sum of |K| that may lie beyond all pixels before a pixel of the difference carries "
            "EDGE; the border is computed as if the outermost pixels went on, or of what a larger template has there. "
            "0: EDGE wherever the kernel reaches beyond the science image's border."
        ),
        dtype=float,
        default=EDGE_FRACTION,
        min=0.0,
        max=1.0,
    )
    renameTemplateMask = ListField[str](
        doc="Mask planes of the template that are called NAME_TEMPLATE in the difference.", default=[]
    )
    preserveMaskPlanes = ListField[str](
        doc="Mask planes, by either name, that the convolution does not spread.", default=[]
    )

    def setDefaults(self) -> None:
        """Fit the background, keep the edges, and the centroids of what is warped; STREAK is as bad as BAD.

        Filled pixels that stand alone in even light may hold 5 % of the kernel: with K their share of it, the noise of
        the result is off by 0.4 K of its own, 2 %.
        """
        super().setDefaults()
        kernels: Iterable[Any] = self.kernel.values()
        for kernel in kernels:
            if not isinstance(kernel, PsfMatchConfigDF):
                kernel.fitForBackground = True
                kernel.doCopyEdge = True
            kernel.badPixelMaskPlanes = [*kernel.badPixelMaskPlanes, "STREAK"]
            kernel.warpingConfig.keepCentroids = True
            kernel.safeKernelFraction = 0.05

    def validate(self) -> None:
        """Check the fields, and that no plane is named that tells of the difference itself."""
        super().validate()
        try:
            PlaneRules(tuple(self.renameTemplateMask), tuple(self.preserveMaskPlanes))
        except ValueError as error:
            raise FieldValidationError(FrontDoorConfig.renameTemplateMask, self, str(error)) from error

    def withNames(self) -> FrontDoorConfig:
        """Return the configuration with what the user has set of the kernel named in ``fixedKernelFields``.

        Copies of it in a file or in another process know by this what was set.
        """
        names = setKernelFields(self) if self.chooseKernel else list(self.fixedKernelFields)
        if names == list(self.fixedKernelFields):
            return self
        named: Any = self.copy()
        named.fixedKernelFields = names
        return named  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        """Whether all fields are the same, and the same ones of the kernel have been set."""
        return type(other) is type(self) and super(FrontDoorConfig, self.withNames()).__eq__(other.withNames())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        """Pickle with the names of what was set."""
        return super(FrontDoorConfig, self.withNames()).__reduce__()


def frontDoorConfig() -> FrontDoorConfig:
    """Return the configuration of a run without one: the kernel is chosen around the fields that are set in it."""
    return FrontDoorConfig()


@dataclass(frozen=True)
class KernelField:
    """A field of a kernel or of its regions: its value, a tuple for a list, and how often it has been assigned."""

    value: Any
    nSet: int


def setKernelFields(config: FrontDoorConfig) -> list[str]:
    """Return the fields of the active kernel, and as ``regionConfig.NAME`` of its regions, that the user has set.

    Raises
    ------
    ValueError
        If ``fixedKernelFields`` names a field that does not exist.
    """
    fields = kernelFields(config.kernel.active)
    named = list(config.fixedKernelFields)
    for name in named:
        if name not in fields:
            close = closeNames(name, fields)
            hint = f"did you mean {' or '.join(close)}?" if close else "they are those below kernel.active"
            raise ValueError(f"fixedKernelFields names {name!r}, which the kernel does not have; {hint}")
    usual = usualKernel(config.kernel.name)
    nSet = {path: field.nSet - usual[path].nSet for path, field in fields.items()}
    nEach = max(0, min(nSet.values()))
    isChanged = {path: nEach > 0 and not named and field.value != usual[path].value for path, field in fields.items()}
    return [path for path, count in nSet.items() if count > nEach or isChanged[path] or path in named]


@functools.cache
def usualKernel(name: str) -> dict[str, KernelField]:
    """Return the fields of a kernel, by its name in the configuration, that nobody has changed."""
    return kernelFields(frontDoorConfig().kernel[name])


def kernelFields(kernel: Any) -> dict[str, KernelField]:
    """Return the fields of a kernel configuration and of its regions, by path."""
    groups: tuple[tuple[str, Config], ...] = (("", kernel), ("regionConfig.", kernel.regionConfig))
    return {
        prefix + name: KernelField(plainValue(getattr(group, name)), len(group.history[name]))
        for prefix, group in groups
        for name, field in group._fields.items()
        if not isinstance(field, ConfigField)
    }

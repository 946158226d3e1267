"""Configuration of the two families of kernels: Gaussians times polynomials, and delta functions.

Gaussians: Alard & Lupton (1998), Alard (2000); delta functions with a regularisation: Becker et al. (2012).
The task's configuration chooses between the two; what they share is in `psfmatch.config.matching`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from lsst.pex.config import ChoiceField, Field, FieldValidationError, ListField, RangeField

from psfmatch.config.matching import PsfMatchConfig

__all__ = ["KERNEL_CONFIGS", "PsfMatchConfig", "PsfMatchConfigAL", "PsfMatchConfigDF", "addKernelConfig"]


class PsfMatchConfigAL(PsfMatchConfig):
    """Kernels made of Gaussians times polynomials (Alard & Lupton 1998)."""

    family = "alard-lupton"
    hasDegrees = True

    alardNGauss = RangeField(doc="Number of Gaussians.", dtype=int, default=3, min=1)
    alardDegGauss = ListField[int](
        doc="Degree of the polynomial that multiplies each Gaussian; -1 leaves one out, but the first.",
        default=[4, 2, 2],
        itemCheck=lambda degree: degree >= -1,
    )
    alardSigGauss = ListField[float](
        doc="Sigma of each Gaussian (px) when they are not derived from the FWHMs, or these are equal.",
        default=[0.7, 1.5, 3.0],
        itemCheck=lambda sigma: sigma > 0,
    )
    alardWidthRule = ChoiceField[str](
        doc="How the sigmas follow from the FWHMs.",
        allowed={
            "continuous": "one rule for both directions; the sigmas vary continuously with the FWHMs",
            "classic": "the reference's until 2023: jumps between sets; its own set for a smaller target",
        },
        default="continuous",
        optional=False,
    )
    alardGaussBeta = RangeField(
        doc="Ratio of successive sigmas, when they are derived.", dtype=float, default=2.0, min=0.0
    )
    alardMinSig = RangeField(
        doc="Smallest derived sigma (px) when T is the sharper image.", dtype=float, default=0.7, min=0.25
    )
    alardMinSigDeconv = RangeField(
        doc="Smallest derived sigma (px) when T is the blurrier image.", dtype=float, default=0.4, min=0.25
    )
    alardDegGaussDeconv = RangeField(
        doc="Classic rule only: degree of all polynomials when T is the blurrier image.",
        dtype=int,
        default=3,
        min=1,
    )
    alardNGaussDeconv = RangeField(
        doc="Classic rule only: Gaussians that its set for a blurrier T starts from; 3 or more, 3 count.",
        dtype=int,
        default=3,
        min=1,
    )

    def setDefaults(self) -> None:
        """Set the limit of the condition number."""
        super().setDefaults()
        self.maxConditionNumber = 5.0e7

    def validate(self) -> None:
        """Check the fields, the lengths of the lists, an odd kernel, and what the classic rule needs."""
        super().validate()
        _checkFamily(self)
        for name in ("alardDegGauss", "alardSigGauss"):
            count = len(getattr(self, name))
            if count != self.alardNGauss:
                raise FieldValidationError(
                    getattr(type(self), name),
                    self,
                    f"{name} has {count} items for alardNGauss={self.alardNGauss}; give one per Gaussian",
                )
        if self.kernelSize % 2 == 0:
            raise FieldValidationError(
                type(self).kernelSize,
                self,
                f"kernelSize={self.kernelSize} is even, so that no pixel is the centre of the Gaussians; use "
                f"{self.kernelSize + 1}",
            )
        if self.alardWidthRule == "classic" and self.scaleByFwhm and self.alardNGaussDeconv < 3:
            raise FieldValidationError(
                type(self).alardNGaussDeconv,
                self,
                f"alardNGaussDeconv={self.alardNGaussDeconv}, but the classic rule needs 3; use 3, or the "
                "continuous rule",
            )


class PsfMatchConfigDF(PsfMatchConfig):
    """Kernels with a free value in each pixel, smoothed by a regularisation (Becker et al. 2012)."""

    family = "delta-function"

    useRegularization = Field[bool](doc="Penalise rough kernels.", default=True)
    regularizationType = ChoiceField[str](
        doc="Which differences between neighbouring kernel pixels are penalised.",
        allowed={
            "centralDifference": "the Laplacian, see centralRegularizationStencil",
            "forwardDifference": "forward differences along x and y, see forwardRegularizationOrders",
        },
        default="centralDifference",
        optional=False,
    )
    centralRegularizationStencil = ChoiceField[int](
        doc="Pixels in the stencil of the Laplacian.",
        allowed={5: "centre and edge neighbours", 9: "centre, edge and corner neighbours"},
        default=9,
        optional=False,
    )
    forwardRegularizationOrders = ListField[int](
        doc="Orders (1 to 3) of the forward differences that are penalised.",
        default=[1, 2],
        minLength=1,
        itemCheck=lambda order: 1 <= order <= 3,
    )
    regularizationBorderPenalty = RangeField(
        doc="Penalty of the pixels at the border of the kernel.", dtype=float, default=3.0, min=0.0
    )
    lambdaType = ChoiceField[str](
        doc="How the strength lambda of the regularisation is found.",
        allowed={
            "absolute": "lambdaValue",
            "relative": "lambdaScaling times the ratio of the traces of normal and penalty matrix",
            "minimizeBiasedRisk": "least predicted risk on a grid, without the smallest eigenvalues",
            "minimizeUnbiasedRisk": "least predicted risk on a grid",
        },
        default="absolute",
        optional=False,
    )
    lambdaValue = Field[float](doc="Strength, for lambdaType absolute.", default=0.2)
    lambdaScaling = Field[float](doc="Factor, for lambdaType relative.", default=1e-4)
    lambdaStepType = ChoiceField[str](
        doc="Grid of strengths for the two risks.",
        allowed={"log": "steps of the decimal logarithm", "linear": "steps of the strength itself"},
        default="log",
        optional=False,
    )
    lambdaMin = Field[float](doc="First value of the grid; its decimal logarithm for log.", default=-1.0)
    lambdaMax = Field[float](doc="Last value of the grid, included; its logarithm for log.", default=2.0)
    lambdaStep = RangeField(
        doc="Step of the grid, in the unit of lambdaMin.",
        dtype=float,
        default=0.1,
        min=0.0,
        inclusiveMin=False,
    )

    def setDefaults(self) -> None:
        """Set the principal components, and the limit of the condition number."""
        super().setDefaults()
        self.maxConditionNumber = 5.0e6
        self.usePcaForSpatialKernel = True
        self.subtractMeanForPca = True
        self.useBicForKernelBasis = False

    def validate(self) -> None:
        """Check the fields, and that the grid of strengths is neither empty nor negative."""
        super().validate()
        _checkFamily(self)
        if self.fitMethod == "regions":
            raise FieldValidationError(
                type(self).fitMethod,
                self,
                "a fit to regions expects a kernel near its first Gaussian, and knows neither the penalty nor the "
                "principal components (usePcaForSpatialKernel, True by default) of delta functions; set fitMethod to "
                "'candidates', or kernel.name to 'AL'",
            )
        if self.lambdaMin > self.lambdaMax:
            raise FieldValidationError(
                type(self).lambdaMin,
                self,
                f"lambdaMin={self.lambdaMin:g} is above lambdaMax={self.lambdaMax:g}; the grid is empty",
            )
        scansRisk = self.lambdaType in ("minimizeBiasedRisk", "minimizeUnbiasedRisk")
        if scansRisk and self.lambdaStepType == "linear" and self.lambdaMin < 0:
            raise FieldValidationError(
                type(self).lambdaMin,
                self,
                f"the linear grid of strengths starts at lambdaMin={self.lambdaMin:g}; start at 0 or above, "
                "or use the log grid",
            )


KERNEL_CONFIGS: dict[str, type[PsfMatchConfig]] = {"AL": PsfMatchConfigAL, "DF": PsfMatchConfigDF}
"""What ``kernel.name`` of a task's configuration may be, and the class of the fields that it then has."""


def addKernelConfig(name: str, BasisClass: type, fields: Mapping[str, Field[Any]]) -> None:
    """Add the configuration of a family of kernels, called ``ConfigClass`` of its class; see `registerKernelBasis`.

    Raises
    ------
    ValueError
        If the name is no word, or one of ours.
    """
    if not name.isidentifier() or name in ("AL", "DF"):
        raise ValueError(f"a kernel basis cannot be called {name!r}; choose a word, but neither AL nor DF")
    doc = (BasisClass.__doc__ or name).strip().splitlines()[0]
    # By this name a pickle and a saved configuration find it.
    place = f"{BasisClass.__qualname__}.ConfigClass"
    members = {
        **fields,
        "__doc__": doc,
        "__module__": BasisClass.__module__,
        "__qualname__": place,
        "family": name,
        "isRegistered": True,
        "ownNames": tuple(fields),
        "kernelBasisSet": ChoiceField[str](
            doc="Family of basis kernels.", allowed={name: doc}, default=name, optional=False
        ),
    }
    ConfigClass = types.new_class(place, (PsfMatchConfig,), exec_body=lambda own: own.update(members))
    BasisClass.ConfigClass = ConfigClass  # type: ignore[attr-defined]
    KERNEL_CONFIGS[name] = ConfigClass


def _checkFamily(config: PsfMatchConfig) -> None:
    if config.kernelBasisSet != config.family:
        other = next(name for name, Class in KERNEL_CONFIGS.items() if Class.family == config.kernelBasisSet)
        raise FieldValidationError(
            type(config).kernelBasisSet,
            config,
            f"a {type(config).__name__} makes {config.family} kernels only, not {config.kernelBasisSet}; for these "
            f"set kernel.name to {other!r}",
        )

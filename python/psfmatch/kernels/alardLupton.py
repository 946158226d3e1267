"""Gaussians times polynomials (Alard & Lupton 1998, ApJ 503, 325), between two PSF sizes.

The widths follow from the Gaussian that would turn one PSF into the other, sigma_K^2 = sigma_reference^2 -
sigma_target^2. Two rules choose them: "continuous" changes smoothly with the PSF sizes; "classic" is the older rule
with its jump where the smallest Gaussian falls below the minimum, and its own set for deconvolution (Ulmer 2010,
Inverse Problems 26, 085002, eq. 40).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.images import SIGMA_TO_FWHM
from psfmatch.kernels.basis import KERNEL_BASES, KernelBasis, requireOdd

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["AlardLuptonBasis", "GaussianSet", "chooseGaussians", "gaussianBasis"]


@dataclass(frozen=True)
class GaussianSet:
    """Gaussians of a basis: widths (pixels), polynomial degrees, side of the kernel (pixels), and how chosen.

    `mode` is "config", "convolution" (the image to convolve is the sharper one) or "deconvolution".
    """

    mode: str
    sigmas: tuple[float, ...]
    degrees: tuple[int, ...]
    kernelSize: int


class AlardLuptonBasis(KernelBasis):
    """Gaussians times polynomials: the first image sums to 1; all others sum to 0 and have a sum of squares of 1."""

    widthsFollowFwhm = True

    def __init__(
        self, images: npt.ArrayLike, penalty: npt.ArrayLike | None = None, gaussians: GaussianSet | None = None
    ) -> None:
        super().__init__(images, penalty)
        self.gaussians = gaussians

    @classmethod
    def make(
        cls, options: KernelOptions, targetFwhmPix: float | None = None, referenceFwhmPix: float | None = None
    ) -> Self:
        """Make the Gaussians that `chooseGaussians` chooses."""
        gaussians = chooseGaussians(options, targetFwhmPix, referenceFwhmPix)
        # The fit to regions takes degrees for which monomials are too much alike.
        isHermite = options.fitMethod == "regions"
        images = gaussianBasis(gaussians.kernelSize, gaussians.sigmas, gaussians.degrees, hermite=isHermite)
        return cls(images, gaussians=gaussians)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Number, degrees, widths, kernel size and mode of the Gaussians, by the documented names."""
        chosen = self.gaussians
        if chosen is None:
            return {}
        return {
            "ALBasisNGauss": len(chosen.sigmas),
            "ALBasisDegGauss": list(chosen.degrees),
            "ALBasisSigGauss": list(chosen.sigmas),
            "ALKernelSize": chosen.kernelSize,
            "ALBasisMode": chosen.mode,
        }

    def __str__(self) -> str:
        if self.gaussians is None:
            return super().__str__()
        sigmas = " ".join(f"{sigma:.3f}" for sigma in self.gaussians.sigmas)
        degrees = " ".join(map(str, self.gaussians.degrees))
        return f"Basis mode {self.gaussians.mode}: sigmas {sigmas} px, degrees {degrees}, kernel {self.sides} px"


KERNEL_BASES["alard-lupton"] = AlardLuptonBasis


def gaussianBasis(
    kernelSize: int, sigmas: Sequence[float], degrees: Sequence[int], *, hermite: bool = True
) -> npt.NDArray[np.float64]:
    """Return Gaussians (sigmas in pixels) times polynomials, (n, h, w): all but the first without sum."""
    return _core.renormalizeBasis(_core.makeAlardLuptonBasis(kernelSize // 2, sigmas, degrees, hermite=hermite))


def chooseGaussians(
    config: PsfMatchConfig | KernelOptions,
    targetFwhmPix: float | None = None,
    referenceFwhmPix: float | None = None,
    basisDegGauss: Sequence[int] | None = None,
    basisSigmaGauss: Sequence[float] | None = None,
) -> GaussianSet:
    """Choose widths, degrees and kernel size; arguments and errors as `makeKernelBasisList`."""
    options = KernelOptions.fromConfig(config)
    degrees = tuple(int(d) for d in (options.alardDegGauss if basisDegGauss is None else basisDegGauss))
    sigmas = tuple(float(s) for s in (options.alardSigGauss if basisSigmaGauss is None else basisSigmaGauss))
    if len(degrees) != options.alardNGauss or len(sigmas) != options.alardNGauss:
        raise ValueError(
            f"alardNGauss is {options.alardNGauss} but there are {len(degrees)} degrees and {len(sigmas)} sigmas; "
            "give one of each per Gaussian"
        )
    if not options.alardGaussBeta > 0.0:
        raise ValueError(
            f"alardGaussBeta is {options.alardGaussBeta}; the ratio of successive widths must be above 0, usually 2"
        )
    requireOdd(options.kernelSize)

    unknown = targetFwhmPix is None or referenceFwhmPix is None
    if unknown or not options.scaleByFwhm or targetFwhmPix == referenceFwhmPix:
        return GaussianSet("config", sigmas, degrees, options.kernelSize)
    assert targetFwhmPix is not None  # for mypy: excluded by `unknown`
    assert referenceFwhmPix is not None
    for name, fwhm in (("targetFwhmPix", targetFwhmPix), ("referenceFwhmPix", referenceFwhmPix)):
        if not (math.isfinite(fwhm) and fwhm > 0.0):
            raise ValueError(f"{name} is {fwhm}; a FWHM must be a positive number of pixels, or None if unknown")

    difference = (referenceFwhmPix**2 - targetFwhmPix**2) / SIGMA_TO_FWHM**2
    deconvolve = difference < 0.0
    width = math.sqrt(abs(difference))
    if options.alardWidthRule == "classic":
        return _classicGaussians(options, width, deconvolve, degrees)
    minSigma = options.alardMinSigDeconv if deconvolve else options.alardMinSig
    count = options.alardNGauss
    first = max(minSigma, width / options.alardGaussBeta if count > 1 else width)
    chosen = tuple(first * options.alardGaussBeta**i for i in range(count))
    mode = "deconvolution" if deconvolve else "convolution"
    return GaussianSet(mode, chosen, degrees, _automaticKernelSize(options, chosen[-1]))


def _classicGaussians(options: KernelOptions, width: float, deconvolve: bool, degrees: tuple[int, ...]) -> GaussianSet:
    minSigma = options.alardMinSigDeconv if deconvolve else options.alardMinSig
    count = options.alardNGaussDeconv if deconvolve else options.alardNGauss
    beta = options.alardGaussBeta
    width = max(width, minSigma)
    sigmas = [width / beta, width] if width / beta > minSigma else [width]
    if not deconvolve and count == 1:
        sigmas = [width]
    while len(sigmas) < count:
        sigmas.append(beta * sigmas[-1])
    sigmas = sigmas[: max(count, 2) if deconvolve else count]
    kernelSize = _automaticKernelSize(options, sigmas[-1])
    if not deconvolve:
        return GaussianSet("convolution", tuple(sigmas), degrees, kernelSize)
    if len(sigmas) < 3:
        raise ValueError(
            f"alardNGaussDeconv is {count}; the classic rule for deconvolution needs 3 Gaussians "
            "(or set alardWidthRule = 'continuous')"
        )
    s0, s1, s2 = sigmas[:3]
    squares = [(n - j) * s1**2 + j * s2**2 - (n + 1) * s0**2 for n in (1, 2) for j in range(n)]
    if min(squares) <= 0.0:
        raise ValueError(
            f"alardGaussBeta = {beta} is too small for the classic deconvolution set; use 2, or alardWidthRule = "
            "'continuous'"
        )
    chosen = tuple(sorted(math.sqrt(s) for s in squares))
    return GaussianSet("deconvolution", chosen, (options.alardDegGaussDeconv,) * 3, kernelSize)


def _automaticKernelSize(options: KernelOptions, largestSigma: float) -> int:
    size = int(options.kernelSizeFwhmScaling * largestSigma)
    size += 1 - size % 2
    return int(min(max(size, options.kernelSizeMin), options.kernelSizeMax))

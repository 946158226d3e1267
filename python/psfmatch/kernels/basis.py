"""The kernel basis from a configuration and two PSF sizes, and what keeps a delta-function kernel smooth.

Delta-function basis: one free value for each pixel of the kernel, with a penalty on its roughness (Becker et al.
2012, MNRAS 425, 1341).

Alard-Lupton basis (Alard & Lupton 1998, ApJ 503, 325): Gaussians times polynomials. The widths follow from the
Gaussian that would turn one PSF into the other, sigma_K^2 = sigma_reference^2 - sigma_target^2. Two rules choose
them: "continuous" changes smoothly with the PSF sizes; "classic" is the older rule with its jump where the
smallest Gaussian falls below the minimum, and its own set for deconvolution (Ulmer 2010, Inverse Problems 26,
085002, eq. 40).
"""

from __future__ import annotations

import logging
import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.images import SIGMA_TO_FWHM

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = [
    "GaussianSet",
    "chooseGaussians",
    "makeKernelBasisList",
    "makeRegularizationMatrix",
    "renormalizeBasis",
]

log = logging.getLogger("psfmatch.kernels.basis")


@dataclass(frozen=True)
class GaussianSet:
    """Gaussians of a basis: widths (pixels), polynomial degrees, side of the kernel (pixels), and how chosen.

    `mode` is "config", "convolution" (the image to convolve is the sharper one) or "deconvolution".
    """

    mode: str
    sigmas: tuple[float, ...]
    degrees: tuple[int, ...]
    kernelSize: int


def makeKernelBasisList(
    config: PsfMatchConfig | KernelOptions,
    targetFwhmPix: float | None = None,
    referenceFwhmPix: float | None = None,
    basisDegGauss: Sequence[int] | None = None,
    basisSigmaGauss: Sequence[float] | None = None,
    metadata: MutableMapping[str, Any] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the basis images of the matching kernel.

    Parameters
    ----------
    config
        Active kernel configuration, a `PsfMatchConfigAL` or `PsfMatchConfigDF`, or the options read from it.
    targetFwhmPix, referenceFwhmPix
        FWHM in pixels of the image to convolve and of the image to match; without either, or with
        ``scaleByFwhm`` off, or if they are equal, the configured widths and kernel size are used as they are.
        Delta functions do not depend on them: their kernel has the configured size.
    basisDegGauss, basisSigmaGauss
        Degrees and widths (pixels) instead of the configured ones; for Gaussians only.
    metadata
        Receives ALBasisNGauss, ALBasisDegGauss, ALBasisSigGauss, ALKernelSize and ALBasisMode from Gaussians.

    Returns
    -------
    basis : (n, side, side) float64
        Gaussians: the first image sums to 1; all others sum to 0 and have a sum of squares of 1. Delta functions:
        image k has its one at column k % side of row k // side.

    Raises
    ------
    ValueError
        If the numbers of Gaussians, degrees and widths differ, or the kernel size is even.
    """
    options = KernelOptions.fromConfig(config)
    if options.kernelBasisSet == "delta-function":
        _requireOdd(options.kernelSize)
        log.debug("Basis of delta functions: kernel %d px, %d functions", options.kernelSize, options.kernelSize**2)
        return _core.makeDeltaFunctionBasis(options.kernelSize, options.kernelSize)
    gaussians = chooseGaussians(options, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss)
    log.debug(
        "Basis mode %s: sigmas %s px, degrees %s, kernel %d px",
        gaussians.mode,
        " ".join(f"{s:.3f}" for s in gaussians.sigmas),
        " ".join(str(d) for d in gaussians.degrees),
        2 * (gaussians.kernelSize // 2) + 1,
    )
    if metadata is not None:
        metadata["ALBasisNGauss"] = len(gaussians.sigmas)
        metadata["ALBasisDegGauss"] = list(gaussians.degrees)
        metadata["ALBasisSigGauss"] = list(gaussians.sigmas)
        metadata["ALKernelSize"] = gaussians.kernelSize
        metadata["ALBasisMode"] = gaussians.mode
    # The fit to regions takes degrees for which monomials are too much alike.
    return gaussianBasis(
        gaussians.kernelSize, gaussians.sigmas, gaussians.degrees, hermite=options.fitMethod == "regions"
    )


def gaussianBasis(
    kernelSize: int, sigmas: Sequence[float], degrees: Sequence[int], *, hermite: bool = True
) -> npt.NDArray[np.float64]:
    """Return Gaussians (sigmas in pixels) times polynomials, (n, h, w): all but the first without sum."""
    return _core.renormalizeBasis(_core.makeAlardLuptonBasis(kernelSize // 2, sigmas, degrees, hermite=hermite))


def makeRegularizationMatrix(config: PsfMatchConfig | KernelOptions) -> npt.NDArray[np.float64] | None:
    """Return the penalty H = B^T B on the roughness of a delta-function kernel, or None where there is none.

    Parameters
    ----------
    config
        Active kernel configuration. Only a `PsfMatchConfigDF` with ``useRegularization`` has a penalty: the
        differences of neighbouring pixels that ``regularizationType`` names, and ``regularizationBorderPenalty``.

    Returns
    -------
    hMat : (m, m) float64 or None
        Of the kernel's pixels, and of the differential background, whose last row and column are zero, if
        ``fitForBackground`` is set.
    """
    options = KernelOptions.fromConfig(config)
    if options.kernelBasisSet != "delta-function" or not options.useRegularization:
        return None
    penalty = _core.makeRegularizationMatrix(
        options.kernelSize,
        options.kernelSize,
        kind=_core.RegularizationKind[options.regularizationType],
        stencil=options.centralRegularizationStencil,
        orders=list(options.forwardRegularizationOrders),
        borderPenalty=options.regularizationBorderPenalty,
    )
    return np.pad(penalty, (0, 1)) if options.fitForBackground else penalty


def renormalizeBasis(basis: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give the first of (n, h, w) kernel images the sum 1, every other the sum 0 and a sum of squares of 1."""
    return _core.renormalizeBasis(np.asarray(basis, dtype=np.float64))


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
    _requireOdd(options.kernelSize)

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


def _requireOdd(kernelSize: int) -> None:
    if kernelSize % 2 == 0:
        raise ValueError(f"kernelSize is {kernelSize}; it must be odd so that the kernel has a middle pixel")


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

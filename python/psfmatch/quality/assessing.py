"""`assessQuality`: from the images of a run, its kernel and its candidates to the figures and the grade.

The peaks of sources are found anew in template and science image: a list of kernel candidates has lost whatever fits
badly. A source that only one of the images shows counts too; a template that lacks stars is found by it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import DEFAULT_BAD_PLANES, Box, Exposure, MaskedImage, stampTuple
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.medians import median
from psfmatch.psf import SIGMA_TO_FWHM
from psfmatch.quality.figures import Quality, gradeFigures
from psfmatch.sourceTable import AnyTable

__all__ = ["assessQuality", "pixelFigures"]

AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
LIMIT_SIGMAS = 5.0
MIN_BRIGHT_STARS = 20
WINDOW_SIGMA, WINDOW_PASSES = 2.0, 12  # px, of the window about a kernel's core


def assessQuality(
    *,
    difference: Exposure | MaskedImage,
    template: Exposure | MaskedImage,
    science: Exposure | MaskedImage,
    kernel: LinearCombinationKernel | None,
    background: SpatialFunction2D | None = None,
    candidates: AnyTable | None = None,
    convolved: str = "template",
    rejectedSources: Mapping[str, int] | None = None,
    varianceScales: Iterable[float] = (),
    fwhmPix: float | None = None,
    area: Box | None = None,
    caps: Iterable[tuple[str, str]] = (),
    without: Iterable[str] = (),
    pixels: Mapping[str, Any] | None = None,
    brightStars: Sequence[tuple[int, int]] = (),
    threads: int = 1,
    **others: Any,
) -> Quality:
    """Measure how good a difference image is, and grade it.

    Parameters
    ----------
    difference
        Science minus matched template, on the science image's flux scale; neither changed.
    template, science
        Both on the pixels of the difference, before any convolution.
    kernel, background
        Of the solution; None when there is none, as for a plain difference.
    candidates
        `psfmatch.diagnostics.candidateTable`: columns status and reason.
    convolved
        "template" or "science": which image the kernel applies to.
    rejectedSources
        Sources rejected before they became candidates, by reason.
    varianceScales
        Factors that the variance planes were multiplied by.
    fwhmPix
        Of point sources in the difference, for the limiting magnitude.
    area
        Pixels of the difference that kernel and background are for; by default all.
    caps
        (grade, why): no better grade than this, as when a simpler model had to be taken.
    without
        Figures whose limits do not count, as what they measure is told otherwise, in `caps`.
    pixels
        What `pixelFigures` has told of the same images; by default they are measured here.
    brightStars
        (x, y), from the first pixel, of the brightest stars that were whole in both images before anything was flagged:
        `psfmatch.Saturation.wholeStars` of both.
    threads
        Number of threads; the result does not depend on it.
    others
        Figures of `Quality` that were measured elsewhere, by their names: conditionNumber, appliedShiftPix,
        residualShiftPix, heldOutRms, lag2 ... They go before those measured here; None is not known.

    Returns
    -------
    quality : Quality

    Raises
    ------
    TypeError
        If `others` names no figure.
    """
    if pixels is None:
        pixels = pixelFigures(difference, template, science, kernel, convolved, threads)
    box = difference.getBBox() if area is None else area
    figures: dict[str, Any] = {} if kernel is None else _kernelFigures(kernel, box)
    figures |= pixels
    kernelSum = figures.get("kernelSum", 1.0)
    fluxError, pixelNoise = figures.pop("fluxError"), figures.pop("pixelNoise")
    figures |= _candidateFigures(candidates, rejectedSources or {})
    figures["brightLost"] = _brightLost(difference, brightStars)
    figures["varianceScale"] = max(varianceScales, key=lambda scale: abs(math.log(max(scale, 1e-30))), default=None)
    if kernel is not None:
        figures["kernelSumError"] = abs(kernelSum) * fluxError
    if background is not None:
        figures["backgroundAtCentre"] = float(background(*box.centre))
        figures["backgroundRange"] = float(np.ptp(background(*_grid(box))))
    if isinstance(science, Exposure) and science.photoCalib and fwhmPix and math.isfinite(pixelNoise):
        # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
        noise = pixelNoise * math.sqrt(4.0 * math.pi) * fwhmPix / SIGMA_TO_FWHM * science.photoCalib
        figures["limitingMagnitude"] = AB_ZERO_POINT - 2.5 * math.log10(LIMIT_SIGMAS * noise)
    figures |= {name: value for name, value in others.items() if value is not None}
    limits = list(caps)
    if not figures["nSkyPixels"]:
        limits.append(("D", "no blank sky was found: the noise could not be checked"))
    ignored = set(without)
    if not figures["nSources"] and "nSources" not in ignored:
        limits.append(("C", "no source of signal-to-noise above 30 was found: the match could not be checked"))
    if not math.isfinite(kernelSum):
        figures["kernelSum"] = math.nan
        limits.append(("F", "the kernel is not finite"))
    # An unknown figure must not be taken for a bad one.
    unknown = [name for name, value in figures.items() if isinstance(value, float) and math.isnan(value)]
    quality = Quality("F", (), **figures | dict.fromkeys(unknown))
    grade, reasons = gradeFigures(quality, limits, ignored)
    return dataclasses.replace(quality, grade=grade, reasons=reasons)


def pixelFigures(
    difference: Exposure | MaskedImage,
    template: Exposure | MaskedImage,
    science: Exposure | MaskedImage,
    kernel: LinearCombinationKernel | None,
    convolved: str = "template",
    threads: int = 1,
) -> dict[str, Any]:
    """Return the figures that the pixels of the images tell, by the names of `Quality`; see `assessQuality`."""
    images = [image.maskedImage if isinstance(image, Exposure) else image for image in (difference, template, science)]
    kernelSum = 1.0 if kernel is None else float(kernel.kernelSum(*images[0].getBBox().centre))
    noData, edge = (images[0].mask.getPlaneBitMask(plane, ignoreMissing=True) for plane in ("NO_DATA", "EDGE"))
    return _core.differenceFigures(
        *(stampTuple(image, DEFAULT_BAD_PLANES) for image in images),
        noData=noData,
        edge=edge,
        saturated=[image.mask.getPlaneBitMask("SAT", ignoreMissing=True) for image in images[1:]],
        kernelSum=kernelSum if convolved == "template" else 1.0 / kernelSum if kernelSum else math.nan,
        nThreads=threads,
    )


def _grid(box: Box) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y (parent pixels) of a 5 x 5 grid that reaches to a tenth of the sides."""
    shares = np.linspace(0.1, 0.9, 5)
    x, y = np.meshgrid(box.x0 + shares * (box.width - 1), box.y0 + shares * (box.height - 1))
    return x.ravel(), y.ravel()


def _kernelFigures(kernel: LinearCombinationKernel, box: Box) -> dict[str, float]:
    stamps = kernel.computeImages(*_grid(box))
    sums = stamps.sum(axis=(1, 2))
    sigma = max(WINDOW_SIGMA, min(kernel.shape) / 8.0)
    shifts = [math.hypot(*_core.windowedCentroid(stamp, sigma=sigma, nPasses=WINDOW_PASSES)) for stamp in stamps]
    return {
        "kernelSum": float(kernel.kernelSum(*box.centre)),
        "kernelSumScatter": float(np.ptp(sums) / abs(np.mean(sums))) if np.mean(sums) else math.nan,
        "kernelShiftPix": median(np.array(shifts)),
    }


def _brightLost(difference: Exposure | MaskedImage, stars: Sequence[tuple[int, int]]) -> float | None:
    """Return the share of bright stars that are unusable where both images are; None if too few tell."""
    if len(stars) < MIN_BRIGHT_STARS:
        return None
    x, y = np.array(stars).T
    mask = difference.mask
    bad, outside = (
        np.int32(mask.getPlaneBitMask(planes, ignoreMissing=True))
        for planes in (DEFAULT_BAD_PLANES, ("EDGE", "NO_DATA"))
    )
    planes = np.asarray(mask)[y, x]
    planes = planes[(planes & outside) == 0]
    return float(np.mean((planes & bad) != 0)) if planes.size >= MIN_BRIGHT_STARS else None


def _candidateFigures(candidates: AnyTable | None, rejected: Mapping[str, int]) -> dict[str, Any]:
    reasons, figures = Counter(rejected), dict[str, Any]()
    if candidates is not None:
        status = np.asarray(candidates["status"])
        figures["nFound"] = len(candidates) + reasons.total()
        figures["nUsed"] = int(np.count_nonzero(status == "GOOD"))
        # The rest of a reason is the candidate's own numbers.
        reasons.update(str(reason).partition(":")[0] for reason in np.asarray(candidates["reason"])[status == "BAD"])
    return figures | {"rejected": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))}

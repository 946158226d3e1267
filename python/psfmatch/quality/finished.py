"""`FinishedSubtraction`: what the figures of a difference are measured on, and those that take more than a line.

The peaks of sources are found anew in template and science image: a list of kernel candidates has lost whatever fits
badly. A source that only one of the images shows counts too; a template that lacks stars is found by it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.brief import Brief
from psfmatch.difference import Decorrelation
from psfmatch.images import DEFAULT_BAD_PLANES, SIGMA_TO_FWHM, Box, Exposure, MaskedImage, stampTuple
from psfmatch.images.medians import median
from psfmatch.io.sourceTable import AnyTable
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.noise import Whiteness, measureWhiteness
from psfmatch.noise.blankSky import BlankSky

__all__ = ["FinishedSubtraction", "whitenessOf"]

AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
LIMIT_SIGMAS = 5.0
MIN_BRIGHT_STARS = 20
BORDER_PLANES = "EDGE", "NO_DATA"
WINDOW_SIGMA, WINDOW_PASSES = 2.0, 12  # px, of the window about a kernel's core


@dataclass(frozen=True, eq=False)
class FinishedSubtraction(Brief):
    """A difference and what it was made of, to be judged by `psfmatch.quality.assessQuality`; nothing of it is changed.

    difference : science minus matched template, on the science image's flux scale; template, science : on its pixels,
    before any convolution; kernel, background : of the solution, None when there is none, as for a plain difference;
    convolved : "template" or "science", the image that the kernel applies to; candidates : as
    `psfmatch.fit.diagnostics.candidateTable`, of which status and reason are read; rejectedSources : how many were
    rejected before they became candidates, by reason; varianceScales : factors that the variance planes were multiplied
    by;
    fwhmPix : of point sources in the difference, for the limiting magnitude; area : pixels that kernel and background
    are for, by default all; brightStars : (x, y), from the first pixel, of the brightest stars that were whole in both
    images before anything was flagged (`psfmatch.sources.Saturation.wholeStars` of both).

    told : figures of `Quality` that were measured elsewhere, by their names, which go before those measured
    here; None is not known. pixels : `pixelFigures` of images that are not quite these. threads : their number changes
    no figure.
    """

    difference: Exposure | MaskedImage
    template: Exposure | MaskedImage
    science: Exposure | MaskedImage
    kernel: LinearCombinationKernel | None = None
    background: SpatialFunction2D | None = None
    convolved: str = "template"
    candidates: AnyTable | None = None
    rejectedSources: Mapping[str, int] = field(default_factory=dict)
    varianceScales: Iterable[float] = ()
    fwhmPix: float | None = None
    area: Box | None = None
    brightStars: Sequence[tuple[int, int]] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    pixels: Mapping[str, Any] | None = None
    threads: int = 1

    @cached_property
    def pixelFigures(self) -> Mapping[str, Any]:
        """Figures that the pixels of the images tell in one pass, by the names of `psfmatch.quality.Quality`.

        And fluxError, relative, of the light left of sources; pixelNoise, counts, of blank sky.
        """
        if self.pixels is not None:
            return self.pixels
        given = self.difference, self.template, self.science
        images = [image.maskedImage if isinstance(image, Exposure) else image for image in given]
        kernelSum = 1.0 if self.kernel is None else float(self.kernel.kernelSum(*images[0].getBBox().centre))
        noData, edge = (images[0].mask.getPlaneBitMask(plane, ignoreMissing=True) for plane in ("NO_DATA", "EDGE"))
        return _core.differenceFigures(
            *(stampTuple(image, DEFAULT_BAD_PLANES) for image in images),
            noData=noData,
            edge=edge,
            saturated=[image.mask.getPlaneBitMask("SAT", ignoreMissing=True) for image in images[1:]],
            kernelSum=kernelSum if self.convolved == "template" else 1.0 / kernelSum if kernelSum else math.nan,
            nThreads=self.threads,
        )

    @cached_property
    def box(self) -> Box:
        """Pixels that kernel and background are for."""
        return self.difference.getBBox() if self.area is None else self.area

    @cached_property
    def grid(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """X and y (parent pixels) of a 5 x 5 grid that reaches to a tenth of the sides of the box."""
        shares = np.linspace(0.1, 0.9, 5)
        x, y = np.meshgrid(self.box.x0 + shares * (self.box.width - 1), self.box.y0 + shares * (self.box.height - 1))
        return x.ravel(), y.ravel()

    @cached_property
    def stamps(self) -> npt.NDArray[np.float64]:
        """The kernel on the grid, (25, ny, nx); (0, 0, 0) without one."""
        return np.zeros((0, 0, 0)) if self.kernel is None else self.kernel.computeImages(*self.grid)

    @cached_property
    def kernelSum(self) -> float | None:
        """At the centre of the box."""
        return None if self.kernel is None else float(self.kernel.kernelSum(*self.box.centre))

    @cached_property
    def statuses(self) -> npt.NDArray[np.str_] | None:
        """Of the candidates; None where nobody gave any."""
        return None if self.candidates is None else np.asarray(self.candidates["status"])


def rejectedByReason(run: FinishedSubtraction) -> dict[str, int]:
    """Return how many candidates and sources were rejected, by reason, the most frequent first."""
    reasons = Counter(run.rejectedSources)
    if run.candidates is not None:
        told = np.asarray(run.candidates["reason"])[run.statuses == "BAD"]
        # The rest of a reason is the candidate's own numbers.
        reasons.update(str(reason).partition(":")[0] for reason in told)
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def brightLost(run: FinishedSubtraction) -> float | None:
    """Return the share of bright stars that are unusable where both images are; None if too few tell."""
    if len(run.brightStars) < MIN_BRIGHT_STARS:
        return None
    x, y = np.array(run.brightStars).T
    mask = run.difference.mask
    bad, outside = (mask.getPlaneBitMask(names, ignoreMissing=True) for names in (DEFAULT_BAD_PLANES, BORDER_PLANES))
    flags = np.asarray(mask)[y, x]
    flags = flags[(flags & np.int32(outside)) == 0]
    return float(np.mean((flags & np.int32(bad)) != 0)) if flags.size >= MIN_BRIGHT_STARS else None


def scatterOfSums(run: FinishedSubtraction) -> float | None:
    """Return the range of the kernel sum on the grid, relative to its mean; None without a kernel."""
    sums = run.stamps.sum(axis=(1, 2))
    return float(np.ptp(sums) / abs(np.mean(sums))) if sums.size and np.mean(sums) else None


def kernelShift(run: FinishedSubtraction) -> float:
    """Return how far the core of the kernel lies from its middle, pixels, the median of the grid; NaN without one."""
    sigma = max(WINDOW_SIGMA, min(run.stamps.shape[1:]) / 8.0)
    centres = (_core.windowedCentroid(stamp, sigma=sigma, nPasses=WINDOW_PASSES) for stamp in run.stamps)
    return median(np.array([math.hypot(*centre) for centre in centres]))


def limitingMagnitude(run: FinishedSubtraction) -> float | None:
    """Return the AB magnitude of point sources at five sigma; None without a calibration, a width or a noise."""
    calibration = run.science.photoCalib if isinstance(run.science, Exposure) else None
    noise = float(run.pixelFigures["pixelNoise"])
    if not (calibration and run.fwhmPix and math.isfinite(noise)):
        return None
    # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
    noise = noise * math.sqrt(4.0 * math.pi) * run.fwhmPix / SIGMA_TO_FWHM * calibration
    return AB_ZERO_POINT - 2.5 * math.log10(LIMIT_SIGMAS * noise)


def whitenessOf(difference: Exposure, decorrelation: Decorrelation | None, sky: BlankSky, threads: int) -> Whiteness:
    """Return how neighbours on blank sky correlate in a difference, in the decorrelated one where there is one."""
    if decorrelation is None:
        return measureWhiteness(difference, where=sky, threads=threads)
    return decorrelation.measureWhiteness(sky, threads)

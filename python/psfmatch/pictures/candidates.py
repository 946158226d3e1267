"""Candidates in pictures: stamps with their residuals, kernels, and residuals in units of the noise.

The residual of a candidate is science - (kernel * template + background), with its own kernel or with the spatial
model at its place, over the pixels that the kernel reaches.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel, SpatialFunction2D
from psfmatch.pictures import drawing
from psfmatch.pictures.drawing import COLOURS, percentile
from psfmatch.pictures.mosaic import MASKED_COLOUR, Mosaic, Panel, Tile, mosaicFigure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CANDIDATES = 40  # more would be too small to see
RESIDUAL_LIMIT = 10.0  # of residual stamps, times the noise of the sky
CHI_LIMIT = 5.0  # of chi stamps
LABELS = "; label: id, χ² per pixel"
NAMES = {CandidateStatus.GOOD: "good", CandidateStatus.BAD: "bad", CandidateStatus.UNKNOWN: "not judged"}


@dataclass(frozen=True)
class CandidateStamps:
    """What is drawn of one candidate, over the pixels that the kernel reaches.

    science, matched : counts (template through its own kernel, with the background); own, spatial : residual of its own
    kernel and of the spatial model (None without one); kernel, model : kernel images.
    """

    candidate: KernelCandidate
    science: MaskedImage
    matched: MaskedImage
    own: MaskedImage
    spatial: MaskedImage | None
    kernel: NDArray[np.float64]
    model: NDArray[np.float64] | None

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Pixels that have no weight in the fit."""
        return self.own.badPixels(self.candidate.options.badPlanes())

    @property
    def residuals(self) -> list[MaskedImage]:
        """The residual of its own kernel, and that of the model if there is one."""
        return [self.own] if self.spatial is None else [self.own, self.spatial]

    @property
    def label(self) -> str:
        """The id and chi^2 of a pixel, of its own kernel and of the model."""
        spatial = self.candidate.spatialResidual
        ofModel = "" if spatial is None else f", model {spatial.rms**2:.2f}"
        return f"{self.candidate.id}  χ² {self.candidate.chi2:.2f}{ofModel}"


def _residual(
    candidate: KernelCandidate, kernelImage: NDArray[np.float64], background: float
) -> tuple[MaskedImage, MaskedImage]:
    """Return kernel * template + background, and science minus that, over the pixels that the kernel reaches."""
    edges = EdgeHandling(badPlanes=tuple(candidate.options.badPlanes()))
    kernel = LinearCombinationKernel(kernelImage[np.newaxis], [[1.0]])
    matched = kernel.convolve(candidate.templateMaskedImage, edges, threads=1)
    matched -= -background
    residual = candidate.scienceMaskedImage.copy()
    residual -= matched
    height, width = kernelImage.shape
    box = residual.getBBox()
    inner = Box(box.x0 + width // 2, box.y0 + height // 2, box.width - width + 1, box.height - height + 1)
    return matched.subset(inner), residual.subset(inner)


def candidateStamps(
    candidate: KernelCandidate,
    kernel: LinearCombinationKernel | None = None,
    background: SpatialFunction2D | None = None,
) -> CandidateStamps:
    """Return the stamps and kernels of a candidate that has a solution; of the spatial model too if there is one."""
    solution = candidate.kernelSolution
    own = solution.computeImage()
    matched, residual = _residual(candidate, own, solution.background)
    model = spatial = None
    if kernel is not None:
        place = candidate.x, candidate.y
        model = kernel.computeImage(*place)
        spatial = _residual(candidate, model, 0.0 if background is None else float(background(*place)))[1]
    science = candidate.scienceMaskedImage.subset(residual.getBBox())
    return CandidateStamps(candidate, science, matched, residual, spatial, own, model)


def fittedCandidates(cellSet: SpatialCellSet, showBad: bool) -> list[KernelCandidate]:
    """Return the candidates that have a kernel, the bad ones too if they are to be shown."""
    return [c for c in cellSet if c.isInitialized and (showBad or c.status is not CandidateStatus.BAD)]


def chosenCandidates(
    cellSet: SpatialCellSet, showBad: bool, most: int = MOST_CANDIDATES
) -> tuple[list[KernelCandidate], str]:
    """Return the fitted candidates to draw, lowest chi^2 first, and a sentence about which they are.

    Of more than `most`, as many are taken at even steps of chi^2's rank, best and worst among them.
    """
    fitted = fittedCandidates(cellSet, showBad)
    fitted.sort(key=lambda c: (c.status is CandidateStatus.BAD, c.chi2))
    if len(fitted) <= most:
        return fitted, f"all {len(fitted)} fitted candidates" if showBad else f"{len(fitted)} good candidates"
    ranks = np.unique(np.linspace(0, len(fitted) - 1, most).round().astype(int))
    return [fitted[i] for i in ranks], f"{len(ranks)} of {len(fitted)} candidates, at even steps of the rank in χ²"


def _mosaic(
    shown: Sequence[CandidateStamps],
    panels: Sequence[Sequence[Panel]],
    headings: str,
    words: tuple[str, str],
    bar: tuple[Any, str],
    opacity: float,
) -> Figure:
    """Figure of one tile per candidate: headings of its panels, title and note, style and label of the colour bar."""
    from matplotlib.patches import Patch

    colours = [COLOURS[stamps.candidate.status.name] for stamps in shown]
    tiles = [Tile(s.label, images, c, c) for s, images, c in zip(shown, panels, colours, strict=True)]
    present = {stamps.candidate.status for stamps in shown}
    handles = [Patch(color=COLOURS[status.name], label=NAMES[status]) for status in NAMES if status in present]
    if any(bad is not None for *_, bad in panels[0]):
        handles.append(Patch(color=MASKED_COLOUR, label="bad pixel"))
    names = headings.split(", ")[: len(panels[0])]
    return mosaicFigure(Mosaic(tiles, 15.2, 9.0), words, handles, names, opacity, bar)


def stampsMosaic(shown: Sequence[CandidateStamps], which: str, opacity: float) -> Figure:
    """Draw science, matched template, and both residuals of every candidate, in counts.

    Star images have a scale of their own: their sky is white, their peak black. Residuals are in units of the sky
    noise of the stamp, one number for all of its pixels, so that they keep their shape.
    """
    scale = drawing.signedStyle(RESIDUAL_LIMIT)
    panels = []
    for stamps in shown:
        science, matched, bad = stamps.science.image, stamps.matched.image, stamps.bad
        sky, variance = percentile(science[~bad], 25), percentile(stamps.own.variance[~bad], 25)
        noise = math.sqrt(variance) if variance > 0 else drawing.noiseOf(science[~bad])
        star = drawing.styleOf("gray_r", drawing.asinhNorm(noise, percentile(science[~bad], 100) - sky))
        images: list[Panel] = [(science - sky, star, bad), (matched - sky, star, None)]
        images += [(np.where(bad, np.nan, residual.image) / noise, scale, bad) for residual in stamps.residuals]
        panels.append(images)
    note = (
        f"{which}{LABELS}. Stars: asinh from sky to own peak. Residuals of the candidate's own kernel and of the "
        "spatial model, in counts over the sky noise of the stamp"
    )
    words, bar = ("Candidates: science, matched template, residuals", note), (scale, "residual / sky noise")
    return _mosaic(shown, panels, "science, matched, residual, of model", words, bar, opacity)


def kernelsMosaic(shown: Sequence[CandidateStamps], which: str, opacity: float) -> Figure:
    """Draw each candidate's own kernel, the spatial model at its place, and their difference, on one scale."""
    peak = float(np.median([np.abs(stamps.kernel).max() for stamps in shown])) or 1.0
    scale = drawing.signedStyle(peak, peak / 20)
    panels: list[list[Panel]] = []
    for stamps in shown:
        ofModel = [] if stamps.model is None else [stamps.model, stamps.kernel - stamps.model]
        panels.append([(image, scale, None) for image in (stamps.kernel, *ofModel)])
    note = f"{which}{LABELS}. The kernel of the candidate alone and the spatial model at its place, per pixel, asinh"
    words = "Candidates: kernels", note
    return _mosaic(shown, panels, "own, model, own - model", words, (scale, "kernel, per pixel"), opacity)


def chiMosaic(shown: Sequence[CandidateStamps], which: str, opacity: float) -> Figure:
    """Draw residual / sqrt(variance) of the candidate's own kernel and of the spatial model."""
    scale = drawing.signedStyle(CHI_LIMIT)

    def chi(residual: MaskedImage, bad: NDArray[np.bool_]) -> NDArray[np.float64]:
        variance = np.where((residual.variance > 0) & ~bad, residual.variance, np.nan).astype(np.float64)
        return residual.image / np.sqrt(variance)

    panels = [[(chi(residual, stamps.bad), scale, stamps.bad) for residual in stamps.residuals] for stamps in shown]
    note = f"{which}{LABELS}. Residual / √variance of its own kernel and of the spatial model; ideally noise of 1"
    words = "Candidates: residuals in units of their noise", note
    return _mosaic(shown, panels, "own, model", words, (scale, "residual / √variance"), opacity)


def writeKernelCandidates(
    cellSet: SpatialCellSet,
    kernel: LinearCombinationKernel,
    background: SpatialFunction2D,
    folder: str | os.PathLike[str],
) -> list[Path]:
    """Write what belongs to every good candidate to FITS files.

    Parameters
    ----------
    cellSet
        Candidates after a solution.
    kernel, background
        The spatial model.
    folder
        Where to write; made if need be.

    Returns
    -------
    paths
        For each candidate ``diffim_c{id}_x{x}_y{y}.fits`` (residual of its own kernel, image, mask and variance),
        ``kernel_...`` (its own kernel) and ``sdiffim_...`` (residual of the spatial model); x and y are those of the
        nearest pixel.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for candidate in cellSet:
        if candidate.status is not CandidateStatus.GOOD or not candidate.isInitialized:
            continue
        stamps = candidateStamps(candidate, kernel, background)
        assert stamps.spatial is not None
        x, y = math.floor(candidate.x + 0.5), math.floor(candidate.y + 0.5)
        images = {"diffim": stamps.own, "kernel": MaskedImage(stamps.kernel), "sdiffim": stamps.spatial}
        for what, image in images.items():
            paths.append(folder / f"{what}_c{candidate.id}_x{x}_y{y}.fits")
            Exposure(image).writeFits(paths[-1])
    return paths

"""Images in pictures: one image with its mask planes, cells and candidates over it, a subtraction in four panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from psfmatch.cells import CandidateStatus, SpatialCellSet
from psfmatch.displays.drawing import (
    COLOURS,
    Plane,
    binned,
    drawCounts,
    drawDifference,
    noiseOf,
    overlayMask,
    percentile,
    titleFigure,
)
from psfmatch.displays.output import newFigure
from psfmatch.exposure import Exposure, MaskedImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cellsFigure", "differencePanels", "imageFigure", "selectionFigure"]

LARGE_SIDE = 1000  # px, of a binned image that has a figure to itself
SIGMA_RANGE = 6.0  # of differences
HIDDEN_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")  # of a difference: such pixels would look like detections
BRIGHT_PERCENT = 99.9  # of the pixels are drawn below black
DOT_COLOURS = {CandidateStatus.GOOD: "#00c8d7", CandidateStatus.UNKNOWN: "#e6c800", CandidateStatus.BAD: "#e31a1c"}
"""Good cyan, unused yellow, bad red."""

LABEL_COLOURS = {CandidateStatus.GOOD: "#00707c", CandidateStatus.UNKNOWN: "#7a6a00", CandidateStatus.BAD: "#b00000"}

FATE_COLOURS = ("#e31a1c", "#ff7f00", "#984ea3", "#8a8a8a", "#a65628")


def _masked(image: MaskedImage | Exposure) -> MaskedImage:
    return image.maskedImage if isinstance(image, Exposure) else image


def _axisFor(figure: Figure, shape: tuple[int, int], area: tuple[float, float, float, float]) -> Axes:
    """Axes of an image's proportions in the middle of an area (left, bottom, width, height in inches)."""
    left, bottom, width, height = area
    scale = min(width / shape[1], height / shape[0])
    wide, tall = max(shape[1] * scale, 0.5), max(shape[0] * scale, 0.5)
    across, up = figure.get_size_inches()
    return figure.add_axes(
        ((left + (width - wide) / 2) / across, (bottom + (height - tall) / 2) / up, wide / across, tall / up)
    )


def _scale(plane: Plane) -> tuple[float, float]:
    noise = noiseOf(plane.values)
    return noise, max(percentile(plane.values - plane.sky, BRIGHT_PERCENT), 20 * noise)


def _label(axis: Axes) -> None:
    axis.set_xlabel("x (pixels)", fontsize=10)
    axis.set_ylabel("y (pixels)", fontsize=10)
    axis.tick_params(labelsize=9)


def _describe(image: MaskedImage, plane: Plane) -> str:
    told = f"{image.getBBox()}; sky {plane.sky:.4g}, noise {noiseOf(plane.values):.3g} counts per shown pixel"
    return told + (f", binned {plane.bins} × {plane.bins}" if plane.bins > 1 else "")


def imageFigure(image: MaskedImage | Exposure, title: str, opacity: float) -> Figure:
    """Draw one image with its mask planes over it."""
    figure, axis, plane = _single(image, opacity, title)
    drawCounts(axis, plane, *_scale(plane))
    return figure


def _single(image: MaskedImage | Exposure, opacity: float, title: str) -> tuple[Figure, Axes, Plane]:
    """Return a figure with axes for an image, its masks drawn; the image itself is to be drawn below them."""
    masked = _masked(image)
    figure = newFigure(12.0, 11.5)
    axis = _axisFor(figure, masked.shape, (0.9, 0.95, 9.7, 9.5))
    plane = binned(masked, (), LARGE_SIDE)
    handles = overlayMask(axis, plane, masked, opacity)
    for layer in axis.images:
        layer.set_zorder(1)
    titleFigure(figure, title, _describe(masked, plane), handles)
    _label(axis)
    return figure, axis, plane


def cellsFigure(science: MaskedImage, cellSet: SpatialCellSet, opacity: float, showBad: bool) -> Figure:
    """Draw the cells and what became of their candidates over the image that was not convolved."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    figure, axis, plane = _single(science, opacity, "Spatial cells and candidates")
    drawCounts(axis, plane, *_scale(plane))
    for cell in cellSet.cells:
        box = cell.bbox
        axis.add_patch(
            Rectangle((box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, fill=False, ec="#3b6fb6", lw=0.8, zorder=2)
        )
    handles = []
    names = {CandidateStatus.GOOD: "good", CandidateStatus.UNKNOWN: "unused", CandidateStatus.BAD: "bad"}
    nCandidates = len(cellSet)
    for status, name in names.items():
        chosen = [c for c in cellSet if c.status is status]
        if not chosen or (status is CandidateStatus.BAD and not showBad):
            continue
        style: dict[str, Any] = {"mfc": "none", "mec": DOT_COLOURS[status], "mew": 2.0, "ls": "none", "marker": "o"}
        axis.plot([c.x for c in chosen], [c.y for c in chosen], ms=11, zorder=3, **style)
        handles.append(Line2D([], [], ms=9, label=f"{name} ({len(chosen)})", **style))
        if nCandidates <= 120:
            for candidate in chosen:
                axis.annotate(
                    str(candidate.id),
                    (candidate.x, candidate.y),
                    (7, 5),
                    textcoords="offset points",
                    fontsize=10,
                    color=LABEL_COLOURS[status],
                    zorder=3,
                    path_effects=[withStroke(linewidth=2.0, foreground="white")],
                    annotation_clip=True,
                )
    _addLegend(figure, handles)
    return figure


def _addLegend(figure: Figure, handles: Sequence[Any]) -> None:
    """Write a second legend along the bottom."""
    if handles:
        figure.legend(handles=list(handles), loc="lower center", ncols=len(handles), frameon=False, fontsize=11)


def selectionFigure(
    science: MaskedImage, x: ArrayLike, y: ArrayLike, fates: Mapping[str, ArrayLike], opacity: float
) -> Figure:
    """Draw the sources from which candidates were chosen, and why the others were not.

    Parameters
    ----------
    science
        Image to match.
    x, y : (N,)
        Positions of the sources, parent pixels.
    fates
        For each reason of rejection which sources it met, (N,) booleans.
    opacity
        Of the mask planes.
    """
    from matplotlib.lines import Line2D

    figure, axis, plane = _single(science, opacity, "Selection of candidates")
    drawCounts(axis, plane, *_scale(plane))
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    chosen = np.ones(x.shape, dtype=bool)
    for met in fates.values():
        chosen &= ~np.asarray(met, dtype=bool)
    groups = [("selected", chosen, COLOURS["GOOD"], "o", 11.0)]
    for (name, met), colour in zip(fates.items(), FATE_COLOURS, strict=False):
        groups.append((name, np.asarray(met, dtype=bool), colour, "X", 7.0))
    handles = []
    for name, met, colour, marker, size in groups:
        if not met.any():
            continue
        style: dict[str, Any] = {"mfc": "none", "mec": colour, "mew": 1.6, "ls": "none", "marker": marker}
        axis.plot(x[met], y[met], ms=size, zorder=3, clip_on=False, **style)
        handles.append(Line2D([], [], ms=9, label=f"{name} ({np.count_nonzero(met)})", **style))
    _addLegend(figure, handles)
    return figure


def differencePanels(images: Mapping[str, MaskedImage | Exposure], opacity: float, note: str = "") -> Figure:
    """Draw the images of a subtraction, the last of which is the difference, each with its mask planes over it.

    Images in counts are drawn from their own sky; the second and third share one scale. The difference is in units of
    its noise where it has a variance.
    """
    names = list(images)
    masked = [_masked(image) for image in images.values()]
    aspect = masked[-1].height / masked[-1].width
    tall = 6.15 * min(max(aspect, 0.3), 2.0)
    figure = newFigure(16.0, 2 * tall + 3.1)
    planes = [*(binned(image, ()) for image in masked[:-1]), binned(masked[-1], HIDDEN_PLANES)]
    handles: dict[str, Any] = {}
    told = ""
    scales = [_scale(plane) for plane in planes]
    shared = max(s[0] for s in scales[1:3]), max(s[1] for s in scales[1:3])
    for i, (name, image, plane) in enumerate(zip(names, masked, planes, strict=True)):
        place = (0.85 + (i % 2) * 7.85, 0.75 + (1 - i // 2) * (tall + 0.95), 6.15, tall)
        axis = _axisFor(figure, image.shape, place)
        if name == names[-1]:
            scatter = noiseOf(drawDifference(axis, plane, SIGMA_RANGE))
            unit = "of its noise" if np.any(plane.variance > 0) else "counts"
            told = f"the difference scatters by {scatter:.3g} {unit}"
        else:
            drawCounts(axis, plane, *(scales[0] if i == 0 else shared))
        for handle in overlayMask(axis, plane, image, opacity):
            plain = handle.get_label().split()[0]
            handle.set_label(plain)
            handles.setdefault(plain, handle)
        axis.set_title(name, fontsize=13)
        _label(axis)
    bins = f"binned {planes[-1].bins} × {planes[-1].bins}" if planes[-1].bins > 1 else ""
    titleFigure(figure, "Subtraction", "; ".join(filter(None, (note, told, bins))), list(handles.values()))
    return figure

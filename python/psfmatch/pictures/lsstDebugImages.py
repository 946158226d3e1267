"""Images in debug views: one image with its mask planes, cells and candidates over it, a subtraction in four panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from psfmatch.cells import CandidateStatus, SpatialCellSet
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.pictures import drawing
from psfmatch.pictures.drawing import COLOURS
from psfmatch.pictures.panels import drawPanels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cellsFigure", "differencePanels", "imageFigure", "selectionFigure"]

LARGE_SIDE = 1000  # px, of a binned image that has a figure to itself
STATUSES = {
    CandidateStatus.GOOD: ("good", "#00c8d7", "#00707c"),
    CandidateStatus.UNKNOWN: ("unused", "#e6c800", "#7a6a00"),
    CandidateStatus.BAD: ("bad", "#e31a1c", "#b00000"),
}
"""Name, colour of the circle (good cyan, unused yellow, bad red) and of the number."""

FATE_COLOURS = ("#e31a1c", "#ff7f00", "#984ea3", "#8a8a8a", "#a65628")
MOST_NUMBERS = 120  # of candidates; more would cover the image


def imageFigure(image: MaskedImage | Exposure, title: str, opacity: float) -> Figure:
    """Draw one image with its mask planes over it."""
    return _drawImage(image, title, opacity)[0]


def _drawImage(image: MaskedImage | Exposure, title: str, opacity: float) -> tuple[Figure, Axes]:
    masked = image.maskedImage if isinstance(image, Exposure) else image
    # In the proportions of the image, within 9.7 x 9.5 inches.
    scale = min(9.7 / masked.width, 9.5 / masked.height)
    wide, tall = max(masked.width * scale, 0.5), max(masked.height * scale, 0.5)
    figure = drawing.newFigure(12.0, tall + 2.0)
    axis = drawing.axesAt(figure, 0.9 + (9.7 - wide) / 2, 0.95, wide, tall)
    plane = drawing.binned(masked, (), LARGE_SIDE)
    drawing.drawCounts(axis, plane, drawing.countScale(plane))
    handles = drawing.overlayMask(axis, plane, masked, opacity)
    noise = drawing.noiseOf(plane.values)
    told = f"{masked.getBBox()}; sky {plane.sky:.4g}, noise {noise:.3g} counts per shown pixel"
    binning = f", binned {plane.bins} × {plane.bins}" if plane.bins > 1 else ""
    drawing.titleFigure(figure, title, told + binning, handles)
    drawing.labelPixels(axis)
    return figure, axis


def cellsFigure(science: MaskedImage, cellSet: SpatialCellSet, opacity: float, showBad: bool) -> Figure:
    """Draw the cells and what became of their candidates over the image that was not convolved."""
    from matplotlib.patches import Rectangle

    figure, axis = _drawImage(science, "Spatial cells and candidates", opacity)
    for cell in cellSet.cells:
        corner, size = (cell.bbox.x0 - 0.5, cell.bbox.y0 - 0.5), (cell.bbox.width, cell.bbox.height)
        axis.add_patch(Rectangle(corner, *size, fill=False, ec="#3b6fb6", lw=0.8, zorder=2))
    handles = []
    for status, (name, colour, dark) in STATUSES.items():
        chosen = [c for c in cellSet if c.status is status and (showBad or status is not CandidateStatus.BAD)]
        handles += drawing.mark([axis], [c.x for c in chosen], [c.y for c in chosen], colour, "o", 11.0, name)
        for candidate in chosen if len(cellSet) <= MOST_NUMBERS else ():
            drawing.write(axis, str(candidate.id), (candidate.x, candidate.y), (7, 5), color=dark)
    drawing.addLegend(figure, handles)
    return figure


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
    figure, axis = _drawImage(science, "Selection of candidates", opacity)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    met = {name: np.asarray(isMet, dtype=bool) for name, isMet in fates.items()}
    chosen = ~np.logical_or.reduce([np.zeros(x.shape, dtype=bool), *met.values()])
    handles: list[Any] = drawing.mark([axis], x[chosen], y[chosen], COLOURS["GOOD"], "o", 11.0, "selected")
    for (name, isMet), colour in zip(met.items(), FATE_COLOURS, strict=False):
        handles += drawing.mark([axis], x[isMet], y[isMet], colour, "X", 7.0, name)
    for line in axis.lines:
        # Sources beyond the borders, too.
        line.set_clip_on(False)
    drawing.addLegend(figure, handles)
    return figure


def differencePanels(images: Mapping[str, MaskedImage | Exposure], opacity: float, note: str = "") -> Figure:
    """Draw the images of a subtraction, the last of which is the difference, each with its mask planes over it."""
    panels = drawPanels(images, opacity, top=1.35)
    told = filter(None, (note, f"the difference scatters by {panels.scatter}", panels.note))
    drawing.titleFigure(panels.figure, "Subtraction", "; ".join(told))
    drawing.addLegend(panels.figure, panels.planes)
    return panels.figure

"""What the tasks tell: each function draws the views of one moment that the debug module asks for.

Three channels, as documented for the LSST pipelines: ``psfMatch`` (candidates, kernels, spatial model),
``imagePsfMatch`` (images, cells, difference) and ``diaCatalogSourceSelector`` (selection of candidates). Without a
debug module nothing of this is imported (`psfmatch.config.later.laterView`). A view that fails leaves a warning in the
log and nothing else: no picture is worth a subtraction.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.fit.candidates.cells import CandidateStatus, SpatialCellSet
from psfmatch.images import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.pictures import candidates, drawing, kernels
from psfmatch.pictures.lsstDebug import Switches, makeFigure, pause, publish, switchesOf
from psfmatch.pictures.panels import drawImage, drawPanels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

log = logging.getLogger("psfmatch.pictures")

Draw = Callable[[], "Figure"]
STATUSES = {
    CandidateStatus.GOOD: ("good", "#00c8d7", "#00707c"),
    CandidateStatus.UNKNOWN: ("unused", "#e6c800", "#7a6a00"),
    CandidateStatus.BAD: ("bad", "#e31a1c", "#b00000"),
}
"""Name, colour of the circle (good cyan, unused yellow, bad red) and of the number."""

FATE_COLOURS = ("#e31a1c", "#ff7f00", "#984ea3", "#8a8a8a", "#a65628")
MOST_NUMBERS = 120  # of candidates; more would cover the image


def _show(channel: str, views: Mapping[str, Draw]) -> None:
    """Draw views, functions by their titles, and publish them."""
    token = drawing.figureMaker.set(makeFigure)
    try:
        for title, draw in views.items():
            try:
                publish(draw(), channel, title)
            except (ModuleNotFoundError, OSError) as error:
                log.warning("No debug views: %s", error)
                return
            except Exception as error:
                log.warning("Debug view %r failed: %s: %s", title, type(error).__name__, error)
                log.debug("Traceback of %r", title, exc_info=True)
    finally:
        drawing.figureMaker.reset(token)


def _asked(channel: str) -> Switches:
    return switchesOf(channel) or Switches([])


# Channel psfMatch


def showSolution(
    cellSet: SpatialCellSet, kernel: LinearCombinationKernel | None = None, background: SpatialFunction2D | None = None
) -> None:
    """Show candidates, kernels and coefficients after a solution (channel psfMatch).

    Without a kernel, because there is no solution, the candidates are shown with their own kernels alone.
    """
    switches = switchesOf("psfMatch")
    if switches is None:
        return
    views: dict[str, Draw] = {}
    if switches.isOn("displayCandidates"):
        views |= _candidateViews(switches, cellSet, kernel, background)
    if kernel is not None and background is not None:
        views |= _kernelViews(switches, cellSet, kernel, background)
    _show("psfMatch", views)


def _candidateViews(
    switches: Switches,
    cellSet: SpatialCellSet,
    kernel: LinearCombinationKernel | None,
    background: SpatialFunction2D | None,
) -> dict[str, Draw]:
    chosen, which = candidates.chosenCandidates(cellSet, switches.isOn("showBadCandidates"))
    if not chosen:
        log.info("No candidate has a kernel to show")
        return {}

    @functools.cache
    def stamps() -> list[candidates.CandidateStamps]:
        return [candidates.candidateStamps(candidate, kernel, background) for candidate in chosen]

    mosaics = {"stamps": candidates.stampsMosaic, "kernels": candidates.kernelsMosaic, "chi": candidates.chiMosaic}

    def view(draw: Callable[[list[candidates.CandidateStamps], str, float], Figure]) -> Draw:
        return lambda: draw(stamps(), which, switches.maskOpacity)

    return {f"candidates {name}": view(draw) for name, draw in mosaics.items()}


def _kernelViews(
    switches: Switches, cellSet: SpatialCellSet, kernel: LinearCombinationKernel, background: SpatialFunction2D
) -> dict[str, Draw]:
    bbox, showBad = cellSet.bbox, switches.isOn("showBadCandidates")

    @functools.cache
    def table() -> kernels.Coefficients:
        return kernels.tabulateCoefficients(cellSet, kernel, background, showBad)

    # By their switches; regions are fitted together, and none has a kernel of its own.
    ofKernel: dict[str, dict[str, Draw]] = {
        "displayKernelBasis": {"kernel basis": lambda: kernels.basisMosaic(kernel)},
        "displayKernelMosaic": {"kernel over the field": lambda: kernels.fieldMosaic(kernel, bbox)},
    }
    ofCandidates: dict[str, dict[str, Draw]] = {
        "plotKernelSpatialModel": {
            "coefficient maps": lambda: kernels.coefficientMaps(table(), kernel, background, bbox),
            "coefficient residuals": lambda: kernels.coefficientResiduals(table(), bbox),
        },
        "plotKernelCoefficients": {"coefficients and histograms": lambda: kernels.coefficientsFigure(table())},
    }
    if any(map(switches.isOn, ofCandidates)) and not candidates.fittedCandidates(cellSet, showBad):
        log.info("No candidate has coefficients to show")
        ofCandidates = {}
    asked = [views for switch, views in (ofKernel | ofCandidates).items() if switches.isOn(switch)]
    return {title: draw for views in asked for title, draw in views.items()}


# Channel imagePsfMatch


def showInputs(template: MaskedImage, science: MaskedImage) -> None:
    """Show the image to convolve and the image to match before anything is done (channel imagePsfMatch)."""
    images = (("displayTemplate", template, "Image to convolve"), ("displaySciIm", science, "Image to not convolve"))
    for switch, image, title in images:
        if _asked("imagePsfMatch").isOn(switch):
            _showImage(image, title, "imagePsfMatch")


def showExposure(exposure: MaskedImage | Exposure, title: str) -> None:
    """Show any image at the next frame, whatever the switches say; for scripts."""
    _showImage(exposure, title, "image")


def _showImage(image: MaskedImage | Exposure, title: str, channel: str) -> None:
    opacity = _asked("imagePsfMatch").maskOpacity
    _show(channel, {title: lambda: drawImage(image, title, opacity)[0]})


def showSpatialCells(science: MaskedImage, cellSet: SpatialCellSet) -> None:
    """Show the cells and what became of their candidates (channel imagePsfMatch)."""
    switches = _asked("imagePsfMatch")
    if switches.isOn("displaySpatialCells"):
        opacity, showBad = switches.maskOpacity, switches.isOn("showBadCandidates")
        _show("imagePsfMatch", {"spatial cells": lambda: cellsFigure(science, cellSet, opacity, showBad)})


def cellsFigure(science: MaskedImage, cellSet: SpatialCellSet, opacity: float, showBad: bool) -> Figure:
    """Draw the cells and what became of their candidates over the image that was not convolved."""
    figure, axis = drawImage(science, "Spatial cells and candidates", opacity)
    from matplotlib.patches import Rectangle

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


def showDifference(
    template: MaskedImage | Exposure,
    matched: MaskedImage,
    science: MaskedImage | Exposure,
    difference: MaskedImage,
    convolveTemplate: bool = True,
) -> None:
    """Show template, matched image, science image and difference (channel imagePsfMatch)."""
    switches = _asked("imagePsfMatch")
    if switches.isOn("displayDiffIm"):
        name = "Matched template" if convolveTemplate else "Matched science image"
        images = {"Template": template, name: matched, "Science": science, "Difference": difference}
        note = f"{name} and science image on one scale" * convolveTemplate
        _show("imagePsfMatch", {"difference": lambda: differencePanels(images, switches.maskOpacity, note)})


def differencePanels(images: Mapping[str, MaskedImage | Exposure], opacity: float, note: str = "") -> Figure:
    """Draw the images of a subtraction, the last of which is the difference, each with its mask planes over it."""
    panels = drawPanels(images, opacity, top=1.35)
    told = filter(None, (note, f"the difference scatters by {panels.scatter}", panels.note))
    drawing.titleFigure(panels.figure, "Subtraction", "; ".join(told))
    drawing.addLegend(panels.figure, panels.planes)
    return panels.figure


# Channel diaCatalogSourceSelector


def showSelection(science: MaskedImage, x: ArrayLike, y: ArrayLike, fates: Mapping[str, ArrayLike]) -> None:
    """Show which sources became candidates, and why the others did not (channel diaCatalogSourceSelector).

    x, y : (N,) parent pixels; fates : for each reason of rejection which sources it met, (N,) booleans.
    """
    channel = "diaCatalogSourceSelector"
    switches = _asked(channel)
    if switches.isOn("displayExposure"):
        opacity = switches.maskOpacity
        _show(channel, {"selection of candidates": lambda: selectionFigure(science, x, y, fates, opacity)})
    if switches.isOn("pauseAtEnd"):
        pause()


def selectionFigure(
    science: MaskedImage, x: ArrayLike, y: ArrayLike, fates: Mapping[str, ArrayLike], opacity: float
) -> Figure:
    """Draw the sources from which candidates were chosen, and why the others were not."""
    figure, axis = drawImage(science, "Selection of candidates", opacity)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    met = {name: np.asarray(isMet, dtype=bool) for name, isMet in fates.items()}
    chosen = ~np.logical_or.reduce([np.zeros(x.shape, dtype=bool), *met.values()])
    handles: list[Any] = drawing.mark([axis], x[chosen], y[chosen], drawing.COLOURS["GOOD"], "o", 11.0, "selected")
    for (name, isMet), colour in zip(met.items(), FATE_COLOURS, strict=False):
        handles += drawing.mark([axis], x[isMet], y[isMet], colour, "X", 7.0, name)
    for line in axis.lines:
        # Sources beyond the borders, too.
        line.set_clip_on(False)
    drawing.addLegend(figure, handles)
    return figure

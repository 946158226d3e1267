"""What the tasks tell: each function draws the views of one moment that the debug module asks for.

Three channels, as documented for the LSST pipelines: ``psfMatch`` (candidates, kernels, spatial model),
``imagePsfMatch`` (images, cells, difference) and ``diaCatalogSourceSelector`` (selection of candidates). Without a
debug module nothing of this is imported (`psfmatch.later.laterView`). A view that fails leaves a warning in the log and
nothing else: no picture is worth a subtraction.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from psfmatch.cells import CandidateStatus, SpatialCellSet
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.pictures import candidates, coefficients, kernels, lsstDebugImages
from psfmatch.pictures.drawing import figureMaker
from psfmatch.pictures.lsstDebugOutput import makeFigure, pause, publish
from psfmatch.pictures.lsstDebugSwitches import Switches, switchesOf

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["showDifference", "showExposure", "showInputs", "showSelection", "showSolution", "showSpatialCells"]

log = logging.getLogger("psfmatch.pictures")

View = tuple[str, Callable[[], "Figure"]]


def _show(channel: str, *views: View) -> None:
    """Draw views, (title, function that returns a figure), and publish them."""
    token = figureMaker.set(makeFigure)
    try:
        for title, draw in views:
            try:
                publish(draw(), channel, title)
            except (ModuleNotFoundError, OSError) as error:
                log.warning("No debug views: %s", error)
                return
            except Exception as error:
                log.warning("Debug view %r failed: %s: %s", title, type(error).__name__, error)
                log.debug("Traceback of %r", title, exc_info=True)
    finally:
        figureMaker.reset(token)


def showSolution(
    cellSet: SpatialCellSet,
    kernel: LinearCombinationKernel | None = None,
    background: SpatialFunction2D | None = None,
) -> None:
    """Show candidates, kernels and coefficients after a solution (channel psfMatch).

    Without a kernel, because there is no solution, the candidates are shown with their own kernels alone.
    """
    switches = switchesOf("psfMatch")
    if switches is None:
        return
    views: list[View] = []
    if switches.isOn("displayCandidates"):
        views += _candidateViews(switches, cellSet, kernel, background)
    if kernel is not None and background is not None:
        views += _kernelViews(switches, cellSet, kernel, background)
    _show("psfMatch", *views)


def _candidateViews(
    switches: Switches,
    cellSet: SpatialCellSet,
    kernel: LinearCombinationKernel | None,
    background: SpatialFunction2D | None,
) -> list[View]:
    chosen, which = candidates.chosenCandidates(cellSet, switches.isOn("showBadCandidates"))
    if not chosen:
        log.info("No candidate has a kernel to show")
        return []

    @functools.cache
    def stamps() -> list[candidates.CandidateStamps]:
        return [candidates.candidateStamps(candidate, kernel, background) for candidate in chosen]

    def drawing(draw: Callable[[list[candidates.CandidateStamps], str, float], Figure]) -> Callable[[], Figure]:
        return lambda: draw(stamps(), which, switches.maskOpacity)

    return [
        ("candidates stamps", drawing(candidates.stampsMosaic)),
        ("candidates kernels", drawing(candidates.kernelsMosaic)),
        ("candidates chi", drawing(candidates.chiMosaic)),
    ]


def _kernelViews(
    switches: Switches, cellSet: SpatialCellSet, kernel: LinearCombinationKernel, background: SpatialFunction2D
) -> list[View]:
    bbox, showBad = cellSet.bbox, switches.isOn("showBadCandidates")

    @functools.cache
    def table() -> coefficients.Coefficients:
        return coefficients.tabulateCoefficients(cellSet, kernel, background, showBad)

    views: dict[str, list[View]] = {
        "displayKernelBasis": [("kernel basis", lambda: kernels.basisMosaic(kernel))],
        "displayKernelMosaic": [("kernel over the field", lambda: kernels.fieldMosaic(kernel, bbox))],
    }
    # Regions are fitted together: none has a kernel of its own.
    ofCandidates: dict[str, list[View]] = {
        "plotKernelSpatialModel": [
            ("coefficient maps", lambda: coefficients.coefficientMaps(table(), kernel, background, bbox)),
            ("coefficient residuals", lambda: coefficients.coefficientResiduals(table(), bbox)),
        ],
        "plotKernelCoefficients": [("coefficients and histograms", lambda: coefficients.coefficientsFigure(table()))],
    }
    if any(c.isInitialized and (showBad or c.status is not CandidateStatus.BAD) for c in cellSet):
        views |= ofCandidates
    elif any(switches.isOn(switch) for switch in ofCandidates):
        log.info("No candidate has coefficients to show")
    return [view for switch, group in views.items() if switches.isOn(switch) for view in group]


def showInputs(template: MaskedImage, science: MaskedImage) -> None:
    """Show the image to convolve and the image to match before anything is done (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch") or Switches([])
    images = {"displayTemplate": (template, "Image to convolve"), "displaySciIm": (science, "Image to not convolve")}
    _show("imagePsfMatch", *(_imageView(i, t, switches) for name, (i, t) in images.items() if switches.isOn(name)))


def _imageView(image: MaskedImage | Exposure, title: str, switches: Switches) -> View:
    return title, lambda: lsstDebugImages.imageFigure(image, title, switches.maskOpacity)


def showSpatialCells(science: MaskedImage, cellSet: SpatialCellSet) -> None:
    """Show the cells and what became of their candidates (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch") or Switches([])
    if switches.isOn("displaySpatialCells"):
        opacity, showBad = switches.maskOpacity, switches.isOn("showBadCandidates")
        draw = functools.partial(lsstDebugImages.cellsFigure, science, cellSet, opacity, showBad)
        _show("imagePsfMatch", ("spatial cells", draw))


def showDifference(
    template: MaskedImage | Exposure,
    matched: MaskedImage,
    science: MaskedImage | Exposure,
    difference: MaskedImage,
    convolveTemplate: bool = True,
) -> None:
    """Show template, matched image, science image and difference (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch") or Switches([])
    if switches.isOn("displayDiffIm"):
        name = "Matched template" if convolveTemplate else "Matched science image"
        images = {"Template": template, name: matched, "Science": science, "Difference": difference}
        note = f"{name} and science image on one scale" * convolveTemplate
        draw = functools.partial(lsstDebugImages.differencePanels, images, switches.maskOpacity, note)
        _show("imagePsfMatch", ("difference", draw))


def showSelection(science: MaskedImage, x: ArrayLike, y: ArrayLike, fates: Mapping[str, ArrayLike]) -> None:
    """Show which sources became candidates, and why the others did not (channel diaCatalogSourceSelector)."""
    channel = "diaCatalogSourceSelector"
    switches = switchesOf(channel) or Switches([])
    if switches.isOn("displayExposure"):
        draw = functools.partial(lsstDebugImages.selectionFigure, science, x, y, fates, switches.maskOpacity)
        _show(channel, ("selection of candidates", draw))
    if switches.isOn("pauseAtEnd"):
        pause()


def showExposure(exposure: MaskedImage | Exposure, title: str) -> None:
    """Show any image at the next frame, whatever the switches say; for scripts."""
    _show("image", _imageView(exposure, title, switchesOf("imagePsfMatch") or Switches([])))

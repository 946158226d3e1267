"""What the tasks call: each function draws the views of one moment that the debug module asks for.

Without a debug module a call is one look-up. A view that fails leaves a warning in the log and nothing else: no
picture is worth a subtraction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from psfmatch.displays.switches import Switches, switchesOf

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from psfmatch.cells import SpatialCellSet
    from psfmatch.exposure import Exposure, MaskedImage
    from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D

__all__ = ["showDifference", "showExposure", "showInputs", "showSelection", "showSolution", "showSpatialCells"]

log = logging.getLogger("psfmatch.displays")

View = tuple[str, Callable[[], "Figure | None"]]


def _show(channel: str, *views: View) -> None:
    """Draw views, (title, function that returns a figure or None), and publish them."""
    from psfmatch.displays.output import publish

    for title, draw in views:
        try:
            figure = draw()
            if figure is not None:
                publish(figure, channel, title)
        except ModuleNotFoundError as error:
            log.warning("No debug views: %s (pip install 'psfmatch[plot]')", error)
            return
        except OSError as error:
            log.warning("No debug views: %s", error)
            return
        except Exception as error:
            log.warning("Debug view %r failed: %s: %s", title, type(error).__name__, error)
            log.debug("Traceback of %r", title, exc_info=True)


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
    stamps: list[Any] = []

    def drawing(name: str) -> Callable[[], Figure | None]:
        def draw() -> Figure | None:
            from psfmatch.displays import candidates

            chosen, which = candidates.chosenCandidates(cellSet, switches.isOn("showBadCandidates"))
            if not chosen:
                log.info("No candidate has a kernel to show")
                return None
            if not stamps:
                stamps.extend(candidates.candidateStamps(c, kernel, background) for c in chosen)
            figure: Figure = getattr(candidates, name)(stamps, which, switches.maskOpacity)
            return figure

        return draw

    return [
        ("candidates stamps", drawing("stampsMosaic")),
        ("candidates kernels", drawing("kernelsMosaic")),
        ("candidates chi", drawing("chiMosaic")),
    ]


def _kernelViews(
    switches: Switches, cellSet: SpatialCellSet, kernel: LinearCombinationKernel, background: SpatialFunction2D
) -> list[View]:
    from psfmatch.cells import CandidateStatus

    bbox = cellSet.bbox
    showBad = switches.isOn("showBadCandidates")

    def basis() -> Figure:
        from psfmatch.displays.models import basisMosaic

        return basisMosaic(kernel)

    def field() -> Figure:
        from psfmatch.displays.models import fieldMosaic

        return fieldMosaic(kernel, bbox)

    def maps() -> Figure:
        from psfmatch.displays.models import coefficientMaps, tabulateCoefficients

        return coefficientMaps(tabulateCoefficients(cellSet, kernel, background, showBad), kernel, background, bbox)

    def residuals() -> Figure:
        from psfmatch.displays.models import coefficientResiduals, tabulateCoefficients

        return coefficientResiduals(tabulateCoefficients(cellSet, kernel, background, showBad), bbox)

    def coefficients() -> Figure:
        from psfmatch.displays.models import coefficientsFigure, tabulateCoefficients

        return coefficientsFigure(tabulateCoefficients(cellSet, kernel, background, showBad))

    views: dict[str, list[View]] = {
        "displayKernelBasis": [("kernel basis", basis)],
        "displayKernelMosaic": [("kernel over the field", field)],
    }
    # Regions are fitted together: none has a kernel of its own.
    ofCandidates: dict[str, list[View]] = {
        "plotKernelSpatialModel": [("coefficient maps", maps), ("coefficient residuals", residuals)],
        "plotKernelCoefficients": [("coefficients and histograms", coefficients)],
    }
    if any(c.isInitialized and (showBad or c.status is not CandidateStatus.BAD) for c in cellSet):
        views |= ofCandidates
    elif any(switches.isOn(switch) for switch in ofCandidates):
        log.info("No candidate has coefficients to show")
    return [view for switch, group in views.items() if switches.isOn(switch) for view in group]


def showInputs(template: MaskedImage, science: MaskedImage) -> None:
    """Show the image to convolve and the image to match before anything is done (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch")
    if switches is None:
        return
    images = {"displayTemplate": (template, "Image to convolve"), "displaySciIm": (science, "Image to not convolve")}
    _show("imagePsfMatch", *(_imageView(i, t, switches) for name, (i, t) in images.items() if switches.isOn(name)))


def _imageView(image: MaskedImage | Exposure, title: str, switches: Switches) -> View:
    def draw() -> Figure:
        from psfmatch.displays.images import imageFigure

        return imageFigure(image, title, switches.maskOpacity)

    return title, draw


def showSpatialCells(science: MaskedImage, cellSet: SpatialCellSet) -> None:
    """Show the cells and what became of their candidates (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch")
    if switches is None or not switches.isOn("displaySpatialCells"):
        return

    def draw() -> Figure:
        from psfmatch.displays.images import cellsFigure

        return cellsFigure(science, cellSet, switches.maskOpacity, switches.isOn("showBadCandidates"))

    _show("imagePsfMatch", ("spatial cells", draw))


def showDifference(
    template: MaskedImage | Exposure,
    matched: MaskedImage,
    science: MaskedImage | Exposure,
    difference: MaskedImage,
    convolveTemplate: bool = True,
) -> None:
    """Show template, matched image, science image and difference (channel imagePsfMatch)."""
    switches = switchesOf("imagePsfMatch")
    if switches is None or not switches.isOn("displayDiffIm"):
        return
    name = "Matched template" if convolveTemplate else "Matched science image"
    images = {"Template": template, name: matched, "Science": science, "Difference": difference}

    def draw() -> Figure:
        from psfmatch.displays.images import differencePanels

        return differencePanels(
            images, switches.maskOpacity, f"{name} and science image on one scale" * convolveTemplate
        )

    _show("imagePsfMatch", ("difference", draw))


def showSelection(science: MaskedImage, x: ArrayLike, y: ArrayLike, fates: Mapping[str, ArrayLike]) -> None:
    """Show which sources became candidates, and why the others did not (channel diaCatalogSourceSelector)."""
    channel = "diaCatalogSourceSelector"
    switches = switchesOf(channel)
    if switches is None:
        return
    if switches.isOn("displayExposure"):

        def draw() -> Figure:
            from psfmatch.displays.images import selectionFigure

            return selectionFigure(science, x, y, fates, switches.maskOpacity)

        _show(channel, ("selection of candidates", draw))
    if switches.isOn("pauseAtEnd"):
        from psfmatch.displays.output import pause

        pause()


def showExposure(exposure: MaskedImage | Exposure, title: str) -> None:
    """Show any image at the next frame, whatever the switches say; for scripts."""
    _show("image", _imageView(exposure, title, switchesOf("imagePsfMatch") or Switches([])))

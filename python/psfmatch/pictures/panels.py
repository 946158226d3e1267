"""Pictures of a subtraction: template, matched template, science and difference side by side.

Images larger than their panels are binned first; the difference is shown in units of its own noise, which binning
leaves at one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike

from psfmatch.errors import InputImagesError, fixed
from psfmatch.images import Exposure, MaskedImage
from psfmatch.pictures import drawing
from psfmatch.pictures.drawing import BRIGHTER_COLOUR, FAINTER_COLOUR, HIDDEN_PLANES, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 6.15  # inches, width of a panel
LEFT, BETWEEN, BOTTOM, TOP, ROWS = 0.85, 1.65, 1.2, 1.0, 0.8  # inches, margins and gaps
LARGE_SIDE = 1000  # px, of a binned image that has a figure to itself
MOST_LABELS = 60  # more would cover the image
MASK_COLOUR = "#3f8f86"
DIFFERENCE_MASK_COLOUR = "#c3ccca"
STAR_COLOUR = "#e07a00"


@dataclass(frozen=True)
class FourPanels:
    """A figure of four images: the axes, how far the difference was binned, by what it scatters, planes for a key."""

    figure: Figure
    axes: list[Axes]
    bins: int
    scatter: str
    planes: list[Any]

    @property
    def note(self) -> str:
        """How the images were binned, if they were."""
        return f"binned {self.bins} × {self.bins}" if self.bins > 1 else ""


def drawImage(image: MaskedImage | Exposure, title: str = "", opacity: float | None = None) -> tuple[Figure, Axes]:
    """Draw one image alone, with a heading; `opacity` as in `drawPanels`."""
    masked = image.maskedImage if isinstance(image, Exposure) else image
    # In the proportions of the image, within 9.7 x 9.5 inches.
    scale = min(9.7 / masked.width, 9.5 / masked.height)
    wide, tall = max(masked.width * scale, 0.5), max(masked.height * scale, 0.5)
    figure = drawing.newFigure(12.0, tall + (2.3 if title else 1.45))
    axis = drawing.axesAt(figure, 0.9 + (9.7 - wide) / 2, 1.25, wide, tall)
    plane = drawing.binned(masked, HIDDEN_PLANES if opacity is None else (), LARGE_SIDE)
    unseen = DIFFERENCE_MASK_COLOUR if opacity is None else None
    drawing.drawCounts(axis, plane, drawing.countScale(plane), unseen, 11)
    drawing.labelPixels(axis, 11)
    handles = [] if opacity is None else drawing.overlayMask(axis, plane, masked, opacity)
    if title:
        noise = drawing.noiseOf(plane.values)
        told = f"{masked.getBBox()}; sky {plane.sky:.4g}, noise {noise:.3g} counts per shown pixel"
        binning = f", binned {plane.bins} × {plane.bins}" if plane.bins > 1 else ""
        drawing.titleFigure(figure, title, told + binning, handles)
    return figure, axis


def drawPanels(
    images: Mapping[str, MaskedImage | Exposure], opacity: float | None = None, top: float = TOP
) -> FourPanels:
    """Draw four images, the last of which is the difference.

    Each has its median sky taken off; second and third share one scale. The difference is in units of its noise when it
    has a variance plane, else in counts. images : by their names; opacity : of the mask planes drawn over them; None:
    pixels that are BAD, SAT, EDGE, NO_DATA or not finite are coloured; top : inches above the panels.
    """
    masked = [image.maskedImage if isinstance(image, Exposure) else image for image in images.values()]
    hidden = HIDDEN_PLANES if opacity is None else ()
    planes = [drawing.binned(image, HIDDEN_PLANES if image is masked[-1] else hidden) for image in masked]
    own, shared = drawing.countScale(planes[0]), drawing.countScale(*planes[1:3])
    tall = drawing.tallOf(PANEL, masked[-1])
    figure = drawing.newFigure(16.0, BOTTOM + 2 * tall + ROWS + top)
    axes: list[Axes] = []
    handles: dict[str, Any] = {}
    scatter = ""
    for i, (name, image, plane) in enumerate(zip(images, masked, planes, strict=True)):
        left, bottom = LEFT + (i % 2) * (PANEL + BETWEEN), BOTTOM + (1 - i // 2) * (tall + ROWS)
        axis = drawing.axesAt(figure, left, bottom, PANEL, tall)
        axes.append(axis)
        if i == 3:
            unseen = DIFFERENCE_MASK_COLOUR if opacity is None else None
            scatter = drawing.drawDifference(axis, plane, unseen, 12)
        else:
            unseen = MASK_COLOUR if opacity is None else None
            drawing.drawCounts(axis, plane, shared if i else own, unseen, 12)
        for handle in () if opacity is None else drawing.overlayMask(axis, plane, image, opacity):
            handle.set_label(handle.get_label().split()[0])
            handles.setdefault(handle.get_label(), handle)
        axis.set_title(name, fontsize=15)
        drawing.labelPixels(axis, 12)
        axis.set(xlabel="x (pixels)" if i > 1 else "", ylabel="" if i % 2 else "y (pixels)")
    return FourPanels(figure, axes, planes[-1].bins, scatter, list(handles.values()))


def differenceFigure(
    template: MaskedImage | Exposure,
    matched: MaskedImage | Exposure,
    science: MaskedImage | Exposure,
    difference: MaskedImage | Exposure,
    transients: Table | ArrayLike | None = None,
    stars: Table | ArrayLike | None = None,
    title: str | None = None,
    matchedName: str = "Matched template",
) -> Figure:
    """Draw the four images of a subtraction.

    Each has its median sky taken off; matched template and science share one scale. The difference is in
    units of its noise when it has a variance plane, else in counts. Pixels that are BAD, SAT, EDGE, NO_DATA or
    not finite are coloured.

    Parameters
    ----------
    template, matched, science, difference : MaskedImage or Exposure
        Images of one shape; coordinates are parent pixels of each.
    transients : astropy.table.Table or array, shape (n, 2), optional
        Places to circle, parent pixels. A table has columns x and y; the sign of flux (or signalToNoise), if
        there, chooses the colour, and label (or signalToNoise) is written beside the circle.
    stars : astropy.table.Table or array, shape (n, 2), optional
        Places of the stars that the kernel came from, marked on the template and the science image.
    title : str, optional
        Heading of the figure.
    matchedName : str
        Heading of the matched image, for when the science image was convolved.

    Returns
    -------
    figure : matplotlib.figure.Figure
        1600 px wide at its own resolution.

    Raises
    ------
    InputImagesError
        When the shapes differ.
    ValueError
        When the places are not x and y.
    """
    drawing.requireMatplotlib()
    from matplotlib.patches import Patch

    images = {"Template": template, matchedName: matched, "Science": science, "Difference": difference}
    shapes = {name: image.image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputImagesError(f"the images differ in shape: {found}; cut them to common pixels first")
    panels = drawPanels(images)
    figure = panels.figure
    handles = _circle(panels.axes, _places(transients, "transients"))
    x, y = _places(stars, "stars").positions.T
    handles += drawing.mark(panels.axes[:3:2], x, y, STAR_COLOUR, "s", 10.0, "kernel star")
    handles += [Patch(color=MASK_COLOUR, label="masked")]
    handles += [Patch(color=DIFFERENCE_MASK_COLOUR, label="masked in the difference")]
    drawing.addLegend(figure, handles, fontsize=14)
    top = 1 - 0.35 / figure.get_figheight()
    if title:
        figure.suptitle(title, fontsize=19, y=top, va="center")
    figure.text(0.99, top, panels.note, fontsize=12, color=drawing.QUIET, ha="right", va="center")
    return figure


@dataclass(frozen=True)
class _Places:
    """Positions to mark, the signs of their fluxes (None when unknown) and what to write beside them."""

    positions: FloatArray  # (n, 2), parent pixels
    signs: FloatArray | None  # (n,)
    labels: list[str]  # n of them, or none


def _places(places: Table | ArrayLike | None, what: str) -> _Places:
    if not isinstance(places, Table):
        positions = np.asarray([] if places is None else places, dtype=np.float64)
        positions = positions.reshape(0, 2) if positions.size == 0 else positions
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise ValueError(f"{what} has shape {positions.shape}: give (n, 2) pixel positions or a table")
        return _Places(positions, None, [])
    names = places.colnames
    if not {"x", "y"} <= set(names):
        raise ValueError(f"the table of {what} has columns {', '.join(names)}: it needs x and y")
    signed = next((name for name in ("flux", "signalToNoise") if name in names), None)
    signs = None if signed is None else np.sign(np.asarray(places[signed], dtype=np.float64))
    labels: list[str] = []
    if "label" in names:
        labels = [str(label) for label in places["label"]]
    elif "signalToNoise" in names:
        labels = [f"{fixed(ratio, 0, sign=True)}σ".replace("-", "\N{MINUS SIGN}") for ratio in places["signalToNoise"]]
    return _Places(np.column_stack([places["x"], places["y"]]).astype(np.float64), signs, labels)


def _circle(axes: list[Axes], found: _Places) -> list[Any]:
    """Circle the transients everywhere, label them on the difference, and return the entries of the legend."""
    signs = np.ones(len(found.positions)) if found.signs is None else found.signs
    brighter = "transient" if found.signs is None else "brighter in science"
    kinds = (signs >= 0, BRIGHTER_COLOUR, brighter), (signs < 0, FAINTER_COLOUR, "fainter in science")
    handles: list[Any] = []
    for chosen, colour, name in kinds:
        x, y = found.positions[chosen].T
        handles += drawing.mark(axes, x, y, colour, "o", 18.0, name)
    if len(found.labels) <= MOST_LABELS:
        (left, right), (bottom, top) = axes[3].get_xlim(), axes[3].get_ylim()
        for (x, y), label, sign in zip(found.positions, found.labels, signs, strict=False):
            # On the side that keeps it inside the panel.
            isRight, isTop = x > right - 0.12 * (right - left), y > top - 0.05 * (top - bottom)
            side: dict[str, Any] = {"ha": "right" if isRight else "left", "va": "top" if isTop else "bottom"}
            colour = BRIGHTER_COLOUR if sign >= 0 else FAINTER_COLOUR
            offset = -9 if isRight else 9, -9 if isTop else 9
            drawing.write(axes[3], label, (x, y), offset, color=colour, fontsize=12, weight="bold", **side)
    return handles

"""Pictures of a subtraction: template, matched template, science and difference side by side.

Images larger than their panels are binned first; the difference is shown in units of its own noise, which
binning leaves at one. Figures are made without pyplot: they need no display and leave no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from psfmatch.displays.drawing import binned, drawCounts, drawDifference, noiseOf, percentile
from psfmatch.displays.output import savePicture, savePng
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.messages import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["differenceFigure", "savePicture", "savePng"]

FloatArray = NDArray[np.float64]

HIDDEN_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")
PANEL = 6.15  # inches, width of a panel
LEFT, BETWEEN, BOTTOM, TOP, ROWS = 0.85, 1.65, 1.2, 1.0, 0.8  # inches, margins and gaps
SIGMA_RANGE = 6.0  # of the difference
BRIGHT_PERCENT = 99.95  # of the pixels are drawn below black
MOST_LABELS = 60  # more would cover the image
MASK_COLOUR = "#3f8f86"
DIFFERENCE_MASK_COLOUR = "#c3ccca"
BRIGHTER_COLOUR = "#c1121f"
FAINTER_COLOUR = "#1d4ed8"
STAR_COLOUR = "#e07a00"


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
    from matplotlib.figure import Figure

    images = {"Template": template, matchedName: matched, "Science": science, "Difference": difference}
    shapes = {name: image.image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputImagesError(f"the images differ in shape: {found}; cut them to common pixels first")
    planes = {name: binned(image, HIDDEN_PLANES) for name, image in images.items()}
    figure = Figure(dpi=100)
    axes = _panels(figure, difference.image.shape[0] / difference.image.shape[1])
    counts = ["Template", matchedName, "Science"]
    for axis, name in zip(axes, counts, strict=False):
        like = [planes[other] for other in (counts[1:] if name != "Template" else counts[:1])]
        noise = max(noiseOf(plane.values) for plane in like)
        brightest = max(percentile(plane.values - plane.sky, BRIGHT_PERCENT) for plane in like)
        drawCounts(axis, planes[name], noise, max(brightest, 50 * noise), MASK_COLOUR, 12)
        axis.set_title(name, fontsize=15)
    drawDifference(axes[3], planes["Difference"], SIGMA_RANGE, DIFFERENCE_MASK_COLOUR, 12)
    axes[3].set_title("Difference", fontsize=15)
    for index, axis in enumerate(axes):
        axis.tick_params(labelsize=11)
        if index >= 2:
            axis.set_xlabel("x (pixels)", fontsize=12)
        if index % 2 == 0:
            axis.set_ylabel("y (pixels)", fontsize=12)
    _mark(figure, axes, transients, stars)
    top = 1 - 0.35 / figure.get_figheight()
    if title:
        figure.suptitle(title, fontsize=19, y=top, va="center")
    bins = planes["Difference"].bins
    if bins > 1:
        note = f"binned {bins} × {bins}"
        figure.text(0.99, top, note, fontsize=12, color="#555555", ha="right", va="center")
    return figure


def _panels(figure: Figure, aspect: float) -> list[Axes]:
    """Two rows of two panels, the figure sized to their `aspect`, height over width."""
    height = PANEL * min(max(aspect, 0.3), 2.0)
    figure.set_size_inches(16.0, BOTTOM + 2 * height + ROWS + TOP)
    width, tall = figure.get_size_inches()
    return [
        figure.add_axes((left / width, bottom / tall, PANEL / width, height / tall))
        for bottom in (BOTTOM + height + ROWS, BOTTOM)
        for left in (LEFT, LEFT + PANEL + BETWEEN)
    ]


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


def _mark(
    figure: Figure, axes: list[Axes], transients: Table | ArrayLike | None, stars: Table | ArrayLike | None
) -> None:
    """Circle the transients everywhere, label them on the difference, mark the stars, and say so below."""
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    found, used = _places(transients, "transients"), _places(stars, "stars")
    signs = np.ones(len(found.positions)) if found.signs is None else found.signs
    kinds = [
        (signs >= 0, BRIGHTER_COLOUR, "transient" if found.signs is None else "brighter in science"),
        (signs < 0, FAINTER_COLOUR, "fainter in science"),
    ]
    handles: list[Line2D | Patch] = []
    for chosen, colour, name in kinds:
        if chosen.any():
            for axis in axes:
                x, y = found.positions[chosen].T
                circles = axis.scatter(x, y, s=320, facecolors="none", edgecolors=colour, linewidths=1.5)
                circles.set_path_effects([withStroke(linewidth=3.0, foreground="white")])
            handles.append(_key("o", colour, 14, f"{name} ({np.count_nonzero(chosen)})"))
    if len(found.labels) <= MOST_LABELS:
        _write(axes[3], found, [BRIGHTER_COLOUR if sign >= 0 else FAINTER_COLOUR for sign in signs])
    if len(used.positions):
        for axis in (axes[0], axes[2]):
            x, y = used.positions.T
            axis.scatter(x, y, s=110, marker="s", facecolors="none", edgecolors=STAR_COLOUR, linewidths=1.1)
        handles.append(_key("s", STAR_COLOUR, 10, f"kernel star ({len(used.positions)})"))
    handles.append(Patch(color=MASK_COLOUR, label="masked"))
    handles.append(Patch(color=DIFFERENCE_MASK_COLOUR, label="masked in the difference"))
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, 0.33 / figure.get_figheight()),
        frameon=False,
        ncols=len(handles),
        fontsize=14,
        columnspacing=1.6,
        handletextpad=0.5,
    )


def _key(marker: str, colour: str, size: float, label: str) -> Line2D:
    """Entry of the legend for an open marker."""
    from matplotlib.lines import Line2D

    style = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.8}
    return Line2D([], [], linestyle="none", marker=marker, markersize=size, label=label, **style)  # type: ignore[arg-type]


def _write(axis: Axes, places: _Places, colours: list[str]) -> None:
    """Write the labels beside the places, on the side that keeps them inside the panel."""
    from matplotlib.patheffects import withStroke

    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    for (x, y), label, colour in zip(places.positions, places.labels, colours, strict=False):
        isRight, isTop = x > right - 0.12 * (right - left), y > top - 0.05 * (top - bottom)
        axis.annotate(
            label,
            (x, y),
            xytext=(-9 if isRight else 9, -9 if isTop else 9),
            textcoords="offset points",
            ha="right" if isRight else "left",
            va="top" if isTop else "bottom",
            fontsize=12,
            weight="bold",
            color=colour,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )

"""Pictures of a subtraction: template, matched template, science and difference side by side.

Images larger than their panels are binned first; the difference is shown in units of its own noise, which
binning leaves at one. Figures are made without pyplot: they need no display and leave no state.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

__all__ = ["differenceFigure", "savePng"]

FloatArray = NDArray[np.float64]

HIDDEN_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")
SHOWN_SIDE = 700  # px, of a binned panel at most: about what a panel has on paper
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
    planes = {name: _binned(image) for name, image in images.items()}
    figure = Figure(dpi=100)
    axes = _panels(figure, difference.image.shape[0] / difference.image.shape[1])
    counts = ["Template", matchedName, "Science"]
    for axis, name in zip(axes, counts, strict=False):
        like = [planes[other] for other in (counts[1:] if name != "Template" else counts[:1])]
        noise = max(_noise(plane.values) for plane in like)
        brightest = max(_percentile(plane.values - plane.sky, BRIGHT_PERCENT) for plane in like)
        _drawCounts(axis, planes[name], noise, max(brightest, 50 * noise))
        axis.set_title(name, fontsize=15)
    _drawDifference(axes[3], planes["Difference"])
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


def savePng(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at its own resolution; a failure leaves neither a new nor a damaged file.

    Raises
    ------
    OSError
        When the directory does not exist or cannot be written.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".png", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            # Without the name and version of the software the same figure gives the same bytes.
            figure.savefig(stream, format="png", dpi=figure.dpi, metadata={"Software": None})
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
class _Plane:
    """A binned image; values and variance are NaN where no pixel is shown."""

    values: FloatArray  # (ny, nx), mean counts
    variance: FloatArray  # (ny, nx), of the mean
    bins: int
    limits: tuple[float, float, float, float]  # left, right, bottom, top of the image in parent pixels

    @property
    def sky(self) -> float:
        return _percentile(self.values, 50)

    def show(self, axis: Axes, values: FloatArray, **style: Any) -> AxesImage:
        """Draw `values` on the plane's pixels; bins may reach beyond the image, the axes do not."""
        left, right, bottom, top = self.limits
        height, width = values.shape
        extent = (left, left + width * self.bins, bottom, bottom + height * self.bins)
        shown = axis.imshow(values, origin="lower", extent=extent, interpolation="nearest", **style)
        axis.set(xlim=(left, right), ylim=(bottom, top))
        return shown


def _binned(image: MaskedImage | Exposure) -> _Plane:
    masked = image.maskedImage if isinstance(image, Exposure) else image
    shown = ~masked.badPixels(HIDDEN_PLANES)
    height, width = shown.shape
    bins = -(-max(height, width) // SHOWN_SIDE)
    padding = ((0, -height % bins), (0, -width % bins))

    def summed(plane: NDArray[Any]) -> FloatArray:
        padded = np.pad(np.where(shown, plane, 0).astype(np.float32), padding)
        blocks = padded.reshape(padded.shape[0] // bins, bins, padded.shape[1] // bins, bins)
        total: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
        return total

    number = summed(np.ones(shown.shape, dtype=np.float32))
    number[number == 0] = np.nan
    x0, y0 = image.xy0
    limits = (x0 - 0.5, x0 + width - 0.5, y0 - 0.5, y0 + height - 0.5)
    return _Plane(summed(masked.image) / number, summed(masked.variance) / number**2, bins, limits)


def _percentile(values: FloatArray, percent: float) -> float:
    """Percentile of the finite values; 0 for none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else 0.0


def _noise(values: FloatArray) -> float:
    """Robust spread about the median; a thousandth of the range where that is zero."""
    spread = 1.4826 * _percentile(np.abs(values - _percentile(values, 50)), 50)
    return spread or (_percentile(values, 100) - _percentile(values, 0)) / 1000 or 1.0


def _drawCounts(axis: Axes, plane: _Plane, noise: float, brightest: float) -> None:
    """Draw counts above the sky, linear within a few times the noise and logarithmic beyond."""
    from matplotlib import colormaps
    from matplotlib.colors import AsinhNorm

    norm = AsinhNorm(linear_width=3 * noise, vmin=-2.5 * noise, vmax=brightest)
    colours = colormaps["gray_r"].with_extremes(bad=MASK_COLOUR)
    shown = plane.show(axis, plane.values - plane.sky, norm=norm, cmap=colours)
    powers = 10.0 ** np.arange(np.ceil(np.log10(3 * noise)), np.ceil(np.log10(brightest)))
    bar = _addBar(axis, shown, f"counts above {plane.sky:.4g}")
    bar.set_ticks([0.0, *powers], labels=["0", *(f"{power:.10g}" for power in powers)])
    bar.minorticks_off()


def _drawDifference(axis: Axes, plane: _Plane) -> None:
    """Draw the difference on a symmetric linear scale."""
    from matplotlib import colormaps

    hasNoise = bool(np.any(plane.variance > 0))
    noise = np.sqrt(np.where(plane.variance > 0, plane.variance, np.nan)) if hasNoise else 1.0
    values = plane.values / noise
    limit = SIGMA_RANGE * (1.0 if hasNoise else _noise(values))
    colours = colormaps["RdBu_r"].with_extremes(bad=DIFFERENCE_MASK_COLOUR)
    shown = plane.show(axis, values, vmin=-limit, vmax=limit, cmap=colours)
    _addBar(axis, shown, "difference / noise" if hasNoise else "counts")


def _addBar(axis: Axes, shown: AxesImage, label: str) -> Colorbar:
    """Colour bar of the panel's own height."""
    bar: Colorbar = axis.figure.colorbar(shown, cax=axis.inset_axes((1.015, 0.0, 0.028, 1.0)))
    bar.ax.tick_params(labelsize=11)
    bar.set_label(label, fontsize=12)
    return bar


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
        labels = [f"{ratio:+.0f}σ".replace("-", "\N{MINUS SIGN}") for ratio in places["signalToNoise"]]
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

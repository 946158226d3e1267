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
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

__all__ = ["differenceFigure", "savePng"]

FloatArray = NDArray[np.float64]

HIDDEN_PLANES = ("BAD", "SAT", "NO_DATA")
SHOWN_SIDE = 700  # px, of a binned panel at most: about what a panel has on paper
PANEL = 6.2  # inches, width of a panel
LEFT, BETWEEN, BOTTOM, TOP, ROWS = 0.85, 1.65, 1.2, 1.0, 0.8  # inches, margins and gaps
SIGMA_RANGE = 6.0  # of the difference
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
) -> Figure:
    """Draw the four images of a subtraction.

    Each has its median sky taken off; matched template and science share one scale. The difference is in
    units of its noise when it has a variance plane, else in counts. Pixels that are BAD, SAT, NO_DATA or not
    finite are coloured.

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

    images = {"Template": template, "Matched template": matched, "Science": science, "Difference": difference}
    shapes = {name: image.image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputImagesError(f"the images differ in shape: {found}; cut them to common pixels first")
    height, width = difference.image.shape
    bins = -(-max(height, width) // SHOWN_SIDE)
    binned = {name: _binned(image, bins) for name, image in images.items()}

    figure = Figure(dpi=100)
    axes = _panels(figure, height / width)
    shared = max(_noise(binned[name][0]) for name in ("Matched template", "Science"))
    for axis, name in zip(axes[:3], images, strict=False):
        noise = _noise(binned[name][0]) if name == "Template" else shared
        brightest = max(
            _percentile(binned[other][0], 99.95)
            for other in (("Template",) if name == "Template" else ("Matched template", "Science"))
        )
        _drawCounts(axis, binned[name][0], images[name], bins, noise, brightest, name)
    _drawDifference(axes[3], binned["Difference"], difference, bins)
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
    if bins > 1:
        figure.text(
            0.99, top, f"binned {bins} × {bins}", fontsize=12, color="#555555", ha="right", va="center"
        )
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


def _binned(image: MaskedImage | Exposure, bins: int) -> tuple[FloatArray, FloatArray]:
    """Mean of the shown pixels of each bin and its variance; NaN where none is shown."""
    masked = image.maskedImage if isinstance(image, Exposure) else image
    shown = ~masked.badPixels(HIDDEN_PLANES)
    if bins == 1:
        values = np.where(shown, masked.image, np.nan).astype(np.float64)
        return values, np.where(shown, masked.variance, np.nan).astype(np.float64)
    height, width = shown.shape
    padding = ((0, -height % bins), (0, -width % bins))

    def summed(plane: NDArray[Any]) -> FloatArray:
        padded = np.pad(np.where(shown, plane, 0).astype(np.float32), padding)
        rows, columns = padded.shape
        blocks = padded.reshape(rows // bins, bins, columns // bins, bins)
        total: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
        return total

    number = summed(np.ones(shown.shape, dtype=np.float32))
    number[number == 0] = np.nan
    return summed(masked.image) / number, summed(masked.variance) / number**2


def _noise(values: FloatArray) -> float:
    """Robust spread about the median; a thousandth of the range where that is zero."""
    if np.all(np.isnan(values)):
        return 1.0
    spread = 1.4826 * float(np.nanmedian(np.abs(values - np.nanmedian(values))))
    return spread or float(np.nanmax(values) - np.nanmin(values)) / 1000 or 1.0


def _percentile(values: FloatArray, percent: float) -> float:
    """Percentile above the median; 0 for no values."""
    if np.all(np.isnan(values)):
        return 0.0
    high, median = np.nanpercentile(values, [percent, 50])
    return float(high - median)


def _extent(
    image: MaskedImage | Exposure, values: FloatArray, bins: int
) -> tuple[float, float, float, float]:
    x0, y0 = image.xy0
    height, width = values.shape
    return (x0 - 0.5, x0 - 0.5 + width * bins, y0 - 0.5, y0 - 0.5 + height * bins)


def _show(
    axis: Axes, image: MaskedImage | Exposure, values: FloatArray, bins: int, **style: Any
) -> AxesImage:
    shown = axis.imshow(
        values, origin="lower", extent=_extent(image, values, bins), interpolation="nearest", **style
    )
    height, width = image.image.shape
    x0, y0 = image.xy0
    axis.set_xlim(x0 - 0.5, x0 + width - 0.5)
    axis.set_ylim(y0 - 0.5, y0 + height - 0.5)
    return shown


def _drawCounts(
    axis: Axes,
    values: FloatArray,
    image: MaskedImage | Exposure,
    bins: int,
    noise: float,  # counts
    brightest: float,  # counts above the sky
    name: str,
) -> None:
    """Draw counts above the sky, linear within a few times the noise and logarithmic beyond."""
    from matplotlib import colormaps
    from matplotlib.colors import AsinhNorm

    sky = 0.0 if np.all(np.isnan(values)) else float(np.nanmedian(values))
    norm = AsinhNorm(linear_width=3 * noise, vmin=-2.5 * noise, vmax=max(brightest, 50 * noise))
    style = {"cmap": colormaps["gray_r"].with_extremes(bad=MASK_COLOUR), "norm": norm}
    shown = _show(axis, image, values - sky, bins, **style)
    axis.set_title(name, fontsize=15)
    powers = 10.0 ** np.arange(np.ceil(np.log10(3 * noise)), np.ceil(np.log10(norm.vmax)))
    _addBar(axis, shown, f"counts above {sky:.4g}", [0.0, *powers])


def _drawDifference(
    axis: Axes, binned: tuple[FloatArray, FloatArray], image: MaskedImage | Exposure, bins: int
) -> None:
    from matplotlib import colormaps

    values, variance = binned
    hasVariance = bool(np.any(variance > 0))
    if hasVariance:
        values = np.divide(values, np.sqrt(variance), out=np.full_like(values, np.nan), where=variance > 0)
    limit = SIGMA_RANGE if hasVariance else SIGMA_RANGE * _noise(values)
    style = {
        "cmap": colormaps["RdBu_r"].with_extremes(bad=DIFFERENCE_MASK_COLOUR),
        "vmin": -limit,
        "vmax": limit,
    }
    shown = _show(axis, image, values, bins, **style)
    axis.set_title("Difference", fontsize=15)
    _addBar(axis, shown, "difference / noise" if hasVariance else "counts", None)


def _addBar(axis: Axes, shown: AxesImage, label: str, ticks: list[float] | None) -> None:
    """Colour bar of the panel's own height; `ticks` None leaves their choice to matplotlib."""
    bar = axis.figure.colorbar(shown, cax=axis.inset_axes((1.015, 0.0, 0.028, 1.0)))
    if ticks is not None:
        bar.set_ticks(ticks, labels=[f"{tick:.0f}" if tick >= 1 else f"{tick:.3g}" for tick in ticks])
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=11)
    bar.set_label(label, fontsize=12)


@dataclass(frozen=True)
class _Places:
    """Positions to mark, the signs of their fluxes (None when unknown) and what to write beside them."""

    positions: FloatArray  # (n, 2), parent pixels
    signs: FloatArray | None  # (n,)
    labels: list[str]  # n of them, or none


def _places(places: Table | ArrayLike | None, what: str) -> _Places:
    if isinstance(places, Table):
        if not {"x", "y"} <= set(places.colnames):
            raise ValueError(
                f"the table of {what} has columns {', '.join(places.colnames)}: it needs x and y"
            )
        signs, labels = None, []
        for name in ("signalToNoise", "flux"):
            if name in places.colnames:
                signs = np.sign(np.asarray(places[name], dtype=np.float64))
        if "label" in places.colnames:
            labels = [str(label) for label in places["label"]]
        elif "signalToNoise" in places.colnames:
            labels = [f"{ratio:+.0f}σ".replace("-", "−") for ratio in places["signalToNoise"]]
        return _Places(np.column_stack([places["x"], places["y"]]).astype(np.float64), signs, labels)
    positions = np.asarray([] if places is None else places, dtype=np.float64)
    if positions.size == 0:
        return _Places(np.empty((0, 2)), None, [])
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"{what} has shape {positions.shape}: give (n, 2) pixel positions or a table")
    return _Places(positions, None, [])


def _mark(
    figure: Figure, axes: list[Axes], transients: Table | ArrayLike | None, stars: Table | ArrayLike | None
) -> None:
    """Circle the transients on every panel, label them on the difference, mark the stars, and say so below."""
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    found, used = _places(transients, "transients"), _places(stars, "stars")
    signs = np.ones(len(found.positions)) if found.signs is None else found.signs
    kinds = [
        (signs >= 0, BRIGHTER_COLOUR, "brighter in science"),
        (signs < 0, FAINTER_COLOUR, "fainter in science"),
    ]
    if found.signs is None:
        kinds = [(signs > 0, BRIGHTER_COLOUR, "transient")]
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

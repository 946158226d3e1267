"""Drawing primitives: robust scales, binned planes, mask overlays, mosaics of small images.

Numbers in, matplotlib artists out; nothing here knows what a picture means. matplotlib is imported inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.exposure import Exposure, MaskedImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = [
    "COLOURS",
    "Plane",
    "Tile",
    "addBar",
    "asinhNorm",
    "binned",
    "drawMosaic",
    "noiseOf",
    "overlayMask",
    "percentile",
    "styleOf",
    "titleFigure",
]

FloatArray = NDArray[np.float64]

SHOWN_SIDE = 700  # px, of a binned panel at most: about what a panel has on paper
COLOURS = {"GOOD": "#1a9641", "BAD": "#d7191c", "UNKNOWN": "#8a8a8a"}
"""Of candidates by status."""

PLANE_COLOURS = {
    "BAD": "#e41a1c",
    "SAT": "#ff7f00",
    "INTRP": "#4daf4a",
    "CR": "#f032e6",
    "EDGE": "#ffd92f",
    "DETECTED": "#377eb8",
    "DETECTED_NEGATIVE": "#17becf",
    "SUSPECT": "#a65628",
    "NO_DATA": "#b39ddb",
}
OTHER_PLANE_COLOUR = "#008080"
UNSEEN_COLOUR = "#e4e4e4"  # of tiles where there is no value


def percentile(values: NDArray[Any], percent: float) -> float:
    """Percentile of the finite values; 0 for none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else 0.0


def noiseOf(values: NDArray[Any]) -> float:
    """Robust spread about the median; a thousandth of the range where that is zero."""
    spread = 1.4826 * percentile(np.abs(values - percentile(values, 50)), 50)
    return spread or (percentile(values, 100) - percentile(values, 0)) / 1000 or 1.0


@dataclass(frozen=True)
class Plane:
    """A binned image; values and variance are NaN where no pixel is shown."""

    values: FloatArray  # (ny, nx), mean counts
    variance: FloatArray  # (ny, nx), of the mean
    bins: int
    limits: tuple[float, float, float, float]  # left, right, bottom, top of the image in parent pixels

    @property
    def sky(self) -> float:
        """Median of the values."""
        return percentile(self.values, 50)

    def show(self, axis: Axes, values: NDArray[Any], **style: Any) -> AxesImage:
        """Draw `values` on the plane's pixels; bins may reach beyond the image, the axes do not."""
        left, right, bottom, top = self.limits
        height, width = values.shape[:2]
        extent = (left, left + width * self.bins, bottom, bottom + height * self.bins)
        shown = axis.imshow(values, origin="lower", extent=extent, interpolation="nearest", **style)
        axis.set(xlim=(left, right), ylim=(bottom, top))
        return shown


def _blockSums(plane: NDArray[Any], bins: int) -> FloatArray:
    height, width = plane.shape
    padded = np.pad(plane.astype(np.float32), ((0, -height % bins), (0, -width % bins)))
    blocks = padded.reshape(padded.shape[0] // bins, bins, padded.shape[1] // bins, bins)
    total: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
    return total


def binned(image: MaskedImage | Exposure, hiddenPlanes: Iterable[str], side: int = SHOWN_SIDE) -> Plane:
    """Return an image binned to at most `side` pixels, without the pixels of some planes and those not finite."""
    masked = image.maskedImage if isinstance(image, Exposure) else image
    shown = ~masked.badPixels(hiddenPlanes)
    height, width = shown.shape
    bins = -(-max(height, width) // side)
    number = _blockSums(shown, bins)
    number[number == 0] = np.nan
    x0, y0 = image.xy0
    limits = (x0 - 0.5, x0 + width - 0.5, y0 - 0.5, y0 + height - 0.5)
    values = _blockSums(np.where(shown, masked.image, 0), bins) / number
    return Plane(values, _blockSums(np.where(shown, masked.variance, 0), bins) / number**2, bins, limits)


def asinhNorm(noise: float, brightest: float) -> Any:
    """Return a scale that is linear within a few times the noise and logarithmic beyond."""
    from matplotlib.colors import AsinhNorm

    return AsinhNorm(linear_width=3 * noise, vmin=-2.5 * noise, vmax=max(brightest, 5 * noise))


def addBar(axis: Axes, shown: ScalarMappable, label: str, fontsize: float = 12) -> Colorbar:
    """Colour bar of the panel's own height."""
    bar: Colorbar = axis.figure.colorbar(shown, cax=axis.inset_axes((1.015, 0.0, 0.028, 1.0)))
    bar.ax.tick_params(labelsize=fontsize - 1)
    bar.set_label(label, fontsize=fontsize)
    return bar


def overlayMask(axis: Axes, plane: Plane, image: MaskedImage, opacity: float) -> list[Any]:
    """Draw mask planes over an image, in one colour each.

    A bin is coloured by the square root of the share of its pixels, so that scattered ones stay visible but do not
    hide the image.

    Returns
    -------
    handles
        For a legend: the planes that are set, with their share of the pixels.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    handles = []
    pixels = np.asarray(image.mask)
    for name, bit in sorted(image.mask.planes.items(), key=lambda item: item[1]):
        isSet = (pixels & (1 << bit)) != 0
        nSet = np.count_nonzero(isSet)
        if not nSet:
            continue
        colour = PLANE_COLOURS.get(name, OTHER_PLANE_COLOUR)
        share = nSet / isSet.size
        handles.append(Patch(color=colour, label=f"{name} {share:.2%}" if share >= 1e-4 else f"{name} {nSet} px"))
        if opacity > 0.0:
            layer = np.empty((*plane.values.shape, 4))
            layer[:] = to_rgba(colour)
            layer[..., 3] = opacity * np.sqrt(_blockSums(isSet, plane.bins) / plane.bins**2)
            plane.show(axis, layer)
    return handles


def styleOf(name: str, norm: Any, unseen: str = UNSEEN_COLOUR) -> ScalarMappable:
    """Return a colour map with its scale; values that are not finite get the colour `unseen`."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=norm, cmap=colormaps[name].with_extremes(bad=unseen))


@dataclass(frozen=True)
class Tile:
    """Small images side by side under one label, in a coloured frame.

    panels : (values (h, w), colour map and scale) of each.
    """

    label: str
    panels: Sequence[tuple[NDArray[Any], ScalarMappable]]
    colour: str = "#ffffff"
    labelColour: str = field(default="#000000")

    @property
    def side(self) -> tuple[int, int]:
        """Largest height and width of a panel."""
        return max(v.shape[0] for v, _ in self.panels), max(v.shape[1] for v, _ in self.panels)


def drawMosaic(
    figure: Figure,
    area: tuple[float, float, float, float],
    tiles: Sequence[Tile],
    headings: Sequence[str] = (),
    columns: int | None = None,
    fontsize: float = 9.0,
) -> Axes:
    """Draw tiles in rows, from the top left.

    Parameters
    ----------
    figure
        Where to draw.
    area
        Left, bottom, width, height in inches.
    tiles
        What to draw, all with as many panels.
    headings
        Names of a tile's panels, written over the first row.
    columns
        Tiles in a row; by default as many as fill the area best.
    fontsize
        Of the labels, points.
    """
    from matplotlib.colors import to_rgb

    height, width = (max(tile.side[i] for tile in tiles) for i in (0, 1))
    nPanels = len(tiles[0].panels)
    edge = max(1, round(0.03 * max(height, width)))
    gap = 3 * edge
    tileWidth = nPanels * (width + edge) + edge
    left, bottom, areaWidth, areaHeight = area
    shape = (areaWidth, areaHeight, (tileWidth + gap, height + 2 * edge))
    columns = columns or _bestColumns(len(tiles), *shape, fontsize)
    rows = -(-len(tiles) // columns)
    scale, strip = _scaleOf(columns, rows, *shape, fontsize)
    stripPixels = math.ceil(strip / scale)
    tileHeight = height + 2 * edge
    pitchY = tileHeight + stripPixels
    canvas = np.ones((rows * pitchY, columns * (tileWidth + gap) - gap, 3))
    axis = figure.add_axes((0, 0, 1, 1))
    for number, tile in enumerate(tiles):
        top = (number // columns) * pitchY + stripPixels
        start = (number % columns) * (tileWidth + gap)
        canvas[top : top + tileHeight, start : start + tileWidth] = to_rgb(tile.colour)
        for index, (values, style) in enumerate(tile.panels):
            y = top + edge + (height - values.shape[0]) // 2
            x = start + edge + index * (width + edge) + (width - values.shape[1]) // 2
            # Upside down: the canvas begins at its top, images at their bottom.
            colours = np.asarray(style.to_rgba(np.ma.masked_invalid(values[::-1])))[..., :3]
            canvas[y : y + values.shape[0], x : x + values.shape[1]] = colours
        line: dict[str, Any] = {"fontsize": fontsize, "color": tile.labelColour, "va": "bottom"}
        axis.text(start - 0.5, top - 0.5 - 0.12 * stripPixels, tile.label, ha="left", **line)
        if number < columns:
            for index, heading in enumerate(headings):
                x = start + edge + (index + 0.5) * (width + edge)
                axis.text(x, -0.2 * stripPixels, heading, ha="center", va="bottom", fontsize=fontsize, color="#555555")
    axis.imshow(canvas, interpolation="nearest", origin="upper", aspect="equal")
    drawn = canvas.shape[1] * scale, canvas.shape[0] * scale
    inches = figure.get_size_inches()
    place = (left + (areaWidth - drawn[0]) / 2, bottom + areaHeight - drawn[1], *drawn)
    axis.set_position(tuple(value / inches[i % 2] for i, value in enumerate(place)))
    axis.set_axis_off()
    return axis


def _scaleOf(
    columns: int, rows: int, width: float, height: float, pitch: tuple[int, int], fontsize: float
) -> tuple[float, float]:
    """Return inches per canvas pixel with which the tiles fit, and the inches that a label takes."""
    strip = 1.7 * fontsize / 72
    return max(1e-3, min(width / (columns * pitch[0]), (height / rows - strip) / pitch[1])), strip


def _bestColumns(n: int, width: float, height: float, pitch: tuple[int, int], fontsize: float) -> int:
    """Return the number of columns that lets the tiles be drawn largest."""

    def scale(columns: int) -> float:
        return _scaleOf(columns, -(-n // columns), width, height, pitch, fontsize)[0]

    return max(range(1, n + 1), key=scale)


def titleFigure(figure: Figure, title: str, note: str = "", handles: Sequence[Any] = ()) -> None:
    """Write a heading, a line below it about contents and units, and a legend at its right."""
    width, height = figure.get_size_inches()
    figure.text(0.4 / width, 1 - 0.3 / height, title, fontsize=18, va="center")
    figure.text(0.4 / width, 1 - 0.66 / height, note, fontsize=11, color="#444444", va="center")
    if handles:
        figure.legend(
            handles=list(handles),
            loc="upper right",
            bbox_to_anchor=(1 - 0.3 / width, 1 - 0.08 / height),
            frameon=False,
            ncols=min(len(handles), 5),
            fontsize=11,
        )

"""The drawing library: binned planes and their scales, panels, masks, marks, colour bars, headings.

Numbers in, matplotlib artists out; nothing here knows what a picture means. Figures are made without pyplot, so that
they need no display and leave no state; matplotlib is imported inside functions.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.images import Box, Exposure, MaskedImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

FloatArray = NDArray[np.float64]

SHOWN_SIDE = 700  # px, of a binned panel at most: about what a panel has on paper
HIDDEN_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")  # of a difference: such pixels would look like detections
BRIGHT_PERCENT = 99.9  # of the pixels are drawn below black
SIGMA_RANGE = 6.0  # of differences
QUIET = "#555555"
UNSEEN_COLOUR = "#e4e4e4"  # where there is no value
COLOURS = {"GOOD": "#1a9641", "BAD": "#d7191c", "UNKNOWN": "#8a8a8a"}
"""Of candidates by status."""

BRIGHTER_COLOUR, FAINTER_COLOUR = "#c1121f", "#1d4ed8"  # of changes

PLANE_COLOURS = {"BAD": "#e41a1c", "SAT": "#ff7f00", "INTRP": "#4daf4a", "CR": "#f032e6", "EDGE": "#ffd92f"}
PLANE_COLOURS |= {"DETECTED": "#377eb8", "DETECTED_NEGATIVE": "#17becf", "SUSPECT": "#a65628", "NO_DATA": "#b39ddb"}
OTHER_PLANE_COLOUR = "#008080"

figureMaker: ContextVar[Callable[[float, float], Figure] | None] = ContextVar("psfmatchFigures", default=None)
"""Makes the figures in this context, such as in windows, instead of `newFigure`."""


# Planes and scales


def percentile(values: NDArray[Any], percent: float) -> float:
    """Percentile of the finite values; 0 for none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else 0.0


def noiseOf(values: NDArray[Any]) -> float:
    """Robust spread about the median; a thousandth of the range where that is zero."""
    spread = 1.4826 * percentile(np.abs(values - percentile(values, 50)), 50)
    return spread or (percentile(values, 100) - percentile(values, 0)) / 1000 or 1.0


def blockSums(plane: NDArray[Any], side: int) -> FloatArray:
    """Sums of square blocks of `side` pixels; those at the upper borders may hold fewer."""
    padded = np.pad(plane.astype(np.float32, copy=False), [(0, -length % side) for length in plane.shape])
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    total: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
    return total


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

    @property
    def pulls(self) -> FloatArray:
        """Values in units of their noise, NaN where that is not known."""
        return self.values / np.sqrt(np.where(self.variance > 0, self.variance, np.nan))

    def show(self, axis: Axes, values: NDArray[Any], **style: Any) -> AxesImage:
        """Draw `values` on the plane's pixels; bins may reach beyond the image, the axes do not."""
        left, right, bottom, top = self.limits
        height, width = values.shape[:2]
        extent = (left, left + width * self.bins, bottom, bottom + height * self.bins)
        shown = axis.imshow(values, origin="lower", extent=extent, interpolation="nearest", **style)
        axis.set(xlim=(left, right), ylim=(bottom, top))
        return shown


def binned(image: MaskedImage | Exposure, hiddenPlanes: Iterable[str] = (), side: int = SHOWN_SIDE) -> Plane:
    """Return an image binned to at most `side` pixels, without the pixels of some planes and those not finite."""
    masked = image.maskedImage if isinstance(image, Exposure) else image
    shown = ~masked.badPixels(hiddenPlanes)
    bins = -(-max(shown.shape) // side)
    number = blockSums(shown, bins)
    number[number == 0] = np.nan
    values = blockSums(np.where(shown, masked.image, 0), bins) / number
    variance = blockSums(np.where(shown, masked.variance, 0), bins) / number**2
    return Plane(values, variance, bins, extentOf(masked.getBBox()))


def extentOf(box: Box) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of a box's pixels, whose centres have whole coordinates."""
    return box.x0 - 0.5, box.x1 - 0.5, box.y0 - 0.5, box.y1 - 0.5


def countScale(*planes: Plane) -> tuple[float, float]:
    """Return noise, and brightest counts above the sky, that suit all of some planes."""
    noise = max(noiseOf(plane.values) for plane in planes)
    return noise, max(20 * noise, *(percentile(plane.values - plane.sky, BRIGHT_PERCENT) for plane in planes))


def asinhNorm(noise: float, brightest: float) -> Any:
    """Return a scale that is linear within a few times the noise and logarithmic beyond."""
    from matplotlib.colors import AsinhNorm

    return AsinhNorm(linear_width=3 * noise, vmin=-2.5 * noise, vmax=max(brightest, 5 * noise))


def asinhTicks(linearWidth: float, low: float, high: float) -> list[float]:
    """Return zero and 1, 3, 10, ... times a power of ten, of both signs, that can be told apart on an asinh scale."""
    largest = max(abs(low), abs(high))
    exponents = range(math.floor(math.log10(linearWidth)), math.floor(math.log10(largest)) + 1)
    steps = (first * 10.0**exponent for exponent in exponents for first in (1, 3))
    powers = [step for step in steps if 1.5 * linearWidth <= step <= largest]
    return [tick for tick in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= tick <= high]


def styleOf(name: str, norm: Any) -> ScalarMappable:
    """Return a colour map with its scale; values that are not finite get the colour of what is not seen."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=norm, cmap=colormaps[name].with_extremes(bad=UNSEEN_COLOUR))


def signedStyle(limit: float, linearWidth: float | None = None) -> ScalarMappable:
    """Return blue, white and red from -limit to limit, linear or asinh beyond a width."""
    requireMatplotlib()
    from matplotlib.colors import AsinhNorm, Normalize

    norm = Normalize(-limit, limit) if linearWidth is None else AsinhNorm(linearWidth, vmin=-limit, vmax=limit)
    return styleOf("RdBu_r", norm)


# Figures and axes


def requireMatplotlib() -> None:
    """Raise ModuleNotFoundError, with what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        message = "figures and reports need matplotlib: pip install 'psfmatch[plot]'"
        raise ModuleNotFoundError(message, name="matplotlib") from error


def newFigure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    requireMatplotlib()
    from matplotlib.figure import Figure

    make = figureMaker.get()
    return Figure(figsize=(width, height), dpi=100) if make is None else make(width, height)


def axesAt(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def tallOf(width: float, image: MaskedImage | Box, least: float = 0.3, most: float = 2.0) -> float:
    """Return the height of a panel of an image, inches, within some times its width."""
    return width * min(max(image.height / image.width, least), most)


def labelPixels(axis: Axes, fontsize: float = 10) -> None:
    """Name the axes of an image."""
    axis.set_xlabel("x (pixels)", fontsize=fontsize)
    axis.set_ylabel("y (pixels)", fontsize=fontsize)
    axis.tick_params(labelsize=fontsize - 1)


def addBar(axis: Axes, shown: ScalarMappable, label: str, fontsize: float = 10) -> Colorbar:
    """Colour bar of the panel's own height."""
    bar: Colorbar = axis.figure.colorbar(shown, cax=axis.inset_axes((1.015, 0.0, 0.028, 1.0)))
    bar.ax.tick_params(labelsize=fontsize - 1)
    bar.set_label(label, fontsize=fontsize)
    return bar


def addLowBar(figure: Figure, style: ScalarMappable, label: str, left: float, bottom: float, width: float) -> None:
    """Colour bar along the bottom; its place in inches."""
    from matplotlib.colors import AsinhNorm

    bar = figure.colorbar(style, cax=axesAt(figure, left, bottom, width, 0.14), orientation="horizontal")
    if isinstance(style.norm, AsinhNorm):
        ticks = asinhTicks(style.norm.linear_width, float(style.norm.vmin or 0), float(style.norm.vmax or 0))
        bar.set_ticks(ticks, labels=[f"{tick:.4g}" for tick in ticks])
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=9)
    bar.set_label(label, fontsize=10)


def titleFigure(figure: Figure, title: str, note: str = "", handles: Sequence[Any] = ()) -> None:
    """Write a heading, a line below it about contents and units, and a legend at its right."""
    width, height = figure.get_size_inches()
    figure.text(0.4 / width, 1 - 0.3 / height, title, fontsize=18, va="center")
    # Two lines at most, of about this many characters per inch.
    wrapped = "\n".join(textwrap.wrap(note, int(11 * width)))
    figure.text(0.4 / width, 1 - 0.54 / height, wrapped, fontsize=11, color="#444444", va="top", linespacing=1.3)
    if handles:
        place: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1 - 0.3 / width, 1 - 0.08 / height)}
        figure.legend(handles=list(handles), ncols=min(len(handles), 5), frameon=False, fontsize=11, **place)


def addLegend(figure: Figure, handles: Sequence[Any], columns: int = 9, fontsize: float = 11) -> None:
    """Write a legend along the bottom, if there is something to say."""
    if handles:
        style: dict[str, Any] = {"loc": "lower center", "ncols": min(len(handles), columns), "frameon": False}
        figure.legend(handles=list(handles), fontsize=fontsize, **style)


# What is drawn on axes


def drawCounts(
    axis: Axes, plane: Plane, scale: tuple[float, float], unseen: str | None = None, fontsize: float = 10
) -> None:
    """Draw counts above the median sky on a scale of `countScale`; `unseen`: the colour of what is not shown."""
    from matplotlib import colormaps

    norm = asinhNorm(*scale)
    # None leaves the colour map as it is.
    shown = plane.show(axis, plane.values - plane.sky, norm=norm, cmap=colormaps["gray_r"].with_extremes(bad=unseen))
    powers = 10.0 ** np.arange(math.ceil(math.log10(3 * scale[0])), math.ceil(math.log10(norm.vmax)))
    bar = addBar(axis, shown, f"counts above {plane.sky:.4g}", fontsize)
    bar.set_ticks([0.0, *powers], labels=["0", *(f"{power:.10g}" for power in powers)])
    bar.minorticks_off()


def drawDifference(axis: Axes, plane: Plane, unseen: str | None = None, fontsize: float = 10) -> str:
    """Draw a difference in units of its noise, in counts where it has no variance; return by what it scatters."""
    from matplotlib import colormaps

    hasNoise = bool(np.any(plane.variance > 0))
    values = plane.pulls if hasNoise else plane.values
    scatter = noiseOf(values)
    limit = SIGMA_RANGE * (1.0 if hasNoise else scatter)
    shown = plane.show(axis, values, vmin=-limit, vmax=limit, cmap=colormaps["RdBu_r"].with_extremes(bad=unseen))
    addBar(axis, shown, "difference / noise" if hasNoise else "counts", fontsize)
    return f"{scatter:.3g} {'of its noise' if hasNoise else 'counts'}"


def overlayMask(axis: Axes, plane: Plane, image: MaskedImage, opacity: float) -> list[Any]:
    """Draw mask planes over an image, in one colour each.

    A bin is coloured by the square root of the share of its pixels, so that scattered ones stay visible but do not
    hide the image. Returned is for a legend: the planes that are set, with their share of the pixels.
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
            layer[..., 3] = opacity * np.sqrt(blockSums(isSet, plane.bins) / plane.bins**2)
            plane.show(axis, layer)
    return handles


def mark(
    axes: Sequence[Axes], x: ArrayLike, y: ArrayLike, colour: str, marker: str = "o", size: float = 9.0, label: str = ""
) -> list[Any]:
    """Draw open markers, haloed, on each of some axes; return a legend's entry that says how many, none for none."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"mfc": "none", "mec": colour, "mew": 1.6, "ls": "none", "marker": marker}
    if not np.size(x):
        return []
    for axis in axes:
        axis.plot(x, y, ms=size, zorder=3, path_effects=halo(3.0), **style)
    return [Line2D([], [], ms=10, label=f"{label} ({np.size(x)})", **style)]


def halo(width: float) -> list[Any]:
    """Return the path effect of a white rim, width in points."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="white")]


def write(axis: Axes, label: str, place: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write a haloed label beside a place of the image, `offset` points from it."""
    usual: dict[str, Any] = {"textcoords": "offset points", "fontsize": 10, "zorder": 3, "path_effects": halo(2.5)}
    axis.annotate(label, place, offset, annotation_clip=True, **usual | style)

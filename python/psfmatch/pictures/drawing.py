"""Drawing primitives: robust scales, binned planes, mask overlays, colour bars, headings.

Numbers in, matplotlib artists out; nothing here knows what a picture means. matplotlib is imported inside functions.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    "addBar",
    "addLowBar",
    "asinhNorm",
    "asinhTicks",
    "binned",
    "drawCounts",
    "drawDifference",
    "noiseOf",
    "overlayMask",
    "percentile",
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


def addLowBar(figure: Figure, style: ScalarMappable, label: str, place: tuple[float, float, float]) -> None:
    """Colour bar along the bottom; left, bottom and width of `place` in inches."""
    from matplotlib.colors import AsinhNorm

    left, bottom, length = place
    width, height = figure.get_size_inches()
    bar = figure.colorbar(
        style,
        cax=figure.add_axes((left / width, bottom / height, length / width, 0.14 / height)),
        orientation="horizontal",
    )
    if isinstance(style.norm, AsinhNorm):
        ticks = asinhTicks(style.norm.linear_width, float(style.norm.vmin or 0), float(style.norm.vmax or 0))
        bar.set_ticks(ticks, labels=[f"{tick:.4g}" for tick in ticks])
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=9)
    bar.set_label(label, fontsize=10)


def drawCounts(
    axis: Axes, plane: Plane, noise: float, brightest: float, unseen: str | None = None, fontsize: float = 10
) -> None:
    """Draw counts above the median sky, linear within three times the noise and logarithmic beyond."""
    from matplotlib import colormaps

    norm = asinhNorm(noise, brightest)
    colours = colormaps["gray_r"]
    if unseen is not None:
        colours = colours.with_extremes(bad=unseen)
    shown = plane.show(axis, plane.values - plane.sky, norm=norm, cmap=colours)
    powers = 10.0 ** np.arange(math.ceil(math.log10(3 * noise)), math.ceil(math.log10(norm.vmax)))
    bar = addBar(axis, shown, f"counts above {plane.sky:.4g}", fontsize)
    bar.set_ticks([0.0, *powers], labels=["0", *(f"{power:.10g}" for power in powers)])
    bar.minorticks_off()


def drawDifference(
    axis: Axes, plane: Plane, sigmas: float, unseen: str | None = None, fontsize: float = 10
) -> FloatArray:
    """Draw a difference on a symmetric scale of so many times its noise, and return what is drawn.

    In units of the noise where it has a variance, else in counts.
    """
    from matplotlib import colormaps

    hasNoise = bool(np.any(plane.variance > 0))
    noise = np.sqrt(np.where(plane.variance > 0, plane.variance, np.nan)) if hasNoise else 1.0
    values = plane.values / noise
    limit = sigmas * (1.0 if hasNoise else noiseOf(values))
    colours = colormaps["RdBu_r"]
    if unseen is not None:
        colours = colours.with_extremes(bad=unseen)
    shown = plane.show(axis, values, vmin=-limit, vmax=limit, cmap=colours)
    addBar(axis, shown, "difference / noise" if hasNoise else "counts", fontsize)
    return values


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


def asinhTicks(linearWidth: float, low: float, high: float) -> list[float]:
    """Return zero and 1, 3, 10, ... times a power of ten, of both signs, that can be told apart on an asinh scale."""
    largest = max(abs(low), abs(high))
    exponents = range(math.floor(math.log10(linearWidth)), math.floor(math.log10(largest)) + 1)
    steps = (first * 10.0**exponent for exponent in exponents for first in (1, 3))
    powers = [step for step in steps if 1.5 * linearWidth <= step <= largest]
    return [tick for tick in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= tick <= high]


def titleFigure(figure: Figure, title: str, note: str = "", handles: Sequence[Any] = ()) -> None:
    """Write a heading, a line below it about contents and units, and a legend at its right."""
    width, height = figure.get_size_inches()
    figure.text(0.4 / width, 1 - 0.3 / height, title, fontsize=18, va="center")
    # Two lines at most, of about this many characters per inch.
    wrapped = "\n".join(textwrap.wrap(note, int(11 * width)))
    figure.text(0.4 / width, 1 - 0.54 / height, wrapped, fontsize=11, color="#444444", va="top", linespacing=1.3)
    if handles:
        figure.legend(
            handles=list(handles),
            loc="upper right",
            bbox_to_anchor=(1 - 0.3 / width, 1 - 0.08 / height),
            frameon=False,
            ncols=min(len(handles), 5),
            fontsize=11,
        )

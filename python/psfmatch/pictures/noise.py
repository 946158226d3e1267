"""Figures about noise: where in the field it is as predicted, how it is distributed, whether it is correlated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch.displays.drawing import addBar
from psfmatch.messages import fixed
from psfmatch.noise import measureWhiteness
from psfmatch.noise.blankSky import findBlankSky
from psfmatch.reporting.drawing import QUIET, labelPixels, needsMatplotlib
from psfmatch.reporting.field import fieldRows, scatterInBlocks
from psfmatch.reporting.subject import Reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plotField", "plotNoise"]

FloatArray = npt.NDArray[np.float64]

LARGEST_SCATTER = 2.0  # of the colour scale


@needsMatplotlib
def plotField(result: Reported) -> Figure:
    """Draw where the difference is worse than its noise: its scatter in blocks, pulls cut off at 5, and in ninths."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    box = result.difference.getBBox()
    tall = 5.4 * min(max(box.height / box.width, 0.4), 1.6)
    height = tall + 0.75
    figure = Figure(figsize=(7.0, height), dpi=100)
    axis = figure.add_axes((0.7 / 7.0, 0.6 / height, 5.4 / 7.0, tall / height))
    scatter, side = scatterInBlocks(result)
    shown = axis.imshow(
        scatter,
        origin="lower",
        extent=(
            box.x0 - 0.5,
            box.x0 - 0.5 + side * scatter.shape[1],
            box.y0 - 0.5,
            box.y0 - 0.5 + side * scatter.shape[0],
        ),
        cmap=colormaps["YlOrRd"].with_extremes(bad="#b9c4c2", under="#e8f1fa"),
        vmin=0.95,
        vmax=LARGEST_SCATTER,
        interpolation="nearest",
    )
    axis.set(xlim=(box.x0 - 0.5, box.x1 - 0.5), ylim=(box.y0 - 0.5, box.y1 - 0.5))
    addBar(axis, shown, "scatter of the difference / noise (1 is ideal)", 10)
    for row in fieldRows(result):
        (left, right), (bottom, top) = row["x"], row["y"]
        axis.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color=QUIET, lw=0.6)
        label = "no data" if row["scatter"] is None else f"{row['scatter']:.2f}"
        axis.text(
            (left + right) / 2,
            (bottom + top) / 2,
            label,
            ha="center",
            va="center",
            fontsize=15,
            weight="bold",
            path_effects=[withStroke(linewidth=3.0, foreground="white")],
        )
    labelPixels(axis)
    return figure


@needsMatplotlib
def plotNoise(result: Reported) -> Figure:
    """Draw the difference over its noise on blank sky against N(0, 1), and the correlation of neighbouring pixels.

    The local sky of 32 px is taken off; correlations are those of the difference, and of the decorrelated one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.9), dpi=100)
    histogram, plain, white = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.13, top=0.93, wspace=0.2)
    sky = findBlankSky(result.difference.maskedImage)
    pulls = sky.pulls[sky.isBlank]
    edges = np.arange(-6.0, 6.01, 0.2)
    middles = edges[:-1] + 0.1
    if pulls.size:
        density = np.histogram(np.clip(pulls, -5.99, 5.99), edges)[0] / pulls.size / 0.2
        histogram.stairs(density, edges, fill=True, color="#9ec5e8", label=f"{pulls.size} pixels of blank sky")
        histogram.plot(middles, np.exp(-0.5 * middles**2) / math.sqrt(2 * math.pi), color="#c1121f", label="N(0, 1)")
        histogram.set(yscale="log", ylim=(0.3 / pulls.size, 1.5), xlim=(-6, 6))
        histogram.legend(frameon=False, fontsize=9, loc="lower center")
    else:
        histogram.text(0.5, 0.5, "no blank sky", transform=histogram.transAxes, ha="center", color=QUIET)
    histogram.set(xlabel="difference / noise", ylabel="density")
    _drawCorrelations(plain, measureWhiteness(result.difference).correlations, "difference")
    if result.decorrelation is None:
        white.set_axis_off()
        white.text(0.5, 0.5, "not decorrelated", transform=white.transAxes, ha="center", color=QUIET)
    else:
        _drawCorrelations(white, measureWhiteness(result.decorrelated).correlations, "decorrelated")
    return figure


def _drawCorrelations(axis: Axes, correlations: FloatArray, title: str) -> None:
    """Draw correlations of up to two pixels apart, with their values."""
    reach = correlations.shape[0] // 2
    axis.imshow(correlations, origin="lower", cmap="RdBu_r", vmin=-0.5, vmax=0.5, extent=(-2.5, 2.5, -2.5, 2.5))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            value = correlations[dy + reach, dx + reach]
            text = "1" if dx == dy == 0 else fixed(value, 2).replace("-", "\N{MINUS SIGN}") if value == value else "?"
            axis.text(
                dx, dy, text, ha="center", va="center", fontsize=9, color="white" if abs(value) > 0.35 else "black"
            )
    axis.set_title(f"correlation, {title}", fontsize=10)
    axis.set(
        xlabel="pixels apart in x", ylabel="in y", xticks=range(-reach, reach + 1), yticks=range(-reach, reach + 1)
    )

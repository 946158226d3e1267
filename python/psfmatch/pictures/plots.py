"""Plots of a result, for notebooks and reports: images and candidates, noise over the field, residuals, models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch.errors import fixed
from psfmatch.images import atOrigin
from psfmatch.noise import measureWhiteness
from psfmatch.noise.blankSky import findBlankSky
from psfmatch.pictures import drawing
from psfmatch.pictures.drawing import COLOURS, QUIET
from psfmatch.pictures.field import fieldRows, scatterInBlocks
from psfmatch.pictures.kernels import fieldMosaic
from psfmatch.pictures.panels import differenceFigure, drawImage
from psfmatch.pictures.triplets import signalToNoise

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from psfmatch.frontdoor import SubtractionResult

REASON_COLOURS = ("#d7191c", "#e07a00", "#8e44ad", "#1d4ed8", "#8b4513", "#008080")  # the commonest first
MODEL_POINTS = 65  # along each side of a model's map
FLAT = 1e-3  # of a model's level, to which its colours are told apart
LARGEST_SCATTER = 2.0  # of the colour scale of `plotField`
TICKS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)  # of residuals


def plotDifference(result: SubtractionResult, detections: Table | None = None, title: str | None = None) -> Figure:
    """Draw template, matched image, science image and difference; circles about `detections`."""
    # The template may have an origin of its own.
    template = atOrigin(result.template.maskedImage, result.difference.maskedImage)
    found = None
    if detections is not None:
        found = detections["x", "y", "significance"].copy()
        found.rename_column("significance", "signalToNoise")
    name = "Matched template" if result.convolved == "template" else "Matched science"
    return differenceFigure(
        template, result.matched, result.science, result.difference, found, title=title, matchedName=name
    )


def plotKernel(result: SubtractionResult) -> Figure:
    """Draw the kernel on a grid over the field, and how it differs from the kernel at the centre."""
    return fieldMosaic(result.kernel, result.difference.getBBox())


def plotCandidates(result: SubtractionResult) -> Figure:
    """Draw the science image with the candidates that were used, and those rejected by reason."""
    figure, axis = drawImage(result.science)
    table = result.candidates
    x, y, status = (np.asarray(table[name]) if len(table) else np.zeros(0) for name in ("x", "y", "status"))
    reasons = np.array([str(row["reason"]).partition(":")[0] for row in table], dtype=str)
    names, counts = np.unique(reasons[status == "BAD"], return_counts=True)
    found = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    colours = [*REASON_COLOURS, *[QUIET] * len(found)]
    groups = [("used", status == "GOOD", COLOURS["GOOD"], "s")]
    groups += [(r, (status == "BAD") & (reasons == r), c, "X") for r, c in zip(found, colours, strict=False)]
    groups.append(("not used", ~np.isin(status, ("GOOD", "BAD")), COLOURS["UNKNOWN"], "o"))
    handles = []
    for name, chosen, colour, marker in groups:
        handles += drawing.mark([axis], x[chosen], y[chosen], colour, marker, 9.0 if len(table) < 250 else 6.0, name)
    drawing.addLegend(figure, handles, 3)
    return figure


def plotField(result: SubtractionResult) -> Figure:
    """Draw where the difference is worse than its noise: its scatter in blocks, pulls cut off at 5, and in ninths."""
    box = result.difference.getBBox()
    tall = drawing.tallOf(5.4, box, 0.4, 1.6)
    figure = drawing.newFigure(7.0, tall + 0.75)
    from matplotlib import colormaps

    axis = drawing.axesAt(figure, 0.7, 0.6, 5.4, tall)
    scatter, side = scatterInBlocks(result)
    colours = colormaps["YlOrRd"].with_extremes(bad="#b9c4c2", under="#e8f1fa")
    blocks = drawing.Plane(scatter, scatter, side, drawing.extentOf(box))
    shown = blocks.show(axis, scatter, vmin=0.95, vmax=LARGEST_SCATTER, cmap=colours)
    drawing.addBar(axis, shown, "scatter of the difference / noise (1 is ideal)")
    for row in fieldRows(result):
        (left, right), (bottom, top) = row["x"], row["y"]
        axis.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color=QUIET, lw=0.6)
        label = "no data" if row["scatter"] is None else f"{row['scatter']:.2f}"
        middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 15, "weight": "bold"}
        drawing.write(axis, label, ((left + right) / 2, (bottom + top) / 2), (0, 0), **middle)
    drawing.labelPixels(axis)
    return figure


def plotNoise(result: SubtractionResult) -> Figure:
    """Draw the difference over its noise on blank sky against N(0, 1), and the correlation of neighbouring pixels.

    The local sky of 32 px is taken off; correlations are those of the difference, and of the decorrelated one.
    """
    figure = drawing.newFigure(11.0, 3.9)
    histogram, plain, white = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.13, top=0.93, wspace=0.2)
    sky = findBlankSky(result.difference.maskedImage)
    pulls = sky.pulls[sky.isBlank]
    edges = np.arange(-6.0, 6.01, 0.2)
    if pulls.size:
        middles = edges[:-1] + 0.1
        density = np.histogram(np.clip(pulls, -5.99, 5.99), edges)[0] / pulls.size / 0.2
        histogram.stairs(density, edges, fill=True, color="#9ec5e8", label=f"{pulls.size} pixels of blank sky")
        histogram.plot(middles, np.exp(-0.5 * middles**2) / math.sqrt(2 * math.pi), color="#c1121f", label="N(0, 1)")
        histogram.set(yscale="log", ylim=(0.3 / pulls.size, 1.5), xlim=(-6, 6))
        histogram.legend(frameon=False, fontsize=9, loc="lower center")
    else:
        _say(histogram, "no blank sky")
    histogram.set(xlabel="difference / noise", ylabel="density")
    _drawCorrelations(plain, measureWhiteness(result.difference).correlations, "difference")
    if result.decorrelation is None:
        white.set_axis_off()
        _say(white, "not decorrelated")
    else:
        _drawCorrelations(white, measureWhiteness(result.decorrelated).correlations, "decorrelated")
    return figure


def _say(axis: Axes, words: str) -> None:
    axis.text(0.5, 0.6, words, transform=axis.transAxes, ha="center", color=QUIET)


def _drawCorrelations(axis: Axes, correlations: npt.NDArray[np.float64], title: str) -> None:
    """Draw correlations of up to two pixels apart, with their values."""
    reach = correlations.shape[0] // 2
    axis.imshow(correlations, origin="lower", cmap="RdBu_r", vmin=-0.5, vmax=0.5, extent=(-2.5, 2.5, -2.5, 2.5))
    for (row, column), value in np.ndenumerate(correlations):
        dx, dy = column - reach, row - reach
        text = "1" if dx == dy == 0 else fixed(value, 2).replace("-", "\N{MINUS SIGN}") if value == value else "?"
        colour = "white" if abs(value) > 0.35 else "black"
        axis.text(dx, dy, text, ha="center", va="center", fontsize=9, color=colour)
    axis.set_title(f"correlation, {title}", fontsize=10)
    ticks = range(-reach, reach + 1)
    axis.set(xlabel="pixels apart in x", ylabel="in y", xticks=ticks, yticks=ticks)


def plotResiduals(result: SubtractionResult) -> Figure:
    """Draw what is left of sources against how bright they are: the candidates, and the figures of the quality.

    Left: candidates under the spatial model, and sources found anew (`Quality.chiSquareByFlux`). Right: regions under
    solutions made without them (`Quality.heldOutChiSquareByFlux`). Square roots of chi-square per pixel; 1 is ideal.
    """
    figure = drawing.newFigure(11.0, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.13, top=0.97, wspace=0.05)
    ratio = signalToNoise(result)
    rms, status = (np.asarray(result.candidates[name]) if len(ratio) else ratio for name in ("spatialRms", "status"))
    for name, label, marker in (("GOOD", "candidates used", "."), ("BAD", "candidates rejected", "x")):
        chosen = (status == name) & np.isfinite(rms) & np.isfinite(ratio)
        if chosen.any():
            style: dict[str, Any] = {"color": COLOURS[name], "ms": 6, "alpha": 0.7, "label": label}
            left.plot(np.maximum(ratio[chosen], 1.0), rms[chosen], marker, **style)
    if result.quality is not None:
        _drawSteps(left, result.quality.chiSquareByFlux, "sources found anew, median")
        _drawSteps(right, result.quality.heldOutChiSquareByFlux, "kept out of the fit, mean")
    names = "signal-to-noise within 15 px (1: or less)", "signal of the brightest pixels, in sigma"
    for axis, label in zip((left, right), names, strict=True):
        axis.axhline(1.0, color=QUIET, lw=1.0, ls="--")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(alpha=0.25)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.7), max(high, 2.5))
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=9)
        else:
            _say(axis, "nothing was measured")
    left.set_ylabel("residual / noise of a pixel")
    ticks = [tick for tick in TICKS if low * 0.99 <= tick <= high] or [1.0]
    left.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    left.minorticks_off()
    right.minorticks_off()
    return figure


def _drawSteps(axis: Axes, rows: tuple[tuple[float, float, int, float], ...], label: str) -> None:
    """Draw the square root of chi-square of each range of brightness as a line, its number beside it."""
    for low, high, number, chiSquare in rows:
        if number and math.isfinite(chiSquare):
            start, end = low or 1.0, 3.0 * low if math.isinf(high) else high
            level = math.sqrt(chiSquare)
            axis.plot([start, end], [level, level], color="#1d4ed8", lw=3.0, label=label)
            drawing.write(axis, f"{number}", (math.sqrt(start * end), level), (0, 4), ha="center", color="#1d4ed8")
            label = ""


def plotBackground(result: SubtractionResult) -> Figure:
    """Draw the differential background over the field, and the kernel sum."""
    box = result.difference.getBBox()
    x, y = np.meshgrid(np.linspace(box.x0, box.x1 - 1, MODEL_POINTS), np.linspace(box.y0, box.y1 - 1, MODEL_POINTS))
    background = np.asarray(result.background(x, y), dtype=np.float64) * np.ones(x.shape)
    x, y = x[::8, ::8], y[::8, ::8]
    sums = result.kernel.computeImages(x.ravel(), y.ravel()).sum(axis=(1, 2)).reshape(x.shape)
    figure = drawing.newFigure(11.0, 4.6)
    for number, (values, label) in enumerate(((background, "background, counts"), (sums, "kernel sum"))):
        axis = figure.add_axes((0.07 + 0.5 * number, 0.14, 0.33, 0.78))
        middle = 0.5 * (float(values.max()) + float(values.min()))
        # A constant is one colour, not its rounding.
        reach = max(0.5 * float(np.ptp(values)), FLAT * abs(middle), 1e-12)
        style: dict[str, Any] = {"cmap": "cividis", "vmin": middle - reach, "vmax": middle + reach, "origin": "lower"}
        shown = axis.imshow(values, extent=drawing.extentOf(box), interpolation="bilinear", **style)
        bar: Any = drawing.addBar(axis, shown, label)
        bar.formatter.set_useOffset(False)
        drawing.labelPixels(axis)
    return figure

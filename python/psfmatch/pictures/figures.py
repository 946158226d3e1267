"""Figures of a result, for notebooks and reports: made without pyplot, so that they need no display."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from psfmatch.displays.drawing import COLOURS, addBar, addLowBar, binned, drawCounts, noiseOf, percentile
from psfmatch.displays.models import fieldMosaic
from psfmatch.displays.mosaic import drawMosaic, layOutMosaic, styleOf
from psfmatch.plots import HIDDEN_PLANES, differenceFigure
from psfmatch.reporting.drawing import QUIET, labelPixels, needsMatplotlib
from psfmatch.reporting.stamps import candidatePlaces, detectionPlaces, signalToNoise, tripletTiles
from psfmatch.reporting.subject import Reported, findDetections, matchedName
from psfmatch.warping import atOrigin

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plotBackground",
    "plotCandidates",
    "plotDifference",
    "plotKernel",
    "plotResiduals",
    "plotTriplets",
]

FloatArray = npt.NDArray[np.float64]

REASON_COLOURS = ("#d7191c", "#e07a00", "#8e44ad", "#1d4ed8", "#8b4513", "#008080")
"""Of what was rejected, the commonest reason first."""
MODEL_POINTS = 65  # along each side of a model's map
FLAT = 1e-3  # of a model's level, to which its colours are told apart


@needsMatplotlib
def plotDifference(result: Reported, detections: Table | None = None, title: str | None = None) -> Figure:
    """Draw template, matched image, science image and difference; circles about `detections`."""
    # The template may have an origin of its own.
    template = atOrigin(result.template.maskedImage, result.difference.maskedImage)
    found = None
    if detections is not None:
        found = detections["x", "y", "significance"].copy()
        found.rename_column("significance", "signalToNoise")
    return differenceFigure(
        template,
        result.matched,
        result.science,
        result.difference,
        transients=found,
        title=title,
        matchedName=matchedName(result),
    )


@needsMatplotlib
def plotKernel(result: Reported) -> Figure:
    """Draw the kernel on a grid over the field, and how it differs from the kernel at the centre."""
    return fieldMosaic(result.kernel, result.difference.getBBox())


@needsMatplotlib
def plotCandidates(result: Reported) -> Figure:
    """Draw the science image with the candidates that were used, and those rejected by reason."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    image = result.science.maskedImage
    tall = 7.4 * min(max(image.height / image.width, 0.4), 1.6)
    height = tall + 1.45
    figure = Figure(figsize=(9.6, height), dpi=100)
    axis = figure.add_axes((0.75 / 9.6, 1.25 / height, 7.4 / 9.6, tall / height))
    labelPixels(axis)
    plane = binned(image, HIDDEN_PLANES)
    noise = noiseOf(plane.values)
    drawCounts(axis, plane, noise, max(percentile(plane.values - plane.sky, 99.9), 20 * noise), "#c3ccca", 10)
    table = result.candidates
    status = np.asarray(table["status"]) if len(table) else np.zeros(0, dtype=str)
    reasons = np.array([str(reason).partition(":")[0] for reason in table["reason"]]) if len(table) else status
    found = sorted({str(reason) for reason in reasons[status == "BAD"]})
    found.sort(key=lambda reason: -np.count_nonzero(reasons == reason))
    colours = [*REASON_COLOURS[: len(found)], *["#555555"] * max(0, len(found) - len(REASON_COLOURS))]
    groups = [("used", status == "GOOD", COLOURS["GOOD"], "s")]
    groups += [
        (reason, (status == "BAD") & (reasons == reason), colour, "X")
        for reason, colour in zip(found, colours, strict=True)
    ]
    groups.append(("not used", ~np.isin(status, ("GOOD", "BAD")), "#8a8a8a", "o"))
    handles = []
    size = 9.0 if len(table) < 250 else 6.0
    for name, chosen, colour, marker in groups:
        if chosen.any():
            style: dict[str, Any] = {"mfc": "none", "mec": colour, "mew": 1.6, "ls": "none", "marker": marker}
            (drawn,) = axis.plot(table["x"][chosen], table["y"][chosen], ms=size, **style)
            drawn.set_path_effects([withStroke(linewidth=3.0, foreground="white")])
            handles.append(Line2D([], [], ms=9, label=f"{name} ({np.count_nonzero(chosen)})", **style))
    left, right, bottom, top = plane.limits
    axis.set(xlim=(left, right), ylim=(bottom, top))
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 3), frameon=False)
    return figure


@needsMatplotlib
def plotResiduals(result: Reported) -> Figure:
    """Draw what is left of sources against how bright they are: the candidates, and the figures of the quality.

    Left: candidates under the spatial model, and sources found anew (`Quality.chiSquareByFlux`). Right: regions under
    solutions made without them (`Quality.heldOutChiSquareByFlux`). Square roots of chi-square per pixel; 1 is ideal.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.4), dpi=100)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.13, top=0.97, wspace=0.05)
    ratio = signalToNoise(result)
    rms = np.asarray(result.candidates["spatialRms"], dtype=np.float64) if len(ratio) else ratio
    status = np.asarray(result.candidates["status"]) if len(ratio) else np.zeros(0, dtype=str)
    for name, label, marker in (("GOOD", "candidates used", "."), ("BAD", "candidates rejected", "x")):
        chosen = (status == name) & np.isfinite(rms) & np.isfinite(ratio)
        if chosen.any():
            left.plot(
                np.maximum(ratio[chosen], 1.0), rms[chosen], marker, color=COLOURS[name], ms=6, alpha=0.7, label=label
            )
    quality = result.quality
    if quality is not None:
        _drawSteps(left, quality.chiSquareByFlux, "sources found anew, median")
        _drawSteps(right, quality.heldOutChiSquareByFlux, "kept out of the fit, mean")
    for axis, label in (
        (left, "signal-to-noise within 15 px (1: or less)"),
        (right, "signal of the brightest pixels, in sigma"),
    ):
        axis.axhline(1.0, color=QUIET, lw=1.0, ls="--")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(alpha=0.25)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.7), max(high, 2.5))
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=9)
        else:
            axis.text(0.5, 0.7, "nothing was measured", transform=axis.transAxes, ha="center", color=QUIET)
    left.set_ylabel("residual / noise of a pixel")
    ticks = [tick for tick in (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0) if low * 0.99 <= tick <= high]
    left.set_yticks(ticks or [1.0], labels=[f"{tick:g}" for tick in ticks or [1.0]])
    left.minorticks_off()
    right.minorticks_off()
    return figure


def _drawSteps(axis: Axes, rows: tuple[tuple[float, float, int, float], ...], label: str) -> None:
    """Draw the square root of chi-square of each range of brightness as a line, its number beside it."""
    first = True
    for low, high, number, chiSquare in rows:
        if not number or not math.isfinite(chiSquare):
            continue
        start, end = low or 1.0, 3.0 * low if math.isinf(high) else high
        level = math.sqrt(chiSquare)
        axis.plot([start, end], [level, level], color="#1d4ed8", lw=3.0, label=label if first else None)
        axis.annotate(
            f"{number}",
            (math.sqrt(start * end), level),
            (0, 4),
            textcoords="offset points",
            ha="center",
            color="#1d4ed8",
        )
        first = False


@needsMatplotlib
def plotBackground(result: Reported) -> Figure:
    """Draw the differential background over the field, and the kernel sum."""
    from matplotlib.figure import Figure

    box = result.difference.getBBox()
    x, y = np.meshgrid(np.linspace(box.x0, box.x1 - 1, MODEL_POINTS), np.linspace(box.y0, box.y1 - 1, MODEL_POINTS))
    background = np.asarray(result.background(x, y), dtype=np.float64) * np.ones(x.shape)
    x, y = x[::8, ::8], y[::8, ::8]
    sums = result.kernel.computeImages(x.ravel(), y.ravel()).sum(axis=(1, 2)).reshape(x.shape)
    figure = Figure(figsize=(11.0, 4.6), dpi=100)
    for number, (values, label) in enumerate(((background, "background, counts"), (sums, "kernel sum"))):
        axis = figure.add_axes((0.07 + 0.5 * number, 0.14, 0.33, 0.78))
        middle = 0.5 * (float(values.max()) + float(values.min()))
        # A constant is one colour, not its rounding.
        reach = max(0.5 * float(np.ptp(values)), FLAT * abs(middle), 1e-12)
        shown = axis.imshow(
            values,
            origin="lower",
            extent=(box.x0 - 0.5, box.x1 - 0.5, box.y0 - 0.5, box.y1 - 0.5),
            cmap="cividis",
            vmin=middle - reach,
            vmax=middle + reach,
            interpolation="bilinear",
        )
        bar = addBar(axis, shown, label, 10)
        bar.formatter.set_useOffset(False)  # type: ignore[attr-defined]
        labelPixels(axis)
    return figure


@needsMatplotlib
def plotTriplets(
    result: Reported,
    what: Literal["candidates", "detections"] = "candidates",
    number: int = 16,
    detections: Table | None = None,
) -> Figure:
    """Draw the two images of one PSF and the difference over its noise about candidates or detections.

    Parameters
    ----------
    result
        Of `psfmatch.subtract`.
    what
        "candidates": a quarter the brightest that were used, half the worst, a quarter rejected ones;
        "detections": the most significant.
    number
        Of triplets at most.
    detections
        Of ``result.detect()``, which is called if they are not given.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    if what not in ("candidates", "detections"):
        raise ValueError(f"triplets of {what!r} are unknown; choose 'candidates' or 'detections'")
    if what == "candidates":
        places = candidatePlaces(result, number)
    else:
        table = findDetections(result).table if detections is None else detections
        places = [] if table is None else detectionPlaces(table, number)
    width = 11.0
    if not places:
        figure = Figure(figsize=(width, 0.8), dpi=100)
        figure.text(0.5, 0.5, f"There are no {what}.", ha="center", va="center", color=QUIET)
        return figure
    tiles, names = tripletTiles(result, places)
    columns = min(4, len(tiles))
    layout = layOutMosaic(tiles, width - 0.2, 40.0 if columns == 4 else 2.2, columns, fontsize=8.0)
    height = layout.height + 0.85
    figure = Figure(figsize=(width, height), dpi=100)
    headings = [name.removesuffix(" / noise") for name in names] if columns == 4 else names
    drawMosaic(figure, (0.1, height - 0.15), tiles, layout, headings if columns < 4 else (), 0.6, fontsize=8.0)
    addLowBar(figure, styleOf("RdBu_r", Normalize(-5.0, 5.0)), "difference / noise", (6.5, 0.42, 4.2))
    figure.text(0.1 / width, 0.5 / height, "Each: " + ", ".join(headings), fontsize=9, color=QUIET, va="center")
    return figure

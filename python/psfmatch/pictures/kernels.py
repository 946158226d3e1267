"""The matching kernel in pictures: its basis, the kernel over the field, its coefficients against the candidates'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.cells import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.displays.drawing import (
    COLOURS,
    addBar,
    addLowBar,
    asinhTicks,
    noiseOf,
    titleFigure,
)
from psfmatch.displays.mosaic import Tile, drawMosaic, layOutMosaic, styleOf
from psfmatch.displays.output import newFigure
from psfmatch.exposure import Box
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.messages import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Coefficients",
    "basisMosaic",
    "coefficientMaps",
    "coefficientResiduals",
    "coefficientsFigure",
    "fieldMosaic",
    "tabulateCoefficients",
]

FloatArray = NDArray[np.float64]

MOST_FUNCTIONS = 120  # basis images in a mosaic
MOST_COEFFICIENTS = 34  # panels of a figure, the background's and the kernel sum's apart
GRID = 7  # kernels along the longer side of the field
MAP_POINTS = 33  # along each side of a coefficient's map
WIDTH, HEIGHT = 16.0, 11.0  # inches


def basisMosaic(kernel: LinearCombinationKernel) -> Figure:
    """Draw the basis functions, each on its own scale, with their sums."""
    from matplotlib.colors import AsinhNorm

    basis = kernel.basis
    tiles = []
    for number, image in enumerate(basis[:MOST_FUNCTIONS]):
        peak = float(np.abs(image).max()) or 1.0
        style = styleOf("RdBu_r", AsinhNorm(linear_width=peak / 10, vmin=-peak, vmax=peak))
        total = image.sum()
        tiles.append(
            Tile(f"{number}: sum {0.0 if abs(total) < 1e-6 else total:.3g}", [(image, style, None)], "#bbbbbb")
        )
    layout = layOutMosaic(tiles, 15.2, 9.6)
    figure = newFigure(WIDTH, layout.height + 1.4)
    drawMosaic(figure, (0.4, 0.3 + layout.height), tiles, layout)
    many = f"the first {len(tiles)} of " if len(tiles) < len(basis) else ""
    size = f"{kernel.shape[1]} × {kernel.shape[0]} px"
    titleFigure(
        figure,
        "Kernel basis",
        f"{many}{len(basis)} functions on {size}, each on its own scale: red positive, blue negative, asinh",
    )
    return figure


def fieldMosaic(kernel: LinearCombinationKernel, bbox: Box) -> Figure:
    """Draw the kernel on a grid over the field, and how it differs from the kernel at the centre."""
    from matplotlib.colors import AsinhNorm

    longer = max(bbox.width, bbox.height)
    nx, ny = (max(2, round(GRID * side / longer)) for side in (bbox.width, bbox.height))
    # From the top left, as mosaics are drawn: y grows upwards on the sky.
    x = np.tile(np.linspace(bbox.x0, bbox.x1 - 1, nx), ny)
    y = np.repeat(np.linspace(bbox.y1 - 1, bbox.y0, ny), nx)
    images = kernel.computeImages(x, y)
    changes = images - kernel.computeImage(*bbox.centre)
    sums = images.sum(axis=(1, 2))
    places = [f"x {fixed(px, 0)}" if i < nx else "" for i, px in enumerate(x)]
    for row in range(ny):
        places[row * nx] = f"{places[row * nx]} y {fixed(y[row * nx], 0)}".lstrip()
    pictures = (
        (0.4, images, [f"{total:.4g}" for total in sums], "K(x, y)", "kernel, per pixel"),
        (8.3, changes, places, "K(x, y) - K(centre)", "kernel - kernel at the centre, per pixel"),
    )
    mosaics = []
    for left, what, names, heading, label in pictures:
        peak = float(np.abs(what).max()) or 1.0
        style = styleOf("RdBu_r", AsinhNorm(linear_width=peak / 20, vmin=-peak, vmax=peak))
        tiles = [Tile(name, [(image, style, None)], "#bbbbbb") for name, image in zip(names, what, strict=True)]
        mosaics.append((left, tiles, style, heading, label))
    layout = layOutMosaic(mosaics[0][1], 7.3, 9.0, nx, fontsize=8)
    height = layout.height + 2.5
    figure = newFigure(WIDTH, height)
    for left, tiles, style, heading, label in mosaics:
        drawMosaic(figure, (left, layout.height + 1.1), tiles, layout, fontsize=8)
        figure.text((left + 3.65) / WIDTH, (layout.height + 1.3) / height, heading, ha="center", fontsize=13)
        addLowBar(figure, style, label, (left + 0.8, 0.6, 5.7))
    titleFigure(
        figure,
        "Kernel over the field",
        f"at {nx} × {ny} places of the {bbox}; left: labels are kernel sums, from {sums.min():.4g} to "
        f"{sums.max():.4g}; right: labels are positions in pixels",
    )
    return figure


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of N candidates' own kernels and of the spatial model at their places.

    x, y : (N,) parent pixels; isGood, kernelSums, ratings : (N,); own, model : (N, n); names : of the n columns, the
    last of which is the background where one was fitted; functions : numbers of the basis functions of the others,
    out of nFunctions.
    """

    x: FloatArray
    y: FloatArray
    isGood: NDArray[np.bool_]
    kernelSums: FloatArray
    ratings: FloatArray
    own: FloatArray
    model: FloatArray
    names: list[str]
    functions: NDArray[np.intp]
    nFunctions: int

    @property
    def note(self) -> str:
        """How many candidates and coefficients there are."""
        nShown = len(self.functions)
        chosen = f", the {nShown} largest of {self.nFunctions} coefficients" if nShown < self.nFunctions else ""
        return f"{np.count_nonzero(self.isGood)} good, {np.count_nonzero(~self.isGood)} bad candidates{chosen}"


def _onBasis(candidates: list[KernelCandidate], basis: FloatArray) -> FloatArray:
    """Coefficients (N, n) of the candidates' kernels on a basis: their own if it is theirs, else by least squares."""
    solutions = [candidate.kernelSolution for candidate in candidates]
    # Candidates share the array of their basis: it is compared once.
    bases = {id(solution.basis): solution.basis for solution in solutions}
    isSame = {key: np.array_equal(other, basis) for key, other in bases.items()}
    found = np.zeros((len(solutions), len(basis)))
    others = [i for i, solution in enumerate(solutions) if not isSame[id(solution.basis)]]
    if others:
        images = np.array([solutions[i].computeImage().ravel() for i in others])
        found[others] = np.linalg.lstsq(basis.reshape(len(basis), -1).T, images.T)[0].T
    for i, solution in enumerate(solutions):
        if isSame[id(solution.basis)]:
            found[i] = solution.coefficients
    return found


def tabulateCoefficients(
    cellSet: SpatialCellSet, kernel: LinearCombinationKernel, background: SpatialFunction2D, showBad: bool
) -> Coefficients:
    """Return the coefficients of all fitted candidates, of at most `MOST_COEFFICIENTS` functions.

    Raises
    ------
    ValueError
        If no candidate has a kernel.
    """
    fitted = [c for c in cellSet if c.isInitialized and (showBad or c.status is not CandidateStatus.BAD)]
    if not fitted:
        raise ValueError("no candidate has a kernel")
    x, y = np.array([c.x for c in fitted]), np.array([c.y for c in fitted])
    basis = kernel.basis
    own, model = _onBasis(fitted, basis), kernel.coefficients(x, y)
    # Of many, as of delta functions, the largest tell most.
    largest = np.sort(np.argsort(-np.median(np.abs(model), axis=0), kind="stable")[:MOST_COEFFICIENTS])
    own, model = own[:, largest], model[:, largest]
    names = [f"a{i}" for i in largest]
    if np.any(background.scaledParameters):
        own = np.column_stack([own, [c.kernelSolution.background for c in fitted]])
        model = np.column_stack([model, np.atleast_1d(background(x, y))])
        names.append("background")
    isGood = np.array([c.status is not CandidateStatus.BAD for c in fitted])
    sums = np.array([c.kernelSolution.kernelSum for c in fitted])
    ratings = np.array([c.rating for c in fitted])
    return Coefficients(x, y, isGood, sums, ratings, own, model, names, largest, len(basis))


def _columns(n: int) -> int:
    return max(1, math.ceil(math.sqrt(n * 1.5)))


def _panels(figure: Figure, n: int, right: float, bottom: float, height: float) -> list[Axes]:
    """Panels in a grid over the width of the figure; `right` inches beside each, 0.5 above; all in inches."""
    columns = _columns(n)
    rows = -(-n // columns)
    width, tall = (WIDTH - 0.9) / columns, height / rows
    total = figure.get_figheight()
    return [
        figure.add_axes(
            (
                (0.75 + (i % columns) * width) / WIDTH,
                (bottom + (rows - 1 - i // columns) * tall) / total,
                (width - right) / WIDTH,
                (tall - 0.5) / total,
            )
        )
        for i in range(n)
    ]


def _limits(good: FloatArray, model: FloatArray, nSigma: float = 5.0) -> tuple[float, float]:
    """Range that shows the model whole and the candidates within some times their scatter."""
    middle, spread = float(np.median(good)), nSigma * noiseOf(good)
    low, high = min(model.min(), max(good.min(), middle - spread)), max(model.max(), min(good.max(), middle + spread))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def coefficientMaps(
    table: Coefficients, kernel: LinearCombinationKernel, background: SpatialFunction2D, bbox: Box
) -> Figure:
    """Draw every coefficient of the model over the field, and on it those of the candidates on the same scale."""
    x, y = np.linspace(bbox.x0, bbox.x1 - 1, MAP_POINTS), np.linspace(bbox.y0, bbox.y1 - 1, MAP_POINTS)
    gridX, gridY = (axis.ravel() for axis in np.meshgrid(x, y))
    values = kernel.coefficients(gridX, gridY)[:, table.functions]
    if "background" in table.names:
        values = np.column_stack([values, background(gridX, gridY)])
    n = len(table.names)
    beside = 0.68
    # Faint stars scatter most: the area of a dot grows with the rank of its star.
    sizes = 6.0 + 45.0 * (np.argsort(np.argsort(table.ratings)) + 1) / len(table.ratings)
    panel = ((WIDTH - 0.9) / _columns(n) - beside) * min(max(bbox.height / bbox.width, 0.3), 2.0)
    height = -(-n // _columns(n)) * (panel + 0.5)
    figure = newFigure(WIDTH, height + 1.4)
    good = table.isGood
    extent = (bbox.x0 - 0.5, bbox.x1 - 0.5, bbox.y0 - 0.5, bbox.y1 - 0.5)
    for i, axis in enumerate(_panels(figure, n, beside, 0.3, height)):
        low, high = _limits(table.own[good, i] if good.any() else table.own[:, i], values[:, i], 1.5)
        image = values[:, i].reshape(MAP_POINTS, MAP_POINTS)
        style: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "viridis"}
        shown = axis.imshow(image, origin="lower", extent=extent, aspect="equal", **style)
        for chosen, colour in ((good, "white"), (~good, COLOURS["BAD"])):
            dots: dict[str, Any] = dict(
                c=table.own[chosen, i], s=sizes[chosen], edgecolors=colour, linewidths=0.8, **style
            )
            axis.scatter(table.x[chosen], table.y[chosen], **dots)
        axis.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        axis.set_title(table.names[i], fontsize=10, pad=3)
        addBar(axis, shown, "", fontsize=8).ax.locator_params(axis="y", nbins=4)
    titleFigure(
        figure,
        "Spatial model: coefficient maps",
        f"{table.note} over the {bbox}. Areas: the model; dots: each candidate's own fit on the same scale, larger "
        "for brighter stars (rim white good, red bad). Dots that fade into the map agree with the model.",
    )
    return figure


def coefficientResiduals(table: Coefficients, bbox: Box) -> Figure:
    """Draw how far the candidates' own coefficients lie from the model, against their position."""
    from matplotlib.lines import Line2D

    figure = newFigure(WIDTH, HEIGHT)
    residual = table.own - table.model
    good = table.isGood
    places = {
        "x": ((table.x - bbox.x0) / bbox.width, "o", "#1f77b4"),
        "y": ((table.y - bbox.y0) / bbox.height, "^", "#ff7f0e"),
    }
    for i, axis in enumerate(_panels(figure, len(table.names), 0.62, 0.6, 9.3)):
        values = residual[good, i] if good.any() else residual[:, i]
        limit = max(map(abs, _limits(values, np.zeros(1))))
        for position, marker, colour in places.values():
            axis.plot(position[good], residual[good, i], marker, ms=3.5, color=colour, alpha=0.8)
            axis.plot(position[~good], np.clip(residual[~good, i], -limit, limit), marker, ms=3.5, color=COLOURS["BAD"])
        axis.axhline(0.0, color="black", lw=0.8)
        axis.set(xlim=(-0.03, 1.03), ylim=(-limit, limit), xticks=[0, 0.5, 1])
        axis.tick_params(labelsize=7, pad=2)
        axis.locator_params(axis="y", nbins=4)
        axis.set_title(f"{table.names[i]}  rms {np.sqrt(np.mean(values**2)):.2g}", fontsize=9, pad=3)
    key: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    handles = [Line2D([], [], marker=m, color=c, label=f"against {name}", **key) for name, (_, m, c) in places.items()]
    if not good.all():
        handles.append(Line2D([], [], marker="o", color=COLOURS["BAD"], label="bad", **key))
    titleFigure(
        figure,
        "Spatial model: residuals of the coefficients",
        f"{table.note}. Own coefficient minus model, against position as a fraction of the {bbox.width} × "
        f"{bbox.height} px field; a trend asks for a higher order",
        handles,
    )
    return figure


def coefficientsFigure(table: Coefficients) -> Figure:
    """Draw the candidates' own coefficients side by side, and the histogram of each."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = newFigure(WIDTH, HEIGHT)
    good = table.isGood
    nKernel = len(table.names) - ("background" in table.names)
    axis = figure.add_axes((0.75 / WIDTH, 7.75 / HEIGHT, 14.9 / WIDTH, 2.2 / HEIGHT))
    for chosen, colour, shift in ((good, COLOURS["GOOD"], -0.12), (~good, COLOURS["BAD"], 0.12)):
        own = table.own[chosen, :nKernel]
        axis.plot(np.arange(nKernel) + shift + np.zeros_like(own), own, "_", ms=5, color=colour, alpha=0.6)
    model = table.model[:, :nKernel]
    axis.vlines(np.arange(nKernel), model.min(axis=0), model.max(axis=0), color="black", lw=2)
    # Linear about zero as far as the typical coefficient reaches, so that small ones are seen beside large ones.
    linearWidth = float(np.median(np.abs(table.own[:, :nKernel]))) or 1e-3
    axis.set_yscale("asinh", linear_width=linearWidth)
    ticks = asinhTicks(linearWidth, *axis.get_ylim())
    axis.set_yticks(ticks, labels=[f"{tick:.4g}" for tick in ticks])
    axis.minorticks_off()
    axis.axhline(0.0, color="#999999", lw=0.6, zorder=0)
    axis.set(xlim=(-0.7, nKernel - 0.3), xticks=np.arange(nKernel), xticklabels=table.names[:nKernel])
    axis.tick_params(labelsize=8)
    axis.set_ylabel("coefficient, asinh", fontsize=9)

    columns = {"kernel sum": table.kernelSums}
    columns |= {name: table.own[:, i] for i, name in enumerate(table.names)}
    for panel, (name, values) in zip(_panels(figure, len(columns), 0.3, 0.45, 6.9), columns.items(), strict=True):
        shown = values[good] if good.any() else values
        ofModel = table.model[:, table.names.index(name)] if name in table.names else shown
        low, high = _limits(shown, ofModel)
        bins = np.linspace(low, high, 16)
        panel.hist(np.clip(values[good], low, high), bins, color=COLOURS["GOOD"])  # type: ignore[arg-type]
        if not good.all():
            panel.hist(np.clip(values[~good], low, high), bins, histtype="step", color=COLOURS["BAD"], lw=1.3)  # type: ignore[arg-type]
        if name in table.names:
            panel.axvspan(ofModel.min(), ofModel.max(), color="black", alpha=0.15, lw=0, zorder=0)
            panel.axvline(float(np.median(ofModel)), color="black", lw=1.0)
        panel.set_yticks([])
        panel.locator_params(axis="x", nbins=3)
        panel.tick_params(labelsize=7, pad=1)
        panel.set_title(name, fontsize=9, pad=2)
    handles = [
        Patch(color=COLOURS["GOOD"], label="good"),
        *([] if good.all() else [Patch(facecolor="none", edgecolor=COLOURS["BAD"], label="bad")]),
        Line2D([], [], color="black", lw=2, label="model over the field"),
    ]
    titleFigure(
        figure,
        "Kernel coefficients of the candidates",
        f"{table.note}. Above: own coefficients, and in black the range of the model; below: histograms (values "
        "beyond the range in the outer bins), with the model's range shaded "
        "and its median as a line",
        handles,
    )
    return figure

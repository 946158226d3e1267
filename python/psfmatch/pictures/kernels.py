"""The matching kernel in pictures: its basis, the kernel over the field, its coefficients against the candidates'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.errors import fixed
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.images import Box
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.pictures import drawing
from psfmatch.pictures.candidates import fittedCandidates
from psfmatch.pictures.drawing import COLOURS, FloatArray
from psfmatch.pictures.mosaic import Mosaic, Tile, mosaicFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FUNCTIONS = 120  # basis images in a mosaic
MOST_COEFFICIENTS = 34  # panels of a figure, the background's and the kernel sum's apart
GRID = 7  # kernels along the longer side of the field
MAP_POINTS = 33  # along each side of a coefficient's map
WIDTH, HEIGHT = 16.0, 11.0  # inches


def basisMosaic(kernel: LinearCombinationKernel) -> Figure:
    """Draw the basis functions, each on its own scale, with their sums."""
    basis = kernel.basis
    tiles = []
    for number, image in enumerate(basis[:MOST_FUNCTIONS]):
        peak, total = float(np.abs(image).max()) or 1.0, image.sum()
        told = f"{number}: sum {0.0 if abs(total) < 1e-6 else total:.3g}"
        tiles.append(Tile(told, [(image, drawing.signedStyle(peak, peak / 10), None)]))
    many = f"the first {len(tiles)} of " if len(tiles) < len(basis) else ""
    told = f"{many}{len(basis)} functions on {kernel.shape[1]} × {kernel.shape[0]} px"
    note = f"{told}, each on its own scale: red positive, blue negative, asinh"
    return mosaicFigure(Mosaic(tiles, 15.2, 9.6), ("Kernel basis", note))


def fieldMosaic(kernel: LinearCombinationKernel, bbox: Box) -> Figure:
    """Draw the kernel on a grid over the field, and how it differs from the kernel at the centre."""
    longer = max(bbox.width, bbox.height)
    nx, ny = (max(2, round(GRID * side / longer)) for side in (bbox.width, bbox.height))
    # From the top left, as mosaics are drawn: y grows upwards on the sky.
    x = np.tile(np.linspace(bbox.x0, bbox.x1 - 1, nx), ny)
    y = np.repeat(np.linspace(bbox.y1 - 1, bbox.y0, ny), nx)
    images = kernel.computeImages(x, y)
    changes, sums = images - kernel.computeImage(*bbox.centre), images.sum(axis=(1, 2))
    places = [f"x {fixed(px, 0)}" if i < nx else "" for i, px in enumerate(x)]
    for first in range(0, nx * ny, nx):
        places[first] = f"{places[first]} y {fixed(y[first], 0)}".lstrip()
    mosaics = []
    for left, what, names, heading, label in (
        (0.4, images, [f"{total:.4g}" for total in sums], "K(x, y)", "kernel, per pixel"),
        (8.3, changes, places, "K(x, y) - K(centre)", "kernel - kernel at the centre, per pixel"),
    ):
        peak = float(np.abs(what).max()) or 1.0
        style = drawing.signedStyle(peak, peak / 20)
        tiles = [Tile(name, [(image, style, None)]) for name, image in zip(names, what, strict=True)]
        mosaics.append((left, Mosaic(tiles, 7.3, 9.0, nx, fontsize=8), style, heading, label))
    height = mosaics[0][1].height + 2.5
    figure = drawing.newFigure(WIDTH, height)
    for left, mosaic, style, heading, label in mosaics:
        mosaic.draw(figure, left, height - 1.4)
        figure.text((left + 3.65) / WIDTH, 1 - 1.2 / height, heading, ha="center", fontsize=13)
        drawing.addLowBar(figure, style, label, left + 0.8, 0.6, 5.7)
    note = (
        f"at {nx} × {ny} places of the {bbox}; left: labels are kernel sums, from {sums.min():.4g} to "
        f"{sums.max():.4g}; right: labels are positions in pixels"
    )
    drawing.titleFigure(figure, "Kernel over the field", note)
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

    def judged(self, values: FloatArray) -> FloatArray:
        """Return the rows of the good candidates, of all if none is."""
        return values[self.isGood] if self.isGood.any() else values


def _onBasis(candidates: list[KernelCandidate], basis: FloatArray) -> FloatArray:
    """Coefficients (N, n) of the candidates' kernels on a basis: their own if it is theirs, else by least squares."""
    solutions = [candidate.kernelSolution for candidate in candidates]
    # Candidates share the array of their basis: it is compared once.
    isSame = {key: np.array_equal(other, basis) for key, other in {id(s.basis): s.basis for s in solutions}.items()}
    found = np.zeros((len(solutions), len(basis)))
    for i, solution in enumerate(solutions):
        if isSame[id(solution.basis)]:
            found[i] = solution.coefficients
    others = [i for i, solution in enumerate(solutions) if not isSame[id(solution.basis)]]
    if others:
        images = np.array([solutions[i].computeImage().ravel() for i in others])
        found[others] = np.linalg.lstsq(basis.reshape(len(basis), -1).T, images.T)[0].T
    return found


def tabulateCoefficients(
    cellSet: SpatialCellSet, kernel: LinearCombinationKernel, background: SpatialFunction2D, showBad: bool
) -> Coefficients:
    """Return the coefficients of all fitted candidates, of at most `MOST_COEFFICIENTS` functions.

    ValueError if no candidate has a kernel.
    """
    fitted = fittedCandidates(cellSet, showBad)
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
    sums, ratings = np.array([(c.kernelSolution.kernelSum, c.rating) for c in fitted]).T
    return Coefficients(x, y, isGood, sums, ratings, own, model, names, largest, len(basis))


def _panels(figure: Figure, n: int, right: float, bottom: float, height: float) -> list[Axes]:
    """Panels in a grid over the width of the figure; `right` inches beside each, 0.5 above; all in inches."""
    columns = _columns(n)
    rows = -(-n // columns)
    wide, tall = (WIDTH - 0.9) / columns, height / rows
    places = [(0.75 + (i % columns) * wide, bottom + (rows - 1 - i // columns) * tall) for i in range(n)]
    return [drawing.axesAt(figure, left, low, wide - right, tall - 0.5) for left, low in places]


def _columns(n: int) -> int:
    return max(1, math.ceil(math.sqrt(n * 1.5)))


def _limits(good: FloatArray, model: FloatArray, nSigma: float = 5.0) -> tuple[float, float]:
    """Range that shows the model whole and the candidates within some times their scatter."""
    middle, spread = float(np.median(good)), nSigma * drawing.noiseOf(good)
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
    n, beside = len(table.names), 0.68
    # Faint stars scatter most: the area of a dot grows with the rank of its star.
    sizes = 6.0 + 45.0 * (np.argsort(np.argsort(table.ratings)) + 1) / len(table.ratings)
    height = -(-n // _columns(n)) * (drawing.tallOf((WIDTH - 0.9) / _columns(n) - beside, bbox) + 0.5)
    figure = drawing.newFigure(WIDTH, height + 1.4)
    extent = drawing.extentOf(bbox)
    for i, axis in enumerate(_panels(figure, n, beside, 0.3, height)):
        low, high = _limits(table.judged(table.own[:, i]), values[:, i], 1.5)
        image = values[:, i].reshape(MAP_POINTS, MAP_POINTS)
        style: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "viridis"}
        shown = axis.imshow(image, origin="lower", extent=extent, aspect="equal", **style)
        for chosen, colour in ((table.isGood, "white"), (~table.isGood, COLOURS["BAD"])):
            dots: dict[str, Any] = {"c": table.own[chosen, i], "s": sizes[chosen], "edgecolors": colour, **style}
            axis.scatter(table.x[chosen], table.y[chosen], linewidths=0.8, **dots)
        axis.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        axis.set_title(table.names[i], fontsize=10, pad=3)
        drawing.addBar(axis, shown, "", fontsize=8).ax.locator_params(axis="y", nbins=4)
    note = (
        f"{table.note} over the {bbox}. Areas: the model; dots: each candidate's own fit on the same scale, larger "
        "for brighter stars (rim white good, red bad). Dots that fade into the map agree with the model."
    )
    drawing.titleFigure(figure, "Spatial model: coefficient maps", note)
    return figure


def coefficientResiduals(table: Coefficients, bbox: Box) -> Figure:
    """Draw how far the candidates' own coefficients lie from the model, against their position."""
    from matplotlib.lines import Line2D

    figure = drawing.newFigure(WIDTH, HEIGHT)
    residual, good = table.own - table.model, table.isGood
    places = {
        "x": ((table.x - bbox.x0) / bbox.width, "o", "#1f77b4"),
        "y": ((table.y - bbox.y0) / bbox.height, "^", "#ff7f0e"),
    }
    for i, axis in enumerate(_panels(figure, len(table.names), 0.62, 0.6, 9.3)):
        values = table.judged(residual[:, i])
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
    note = (
        f"{table.note}. Own coefficient minus model, against position as a fraction of the {bbox.width} × "
        f"{bbox.height} px field; a trend asks for a higher order"
    )
    drawing.titleFigure(figure, "Spatial model: residuals of the coefficients", note, handles)
    return figure


def coefficientsFigure(table: Coefficients) -> Figure:
    """Draw the candidates' own coefficients side by side, and the histogram of each."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = drawing.newFigure(WIDTH, HEIGHT)
    good = table.isGood
    nKernel = len(table.functions)
    places = np.arange(nKernel)
    axis = drawing.axesAt(figure, 0.75, 7.75, 14.9, 2.2)
    for chosen, colour, shift in ((good, COLOURS["GOOD"], -0.12), (~good, COLOURS["BAD"], 0.12)):
        own = table.own[chosen, :nKernel]
        axis.plot(places + shift + np.zeros_like(own), own, "_", ms=5, color=colour, alpha=0.6)
    model = table.model[:, :nKernel]
    axis.vlines(places, model.min(axis=0), model.max(axis=0), color="black", lw=2)
    # Linear about zero as far as the typical coefficient reaches, so that small ones are seen beside large ones.
    linearWidth = float(np.median(np.abs(table.own[:, :nKernel]))) or 1e-3
    axis.set_yscale("asinh", linear_width=linearWidth)
    ticks = drawing.asinhTicks(linearWidth, *axis.get_ylim())
    axis.set_yticks(ticks, labels=[f"{tick:.4g}" for tick in ticks])
    axis.minorticks_off()
    axis.axhline(0.0, color="#999999", lw=0.6, zorder=0)
    axis.set(xlim=(-0.7, nKernel - 0.3), xticks=places, xticklabels=table.names[:nKernel])
    axis.tick_params(labelsize=8)
    axis.set_ylabel("coefficient, asinh", fontsize=9)

    columns = {"kernel sum": table.kernelSums, **dict(zip(table.names, table.own.T, strict=True))}
    for panel, (name, values) in zip(_panels(figure, len(columns), 0.3, 0.45, 6.9), columns.items(), strict=True):
        shown = table.judged(values)
        ofModel = table.model[:, table.names.index(name)] if name in table.names else shown
        low, high = _limits(shown, ofModel)
        bins: Any = np.linspace(low, high, 16)
        panel.hist(np.clip(values[good], low, high), bins, color=COLOURS["GOOD"])
        if not good.all():
            panel.hist(np.clip(values[~good], low, high), bins, histtype="step", color=COLOURS["BAD"], lw=1.3)
        if name in table.names:
            panel.axvspan(ofModel.min(), ofModel.max(), color="black", alpha=0.15, lw=0, zorder=0)
            panel.axvline(float(np.median(ofModel)), color="black", lw=1.0)
        panel.set_yticks([])
        panel.locator_params(axis="x", nbins=3)
        panel.tick_params(labelsize=7, pad=1)
        panel.set_title(name, fontsize=9, pad=2)
    handles = [Patch(color=COLOURS["GOOD"], label="good")]
    handles += [] if good.all() else [Patch(facecolor="none", edgecolor=COLOURS["BAD"], label="bad")]
    note = (
        f"{table.note}. Above: own coefficients, and in black the range of the model; below: histograms (values "
        "beyond the range in the outer bins), with the model's range shaded and its median as a line"
    )
    key = Line2D([], [], color="black", lw=2, label="model over the field")
    drawing.titleFigure(figure, "Kernel coefficients of the candidates", note, [*handles, key])
    return figure

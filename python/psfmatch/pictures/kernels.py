"""The matching kernel in pictures: its basis, and the kernel over the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from psfmatch.exposure import Box
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.messages import fixed
from psfmatch.pictures import drawing
from psfmatch.pictures.mosaic import Tile, drawMosaic, layOutMosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["basisMosaic", "fieldMosaic"]

MOST_FUNCTIONS = 120  # basis images in a mosaic
GRID = 7  # kernels along the longer side of the field
WIDTH = 16.0  # inches


def basisMosaic(kernel: LinearCombinationKernel) -> Figure:
    """Draw the basis functions, each on its own scale, with their sums."""
    basis = kernel.basis
    tiles = []
    for number, image in enumerate(basis[:MOST_FUNCTIONS]):
        peak, total = float(np.abs(image).max()) or 1.0, image.sum()
        told = f"{number}: sum {0.0 if abs(total) < 1e-6 else total:.3g}"
        tiles.append(Tile(told, [(image, drawing.signedStyle(peak, peak / 10), None)]))
    layout = layOutMosaic(tiles, 15.2, 9.6)
    figure = drawing.newFigure(WIDTH, layout.height + 1.4)
    drawMosaic(figure, (0.4, 0.3 + layout.height), tiles, layout)
    many = f"the first {len(tiles)} of " if len(tiles) < len(basis) else ""
    told = f"{many}{len(basis)} functions on {kernel.shape[1]} × {kernel.shape[0]} px"
    drawing.titleFigure(figure, "Kernel basis", f"{told}, each on its own scale: red positive, blue negative, asinh")
    return figure


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
        mosaics.append((left, tiles, style, heading, label))
    layout = layOutMosaic(mosaics[0][1], 7.3, 9.0, nx, fontsize=8)
    height = layout.height + 2.5
    figure = drawing.newFigure(WIDTH, height)
    for left, tiles, style, heading, label in mosaics:
        drawMosaic(figure, (left, layout.height + 1.1), tiles, layout, fontsize=8)
        figure.text((left + 3.65) / WIDTH, (layout.height + 1.3) / height, heading, ha="center", fontsize=13)
        drawing.addLowBar(figure, style, label, left + 0.8, 0.6, 5.7)
    note = (
        f"at {nx} × {ny} places of the {bbox}; left: labels are kernel sums, from {sums.min():.4g} to "
        f"{sums.max():.4g}; right: labels are positions in pixels"
    )
    drawing.titleFigure(figure, "Kernel over the field", note)
    return figure

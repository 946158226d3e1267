"""Mosaics: tiles of small images side by side, labelled and framed, drawn as one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.pictures.drawing import UNSEEN_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["MASKED_COLOUR", "MosaicLayout", "Panel", "Tile", "drawMosaic", "layOutMosaic"]

MASKED_COLOUR = "#009e73"  # where a pixel is bad
FRAME_COLOUR = "#bbbbbb"
ZOOMED_SIDE = 80  # canvas pixels of a panel at least, so that frames can be thin

Panel = tuple[NDArray[Any], "ScalarMappable", NDArray[np.bool_] | None]
"""Values (h, w), colour map and scale, bad pixels (h, w)."""


@dataclass(frozen=True)
class Tile:
    """Small images side by side under one label, in a coloured frame."""

    label: str
    panels: Sequence[Panel]
    colour: str = FRAME_COLOUR
    labelColour: str = "#000000"


@dataclass(frozen=True)
class MosaicLayout:
    """How tiles stand in rows: canvas pixels of a panel, of frame and gap, and inches of a pixel and of a label."""

    columns: int
    rows: int
    panel: tuple[int, int]  # height, width
    zoom: int  # canvas pixels along the side of an image's pixel
    nPanels: int
    edge: int
    scale: float
    strip: float

    @property
    def tile(self) -> tuple[int, int]:
        """Canvas pixels of a tile with its frame, without its label: height, width."""
        return self.panel[0] + 2 * self.edge, self.nPanels * (self.panel[1] + self.edge) + self.edge

    @property
    def gap(self) -> int:
        """Canvas pixels between tiles."""
        return 3 * self.edge

    @property
    def stripPixels(self) -> int:
        """Canvas pixels of a label."""
        return math.ceil(self.strip / self.scale)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the canvas in its pixels."""
        return self.rows * (self.tile[0] + self.stripPixels), self.columns * (self.tile[1] + self.gap) - self.gap

    @property
    def height(self) -> float:
        """Height of the canvas in inches."""
        return self.shape[0] * self.scale


def layOutMosaic(
    tiles: Sequence[Tile], width: float, height: float, columns: int | None = None, fontsize: float = 9.0
) -> MosaicLayout:
    """Return the layout in which tiles, all with as many panels, are largest within a width and height in inches."""
    sides = np.array([values.shape for tile in tiles for values, *_ in tile.panels]).max(axis=0)
    zoom = -(-ZOOMED_SIDE // int(sides.max()))
    panel = int(sides[0]) * zoom, int(sides[1]) * zoom
    edge, strip = max(1, round(0.025 * max(panel))), 1.7 * fontsize / 72

    def layout(count: int) -> MosaicLayout:
        rows = -(-len(tiles) // count)
        unit = MosaicLayout(count, rows, panel, zoom, len(tiles[0].panels), edge, 1.0, strip)
        # A pixel less than the rounded label may take.
        across = width / (count * (unit.tile[1] + unit.gap))
        return replace(unit, scale=max(1e-3, min(across, (height / rows - strip) / (unit.tile[0] + 1))))

    return max((layout(n) for n in ([columns] if columns else range(1, len(tiles) + 1))), key=lambda one: one.scale)


def drawMosaic(
    figure: Figure,
    corner: tuple[float, float],
    tiles: Sequence[Tile],
    layout: MosaicLayout,
    headings: Sequence[str] = (),
    opacity: float = 1.0,
    fontsize: float = 9.0,
) -> Axes:
    """Draw tiles in rows, from the top left.

    Parameters
    ----------
    figure, corner
        Where to draw: left and top of the mosaic, inches from the left and the bottom of the figure.
    tiles, layout
        What to draw, and its layout, of `layOutMosaic`.
    headings
        Names of a tile's panels, written above the first row.
    opacity
        Of the colour of bad pixels, 0 to 1.
    fontsize
        Of the labels, points.
    """
    from matplotlib.colors import to_rgb

    height, width = layout.panel
    edge, strip = layout.edge, layout.stripPixels
    canvas = np.full((*layout.shape, 3), 255, dtype=np.uint8)
    axis = figure.add_axes((0, 0, 1, 1))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, layout.columns)
        top, start = row * (layout.tile[0] + strip) + strip, column * (layout.tile[1] + layout.gap)
        canvas[top : top + layout.tile[0], start : start + layout.tile[1]] = _bytes(to_rgb(tile.colour))
        for index, (values, style, bad) in enumerate(tile.panels):
            y, x = top + edge, start + edge + index * (width + edge)
            canvas[y : y + height, x : x + width] = _bytes(to_rgb(UNSEEN_COLOUR))
            colours = np.asarray(style.to_rgba(np.ma.masked_invalid(values)))[..., :3]
            if bad is not None:
                colours[bad] = (1 - opacity) * colours[bad] + opacity * np.array(to_rgb(MASKED_COLOUR))
            # Upside down: the canvas begins at its top, images at their bottom.
            colours = _bytes(colours)[::-1].repeat(layout.zoom, axis=0).repeat(layout.zoom, axis=1)
            y, x = y + (height - colours.shape[0]) // 2, x + (width - colours.shape[1]) // 2
            canvas[y : y + colours.shape[0], x : x + colours.shape[1]] = colours
        line: dict[str, Any] = {"fontsize": fontsize, "va": "bottom"}
        if tile.label:
            axis.text(start - 0.5, top - 0.5 - 0.12 * strip, tile.label, ha="left", color=tile.labelColour, **line)
        for index, heading in enumerate(headings if row == 0 else ()):
            middle = start + edge + (index + 0.5) * (width + edge)
            axis.text(middle, -0.2 * strip, heading, ha="center", color="#555555", **line)
    axis.imshow(canvas, interpolation="nearest", origin="upper", aspect="equal")
    across, up = figure.get_size_inches()
    size = canvas.shape[1] * layout.scale / across, layout.height / up
    axis.set_position((corner[0] / across, corner[1] / up - size[1], *size))
    axis.set_axis_off()
    return axis


def _bytes(colours: ArrayLike) -> NDArray[np.uint8]:
    """Colours from 0 to 1 as whole numbers from 0 to 255."""
    return np.round(255 * np.asarray(colours)).astype(np.uint8)

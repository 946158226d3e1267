"""Mosaics: tiles of small images side by side, labelled and framed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.pictures.drawing import QUIET, UNSEEN_COLOUR, addLowBar, axesAt, newFigure, titleFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

MASKED_COLOUR = "#009e73"  # where a pixel is bad
EDGE, GAP = 0.025, 0.075  # of a frame and between tiles, as shares of a panel's longer side

Panel = tuple[NDArray[Any], "ScalarMappable", NDArray[np.bool_] | None]
"""Values (h, w), colour map and scale, bad pixels (h, w)."""


@dataclass(frozen=True)
class Tile:
    """Small images side by side under one label, in a coloured frame."""

    label: str
    panels: Sequence[Panel]
    colour: str = "#bbbbbb"
    labelColour: str = "#000000"


class Mosaic:
    """Tiles in rows, all with as many panels, as large as a width and a height in inches let them be."""

    def __init__(
        self, tiles: Sequence[Tile], width: float, height: float, columns: int | None = None, fontsize: float = 9.0
    ) -> None:
        self.tiles, self.fontsize = tiles, fontsize
        shapes = [values.shape for tile in tiles for values, *_ in tile.panels]
        tall, wide = (max(shape[axis] for shape in shapes) for axis in (0, 1))
        longer, nPanels, strip = max(tall, wide), len(tiles[0].panels), 1.7 * fontsize / 72
        # Height and width of a tile, in pixels of its images.
        tile = tall + 2 * EDGE * longer, nPanels * (wide + EDGE * longer) + EDGE * longer

        def pixel(count: int) -> float:
            """Return inches of a pixel in so many columns."""
            across: float = width / (count * (tile[1] + GAP * longer))
            up: float = (height / -(-len(tiles) // count) - strip) / tile[0]
            return max(1e-4, min(across, up))

        self.columns = columns or max(range(1, len(tiles) + 1), key=pixel)
        self.pixel = pixel(self.columns)
        self.panel = tall * self.pixel, wide * self.pixel
        self.edge = EDGE * longer * self.pixel
        # From one tile to the next: labels stand above.
        self.tile = tile[0] * self.pixel, tile[1] * self.pixel
        self.step = self.tile[0] + strip, self.tile[1] + GAP * longer * self.pixel
        self.height = self.step[0] * -(-len(tiles) // self.columns)

    def draw(self, figure: Figure, left: float, top: float, headings: Sequence[str] = (), opacity: float = 1.0) -> Axes:
        """Draw the tiles, the first one `left` and `top` inches from the left and the bottom of the figure.

        headings : names of a tile's panels, above the first row; opacity : of the colour of bad pixels, 0 to 1.
        """
        from matplotlib.colors import to_rgb
        from matplotlib.patches import Rectangle

        width = self.columns * self.step[1]
        axis = axesAt(figure, left, top - self.height, width, self.height)
        axis.set(xlim=(0, width), ylim=(-self.height, 0))
        axis.set_axis_off()
        flat: dict[str, Any] = {"linewidth": 0, "antialiased": False, "zorder": -1}
        line: dict[str, Any] = {"fontsize": self.fontsize, "va": "bottom"}
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, self.columns)
            x, y = column * self.step[1], -(row + 1) * self.step[0]
            axis.add_patch(Rectangle((x, y), self.tile[1], self.tile[0], facecolor=tile.colour, **flat))
            axis.text(x, y + self.tile[0] + 0.02, tile.label, color=tile.labelColour, **line)
            for index, (values, style, bad) in enumerate(tile.panels):
                start, low = x + self.edge + index * (self.panel[1] + self.edge), y + self.edge
                axis.add_patch(Rectangle((start, low), *self.panel[::-1], facecolor=UNSEEN_COLOUR, **flat))
                colours = np.asarray(style.to_rgba(np.ma.masked_invalid(values)))[..., :3]
                if bad is not None:
                    colours[bad] = (1 - opacity) * colours[bad] + opacity * np.array(to_rgb(MASKED_COLOUR))
                tall, wide = (side * self.pixel for side in values.shape)
                start, low = start + (self.panel[1] - wide) / 2, low + (self.panel[0] - tall) / 2
                extent = start, start + wide, low, low + tall
                axis.imshow(colours, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
            for index, heading in enumerate(headings if row == 0 else ()):
                middle = x + self.edge + (index + 0.5) * (self.panel[1] + self.edge)
                axis.text(middle, 0.0, heading, ha="center", color=QUIET, **line)
        return axis


def mosaicFigure(
    mosaic: Mosaic,
    words: tuple[str, str],
    handles: Sequence[Any] = (),
    headings: Sequence[str] = (),
    opacity: float = 1.0,
    bar: tuple[ScalarMappable, str] | None = None,
) -> Figure:
    """Return a figure of a mosaic alone.

    words : heading and note; handles : of its legend; headings, opacity : of `Mosaic.draw`; bar : scale and label of a
    colour bar along the bottom.
    """
    below = 0.3 if bar is None else 1.1
    figure = newFigure(16.0, mosaic.height + below + (1.1 if bar is None else 1.5))
    mosaic.draw(figure, 0.4, below + mosaic.height, headings, opacity)
    titleFigure(figure, *words, handles)
    if bar is not None:
        addLowBar(figure, *bar, 4.0, 0.55, 8.0)
    return figure

"""What the figures of a report share: matplotlib if it is there, labels, and pictures as text for a page."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["QUIET", "labelPixels", "needsMatplotlib", "pngOf", "requireMatplotlib"]

Parameters = ParamSpec("Parameters")

QUIET = "#555555"
PALETTE, GREYS = 256, 64


def requireMatplotlib() -> None:
    """Raise ModuleNotFoundError, with what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "figures and reports need matplotlib: pip install 'psfmatch[plot]'", name="matplotlib"
        ) from error


def needsMatplotlib(function: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    @functools.wraps(function)
    def checked(*arguments: Parameters.args, **options: Parameters.kwargs) -> Figure:
        requireMatplotlib()
        return function(*arguments, **options)

    return checked


def labelPixels(axis: Axes) -> None:
    """Name the axes of an image."""
    axis.set_xlabel("x (pixels)", fontsize=10)
    axis.set_ylabel("y (pixels)", fontsize=10)
    axis.tick_params(labelsize=9)


def pngOf(figure: Figure, dpi: float) -> str:
    """Return a figure as the text of a data URI: a PNG of 256 colours, a third as large as one of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture = Image.fromarray(pixels).quantize(palette=_palette(pixels), dither=Image.Dither.NONE)
    packed = io.BytesIO()
    picture.save(packed, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def _palette(pixels: npt.NDArray[np.uint8]) -> Any:
    """Return 64 greys, pure white among them, and those colours that stand for all others that there are.

    Each colour counts once, however few pixels have it: else the markers would lose theirs to the images.
    """
    from PIL import Image

    greys = np.linspace(0, 255, GREYS).round().astype(np.uint8)
    # 5 bits of each channel tell colours apart well enough.
    coarse = pixels[::2, ::2].reshape(-1, 3) >> 3
    coded = np.unique(coarse[:, 0].astype(np.int32) << 10 | coarse[:, 1].astype(np.int32) << 5 | coarse[:, 2])
    colours = np.stack([coded >> 10, coded >> 5 & 31, coded & 31], axis=1)
    colours = colours[np.ptp(colours, axis=1) > 1].astype(np.uint8) * 8 + 4
    found = np.zeros((0, 3), dtype=np.uint8)
    if len(colours):
        reduced = Image.fromarray(colours[np.newaxis]).quantize(PALETTE - GREYS, method=Image.Quantize.MEDIANCUT)
        found = np.array(reduced.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[: PALETTE - GREYS]
    palette = Image.new("P", (1, 1))
    entries = np.concatenate([np.repeat(greys[:, np.newaxis], 3, axis=1), found])
    palette.putpalette(entries.ravel().tolist())
    return palette

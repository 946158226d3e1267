"""What the figures of a report share: matplotlib if it is there, labels, and pictures as text for a page."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["QUIET", "labelPixels", "needsMatplotlib", "pngOf", "requireMatplotlib"]

Parameters = ParamSpec("Parameters")

QUIET = "#555555"
PALETTE, GREYS = 256, 64
Bytes = npt.NDArray[np.uint8]


def requireMatplotlib() -> None:
    """Raise ModuleNotFoundError, with what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "figures and reports need matplotlib: pip install 'psfmatch[plot]'", name="matplotlib"
        ) from error


def needsMatplotlib(function: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Return a function that draws a figure, and says what to install where matplotlib is missing."""

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
    indices, palette = _reduced(np.asarray(canvas.buffer_rgba())[..., :3])
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(palette.tobytes())
    packed = io.BytesIO()
    picture.save(packed, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def _reduced(pixels: Bytes) -> tuple[Bytes, Bytes]:
    """Return pixels (h, w, 3) as numbers of colours, and 256 colours (n, 3): 64 greys, white and black exact.

    What is not grey is told by 6 bits of each channel and shares the other 192 colours. Each counts once, however few
    pixels have it: else the markers would lose theirs to the images.
    """
    from PIL import Image

    sixth = (pixels >> 2).astype(np.int32)
    codes = sixth[..., 0] << 12 | sixth[..., 1] << 6 | sixth[..., 2]
    present = np.flatnonzero(np.bincount(codes.ravel(), minlength=1 << 18))
    levels = np.stack([present >> 12, present >> 6 & 63, present & 63], axis=1)
    colours = np.round(levels * (255.0 / 63.0)).astype(np.uint8)
    greys = np.round(np.arange(GREYS) * (255.0 / 63.0)).astype(np.uint8)
    palette = np.repeat(greys[:, np.newaxis], 3, axis=1)
    isGrey = np.ptp(levels, axis=1) == 0
    index = levels[:, 0].copy()
    if not isGrey.all():
        others = colours[~isGrey]
        few = Image.fromarray(others[np.newaxis]).quantize(PALETTE - GREYS, method=Image.Quantize.MEDIANCUT)
        found = np.array(few.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[: PALETTE - GREYS]
        distance = np.sum((others[:, np.newaxis].astype(np.int32) - found) ** 2, axis=2)
        index[~isGrey] = GREYS + np.argmin(distance, axis=1)
        palette = np.concatenate([palette, found])
    table = np.zeros(1 << 18, dtype=np.uint8)
    table[present] = index
    return table[codes], palette

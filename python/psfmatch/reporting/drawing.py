"""What the figures of a report share: matplotlib if it is there, labels, and pictures as text for a page."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["QUIET", "labelPixels", "needsMatplotlib", "pngOf", "requireMatplotlib"]

Parameters = ParamSpec("Parameters")

QUIET = "#555555"
COLOURS_OF_PALETTE = 128


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
    """Return a figure as the text of a data URI: a PNG of 128 colours, a third as large as one of all."""
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white")
    stream.seek(0)
    with Image.open(stream) as picture:
        # The octree keeps colours that few pixels have, such as those of markers; dithering would be noise.
        small = picture.convert("RGB").quantize(
            COLOURS_OF_PALETTE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    packed = io.BytesIO()
    small.save(packed, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")

"""Where pictures go: PNG files with a frame number and a title in their names, or windows."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from psfmatch.io import PICTURES, formOf, requireNew, writeWhole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["folderOf", "isScreenWanted", "newFigure", "nextFrame", "pause", "publish", "savePicture", "savePng"]

log = logging.getLogger("psfmatch.displays")

DEFAULT_FOLDER = "psfmatch-debug"
DEFAULT_DPI = 100.0

WITHOUT_ORIGIN: dict[str, dict[str, str | None] | None] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
    "jpg": None,
}
"""What matplotlib would write about itself and the time, by format."""


def folderOf(module: ModuleType | None) -> Path:
    """Return the folder of the pictures: ``lsstDebug.directory``, PSFMATCH_DEBUG_DIR, or psfmatch-debug."""
    return Path(getattr(module, "directory", None) or os.environ.get("PSFMATCH_DEBUG_DIR") or DEFAULT_FOLDER)


def isScreenWanted(module: ModuleType | None) -> bool:
    """Whether ``lsstDebug.screen`` or PSFMATCH_DEBUG_SCREEN ask for windows."""
    return bool(getattr(module, "screen", False)) or os.environ.get("PSFMATCH_DEBUG_SCREEN", "0") not in ("", "0")


def nextFrame(module: ModuleType | None) -> int:
    """Return the number of the next picture."""
    frame = getattr(module, "frame", None)
    return frame if isinstance(frame, int) and not isinstance(frame, bool) else 1


def newFigure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, at the resolution of ``lsstDebug.dpi``; in a window if wanted."""
    from matplotlib.figure import Figure

    module = sys.modules.get("lsstDebug")
    dpi = float(getattr(module, "dpi", None) or DEFAULT_DPI)
    if not isScreenWanted(module):
        return Figure(figsize=(width, height), dpi=dpi)
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(width, height), dpi=dpi)
    if not _hasWindow(figure):
        log.warning("matplotlib's backend %s opens no windows: debug views go to files", pyplot.get_backend())
        pyplot.close(figure)
    return figure


def publish(figure: Figure, name: str, title: str) -> Path | None:
    """Write or show a picture and count its frame.

    Parameters
    ----------
    figure
        The picture, of `newFigure`.
    name, title
        Of the channel and of the picture; both go into the name of the file.

    Returns
    -------
    path
        Of the file, also at the end of ``lsstDebug.pictures``; None for a window.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    module: Any = sys.modules.get("lsstDebug")
    frame = nextFrame(module)
    path = None
    if _hasWindow(figure):
        manager: Any = figure.canvas.manager
        manager.set_window_title(f"{frame} {name}: {title}")
        manager.show()
        figure.canvas.draw_idle()
        figure.canvas.flush_events()
    else:
        folder = folderOf(module)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{frame:03d}-{name}-{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-')}.png"
        savePng(figure, path)
        log.debug("Debug view %s", path)
    if module is not None:
        module.frame = frame + 1
        module.pictures = [*getattr(module, "pictures", []), *([path] if path else [])]
    return path


def pause() -> None:
    """Wait until the windows are closed, if there are any."""
    if not isScreenWanted(sys.modules.get("lsstDebug")):
        return
    from matplotlib import pyplot

    if pyplot.get_fignums():
        log.info("Close the windows to go on")
        pyplot.show(block=True)


def _hasWindow(figure: Figure) -> bool:
    """Whether a figure's backend runs an event loop; the others only write files."""
    return figure.canvas.required_interactive_framework is not None


def savePng(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG; see `savePicture`. ValueError where the name asks for another format."""
    if formOf(path, PICTURES) != "png":
        raise ValueError(f"{path} is not the name of a PNG; savePicture writes what the name asks for")
    savePicture(figure, path)


def savePicture(figure: Figure, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a figure in the format that the ending of the name asks for: PNG, PDF, SVG or JPEG.

    At its own resolution; a failure leaves neither a new nor a damaged file.

    Raises
    ------
    ValueError
        When the ending is none of these.
    FileExistsError
        When the file exists and ``overwrite`` is false.
    OSError
        When the directory does not exist or cannot be written.
    """
    from matplotlib import rc_context

    form = formOf(path, PICTURES)
    if not overwrite:
        requireNew(path)
    stream = io.BytesIO()
    # Without the software's name, the time and random identifiers the same figure gives the same bytes.
    with rc_context({"svg.hashsalt": "psfmatch"}):
        figure.savefig(stream, format=form, dpi=figure.dpi, metadata=WITHOUT_ORIGIN[form])
    writeWhole(path, stream.getvalue())

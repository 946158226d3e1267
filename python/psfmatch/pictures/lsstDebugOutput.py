"""Where debug views go: PNG files with a frame number and a title in their names, or windows."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from psfmatch.pictures.files import savePng

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["folderOf", "makeFigure", "pause", "publish"]

log = logging.getLogger("psfmatch.pictures")

DEFAULT_FOLDER = "psfmatch-debug"
DEFAULT_DPI = 100.0


def folderOf(module: ModuleType | None) -> Path:
    """Return the folder of the pictures: ``lsstDebug.directory``, PSFMATCH_DEBUG_DIR, or psfmatch-debug."""
    return Path(getattr(module, "directory", None) or os.environ.get("PSFMATCH_DEBUG_DIR") or DEFAULT_FOLDER)


def _isScreenWanted() -> bool:
    """Whether ``lsstDebug.screen`` or PSFMATCH_DEBUG_SCREEN ask for windows."""
    isAsked = os.environ.get("PSFMATCH_DEBUG_SCREEN", "0") not in ("", "0")
    return isAsked or bool(getattr(sys.modules.get("lsstDebug"), "screen", False))


def makeFigure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, at the resolution of ``lsstDebug.dpi``; in a window if wanted."""
    from matplotlib.figure import Figure

    dpi = float(getattr(sys.modules.get("lsstDebug"), "dpi", None) or DEFAULT_DPI)
    if not _isScreenWanted():
        return Figure(figsize=(width, height), dpi=dpi)
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(width, height), dpi=dpi)
    if not _hasWindow(figure):
        log.warning("matplotlib's backend %s opens no windows: debug views go to files", pyplot.get_backend())
        pyplot.close(figure)
    return figure


def publish(figure: Figure, name: str, title: str) -> Path | None:
    """Write or show a picture, of `makeFigure`, and count its frame.

    The names of the channel and of the picture go into that of the file. Returned is its path, also at the end of
    ``lsstDebug.pictures``; None for a window. OSError if the folder cannot be written.
    """
    module: Any = sys.modules.get("lsstDebug")
    frame = getattr(module, "frame", None)
    number = frame if isinstance(frame, int) and not isinstance(frame, bool) else 1
    path = None
    if _hasWindow(figure):
        manager: Any = figure.canvas.manager
        manager.set_window_title(f"{number} {name}: {title}")
        manager.show()
        figure.canvas.draw_idle()
        figure.canvas.flush_events()
    else:
        folder = folderOf(module)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:03d}-{name}-{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-')}.png"
        savePng(figure, path)
        log.debug("Debug view %s", path)
    if module is not None:
        module.frame = number + 1
        module.pictures = [*getattr(module, "pictures", []), *([path] if path else [])]
    return path


def pause() -> None:
    """Wait until the windows are closed, if there are any."""
    if not _isScreenWanted():
        return
    from matplotlib import pyplot

    if pyplot.get_fignums():
        log.info("Close the windows to go on")
        pyplot.show(block=True)


def _hasWindow(figure: Figure) -> bool:
    """Whether a figure's backend runs an event loop; the others only write files."""
    return figure.canvas.required_interactive_framework is not None

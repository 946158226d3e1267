"""LSST's debug module: who asks for debug views, by which switches of a channel, and where the pictures go.

The module ``lsstDebug``, the user's module ``debug``; PNG files with a frame number and a title in their names, or
windows.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from psfmatch.pictures.files import savePicture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("psfmatch.pictures")

MODULE = "lsstDebug"
FAMILIES = ("lsst.ip.diffim", "psfmatch")
"""A channel answers to its name behind either of these."""

DEFAULT_FOLDER = "psfmatch-debug"
DEFAULT_DPI = 100.0
DEFAULT_TRANSPARENCY, USUAL_TRANSPARENCY = 50.0, 60.0
"""Percent, of mask planes where nothing is set, and where debugging is asked for without a debug module."""

DEFAULT_SWITCHES = {
    "psfMatch": "displayCandidates displayKernelBasis displayKernelMosaic plotKernelSpatialModel "
    "plotKernelCoefficients showBadCandidates",
    "imagePsfMatch": "displayTemplate displaySciIm displaySpatialCells displayDiffIm showBadCandidates",
    "diaCatalogSourceSelector": "displayExposure",
}
"""What is on then, besides display."""


class Switches:
    """The switches of a channel, from the information objects of all its names that have ``display`` on."""

    def __init__(self, infos: Sequence[Any]) -> None:
        self._infos = infos

    def isOn(self, name: str) -> bool:
        """Whether any of the objects has a switch on."""
        return any(bool(getattr(info, name, False)) for info in self._infos)

    @property
    def maskOpacity(self) -> float:
        """Opacity of the mask planes, 0 to 1, from ``maskTransparency`` in percent."""
        values = [getattr(info, "maskTransparency", False) for info in self._infos]
        percent = next((float(value) for value in values if value is not False and value is not None), None)
        return 1.0 - min(max(DEFAULT_TRANSPARENCY if percent is None else percent, 0.0), 100.0) / 100.0


def switchesOf(channel: str) -> Switches | None:
    """Return the switches of a channel, or None if it is off: without a debug module that costs one look-up."""
    module = sys.modules.get(MODULE)
    if module is None or not hasattr(module, "Info"):
        # Not loaded, or something else that bears the name.
        return None
    infos = []
    for family in FAMILIES:
        try:
            info = module.Info(f"{family}.{channel}")
            if info.display:
                infos.append(info)
        except KeyError:
            # An installed lsstDebug keeps switches in the module of that name, which need not be loaded.
            log.debug("lsstDebug knows no %s.%s", family, channel)
        except Exception as error:  # the function is the user's
            log.warning("No debug views: lsstDebug.Info('%s.%s') raised %r", family, channel, error)
    return Switches(infos) if infos else None


@contextmanager
def debugging(isOn: bool = True, searchFolder: str | os.PathLike[str] | None = None) -> Iterator[ModuleType | None]:
    """Draw debug views inside a with block.

    The user's module ``debug`` says which: ``debug.py`` in `searchFolder`, else on the path; without one every channel
    shows what is useful. Afterwards everything is as before, and the log says where the pictures are; windows stay
    until they are closed.

    Parameters
    ----------
    isOn
        False does nothing.
    searchFolder
        Where to look for ``debug.py`` first, by default the working directory. Pictures go elsewhere:
        ``lsstDebug.directory``.

    Yields
    ------
    module
        ``lsstDebug``, whose ``frame``, ``directory``, ``screen`` and ``dpi`` may be set; None if not on.

    Raises
    ------
    ValueError
        If the debug module raises when it is imported.
    """
    if not isOn:
        yield None
        return
    module: Any = importlib.import_module(MODULE)
    before, previous = dict(vars(module)), sys.modules.get("debug")
    nBefore = len(_said("pictures") or ())
    try:
        spec = PathFinder.find_spec("debug", [os.fspath(searchFolder or Path.cwd()), *sys.path])
        if spec is not None and Path(spec.origin or "").name == "debug.py":
            _execute(spec)
            log.info("Debug views as %s says", spec.origin, extra={"isDecision": True})
            nBefore = len(_said("pictures") or ())
        elif isinstance(module.Info, type):
            module.Info = _defaultInfo
        yield module
    finally:
        pause()
        nWritten = len(_said("pictures") or ()) - nBefore
        if nWritten:
            log.info("%d debug views written to %s", nWritten, folderOf(), extra={"isDecision": True})
        vars(module).clear()
        vars(module).update(before)
        if previous is None:
            sys.modules.pop("debug", None)
        else:
            sys.modules["debug"] = previous


def _execute(spec: ModuleSpec) -> None:
    """Run the user's debug module, afresh."""
    module = importlib.util.module_from_spec(spec)
    sys.modules["debug"] = module
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the module is a program: anything can go wrong in it
        raise ValueError(f"debug module {spec.origin}: {type(error).__name__}: {error}") from error


def _defaultInfo(name: str) -> Any:
    info: Any = importlib.import_module(MODULE).getInfo(name)
    names = DEFAULT_SWITCHES.get(name.rpartition(".")[2])
    if names is not None:
        vars(info).update(dict.fromkeys(["display", *names.split()], True), maskTransparency=USUAL_TRANSPARENCY)
    return info


# Where the pictures go


def _said(name: str) -> Any:
    """Return what ``lsstDebug`` says besides the switches, None for nothing."""
    return getattr(sys.modules.get(MODULE), name, None)


def folderOf() -> Path:
    """Return the folder of the pictures: ``lsstDebug.directory``, PSFMATCH_DEBUG_DIR, or psfmatch-debug."""
    return Path(_said("directory") or os.environ.get("PSFMATCH_DEBUG_DIR") or DEFAULT_FOLDER)


def _isScreenWanted() -> bool:
    """Whether ``lsstDebug.screen`` or PSFMATCH_DEBUG_SCREEN ask for windows."""
    return os.environ.get("PSFMATCH_DEBUG_SCREEN", "0") not in ("", "0") or bool(_said("screen"))


def makeFigure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, at the resolution of ``lsstDebug.dpi``; in a window if wanted."""
    from matplotlib.figure import Figure

    dpi = float(_said("dpi") or DEFAULT_DPI)
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
    module: Any = sys.modules.get(MODULE)
    number = _said("frame") if type(_said("frame")) is int else 1
    path = None
    if _hasWindow(figure):
        manager: Any = figure.canvas.manager
        manager.set_window_title(f"{number} {name}: {title}")
        manager.show()
        figure.canvas.draw_idle()
        figure.canvas.flush_events()
    else:
        folder = folderOf()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:03d}-{name}-{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-')}.png"
        savePicture(figure, path)
        log.debug("Debug view %s", path)
    if module is not None:
        module.frame = number + 1
        module.pictures = [*(_said("pictures") or ()), *([path] if path else [])]
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

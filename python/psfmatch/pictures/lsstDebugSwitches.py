"""Who asks for debug views: the module ``lsstDebug``, the user's ``debug`` module, and the switches of a channel."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from psfmatch.pictures.lsstDebugOutput import folderOf, pause

__all__ = ["DEFAULT_SWITCHES", "Switches", "debugging", "switchesOf"]

log = logging.getLogger("psfmatch.pictures")

MODULE = "lsstDebug"
FAMILIES = ("lsst.ip.diffim", "psfmatch")
"""A channel answers to its name behind either of these."""

DEFAULT_TRANSPARENCY = 50.0  # percent, of mask planes drawn over an image where nothing is set
USUAL_TRANSPARENCY = 60

DEFAULT_SWITCHES = {
    "psfMatch": "displayCandidates displayKernelBasis displayKernelMosaic plotKernelSpatialModel "
    "plotKernelCoefficients showBadCandidates",
    "imagePsfMatch": "displayTemplate displaySciIm displaySpatialCells displayDiffIm showBadCandidates",
    "diaCatalogSourceSelector": "displayExposure",
}
"""What is on, besides display, when debugging is asked for without a debug module."""


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
    nBefore = len(getattr(module, "pictures", []))
    try:
        spec = PathFinder.find_spec("debug", [os.fspath(searchFolder or Path.cwd()), *sys.path])
        if spec is not None and Path(spec.origin or "").name == "debug.py":
            _execute(spec)
            log.info("Debug views as %s says", spec.origin, extra={"isDecision": True})
            nBefore = len(getattr(module, "pictures", []))
        elif isinstance(module.Info, type):
            module.Info = _defaultInfo
        yield module
    finally:
        pause()
        nWritten = len(getattr(module, "pictures", [])) - nBefore
        if nWritten:
            log.info("%d debug views written to %s", nWritten, folderOf(module), extra={"isDecision": True})
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

"""Debug views: what the tasks saw and found, drawn when a debug module asks for it.

Three channels, as documented for the LSST pipelines: ``psfMatch`` (candidates, kernels, spatial model),
``imagePsfMatch`` (images, cells, difference) and ``diaCatalogSourceSelector`` (selection of candidates). Without a
debug module nothing is drawn and matplotlib is not imported.
"""

from psfmatch.displays.hooks import (
    showDifference,
    showExposure,
    showInputs,
    showSelection,
    showSolution,
    showSpatialCells,
)
from psfmatch.displays.switches import debugging

__all__ = [
    "debugging",
    "showDifference",
    "showExposure",
    "showInputs",
    "showSelection",
    "showSolution",
    "showSpatialCells",
]

"""Pictures: on one drawing library the plots of a result, its report, and LSST's debug views.

`drawing` and `mosaic` draw and `files` writes; `panels` is a subtraction side by side. `plots` and `triplets` are the
figures of a result for notebooks, `page` puts them together with `numbers`, `field` and `glossary` into one HTML page
of `markup`; `index` is the page of a directory. The numbers are those of the result and of its quality: nothing is
measured in another way. `lsstDebugViews` is what the tasks tell of, `candidates`, `kernels` and `coefficients` are
drawn for it. matplotlib is imported where something is drawn.
"""

from psfmatch.pictures.candidates import writeKernelCandidates
from psfmatch.pictures.files import savePicture
from psfmatch.pictures.index import writeIndex
from psfmatch.pictures.lsstDebug import debugging
from psfmatch.pictures.lsstDebugViews import showExposure
from psfmatch.pictures.numbers import Detections, findDetections, reportNumbers, writeNumbers
from psfmatch.pictures.page import writeReport
from psfmatch.pictures.panels import differenceFigure
from psfmatch.pictures.plots import (
    plotBackground,
    plotCandidates,
    plotDifference,
    plotField,
    plotKernel,
    plotNoise,
    plotResiduals,
)
from psfmatch.pictures.triplets import plotTriplets

__all__ = [
    "Detections",
    "debugging",
    "differenceFigure",
    "findDetections",
    "plotBackground",
    "plotCandidates",
    "plotDifference",
    "plotField",
    "plotKernel",
    "plotNoise",
    "plotResiduals",
    "plotTriplets",
    "reportNumbers",
    "savePicture",
    "showExposure",
    "writeIndex",
    "writeKernelCandidates",
    "writeNumbers",
    "writeReport",
]

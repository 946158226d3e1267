"""Pictures: on one drawing library the plots of a result, its report, and LSST's debug views.

`drawing` and `mosaic` draw and `files` writes; `panels` is a subtraction side by side. `plots` and `triplets` are the
figures of a result for notebooks, `page` puts them together with `numbers`, `field` and `glossary` into one HTML page
of `markup`; `index` is the page of a directory. The numbers are those of the result and of its quality: nothing is
measured in another way. `lsstDebugViews` is what the tasks tell of, `candidates`, `kernels` and `coefficients` are
drawn for it. matplotlib is imported where something is drawn.
"""

from psfmatch.pictures.candidates import writeKernelCandidates
from psfmatch.pictures.detections import Detections, detectionCounts, findDetections
from psfmatch.pictures.drawing import requireMatplotlib
from psfmatch.pictures.files import savePicture, savePng
from psfmatch.pictures.index import requireIndexPath, writeIndex
from psfmatch.pictures.lsstDebugSwitches import debugging
from psfmatch.pictures.lsstDebugViews import showExposure
from psfmatch.pictures.numbers import plainData, reportNumbers, writeNumbers
from psfmatch.pictures.page import requireReportPath, summaryHtml, writeReport
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
from psfmatch.pictures.triplets import plotTriplets, thumbnail

__all__ = [
    "Detections",
    "debugging",
    "detectionCounts",
    "differenceFigure",
    "findDetections",
    "plainData",
    "plotBackground",
    "plotCandidates",
    "plotDifference",
    "plotField",
    "plotKernel",
    "plotNoise",
    "plotResiduals",
    "plotTriplets",
    "reportNumbers",
    "requireIndexPath",
    "requireMatplotlib",
    "requireReportPath",
    "savePicture",
    "savePng",
    "showExposure",
    "summaryHtml",
    "thumbnail",
    "writeIndex",
    "writeKernelCandidates",
    "writeNumbers",
    "writeReport",
]

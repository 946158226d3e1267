"""Reports: a result as one HTML page, as numbers for machines, as figures for notebooks; an index over many.

`subject` says what is read of a result, `numbers` gathers its numbers, `figures` and `noiseFigures` draw, `page` puts
the page together of `markup`, `tables` and `glossary`, `summary` is what a notebook shows, `index` the page of a
directory. The numbers are those of the result and of its quality: nothing is measured in another way.
"""

from psfmatch.reporting.drawing import requireMatplotlib
from psfmatch.reporting.figures import (
    plotBackground,
    plotCandidates,
    plotDifference,
    plotKernel,
    plotResiduals,
    plotTriplets,
)
from psfmatch.reporting.index import requireIndexPath, writeIndex
from psfmatch.reporting.noiseFigures import plotField, plotNoise
from psfmatch.reporting.numbers import detectionCounts, plainData, reportNumbers, writeNumbers
from psfmatch.reporting.page import requireReportPath, writeReport
from psfmatch.reporting.subject import Detections, findDetections
from psfmatch.reporting.summary import summaryHtml
from psfmatch.reporting.thumbnail import thumbnail

__all__ = [
    "Detections",
    "detectionCounts",
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
    "summaryHtml",
    "thumbnail",
    "writeIndex",
    "writeNumbers",
    "writeReport",
]

"""FITS files in and out, and Roman's ASDF in.

No other part of psfmatch opens files, and this one knows plain arrays only, not the classes built from them.
"""

from psfmatch.io.coordinates import Coordinates, asWcs, shiftWcs, xy0FromCards
from psfmatch.io.detection import readDetectionPlanes
from psfmatch.io.endings import FITS_FILES, NUMBERS, PAGES, PICTURES, STANDARD_OUTPUT, TABLES, Endings, formOf
from psfmatch.io.generalWcs import fitsWcs
from psfmatch.io.headers import (
    PHOTOCALIB_CARD,
    appendMetadata,
    exactCard,
    photoCalibFromCards,
    readableHeader,
    readMetadata,
)
from psfmatch.io.kernels import readKernelTables, writeKernelTables
from psfmatch.io.layouts import HduEntry, describe, listImages
from psfmatch.io.masks import MAX_PLANES, decodeMask, maskCards, planeOfName
from psfmatch.io.names import HduSelector, Source, parseFileName
from psfmatch.io.pairRecords import PairRecord, readLedgers
from psfmatch.io.planes import DEFAULT_MASK_PLANES, DetectionPlanes, ImagePlanes, KernelTables, PsfNodes, SpatialField
from psfmatch.io.reading import ReadOptions, readPlanes, readWeight
from psfmatch.io.roles import Role
from psfmatch.io.tables import tableText, writeTable
from psfmatch.io.tangentPlane import TangentPlane
from psfmatch.io.units import UNIT_SOURCE_CARD, isLinear, unitOf, unitRelation, unitText
from psfmatch.io.variance import estimateVariance, isEstimated, isWithoutPhotons, skyScatter
from psfmatch.io.weights import varianceOfWeights, withoutData
from psfmatch.io.whole import requireNew, requireOutput, writeWhole
from psfmatch.io.writing import readConfig, readStamps, writePlanes

__all__ = [
    "DEFAULT_MASK_PLANES",
    "FITS_FILES",
    "MAX_PLANES",
    "NUMBERS",
    "PAGES",
    "PHOTOCALIB_CARD",
    "PICTURES",
    "STANDARD_OUTPUT",
    "TABLES",
    "UNIT_SOURCE_CARD",
    "Coordinates",
    "DetectionPlanes",
    "Endings",
    "HduEntry",
    "HduSelector",
    "ImagePlanes",
    "KernelTables",
    "PairRecord",
    "PsfNodes",
    "ReadOptions",
    "Role",
    "Source",
    "SpatialField",
    "TangentPlane",
    "appendMetadata",
    "asWcs",
    "decodeMask",
    "describe",
    "estimateVariance",
    "exactCard",
    "fitsWcs",
    "formOf",
    "isEstimated",
    "isLinear",
    "isWithoutPhotons",
    "listImages",
    "maskCards",
    "parseFileName",
    "photoCalibFromCards",
    "planeOfName",
    "readConfig",
    "readDetectionPlanes",
    "readKernelTables",
    "readLedgers",
    "readMetadata",
    "readPlanes",
    "readStamps",
    "readWeight",
    "readableHeader",
    "requireNew",
    "requireOutput",
    "shiftWcs",
    "skyScatter",
    "tableText",
    "unitOf",
    "unitRelation",
    "unitText",
    "varianceOfWeights",
    "withoutData",
    "writeKernelTables",
    "writePlanes",
    "writeTable",
    "writeWhole",
    "xy0FromCards",
]

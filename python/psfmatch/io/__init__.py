"""FITS files in and out, and Roman's ASDF in.

No other part of psfmatch opens files, and this one knows plain arrays only, not the classes built from them.
"""

from .coordinates import Coordinates, asWcs, shiftWcs, xy0FromCards
from .detection import readDetectionPlanes
from .endings import FITS_FILES, NUMBERS, PAGES, PICTURES, STANDARD_OUTPUT, TABLES, Endings, formOf
from .generalWcs import fitsWcs
from .headers import PHOTOCALIB_CARD, appendMetadata, exactCard, photoCalibFromCards, readableHeader, readMetadata
from .hotpants import HotpantsTable, countHotpantsRegions, hasHotpantsTable, readHotpantsTable
from .hotpantsWriting import readImage, writeHotpantsImage, writeHotpantsTables, writeText
from .kernels import readKernelTables, writeKernelTables
from .layouts import HduEntry, describe, listImages
from .masks import MAX_PLANES, decodeMask, maskCards, planeOfName
from .names import HduSelector, Source, parseFileName
from .planes import DEFAULT_MASK_PLANES, DetectionPlanes, ImagePlanes, KernelTables, PsfNodes, SpatialField
from .reading import ReadOptions, readPlanes, readWeight
from .roles import Role
from .tables import tableText, writeTable
from .tangentPlane import TangentPlane
from .units import UNIT_SOURCE_CARD, isLinear, unitOf, unitRelation, unitText
from .variance import estimateVariance, isEstimated, isWithoutPhotons, skyScatter
from .weights import varianceOfWeights, withoutData
from .whole import requireNew, requireOutput, writeWhole
from .writing import readConfig, readStamps, writePlanes

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
    "HotpantsTable",
    "ImagePlanes",
    "KernelTables",
    "PsfNodes",
    "ReadOptions",
    "Role",
    "Source",
    "SpatialField",
    "TangentPlane",
    "appendMetadata",
    "asWcs",
    "countHotpantsRegions",
    "decodeMask",
    "describe",
    "estimateVariance",
    "exactCard",
    "fitsWcs",
    "formOf",
    "hasHotpantsTable",
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
    "readHotpantsTable",
    "readImage",
    "readKernelTables",
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
    "writeHotpantsImage",
    "writeHotpantsTables",
    "writeKernelTables",
    "writePlanes",
    "writeTable",
    "writeText",
    "writeWhole",
    "xy0FromCards",
]

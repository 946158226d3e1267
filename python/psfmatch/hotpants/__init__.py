"""The command line of HOTPANTS on our solution: its options, header keywords, mask bits and files.

`options` is the table of all options, `parsing` reads a command line by it; `preparing` makes the images ready,
`regions` and `positions` say what is fitted, `fitting` finds kernel and background, `differencing` subtracts, `header`
and `masks` say it in HOTPANTS' words, `running` is the whole way. Only the first two are imported here: the rest is
slow to load, and the help does without.
"""

from psfmatch.hotpants.kernels import hotpantsBasis, hotpantsTable, readHotpantsKernel
from psfmatch.hotpants.masks import MaskBit
from psfmatch.hotpants.options import GROUPS, OPTIONS, Option
from psfmatch.hotpants.parsing import Settings, helpText, parse
from psfmatch.hotpants.tables import HotpantsTable, countHotpantsRegions, hasHotpantsTable, readHotpantsTable
from psfmatch.hotpants.writing import readImage, writeHotpantsImage, writeHotpantsTables, writeText

__all__ = [
    "GROUPS",
    "OPTIONS",
    "HotpantsTable",
    "MaskBit",
    "Option",
    "Settings",
    "countHotpantsRegions",
    "hasHotpantsTable",
    "helpText",
    "hotpantsBasis",
    "hotpantsTable",
    "parse",
    "readHotpantsKernel",
    "readHotpantsTable",
    "readImage",
    "writeHotpantsImage",
    "writeHotpantsTables",
    "writeText",
]

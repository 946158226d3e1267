"""Sources of an image: the sky is taken off, pixels above a threshold are found, blends are taken apart.

`background` fits the sky, `footprints` are sets of connected pixels, `sourceDetection` is the task. What the
sources are like is for `psfmatch.measurement`.
"""

from psfmatch.detection.background import subtractBackground
from psfmatch.detection.footprints import Footprint, FootprintSet
from psfmatch.detection.sourceDetection import SourceDetectionTask, setDetectedPlanes

__all__ = ["Footprint", "FootprintSet", "SourceDetectionTask", "setDetectedPlanes", "subtractBackground"]

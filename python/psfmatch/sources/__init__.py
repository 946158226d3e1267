"""What shines on an image, and what only seems to: sources, stars and their PSF, saturation, defects, streaks.

`background` fits the sky, `detection` finds sources, `measurement` measures them; `starWidths` and `starPsf` tell the
PSF from stars; `saturation`, `defects`, `crossedDefects` and `streaks` flag what is no sky.
"""

from psfmatch.sources.background import subtractBackground
from psfmatch.sources.boxLight import BOX_SIDE, areOfOneImage, boxLight, lightRatios
from psfmatch.sources.crossedDefects import Crossed, crossDefects, inverted, isWorthCrossing
from psfmatch.sources.defects import Defects, findDefects, flagDefects
from psfmatch.sources.detection import SourceDetectionTask, setDetectedPlanes
from psfmatch.sources.exposureWidths import evaluateMeanPsfFwhm, exposureFwhmPix, findFwhms, recordFwhms
from psfmatch.sources.finding import findFaint, getSelectSources, ignoredPlanes, smoothingSigma
from psfmatch.sources.footprints import Footprint, FootprintSet
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.sources.saturation.finding import Saturation, findSaturation
from psfmatch.sources.saturation.flagging import flagSaturation
from psfmatch.sources.starPsf import StarPsf, psfFromStars, psfOrStars
from psfmatch.sources.starWidths import measureWidths, selectStarWidths, stackedFwhm, starFwhms
from psfmatch.sources.streaks import STREAK, Streaks, flagStreaks, isOfStreak, laidFluxRatio, streakFluxRatio

__all__ = [
    "BOX_SIDE",
    "STREAK",
    "Crossed",
    "Defects",
    "Footprint",
    "FootprintSet",
    "Saturation",
    "SourceDetectionTask",
    "SourceMeasurementTask",
    "StarPsf",
    "Streaks",
    "areOfOneImage",
    "boxLight",
    "crossDefects",
    "evaluateMeanPsfFwhm",
    "exposureFwhmPix",
    "findDefects",
    "findFaint",
    "findFwhms",
    "findSaturation",
    "flagDefects",
    "flagSaturation",
    "flagStreaks",
    "getSelectSources",
    "ignoredPlanes",
    "inverted",
    "isOfStreak",
    "isWorthCrossing",
    "laidFluxRatio",
    "lightRatios",
    "measureWidths",
    "psfFromStars",
    "psfOrStars",
    "recordFwhms",
    "selectStarWidths",
    "setDetectedPlanes",
    "smoothingSigma",
    "stackedFwhm",
    "starFwhms",
    "streakFluxRatio",
    "subtractBackground",
]

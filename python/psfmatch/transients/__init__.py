"""What has changed between the two images: transients, variable stars, and what has moved; their fluxes."""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames

if TYPE_CHECKING:
    from psfmatch.transients.differenceSources import DEFAULT_THRESHOLD as DEFAULT_THRESHOLD
    from psfmatch.transients.differenceSources import detectOnDifference as detectOnDifference
    from psfmatch.transients.differenceSources import writeSources as writeSources
    from psfmatch.transients.dipoles import DipoleControl as DipoleControl
    from psfmatch.transients.filteredDifference import filterDifference as filterDifference
    from psfmatch.transients.leastSquares import minimizeSquares as minimizeSquares
    from psfmatch.transients.photometryImage import PhotometryImage as PhotometryImage
    from psfmatch.transients.pointSources import PointSources as PointSources
    from psfmatch.transients.pointSources import Stamps as Stamps
    from psfmatch.transients.pointSources import cutStamps as cutStamps
    from psfmatch.transients.pointSources import fitPointSources as fitPointSources
    from psfmatch.transients.pointSources import forcedPhotometry as forcedPhotometry
    from psfmatch.transients.significance import NoiseScale as NoiseScale
    from psfmatch.transients.significance import Peaks as Peaks
    from psfmatch.transients.significance import Significance as Significance
    from psfmatch.transients.significance import findPeaks as findPeaks
    from psfmatch.transients.significance import fluxImage as fluxImage
    from psfmatch.transients.significance import significanceImage as significanceImage
else:
    __getattr__ = laterNames(__name__)

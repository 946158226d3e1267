"""What has changed between the two images: transients, variable stars, and what has moved; their fluxes."""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames

if TYPE_CHECKING:
    from psfmatch.transients.differenceSources import (
        DEFAULT_THRESHOLD,
        detectOnDifference,
        writeSources,
    )
    from psfmatch.transients.dipoles import DipoleControl
    from psfmatch.transients.filteredDifference import filterDifference
    from psfmatch.transients.leastSquares import minimizeSquares
    from psfmatch.transients.photometryImage import PhotometryImage
    from psfmatch.transients.pointSources import PointSources, Stamps, cutStamps, fitPointSources, forcedPhotometry
    from psfmatch.transients.significance import (
        NoiseScale,
        Peaks,
        Significance,
        findPeaks,
        fluxImage,
        significanceImage,
    )

__all__ = [
    "DEFAULT_THRESHOLD",
    "DipoleControl",
    "NoiseScale",
    "Peaks",
    "PhotometryImage",
    "PointSources",
    "Significance",
    "Stamps",
    "cutStamps",
    "detectOnDifference",
    "filterDifference",
    "findPeaks",
    "fitPointSources",
    "fluxImage",
    "forcedPhotometry",
    "minimizeSquares",
    "significanceImage",
    "writeSources",
]

# Imported when they are first asked for.
__getattr__ = laterNames(
    __name__,
    {
        name: f"{__name__}.{module}"
        for module, names in {
            "differenceSources": (
                "DEFAULT_THRESHOLD",
                "detectOnDifference",
                "writeSources",
            ),
            "dipoles": ("DipoleControl",),
            "filteredDifference": ("filterDifference",),
            "leastSquares": ("minimizeSquares",),
            "photometryImage": ("PhotometryImage",),
            "pointSources": (
                "PointSources",
                "Stamps",
                "cutStamps",
                "fitPointSources",
                "forcedPhotometry",
            ),
            "significance": (
                "NoiseScale",
                "Peaks",
                "Significance",
                "findPeaks",
                "fluxImage",
                "significanceImage",
            ),
        }.items()
        for name in names
    },
)

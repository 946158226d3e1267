"""What is done to two images before one is convolved, as a record that can be stored and replayed.

Defects and saturated pixels are flagged, the latter grown, the variance planes are rescaled, the template is laid upon
the pixels of the science image: always in this sequence, and to the last bit as the record says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from psfmatch.config.brief import Brief
from psfmatch.images import Exposure
from psfmatch.noise.blankSky import multiplyVariance
from psfmatch.registration.alignment import AlignedTransform, Alignment, applyAlignment
from psfmatch.registration.grids import registerTemplate
from psfmatch.registration.warper import Warper
from psfmatch.sources import Crossed, Defects, crossDefects, flagSaturation, inverted
from psfmatch.sources.defects import SATURATED_GROWTH, examineDefects, flagPlaces
from psfmatch.threads import resolveThreads

__all__ = ["Preparation", "crossInputs", "prepareInputs", "registerInputs"]


@dataclass(frozen=True)
class Preparation(Brief):
    """How two images are prepared; by default not at all.

    doFindDefects : whether blocks of one value and pixels sharper than the PSF are found and flagged;
    templateVarianceFactor, scienceVarianceFactor : the variance planes are multiplied by these;
    templateSaturation, scienceSaturation : pixels at or above these counts get SAT; None flags none;
    templateTrails, scienceTrails : least and most counts of bleed trails, which get SAT in clumps of so many pixels;
    saturationGrowth : all pixels within so many pixels of one with SAT get SAT too;
    alignment : `psfmatch.registration.Alignment.toDict()`, or None to follow the WCSs;
    defectFluxRatio : science counts per template count, with which bright defects of either image are looked up in the
    other; None: they are not;
    streakFluxRatio : science counts per template count, with which streaks are looked for; None: they are not;
    templatePhotonNoise, sciencePhotonNoise : counts^2 of variance per count of light that are added in the end.

    Raises
    ------
    ValueError
        If a factor is not positive, growth or photon noise is negative, or a number is not finite.
    """

    templateVarianceFactor: float = 1.0
    scienceVarianceFactor: float = 1.0
    templateSaturation: float | None = None
    scienceSaturation: float | None = None
    templateTrails: tuple[float, float, int] | None = None
    scienceTrails: tuple[float, float, int] | None = None
    saturationGrowth: float = 0.0
    doFindDefects: bool = False
    alignment: Mapping[str, Any] | None = None
    streakFluxRatio: float | None = None
    templatePhotonNoise: float = 0.0
    sciencePhotonNoise: float = 0.0
    defectFluxRatio: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("Trails") and value is not None:
                least, most, nPixels = value
                object.__setattr__(self, field.name, (float(least), float(most), int(nPixels)))
            elif field.name == "doFindDefects":
                object.__setattr__(self, field.name, bool(value))
            elif field.name != "alignment" and value is not None:
                # numpy's numbers are none for JSON.
                object.__setattr__(self, field.name, float(value))
        for name in ("templateVarianceFactor", "scienceVarianceFactor"):
            factor = getattr(self, name)
            if not (math.isfinite(factor) and factor > 0.0):
                raise ValueError(f"{name} is {factor}, must be a positive number")
        for name in ("templatePhotonNoise", "sciencePhotonNoise"):
            perCount = getattr(self, name)
            if not (math.isfinite(perCount) and perCount >= 0.0):
                raise ValueError(f"{name} is {perCount}, must be 0 or a positive number")
        for name in ("templateSaturation", "scienceSaturation"):
            level = getattr(self, name)
            if level is not None and not math.isfinite(level):
                raise ValueError(f"{name} is {level}, must be a finite number of counts, or None")
        for name in ("templateTrails", "scienceTrails"):
            trails = getattr(self, name)
            if trails is not None and not (math.isfinite(trails[0]) and math.isfinite(trails[1])):
                raise ValueError(f"{name} is {trails}, must be finite numbers of counts, or None")
        for name in ("streakFluxRatio", "defectFluxRatio"):
            ratio = getattr(self, name)
            if ratio is not None and not (math.isfinite(ratio) and ratio > 0.0):
                raise ValueError(f"{name} is {ratio}, must be a positive number, or None")
        if not (math.isfinite(self.saturationGrowth) and self.saturationGrowth >= 0.0):
            raise ValueError(f"saturationGrowth is {self.saturationGrowth}, must be 0 or more pixels")

    def toDict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def fromDict(cls, values: Mapping[str, Any]) -> Preparation:
        """Return the record whose `toDict` gave the values; missing ones have their defaults.

        Raises
        ------
        ValueError
            If a name is unknown or a value impossible.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown steps of the preparation: {', '.join(unknown)}; a newer psfmatch may know them")
        return cls(**values)


def prepareInputs(
    template: Exposure,
    science: Exposure,
    record: Preparation,
    threads: int | None = None,
    defects: tuple[Defects | None, Defects | None] = (None, None),
    saturated: tuple[Exposure | None, Exposure | None] = (None, None),
) -> tuple[Exposure, Exposure]:
    """Return both images with defects and saturated pixels flagged and variances rescaled; neither is moved.

    Neither image is changed; planes that stay as they are, are shared. Defects that are known already are not looked
    for again, and where an image is there that `examineDefects` flagged by the record's levels, neither is saturation.
    """
    # One after the other: each uses all threads.
    first, second = (
        _scaled(_flagged(exposure, record, saturation, trails, *known, resolveThreads(threads)), factor, threads)
        for exposure, saturation, trails, factor, known in (
            (
                template,
                record.templateSaturation,
                record.templateTrails,
                record.templateVarianceFactor,
                (defects[0], saturated[0]),
            ),
            (
                science,
                record.scienceSaturation,
                record.scienceTrails,
                record.scienceVarianceFactor,
                (defects[1], saturated[1]),
            ),
        )
    )
    return first, second


def _flagged(
    exposure: Exposure,
    record: Preparation,
    saturation: float | None,
    trails: tuple[float, float, int] | None,
    defects: Defects | None,
    saturated: Exposure | None,
    threads: int,
) -> Exposure:
    if not record.doFindDefects:
        return flagSaturation(exposure, saturation, record.saturationGrowth, threads, trails)
    if defects is None:
        defects, _, saturated = examineDefects(exposure, False, saturation, trails, threads)
    # What else is bad says nothing about saturation, and must not come before it.
    if saturated is not None and record.saturationGrowth == SATURATED_GROWTH:
        exposure = saturated
    else:
        exposure = flagPlaces(exposure, {"NO_DATA": defects.blocks.places})
        exposure = flagSaturation(exposure, saturation, record.saturationGrowth, threads, trails)
    return flagPlaces(exposure, {"BAD": defects.sharp.bad, "CR": defects.sharp.cosmicRays})


def crossInputs(
    given: tuple[Exposure, Exposure],
    prepared: tuple[Exposure, Exposure],
    alignment: Alignment | None,
    fluxRatio: float | None,
    threads: int | None = None,
) -> tuple[tuple[Exposure, Exposure], tuple[Crossed, Crossed]]:
    """Return prepared template and science image with their sharp pixels looked up in each other, and what changed.

    `given` are both before they were prepared, `fluxRatio` science counts per template count; None changes nothing.
    """
    if fluxRatio is None:
        return prepared, (Crossed(), Crossed())
    template, science = prepared
    onTemplate = AlignedTransform(template, science, alignment)
    onScience = inverted(onTemplate, science)
    number = resolveThreads(threads)
    first = crossDefects(given[0], template, science, onScience, 1.0 / fluxRatio, given[1], number)
    second = crossDefects(given[1], science, template, onTemplate, fluxRatio, given[0], number)
    return (first[0], second[0]), (first[1], second[1])


def registerInputs(template: Exposure, science: Exposure, record: Preparation, warper: Warper) -> Exposure:
    """Return the prepared template on the science image's pixels, by the measured alignment if there is one.

    Errors are those of `psfmatch.registration.registerTemplate`.
    """
    if record.alignment is None:
        return registerTemplate(template, science, warper)
    return applyAlignment(template, science, Alignment.fromDict(record.alignment), warper)


def _scaled(exposure: Exposure, factor: float, threads: int | None) -> Exposure:
    return exposure if factor == 1.0 else exposure.withPixels(multiplyVariance(exposure.maskedImage, factor, threads))

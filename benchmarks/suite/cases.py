"""The simulated fields on which `psfmatch.subtract` is judged, and the pairs made of them.

A field is named by words joined with "+": the first says what is in it, the others change it, as in
"dense+moffat+estimated".
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import Exposure, MaskedImage
from psfmatch.testing import FieldOptions, SimulatedPair, simulatePair
from psfmatch.testing.optics import SmoothField

FIELDS: dict[str, dict[str, Any]] = {
    "sparse": {},
    "dense": {"brightStars": 300, "faintStars": 1200, "galaxies": 150},
    "crowded": {"brightStars": 1500, "faintStars": 6000, "galaxies": 100},
    "galaxies": {"brightStars": 15, "faintStars": 60, "galaxies": 1500},
    "few": {"brightStars": 6, "faintStars": 30, "galaxies": 20},
}
CHANGES: dict[str, dict[str, Any]] = {
    "moffat": {"moffatWings": True},
    "estimated": {"estimateVariance": True},
    "skySubtracted": {"skySubtracted": True},
    "ratioVaries": {"fluxRatioVariation": 0.02},
    "templateBad": {"templateBadFraction": 0.01},
    "near": {"templateFwhm": 5.0, "scienceFwhm": 5.6, "scienceVariation": 0.02, "templateVariation": 0.02},
    "equal": {},  # one PSF in both images; see `makePair`
    "reversed": {},  # template and science image change places; see `Case`
}
SIGNAL_TO_NOISE = (10.0, 100.0)  # of the sources whose fluxes are compared, uniform in the logarithm
NUMBER = 60  # of them per megapixel
FAINT_SIGNAL_TO_NOISE = 6.0  # of those that show the completeness
FAINT_NUMBER = 40
CACHE_VERSION = 1


class EqualPair(SimulatedPair):
    """A pair of one PSF: the template is another exposure of the science image's constant sky, not registered off."""

    def differenceVariance(self) -> npt.NDArray[np.float32]:
        """Variance of science minus template."""
        return self.science.variance + self.template.variance

    def idealDifference(self) -> MaskedImage:
        """Science image without its constant sky, less the template's noise."""
        image = self.science.image - self.truth.matched - (self.template.image - self.truth.template)
        difference = MaskedImage(image, self.science.mask.copy(), self.differenceVariance(), self.science.xy0)
        difference.mergeMask(self.template.mask)
        return difference


@dataclass(frozen=True)
class Case:
    """A pair to be judged, what it is called, and whether template and science image change places."""

    name: str
    seed: int
    size: int
    pair: SimulatedPair

    @property
    def isReversed(self) -> bool:
        """Whether the program gets the simulation's science image as its template."""
        return "reversed" in self.name.split("+")

    @property
    def inputs(self) -> tuple[Exposure, Exposure]:
        """Template and science image as the program gets them."""
        pair = self.pair
        return (pair.science, pair.template) if self.isReversed else (pair.template, pair.science)


def fieldOptions(name: str) -> FieldOptions:
    """Return the contents of a field by its name."""
    first, *others = name.split("+")
    unknown = [word for word in others if word not in CHANGES] + ([first] if first not in FIELDS else [])
    if unknown:
        raise ValueError(
            f"field {name!r}: unknown {', '.join(unknown)}; begin with one of {', '.join(FIELDS)}, "
            f"add any of {', '.join(CHANGES)} with +"
        )
    options = FieldOptions(**FIELDS[first], hostFraction=0.3)
    for word in others:
        options = replace(options, **CHANGES[word])
    return options


def makeCase(name: str, seed: int, size: int, cache: Path | None = None) -> Case:
    """Simulate a field, or take it from the folder `cache`."""
    options = fieldOptions(name)
    path = None if cache is None else cache / f"{name}-{seed}-{size}-{CACHE_VERSION}.pickle"
    if path is not None and path.exists():
        with path.open("rb") as file:
            stored: Case = pickle.load(file)
        return stored
    area = size**2 / 1e6
    low, high = SIGNAL_TO_NOISE
    ratios = (
        *np.geomspace(low, high, max(round(NUMBER * area), 2)),
        *[FAINT_SIGNAL_TO_NOISE] * max(round(FAINT_NUMBER * area), 1),
    )
    pair = simulatePair(seed, size, options, transients=tuple(float(ratio) for ratio in ratios))
    case = Case(name, seed, size, _equalised(pair) if "equal" in name.split("+") else pair)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            pickle.dump(case, file)
    return case


def _equalised(pair: SimulatedPair) -> SimulatedPair:
    """Return the pair with another exposure of the science image's constant sky in place of the template."""
    generator = np.random.default_rng(pair.seed + 1_000_000)
    options, truth, box = pair.options, pair.truth, pair.truth.box
    sky = truth.scienceSky(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1)[:, None])
    scene = truth.matched - sky.astype(np.float32) + np.float32(0.0 if options.skySubtracted else options.templateSky)
    lifted = scene + np.float32(options.templateSky if options.skySubtracted else 0.0)
    variance = np.maximum(lifted, 0) / options.gain + (options.readNoise / options.gain) ** 2
    variance = (np.minimum(variance, options.saturation / options.gain) / options.templateDepth).astype(np.float32)
    image = scene + generator.normal(size=scene.shape).astype(np.float32) * np.sqrt(variance)
    mask = pair.template.mask.copy()
    # The full well is reached where the science image reaches it; its defects are its own.
    mask[...] |= np.asarray(pair.science.mask) & pair.science.mask.getPlaneBitMask("SAT")
    template = Exposure(MaskedImage(image, mask, variance, pair.template.xy0), wcs=pair.template.wcs)
    one = SmoothField(np.array([1.0, 0, 0, 0, 0, 0]), box)
    optics = replace(truth.optics, kernelSum=one, offset=(0.0, 0.0))
    return EqualPair(template, pair.science, replace(truth, template=scene, optics=optics), options, pair.seed)

"""An Exposure from whatever a user has: a path, an HDU list, a CCDData, an array; and whether two units fit.

`ImageLike` is the type of all that, `WeightLike` that of a weight map.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.io import fits

from psfmatch.errors import InputImagesError
from psfmatch.images.exposure import Exposure
from psfmatch.images.maskedImage import MaskedImage
from psfmatch.io import UNIT_SOURCE_CARD, isLinear, unitOf, unitRelation
from psfmatch.io.variance import checkGain, estimateVariance, isEstimated

__all__ = ["ImageLike", "WeightLike", "gainOf", "gainsOf", "readInput", "requireUnits", "toExposure"]

log = logging.getLogger("psfmatch.images")


class NDDataLike(Protocol):
    """What is taken of an astropy CCDData or NDData, whose own types no checker knows."""

    data: Any
    mask: Any
    uncertainty: Any
    unit: Any
    meta: Any


class HDUListLike(Protocol):
    """An astropy HDUList, as far as it must be told from a list."""

    def index_of(self, key: Any) -> int:
        """Return the number of an HDU."""


ImageLike: TypeAlias = (
    Exposure | MaskedImage | str | PathLike[str] | BinaryIO | HDUListLike | NDDataLike | npt.NDArray[Any]
)
"""An image as `psfmatch.subtract` takes it: an Exposure or MaskedImage, a path or URL, an open file, an HDUList, a
CCDData or NDData, a 2-D array, masked or a Quantity too."""
WeightLike: TypeAlias = npt.ArrayLike | PathLike[str]
"""A weight map: an array or the name of a file."""


def toExposure(
    source: ImageLike, gain: float | None = None, readNoise: float | None = None, *, weight: WeightLike | None = None
) -> Exposure:
    """Return the Exposure of an Exposure, MaskedImage, array, CCDData, file or the like; TypeError otherwise.

    Gain (e-/count) and read noise (e-) make the variance where there is none but one that was estimated. A weight map,
    an array or the name of a file, tells the variance, see `Exposure.weightedBy`.
    """
    isFile = isinstance(source, str | PathLike | fits.HDUList)
    if weight is not None:
        if isFile and isinstance(weight, str | PathLike):
            return Exposure.readFits(source, weight=weight, gain=gain, readNoise=readNoise)
        bare = Exposure(MaskedImage(source)) if type(source) is np.ndarray else toExposure(source, gain, readNoise)
        return bare.weightedBy(weight)
    if isinstance(source, Exposure | MaskedImage):
        checkGain(gain, readNoise)
        exposure = Exposure(source) if isinstance(source, MaskedImage) else source
        return exposure if gain is None else _withGain(exposure, gain, readNoise)
    # A CCDData has a method read, too.
    if hasattr(source, "uncertainty"):
        return Exposure.fromCCDData(source, gain, readNoise)
    if isFile or hasattr(source, "read"):
        return Exposure.readFits(source, gain=gain, readNoise=readNoise)
    if isinstance(source, np.ndarray):
        return Exposure.fromArray(source, gain, readNoise)
    raise TypeError(
        f"cannot make an Exposure of a {type(source).__name__}; give an Exposure, a path, an HDUList, an open file, "
        "a CCDData or a 2-D array"
    )


def readInput(
    path: str | PathLike[str],
    planeOf: Callable[[str], str | PathLike[str] | None],
    gain: float | None,
    readNoise: float | None,
    *,
    useXY0: bool,
    ignoreWcs: bool,
) -> Exposure:
    """Read an image of a command or of a batch, with the files that are named beside it.

    Parameters
    ----------
    path
        Of the image.
    planeOf
        Returns the file of ``noise``, ``variance``, ``weight`` or ``mask``, None where there is none.
    gain, readNoise
        e-/count and e-, for a variance where the files have none.
    useXY0
        Honour the pixel origins in the file.
    ignoreWcs
        Leave the coordinates out.
    """
    exposure = Exposure.readFits(
        path,
        noise=planeOf("noise"),
        variance=planeOf("variance"),
        weight=planeOf("weight"),
        mask=planeOf("mask"),
        gain=gain,
        readNoise=readNoise,
        useXY0=useXY0 or None,
    )
    if ignoreWcs:
        exposure.wcs = None
    return exposure


def gainOf(
    gain: float | None, readNoise: float | None, ownGain: float | None, ownReadNoise: float | None
) -> tuple[float | None, float | None]:
    """Return gain and read noise of one image: its own, else those of both."""
    return gain if ownGain is None else ownGain, readNoise if ownReadNoise is None else ownReadNoise


def gainsOf(
    given: Mapping[str, float | None],
) -> tuple[tuple[float | None, float | None], tuple[float | None, float | None]]:
    """Return gain and read noise of the template and of the science image, of keywords as `psfmatch.subtract` has them.

    TypeError for a keyword that it does not have.
    """
    known = "gain", "readNoise", "templateGain", "templateReadNoise", "scienceGain", "scienceReadNoise"
    if unknown := given.keys() - set(known):
        raise TypeError(f"there is no keyword {', '.join(sorted(unknown))}; gains are {', '.join(known)}")
    gain, readNoise, *own = (given.get(name) for name in known)
    return gainOf(gain, readNoise, own[0], own[1]), gainOf(gain, readNoise, own[2], own[3])


def _withGain(exposure: Exposure, gain: float, readNoise: float | None) -> Exposure:
    """Return an Exposure with the variance of a gain, if its own was only estimated; else as it is."""
    label = str(exposure.metadata.get("FILENAME", "the Exposure"))
    if not isEstimated(exposure.metadata.get("VARSRC")):
        log.warning("%s: the gain given is not used, it has a variance", label)
        return exposure
    pixels = exposure.maskedImage
    variance, source = estimateVariance(pixels.image, gain, readNoise, label)
    exposure = exposure.withPixels(MaskedImage(pixels.image, pixels.mask, variance, pixels.xy0))
    exposure.metadata["VARSRC"] = source
    return exposure


def requireUnits(template: ImageLike, science: ImageLike, exposures: tuple[Exposure, Exposure] | None = None) -> None:
    """Raise unless two images as a user gave them can show the same quantity.

    The kernel's sum carries the scale from one unit to the other, so nothing is converted. What a header says in BUNIT
    is often wrong: units that do not fit are an error where both were given as such, a warning otherwise.

    Parameters
    ----------
    template, science
        Whatever `toExposure` takes.
    exposures
        What `toExposure` has made of them, whose headers are asked for what the images themselves do not say.

    Raises
    ------
    InputImagesError
        If an image is in magnitudes or a logarithm; if both are a CCDData, NDData or Quantity, and the unit of one
        cannot be converted to that of the other, or only one has a unit.
    """
    images = (template, science)
    isAstropy = [isinstance(image, units.Quantity) or hasattr(image, "uncertainty") for image in images]
    cards = [_cards(image) for image in (images if exposures is None else exposures)]
    first, second = (
        getattr(image, "unit", None) if known else _headerUnit(card)
        for image, known, card in zip(images, isAstropy, cards, strict=True)
    )
    for name, unit in (("template", first), ("science image", second)):
        if unit is not None and not isLinear(unit):
            raise InputImagesError(
                f"the {name} is in {unit}: magnitudes and logarithms cannot be subtracted; convert it to a flux, or "
                "correct its unit (BUNIT) if that is not what it holds"
            )
    if not all(isAstropy):
        if first is not None and second is not None and (between := unitRelation(first, second, *cards)):
            log.warning(
                "the template is in %s, the science image in %s: the kernel's sum carries %s", first, second, between
            )
        return
    if first is None and second is None:
        return
    if first is None or second is None or unitRelation(first, second):
        told = ["no unit" if unit is None else f"the unit {str(unit)!r}" for unit in (first, second)]
        raise InputImagesError(
            f"the template has {told[0]}, the science image {told[1]}: one cannot be converted to the other; convert "
            "the template, or take the units off both (images in uncalibrated counts may share 'adu')"
        )


def _headerUnit(cards: Mapping[str, Any]) -> Any:
    """Return the unit that a header says; None where it says none, or one that was assumed when it was written."""
    return None if cards.get(UNIT_SOURCE_CARD) else unitOf(cards.get("BUNIT") or None)


def _cards(image: Any) -> Mapping[str, Any]:
    """Return the header of an image, empty where there is none."""
    found: list[Any] = [getattr(image, name, None) for name in ("metadata", "meta")]
    cards: Mapping[str, Any] = next((one for one in found if hasattr(one, "get")), {})
    return cards

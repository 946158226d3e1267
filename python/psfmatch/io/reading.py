"""Read an image with its mask, variance and coordinates from the layouts that surveys and telescopes use.

Only the HDUs needed are read, each converted once to native float32 or int32. The variance comes, in this
order, from what the caller names, a variance HDU, a noise HDU squared, an inverse variance, gain and read
noise, a relative weight, or the sky.
"""

from __future__ import annotations

import logging
import os
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from psfmatch.errors import advice
from psfmatch.io.coordinates import Coordinates, readWcs, xy0FromCards
from psfmatch.io.detectors import detectorsOf
from psfmatch.io.files import openFits
from psfmatch.io.headers import photoCalibFromCards, readMetadata
from psfmatch.io.layouts import HduEntry, companion
from psfmatch.io.names import Source, splitSource
from psfmatch.io.opened import OpenedImage, chosenImage, openPlane
from psfmatch.io.planes import ImagePlanes, PsfNodes
from psfmatch.io.psfs import readPsf
from psfmatch.io.roles import NOISE_ROLES, Role
from psfmatch.io.roman import isAsdf, readRoman
from psfmatch.io.units import UNIT_SOURCE_CARD
from psfmatch.io.variance import checkGain, estimateVariance, varianceFromInverse, varianceFromSigma
from psfmatch.io.weights import Weighted, varianceOfWeights, withoutData

log = logging.getLogger("psfmatch.io")

WEIGHT_ROLES = (Role.WEIGHT, Role.INVERSE_VARIANCE)
FILTER_CARDS = ("FILTER", "BAND", "FILTER1", "FILTER2", "FILTNAM1")


class ReadOptions(TypedDict, total=False):
    """Options of `readPlanes`."""

    noise: str | os.PathLike[str] | None
    variance: str | os.PathLike[str] | None
    weight: str | os.PathLike[str] | None
    mask: str | os.PathLike[str] | None
    gain: float | None
    readNoise: float | None
    useXY0: bool | None


def readPlanes(path: Source, **options: Unpack[ReadOptions]) -> ImagePlanes:
    """Read an image and whatever belongs to it.

    Parameters
    ----------
    path
        The file or its URL; ``file.fits[SCI]``, ``[1]`` and ``[SCI,2]`` choose an HDU. Of what is open
        everything is copied.
    noise
        File with the standard deviation (1 sigma), brackets as above.
    variance
        File with the variance.
    weight
        File with a weight map: 1/variance, relative, or 0/1, told apart by its pixels, see
        `psfmatch.io.weights`; not positive where there are no data.
    mask
        File with the mask, taken instead of the file's own.
    gain
        Gain, e-/count; used where there is no noise plane.
    readNoise
        Read noise, e-; goes with the gain.
    useXY0
        Whether the header's parent coordinates (LTV1/LTV2 or WCS "A") are used. By default they are for files
        written by this package and not for others, where they often point into a detector that has since been
        resampled away.

    Returns
    -------
    planes
        New arrays in native byte order. Pixels that are not finite stay so, variances of zero or below too.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ExposureReadError
        If a file is not FITS, is damaged or truncated, or holds no two-dimensional image or not the HDU asked
        for.
    ValueError
        If more than one of noise, variance and weight is given, gain or read noise make no sense, or brackets
        are malformed.
    """
    given = {key: options.get(key) for key in ("noise", "variance", "weight") if options.get(key) is not None}
    if len(given) > 1:
        raise ValueError(f"give one of noise, variance and weight, not {' and '.join(given)}")
    gain, readNoise = options.get("gain"), options.get("readNoise")
    checkGain(gain, readNoise)
    name, selector = splitSource(path)
    if isAsdf(name):
        return _withOptions(readRoman(name), options)
    with openFits(name) as source:
        opened = chosenImage(source, selector, (Role.IMAGE,))
        _checkComplete(opened)
        source.tellFaults(0, opened.image.index)
        image = opened.floats(opened.image)
        mask, planes = _mask(opened, image, options.get("mask"))
        metadata = readMetadata(*_metadataHeaders(opened))
        found = _givenVariance(image, source.label, options, opened.headers) or _ownVariance(
            opened, image, gain, readNoise
        )
        variance, varianceSource = found.variance, found.source
        if found.noData is not None:
            mask, planes = withoutData(mask, planes, found.noData)
        if not (opened.isOurs and varianceSource.startswith("HDU")):
            # Our own files say already where their variance came from in the first place.
            metadata["VARSRC"] = varianceSource
        useXY0 = opened.isOurs if options.get("useXY0") is None else bool(options["useXY0"])
        xy0 = _origin(opened, useXY0)
        return ImagePlanes(
            image=image,
            mask=mask,
            maskPlanes=planes,
            variance=variance,
            xy0=xy0,
            wcs=_coordinates(opened, xy0),
            metadata=metadata,
            filter=_filter(metadata),
            photoCalib=photoCalibFromCards(ChainMap(*opened.headers)),
            varianceSource=varianceSource,
            psf=_psf(opened, xy0),
            source=source.label,
        )


def _withOptions(planes: ImagePlanes, options: ReadOptions) -> ImagePlanes:
    """Return what an ASDF file holds with the planes that the caller named."""
    label = planes.source
    found = _givenVariance(planes.image, label, options, ())
    if found is None and planes.variance is None:
        found = Weighted(*estimateVariance(planes.image, options.get("gain"), options.get("readNoise"), label))
    if found is not None:
        planes = replace(planes, variance=found.variance, varianceSource=found.source)
    if (path := options.get("mask")) is not None:
        bits, names = _maskFile(path, planes.image, label, ({"TELESCOP": "ROMAN"},))
        planes = replace(planes, mask=bits, maskPlanes=names)
    if found is not None and found.noData is not None:
        kept, keptNames = withoutData(planes.mask, planes.maskPlanes, found.noData)
        planes = replace(planes, mask=kept, maskPlanes=keptNames)
    return replace(planes, metadata={**planes.metadata, "VARSRC": planes.varianceSource})


def _coordinates(opened: OpenedImage, xy0: tuple[int, int]) -> Coordinates | None:
    """Celestial coordinates of the image's header, in parent coordinates."""
    header, index = opened.header, opened.image.index
    if opened.image.plane is not None and header["NAXIS1"] != opened.image.shape[1]:
        return None  # of a picture's colours, which are the first axis, while the sky is meant to be
    return readWcs(header, opened.source.hdus, xy0, opened.source.lostCards(index), opened.source.label)


def _psf(opened: OpenedImage, xy0: tuple[int, int]) -> PsfNodes | None:
    """PSF of the file, if it belongs to the image: a template stored beside a difference has another."""
    if opened.image.role not in (Role.IMAGE, Role.NONE):
        return None
    given = xy0FromCards(opened.header)
    return readPsf(opened.source, opened.entries, (xy0[0] - given[0], xy0[1] - given[1]))


def _origin(opened: OpenedImage, useXY0: bool) -> tuple[int, int]:
    """Parent coordinates of the first pixel; those that a file gives count only if asked for."""
    given = xy0FromCards(opened.header)
    if useXY0:
        return given
    if given != (0, 0):
        log.warning(
            "%s: the pixel origin xy0 = %s that it gives is ignored, pixels count from (0, 0)%s",
            opened.source.label,
            given,
            advice("; to use it: useXY0=True", "; to use it: --use-xy0"),
        )
    return (0, 0)


def _checkComplete(opened: OpenedImage) -> None:
    """Raise if one of our own files was cut off between two HDUs, which no header block shows."""
    expected = opened.primary.get("NEXTEND") if opened.isOurs else None
    found = len(opened.entries) - 1
    if expected is not None and found < expected:
        raise opened.source.error(
            f"truncated: {found} of {expected} extensions are there; fetch the file again",
            nFound=found,
            nExpected=expected,
        )


def _mask(
    opened: OpenedImage, image: NDArray[np.float32], path: str | os.PathLike[str] | None
) -> tuple[NDArray[np.int32] | None, dict[str, int] | None]:
    if path is not None:
        return _maskFile(path, image, opened.source.label, (opened.header, opened.primary))
    entry = companion(opened.entries, opened.image, Role.MASK)
    if entry is None:
        for cube in (one for one in opened.entries if one.role is Role.MASK and one.nPlanes):
            log.warning("%s: HDU %s is not used: it is a cube of %d planes", opened.source.label, cube, cube.nPlanes)
        return None, None
    opened.checkShape(entry, image.shape, opened.source.label)
    return opened.bits(entry, image)


def _maskFile(
    path: str | os.PathLike[str], image: NDArray[np.float32], label: str, headers: Sequence[Any]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Mask from the file that the caller named, of an image with those headers."""
    with openPlane(path, (Role.MASK,), image.shape, label) as other:
        return other.bits(other.image, image, headers)


def _givenVariance(
    image: NDArray[np.float32], label: str, options: ReadOptions, headers: Sequence[Any]
) -> Weighted | None:
    """Variance from the file that the caller named, of an image with those headers; None if there is none."""

    def read(key: str, *wanted: Role) -> tuple[NDArray[np.float32], Role, str] | None:
        path: str | os.PathLike[str] | None = options.get(key)  # type: ignore[assignment]
        return None if path is None else (*_plane(path, wanted, image.shape, label), f"{key} file {Path(path).name}")

    if (found := read("noise", Role.SIGMA)) is not None:
        return Weighted(varianceFromSigma(found[0], str(options["noise"])), found[2])
    if (found := read("variance", Role.VARIANCE)) is not None:
        return Weighted(found[0], found[2])
    if (found := read("weight", *WEIGHT_ROLES)) is not None:
        weight, role, name = found
        if role is Role.INVERSE_VARIANCE:
            return Weighted(varianceFromInverse(weight), name, ~(weight > 0))
        noise = options.get("gain"), options.get("readNoise")
        return varianceOfWeights(weight, image, label, name, *noise, detectorsOf(headers))
    return None


def _ownVariance(
    opened: OpenedImage, image: NDArray[np.float32], gain: float | None, readNoise: float | None
) -> Weighted:
    """Variance from the file's own planes, else estimated."""
    label, detectors = opened.source.label, detectorsOf(opened.headers)
    for role in NOISE_ROLES:
        entry = companion(opened.entries, opened.image, role)
        if entry is None:
            continue
        opened.checkShape(entry, image.shape, label)
        data = opened.floats(entry)
        source = f"HDU {entry.name or entry.index}"
        if role is Role.WEIGHT:
            return varianceOfWeights(data, image, label, source, gain, readNoise, detectors)
        if gain is not None:
            log.warning("%s: the gain given is not used, HDU %s has the noise", label, entry.name)
        if role is Role.VARIANCE_PART:
            return _summed(opened, entry, data)
        if role is Role.VARIANCE:
            return Weighted(data, source)
        if role is Role.SIGMA:
            return Weighted(varianceFromSigma(data, label), f"{source} squared")
        # Of 1/sigma, too, the sign tells bad pixels.
        inverse = data if role is Role.INVERSE_VARIANCE else data * np.abs(data)
        return Weighted(varianceFromInverse(inverse), f"{source} inverted")
    return Weighted(*estimateVariance(image, gain, readNoise, label, detectors))


def readWeight(path: str | os.PathLike[str], shape: tuple[int, int], label: str) -> NDArray[np.float32]:
    """Read a weight map, (h, w), of an image of that shape; errors as of `readPlanes`."""
    return _plane(path, WEIGHT_ROLES, shape, label)[0]


def _summed(opened: OpenedImage, first: HduEntry, data: NDArray[np.float32]) -> Weighted:
    """Return the sum of the parts of a variance, of photons, read-out and flat, that stand beside one another."""
    names = [first.name]
    for entry in opened.entries:
        isOther = entry.index != first.index and entry.isPlane and entry.role is Role.VARIANCE_PART
        if isOther and (entry.version, entry.stem) == (first.version, first.stem):
            opened.checkShape(entry, data.shape, opened.source.label)
            data += opened.floats(entry)
            names.append(entry.name)
    return Weighted(data, f"HDU {' + '.join(names)}")


def _plane(
    path: str | os.PathLike[str], wanted: Sequence[Role], shape: tuple[int, ...], label: str
) -> tuple[NDArray[np.float32], Role]:
    """Return a plane from the file that the caller named, and its role there."""
    with openPlane(path, wanted, shape, label) as other:
        return other.floats(other.image), other.image.role


def _metadataHeaders(opened: OpenedImage) -> list[Mapping[str, Any]]:
    if opened.isOurs:
        units = {key: opened.header[key] for key in ("BUNIT", UNIT_SOURCE_CARD) if key in opened.header}
        return [opened.primary, units]
    if opened.image.index == 0 or opened.header.get("INHERIT") is False:
        return [opened.header]
    return [opened.primary, opened.header]


def _filter(metadata: dict[str, Any]) -> str | None:
    """Name of the filter; its card FILTER leaves the metadata, so that it is not kept twice."""
    for key in FILTER_CARDS:
        name = metadata.get(key)
        # HST has two wheels and calls an empty position CLEAR1L or the like.
        if isinstance(name, str) and name.strip() and not name.upper().startswith("CLEAR"):
            if key == "FILTER":
                del metadata[key]
            return name.strip()
    return None

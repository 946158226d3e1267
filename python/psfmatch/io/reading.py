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
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.errors import advice
from psfmatch.io.coordinates import Coordinates, readWcs, xy0FromCards
from psfmatch.io.cubes import planeOf
from psfmatch.io.detectors import detectorsOf
from psfmatch.io.files import FitsSource, openFits
from psfmatch.io.headers import FORMAT_CARD, photoCalibFromCards, readMetadata
from psfmatch.io.layouts import HduEntry, chooseImage, companion, listHdus, planeShape
from psfmatch.io.masks import decodeMask
from psfmatch.io.names import HduSelector, Source, parseFileName, splitSource
from psfmatch.io.planes import ImagePlanes, PsfNodes
from psfmatch.io.psfs import readPsf
from psfmatch.io.roles import NOISE_ROLES, Role
from psfmatch.io.roman import isAsdf, readRoman
from psfmatch.io.scales import PixelScale
from psfmatch.io.units import UNIT_SOURCE_CARD
from psfmatch.io.variance import checkGain, estimateVariance, varianceFromInverse, varianceFromSigma
from psfmatch.io.weights import Weighted, varianceOfWeights, withoutData

__all__ = ["ReadOptions", "readPlanes", "readWeight"]

log = logging.getLogger("psfmatch.io")

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


@dataclass(frozen=True)
class _Opened:
    """The image of an open file, with the primary header beside its own."""

    source: FitsSource
    entries: Sequence[HduEntry]
    image: HduEntry

    @cached_property
    def header(self) -> fits.Header:
        return self.source.header(self.image.index)

    @cached_property
    def primary(self) -> fits.Header:
        return self.source.header(0)

    @cached_property
    def headers(self) -> tuple[fits.Header, ...]:
        """The image's header and, where that is another one, the primary one."""
        return (self.header,) if self.image.index == 0 else (self.header, self.primary)

    @cached_property
    def isOurs(self) -> bool:
        return FORMAT_CARD in self.primary

    def floats(self, entry: HduEntry) -> NDArray[np.float32]:
        """Read a plane as a new float32 array, (h, w)."""
        label = self.source.label
        header = self.source.header(entry.index)
        self.source.tellFaults(entry.index)
        try:
            scale = PixelScale.fromHeader(header, self.source.lostCards(entry.index))
        except ValueError as error:
            raise self.source.error(f"HDU {entry}: {error}") from error
        if "BLANK" in header and header["BITPIX"] < 0:
            log.warning("%s: BLANK of HDU %s is ignored, for its pixels are no integers", label, entry)
        data = self._direct(entry, -32)
        if data is not None and scale.isPlain:
            return data
        return scale.applied(self._stored(entry) if data is None else data, label)

    def bits(
        self, entry: HduEntry, image: NDArray[np.float32], headers: Sequence[Any] = ()
    ) -> tuple[NDArray[np.int32], dict[str, int]]:
        """Read a mask as a new int32 array, (h, w), and its planes; headers are those of the image, in another file."""
        header = self.source.header(entry.index)
        self.source.tellFaults(entry.index)
        origin = ChainMap(header, self.primary)
        telescope = str(origin.get("TELESCOP") or "")
        data = self._direct(entry, 32)
        isOwn = data is not None
        if data is None:
            data = self._stored(entry)
        asked: dict[str, Any] = {"origin": origin, "imageOrigin": ChainMap(*headers), "image": image}
        return decodeMask(data, header, telescope, self.source.label, isOwn, **asked)

    def _direct(self, entry: HduEntry, bitpix: int) -> NDArray[Any] | None:
        """Read pixels past astropy; None where they are not plain ones of a type."""
        return None if entry.plane is not None else self.source.readDirectly(entry.index, bitpix, self._shapeOf(entry))

    def _stored(self, entry: HduEntry) -> NDArray[Any]:
        """Read pixels, (h, w), as astropy gives them."""
        data = self.source.readData(entry.index)
        return data.reshape(self._shapeOf(entry)) if entry.plane is None else planeOf(data, entry.plane)

    def _shapeOf(self, entry: HduEntry) -> tuple[int, int]:
        shape = planeShape(entry.shape)
        if shape is None:
            raise self.source.error(f"HDU {entry} is no two-dimensional image")
        return shape

    def checkShape(self, entry: HduEntry, shape: tuple[int, ...], of: str) -> None:
        """Raise `ExposureReadError` unless a plane has the image's shape."""
        if planeShape(entry.shape) != shape:
            height, width = shape
            raise self.source.error(f"HDU {entry} does not fit the image of {width}x{height} pixels in {of}")


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
        opened = _choose(source, selector, (Role.IMAGE,))
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


def _coordinates(opened: _Opened, xy0: tuple[int, int]) -> Coordinates | None:
    """Celestial coordinates of the image's header, in parent coordinates."""
    header, index = opened.header, opened.image.index
    if opened.image.plane is not None and header["NAXIS1"] != opened.image.shape[1]:
        return None  # of a picture's colours, which are the first axis, while the sky is meant to be
    return readWcs(header, opened.source.hdus, xy0, opened.source.lostCards(index), opened.source.label)


def _psf(opened: _Opened, xy0: tuple[int, int]) -> PsfNodes | None:
    """PSF of the file, if it belongs to the image: a template stored beside a difference has another."""
    if opened.image.role not in (Role.IMAGE, Role.NONE):
        return None
    given = xy0FromCards(opened.header)
    return readPsf(opened.source, opened.entries, (xy0[0] - given[0], xy0[1] - given[1]))


def _origin(opened: _Opened, useXY0: bool) -> tuple[int, int]:
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


def _checkComplete(opened: _Opened) -> None:
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
    opened: _Opened, image: NDArray[np.float32], path: str | os.PathLike[str] | None
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
    name, selector = parseFileName(path)
    with openFits(name) as source:
        other = _choose(source, selector, (Role.MASK,))
        other.checkShape(other.image, image.shape, label)
        return other.bits(other.image, image, headers)


def _givenVariance(
    image: NDArray[np.float32], label: str, options: ReadOptions, headers: Sequence[Any]
) -> Weighted | None:
    """Variance from the file that the caller named, of an image with those headers; None if there is none."""
    shape = image.shape
    if (path := options.get("noise")) is not None:
        source = f"noise file {Path(path).name}"
        return Weighted(varianceFromSigma(_plane(path, Role.SIGMA, shape, label), str(path)), source)
    if (path := options.get("variance")) is not None:
        return Weighted(_plane(path, Role.VARIANCE, shape, label), f"variance file {Path(path).name}")
    if (path := options.get("weight")) is not None:
        weight, role = _weightPlane(path, shape, label)
        name = f"weight file {Path(path).name}"
        if role is Role.INVERSE_VARIANCE:
            return Weighted(varianceFromInverse(weight), name, ~(weight > 0))
        noise = options.get("gain"), options.get("readNoise")
        return varianceOfWeights(weight, image, label, name, *noise, detectorsOf(headers))
    return None


def _ownVariance(opened: _Opened, image: NDArray[np.float32], gain: float | None, readNoise: float | None) -> Weighted:
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
        return Weighted(
            varianceFromInverse(data if role is Role.INVERSE_VARIANCE else data * np.abs(data)), f"{source} inverted"
        )
    return Weighted(*estimateVariance(image, gain, readNoise, label, detectors))


def readWeight(path: str | os.PathLike[str], shape: tuple[int, int], label: str) -> NDArray[np.float32]:
    """Read a weight map, (h, w), of an image of that shape; errors as of `readPlanes`."""
    return _weightPlane(path, shape, label)[0]


def _summed(opened: _Opened, first: HduEntry, data: NDArray[np.float32]) -> Weighted:
    """Return the sum of the parts of a variance, of photons, read-out and flat, that stand beside one another."""
    names = [first.name]
    for entry in opened.entries:
        isOther = entry.index != first.index and entry.isPlane and entry.role is Role.VARIANCE_PART
        if isOther and (entry.version, entry.stem) == (first.version, first.stem):
            opened.checkShape(entry, data.shape, opened.source.label)
            data += opened.floats(entry)
            names.append(entry.name)
    return Weighted(data, f"HDU {' + '.join(names)}")


def _weightPlane(path: str | os.PathLike[str], shape: tuple[int, ...], label: str) -> tuple[NDArray[np.float32], Role]:
    """Return a weight map from the file that the caller named, and its role there."""
    name, selector = parseFileName(path)
    with openFits(name) as source:
        other = _choose(source, selector, (Role.WEIGHT, Role.INVERSE_VARIANCE))
        other.checkShape(other.image, shape, label)
        return other.floats(other.image), other.image.role


def _plane(path: str | os.PathLike[str], role: Role, shape: tuple[int, ...], label: str) -> NDArray[np.float32]:
    name, selector = parseFileName(path)
    with openFits(name) as source:
        other = _choose(source, selector, (role,))
        other.checkShape(other.image, shape, label)
        return other.floats(other.image)


def _choose(source: FitsSource, selector: HduSelector | None, wanted: Sequence[Role]) -> _Opened:
    entries = listHdus(source)
    return _Opened(source, entries, chooseImage(source, entries, selector, wanted))


def _metadataHeaders(opened: _Opened) -> list[Mapping[str, Any]]:
    if opened.isOurs:
        return [
            opened.primary,
            {key: opened.header[key] for key in ("BUNIT", UNIT_SOURCE_CARD) if key in opened.header},
        ]
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

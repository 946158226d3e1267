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
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.messages import advice

from .coordinates import readWcs, xy0FromCards
from .detectors import detectorsOf
from .files import FitsSource, openFits
from .headers import FORMAT_CARD, photoCalibFromCards, readMetadata
from .layouts import HduEntry, Role, chooseImage, companion, listHdus, planeShape
from .masks import decodeMask
from .names import HduSelector, Source, parseFileName, splitSource
from .pixels import converted
from .planes import ImagePlanes, PsfNodes
from .psfs import readPsf
from .roman import isAsdf, readRoman
from .variance import (
    checkGain,
    estimateVariance,
    varianceFromInverse,
    varianceFromSigma,
    varianceFromWeight,
)

__all__ = ["ReadOptions", "readPlanes"]

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

    @property
    def header(self) -> fits.Header:
        header: fits.Header = self.source.hdus[self.image.index].header
        return header

    @property
    def primary(self) -> fits.Header:
        primary: fits.Header = self.source.hdus[0].header
        return primary

    @property
    def isOurs(self) -> bool:
        return FORMAT_CARD in self.primary

    def floats(self, entry: HduEntry) -> NDArray[np.float32]:
        """Read a plane as a new float32 array, (h, w)."""
        shape = self._shapeOf(entry)
        data = self.source.readDirectly(entry.index, -32, shape)
        return converted(self.source.readData(entry.index).reshape(shape), np.float32) if data is None else data

    def bits(self, entry: HduEntry) -> tuple[NDArray[np.int32], dict[str, int]]:
        """Read a mask as a new int32 array, (h, w), and its planes."""
        header = self.source.hdus[entry.index].header
        telescope = str(header.get("TELESCOP") or self.primary.get("TELESCOP") or "")
        shape = self._shapeOf(entry)
        data = self.source.readDirectly(entry.index, 32, shape)
        if data is not None:
            return decodeMask(data, header, telescope, self.source.label, isOwn=True)
        return decodeMask(self.source.readData(entry.index).reshape(shape), header, telescope, self.source.label)

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
    path : `str`, `os.PathLike`, `astropy.io.fits.HDUList` or binary file
        The file or its URL; ``file.fits[SCI]``, ``[1]`` and ``[SCI,2]`` choose an HDU. Of what is open
        everything is copied.
    noise : `str` or `os.PathLike`, optional
        File with the standard deviation (1 sigma), brackets as above.
    variance : `str` or `os.PathLike`, optional
        File with the variance.
    weight : `str` or `os.PathLike`, optional
        File with 1/variance, such as DECam's ``oow``.
    mask : `str` or `os.PathLike`, optional
        File with the mask, taken instead of the file's own.
    gain : `float`, optional
        Gain, e-/count; used where there is no noise plane.
    readNoise : `float`, optional
        Read noise, e-; goes with the gain.
    useXY0 : `bool`, optional
        Whether the header's parent coordinates (LTV1/LTV2 or WCS "A") are used. By default they are for files
        written by this package and not for others, where they often point into a detector that has since been
        resampled away.

    Returns
    -------
    planes : `ImagePlanes`
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
        image = opened.floats(opened.image)
        mask, planes = _mask(opened, image.shape, options.get("mask"))
        metadata = readMetadata(*_metadataHeaders(opened))
        variance, varianceSource = _givenVariance(image.shape, source.label, options) or _ownVariance(
            opened, image, gain, readNoise
        )
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
            wcs=readWcs(opened.header, source.hdus, xy0),
            metadata=metadata,
            filter=_filter(metadata),
            photoCalib=photoCalibFromCards(ChainMap(opened.header, opened.primary)),
            varianceSource=varianceSource,
            psf=_psf(opened, xy0),
            source=source.label,
        )


def _withOptions(planes: ImagePlanes, options: ReadOptions) -> ImagePlanes:
    """Return what an ASDF file holds with the planes that the caller named."""
    shape, label = planes.image.shape, planes.source
    variance = _givenVariance(shape, label, options)
    if variance is None and planes.variance is None:
        variance = estimateVariance(planes.image, options.get("gain"), options.get("readNoise"), label)
    if variance is not None:
        planes = replace(planes, variance=variance[0], varianceSource=variance[1])
    if (path := options.get("mask")) is not None:
        bits, names = _maskFile(path, shape, label)
        planes = replace(planes, mask=bits, maskPlanes=names)
    return replace(planes, metadata={**planes.metadata, "VARSRC": planes.varianceSource})


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
    opened: _Opened, shape: tuple[int, ...], path: str | os.PathLike[str] | None
) -> tuple[NDArray[np.int32] | None, dict[str, int] | None]:
    if path is None:
        entry = companion(opened.entries, opened.image, Role.MASK)
        if entry is None:
            return None, None
        opened.checkShape(entry, shape, opened.source.label)
        return opened.bits(entry)
    return _maskFile(path, shape, opened.source.label)


def _maskFile(
    path: str | os.PathLike[str], shape: tuple[int, ...], label: str
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Mask from the file that the caller named."""
    name, selector = parseFileName(path)
    with openFits(name) as source:
        other = _choose(source, selector, (Role.MASK,))
        other.checkShape(other.image, shape, label)
        return other.bits(other.image)


def _givenVariance(shape: tuple[int, ...], label: str, options: ReadOptions) -> tuple[NDArray[np.float32], str] | None:
    """Variance from the file that the caller named; None if there is none."""
    if (path := options.get("noise")) is not None:
        return varianceFromSigma(_plane(path, Role.SIGMA, shape, label), str(path)), f"noise file {Path(path).name}"
    if (path := options.get("variance")) is not None:
        return _plane(path, Role.VARIANCE, shape, label), f"variance file {Path(path).name}"
    if (path := options.get("weight")) is not None:
        inverse = _plane(path, Role.INVERSE_VARIANCE, shape, label)
        return varianceFromInverse(inverse), f"weight file {Path(path).name}"
    return None


def _ownVariance(
    opened: _Opened, image: NDArray[np.float32], gain: float | None, readNoise: float | None
) -> tuple[NDArray[np.float32], str]:
    """Variance from the file's own planes, else estimated."""
    label = opened.source.label
    for role in (Role.VARIANCE, Role.SIGMA, Role.INVERSE_VARIANCE, Role.WEIGHT):
        entry = companion(opened.entries, opened.image, role)
        if entry is None or (role is Role.WEIGHT and gain is not None):
            continue
        opened.checkShape(entry, image.shape, label)
        if gain is not None:
            log.warning("%s: the gain given is not used, HDU %s has the noise", label, entry.name)
        data = opened.floats(entry)
        source = f"HDU {entry.name or entry.index}"
        if role is Role.VARIANCE:
            return data, source
        if role is Role.SIGMA:
            return varianceFromSigma(data, label), f"{source} squared"
        if role is Role.INVERSE_VARIANCE:
            return varianceFromInverse(data), f"{source} inverted"
        return varianceFromWeight(data, image, label), f"{source} scaled to the sky"
    return estimateVariance(image, gain, readNoise, label, detectorsOf((opened.header, opened.primary)))


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
        return [opened.primary, {key: opened.header[key] for key in ("BUNIT",) if key in opened.header}]
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

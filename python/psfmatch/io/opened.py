"""The image of an open file: its headers, and its planes as new arrays in native byte order."""

from __future__ import annotations

import logging
import os
from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.cubes import planeOf
from psfmatch.io.files import FitsSource, openFits
from psfmatch.io.headers import FORMAT_CARD
from psfmatch.io.layouts import HduEntry, chooseImage, listHdus, planeShape
from psfmatch.io.masks import decodeMask
from psfmatch.io.names import HduSelector, parseFileName
from psfmatch.io.roles import Role
from psfmatch.io.scales import PixelScale

log = logging.getLogger("psfmatch.io")


@dataclass(frozen=True)
class OpenedImage:
    """The image of an open file, with the primary header beside its own."""

    source: FitsSource
    entries: Sequence[HduEntry]
    image: HduEntry

    @cached_property
    def header(self) -> fits.Header:
        """The image's own header."""
        return self.source.header(self.image.index)

    @cached_property
    def primary(self) -> fits.Header:
        """The first header of the file."""
        return self.source.header(0)

    @cached_property
    def headers(self) -> tuple[fits.Header, ...]:
        """The image's header and, where that is another one, the primary one."""
        return (self.header,) if self.image.index == 0 else (self.header, self.primary)

    @cached_property
    def isOurs(self) -> bool:
        """Whether this package has written the file."""
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


def chosenImage(source: FitsSource, selector: HduSelector | None, wanted: Sequence[Role]) -> OpenedImage:
    """Return the image of an open file that was asked for, or that has one of the roles; errors of `chooseImage`."""
    entries = listHdus(source)
    return OpenedImage(source, entries, chooseImage(source, entries, selector, wanted))


@contextmanager
def openPlane(
    path: str | os.PathLike[str], wanted: Sequence[Role], shape: tuple[int, ...], label: str
) -> Iterator[OpenedImage]:
    """Open a file with a plane, (h, w), that belongs to the image of another file, whose name is `label`."""
    name, selector = parseFileName(path)
    with openFits(name) as source:
        other = chosenImage(source, selector, wanted)
        other.checkShape(other.image, shape, label)
        yield other

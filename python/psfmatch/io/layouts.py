"""Which HDU of a file is what: science image, mask, variance, noise, weight, or a table of our own.

`psfmatch.io.roles` knows the names. A file without any of these has its image in the first two-dimensional HDU,
compressed or not.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from astropy.io import fits

from psfmatch.io.cubes import cubeOf
from psfmatch.io.files import FitsSource, openFits
from psfmatch.io.masks import maskMeaning
from psfmatch.io.names import HduSelector, PlaneSelector, Source, splitSource
from psfmatch.io.roles import Role as Role  # for readers of `HduEntry.role`
from psfmatch.io.roles import roleOf
from psfmatch.io.units import unitOf

log = logging.getLogger("psfmatch.io")


PIXEL_TYPES = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
UNSIGNED = {(8, -(2**7)): "int8", (16, 2**15): "uint16", (32, 2**31): "uint32", (64, 2**63): "uint64"}


@dataclass(frozen=True)
class HduEntry:
    """One line of a file's table of contents.

    Parameters
    ----------
    index
        Position in the file, from 0.
    name
        EXTNAME, upper case; "PRIMARY" or empty where there is none.
    version
        EXTVER.
    kind
        "image", "table" or "empty".
    shape
        Of an image, slowest axis first; of a table, (rows,).
    dtype
        Pixel type of an image.
    role
        What the HDU is for.
    plane
        Of a cube the plane that is meant, from 0.
    stem
        What its name says besides, such as the detector: HDUs that belong together share it.
    unit
        Unit of an image, as it is understood; only of `describe`.
    meaning
        What the values of a mask or a weight map mean, as far as headers tell; only of `describe`.
    """

    index: int
    name: str
    version: int
    kind: str
    shape: tuple[int, ...]
    dtype: str
    role: Role
    plane: int | None = None
    stem: str = ""
    unit: str = ""
    meaning: str = ""

    @property
    def isPlane(self) -> bool:
        """Whether this is a two-dimensional image with pixels; leading axes of length 1 do not count."""
        return self.kind == "image" and planeShape(self.shape) is not None

    @property
    def nPlanes(self) -> int:
        """Number of planes of a cube; 0 for anything else."""
        isCube = self.kind == "image" and len(self.shape) > 2 and 0 not in self.shape and not self.isPlane
        return cubeOf(self.shape)[0] if isCube else 0

    def at(self, plane: int) -> HduEntry | None:
        """Return one plane of a cube; None if there is none."""
        return replace(self, shape=cubeOf(self.shape)[1], plane=plane) if plane < self.nPlanes else None

    def __str__(self) -> str:
        version = f",{self.version}" if self.version != 1 else ""
        size = "x".join(str(n) for n in reversed(self.shape))
        parts = (f"[{self.index}]", self.name + version, self.kind, size, self.dtype)
        return " ".join(part for part in parts if part)


def planeShape(shape: Sequence[int]) -> tuple[int, int] | None:
    """Shape (h, w) of a plane, leading axes of length 1 left out; None for anything else or no pixels."""
    if len(shape) < 2 or any(n != 1 for n in shape[:-2]) or 0 in shape:
        return None
    return int(shape[-2]), int(shape[-1])


def listHdus(source: FitsSource) -> list[HduEntry]:
    """List all HDUs of an open file; reads headers only."""
    return [_entry(index, hdu, source.header(index)) for index, hdu in enumerate(source.hdus)]


def describe(path: Source) -> list[HduEntry]:
    """List the HDUs of a file with what each is for; reads headers only.

    path : the file; brackets select nothing here and are ignored. Returned: one entry per HDU, in the order of the
    file. FileNotFoundError, ExposureReadError if the file is missing, or is not FITS.
    """
    with openFits(splitSource(path)[0]) as source:
        entries = listHdus(source)
        primary = source.header(0)
        image = next(
            (entry for entry in entries if entry.isPlane and entry.role in (Role.IMAGE, Role.NONE)), entries[0]
        )
        return [_explained(entry, source, (primary, source.header(image.index))) for entry in entries]


def listImages(path: Source) -> list[HduEntry]:
    """List the images of a file, as a camera of many detectors writes one for each; reads headers only.

    path : the file; where brackets name an HDU, nothing is listed. Returned: the planes that have the role of an image;
    where none has, those without a role, unless there is one in the primary HDU, beside which others are rarely images
    of the sky. FileNotFoundError, ExposureReadError if the file is missing, or is not FITS.
    """
    if splitSource(path)[1] is not None:
        return []
    planes = [entry for entry in describe(path) if entry.isPlane]
    images = [entry for entry in planes if entry.role is Role.IMAGE]
    others = [entry for entry in planes if entry.role is Role.NONE]
    return images or ([] if any(entry.index == 0 for entry in others) else others)


def chooseHdu(source: FitsSource, entries: Sequence[HduEntry], selector: int | str | tuple[str, int]) -> HduEntry:
    """Find the HDU that the user asked for.

    ExposureReadError if there is none; the message lists those that exist.
    """
    for entry in entries:
        if isinstance(selector, int):
            found = entry.index == selector
        else:
            name, version = (selector, None) if isinstance(selector, str) else selector
            found = name.upper() in (entry.name, _extType(source, entry)) and version in (None, entry.version)
        if found:
            return entry
    wanted = selector if isinstance(selector, int | str) else ",".join(str(part) for part in selector)
    raise source.error(f"has no HDU [{wanted}]; it holds {_listing(entries)}")


def chooseImage(
    source: FitsSource, entries: Sequence[HduEntry], selector: HduSelector | None, wanted: Sequence[Role]
) -> HduEntry:
    """Find the plane to read.

    selector : HDU that the user asked for; wanted : roles looked for when the user did not ask, best first. Where none
    is found the first two-dimensional image without a role is taken; then the first of any role, unless a mask or noise
    is wanted and there are several. ExposureReadError if there is no two-dimensional image, or none that can be told
    from others; the message lists the HDUs.
    """
    if selector is not None:
        entry = _chosen(source, entries, selector)
        if entry.nPlanes:
            raise source.error(_aboutCube(source, entry))
        if not entry.isPlane:
            raise source.error(
                f"HDU {entry} is no two-dimensional image with pixels; the file holds {_listing(entries)}"
            )
        return entry
    planes = [entry for entry in entries if entry.isPlane]
    for role in (*wanted, Role.NONE):
        found = [entry for entry in planes if entry.role is role]
        if len(found) > 1:
            log.warning(
                "%s: %d HDUs can be the image, the first is taken: %s. Name another as %s[%d].",
                source.label,
                len(found),
                _listing(found),
                source.label,
                found[1].index,
            )
        if found:
            return found[0]
    if not planes and (cube := next((entry for entry in entries if entry.nPlanes), None)) is not None:
        raise source.error(_aboutCube(source, cube))
    if not planes:
        raise source.error(f"no two-dimensional image with pixels; the file holds {_listing(entries)}")
    if Role.IMAGE not in wanted:
        what = " or ".join(wanted)
        if len(planes) > 1:
            raise source.error(
                f"no HDU is known to be {what}; name one in brackets, the file holds {_listing(entries)}"
            )
        log.warning("%s: HDU %s is taken for the %s", source.label, planes[0], what)
    return planes[0]


def _chosen(source: FitsSource, entries: Sequence[HduEntry], selector: HduSelector) -> HduEntry:
    """Return the HDU, or the plane of a cube, that the user asked for."""
    if not isinstance(selector, PlaneSelector):
        return chooseHdu(source, entries, selector)
    entry = chooseHdu(source, entries, selector.hdu)
    if entry.isPlane and selector.plane == 0:
        return entry
    found = entry.at(selector.plane)
    if found is None:
        raise source.error(
            _aboutCube(source, entry) if entry.nPlanes else f"HDU {entry} is no cube and has no plane {selector.plane}"
        )
    return found


def _aboutCube(source: FitsSource, entry: HduEntry) -> str:
    return (
        f"HDU {entry} is a cube of {entry.nPlanes} planes, not one image; name a plane, from 0 to {entry.nPlanes - 1}: "
        f"'{source.label}[{entry.index}][0]'"
    )


def companion(entries: Sequence[HduEntry], image: HduEntry, role: Role) -> HduEntry | None:
    """Find the HDU with a role that belongs to an image: the same EXTVER and detector, or the only image of the file.

    Returned: None also where the image itself has another role, as a template stored beside the difference has.
    """
    if image.role not in (Role.IMAGE, Role.NONE):
        return None
    rivals = [entry for entry in entries if entry.isPlane and entry.role is image.role]
    if image.role is Role.NONE and (len(rivals) > 1 or any(entry.role is Role.IMAGE for entry in entries)):
        return None
    found = [entry for entry in entries if entry.isPlane and entry.role is role]
    if image.plane is not None:
        found += [one for entry in entries if entry.role is role and (one := entry.at(image.plane)) is not None]
    if len(rivals) > 1:
        found = [entry for entry in found if (entry.version, entry.stem) == (image.version, image.stem)]
    return found[0] if found else None


def _entry(index: int, hdu: fits.hdu.base._BaseHDU, header: fits.Header) -> HduEntry:
    name = str(hdu.name).upper()
    kind, dtype = "empty", ""
    shape: tuple[int, ...] = ()
    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not isinstance(hdu, fits.CompImageHDU):
        kind, shape = "table", (int(header["NAXIS2"]),)
    elif header.get("NAXIS", 0) > 0 and getattr(hdu, "is_image", False):
        kind = "image"
        shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(header["NAXIS"], 0, -1))
        dtype = _pixelType(header)
    role, stem = roleOf(name, header)
    if role.isTable != (kind == "table"):
        role = Role.NONE
    return HduEntry(index, name, int(hdu.ver), kind, shape, dtype, role, stem=stem)


def _explained(entry: HduEntry, source: FitsSource, headers: Sequence[fits.Header]) -> HduEntry:
    """Return an entry with its unit and the meaning of its values; headers are those of the file and of the image."""
    if not entry.isPlane:
        return entry
    header = source.header(entry.index)
    if entry.role is Role.MASK:
        return replace(entry, meaning=maskMeaning(header, ChainMap(header, *headers)))
    if entry.role is Role.WEIGHT:
        return replace(entry, meaning="1/variance, relative or 0/1, as its pixels tell")
    text = header.get("BUNIT") or (headers[0].get("BUNIT") if entry.role in (Role.IMAGE, Role.NONE) else None)
    unit = unitOf(text if isinstance(text, str) and text.strip() else None)
    return entry if unit is None else replace(entry, unit=str(unit) or "1")


def _pixelType(header: fits.Header) -> str:
    bitpix = int(header["BITPIX"])
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    if scale == 1 and (bitpix, zero) in UNSIGNED:
        return UNSIGNED[bitpix, zero]
    if (zero, scale) != (0, 1) and bitpix > 0:
        return f"{PIXEL_TYPES[bitpix]} (scaled)"
    return PIXEL_TYPES.get(bitpix, f"BITPIX {bitpix}")


def _extType(source: FitsSource, entry: HduEntry) -> str:
    return str(source.header(entry.index).get("EXTTYPE", "")).strip().upper()


def _listing(entries: Sequence[HduEntry]) -> str:
    shown = "; ".join(str(entry) for entry in entries[:12])
    return shown if len(entries) <= 12 else f"{shown}; and {len(entries) - 12} more"

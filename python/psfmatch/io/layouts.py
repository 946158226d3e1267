"""Which HDU of a file is what: science image, mask, variance, noise, weight, or a table of our own.

The names are those of LSST (IMAGE/MASK/VARIANCE by EXTNAME or EXTTYPE), HST, JWST and Roman (SCI/ERR/DQ),
astropy's CCDData (UNCERT with UTYPE) and our own files. A file without any of these has its image in the
first two-dimensional HDU, compressed or not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from astropy.io import fits

from .files import FitsSource, openFits
from .names import HduSelector, Source, splitSource

__all__ = ["HduEntry", "Role", "chooseHdu", "chooseImage", "companion", "describe", "listHdus", "listImages"]

log = logging.getLogger("psfmatch.io")


class Role(StrEnum):
    """What an HDU is for."""

    IMAGE = "image"
    MASK = "mask"
    VARIANCE = "variance"
    SIGMA = "noise (1 sigma)"
    INVERSE_VARIANCE = "inverse variance"
    WEIGHT = "relative weight"
    MATCHED = "matched template"
    FLOOR = "error floor of fluxes"
    OWN_VARIANCE = "variance of the image that was not convolved"
    LENT_VARIANCE = "variance that the convolved image lends"
    MATCHED_VARIANCE = "variance of the matched image"
    OWN_IMAGE = "image that was not convolved"
    CORRECTION_BASIS = "basis of the decorrelation"
    CORRECTION_COEFFICIENTS = "coefficients of the decorrelation"
    MASK_RUNS = "masks of the images"
    DETECTION = "how changes are found"
    KERNEL_BASIS = "kernel basis"
    KERNEL_COEFFICIENTS = "kernel coefficients"
    BACKGROUND_COEFFICIENTS = "background coefficients"
    KERNEL_COVARIANCE = "covariance of the kernel coefficients"
    BACKGROUND_COVARIANCE = "covariance of the background coefficients"
    RECIPE = "how the kernel was applied"
    STAMPS = "stamps"
    CONFIG = "configuration"
    PSF = "PSF"
    PSF_NODES = "PSF at positions"
    COORDINATES = "distortion of the WCS"
    NONE = ""


ROLE_OF_NAME = {
    "IMAGE": Role.IMAGE,
    "SCI": Role.IMAGE,
    "MASK": Role.MASK,
    "DQ": Role.MASK,
    "VARIANCE": Role.VARIANCE,
    "VAR": Role.VARIANCE,
    "ERR": Role.SIGMA,
    "ERROR": Role.SIGMA,
    "NOISE": Role.SIGMA,
    "UNCERT": Role.SIGMA,
    "IVAR": Role.INVERSE_VARIANCE,
    "INVVAR": Role.INVERSE_VARIANCE,
    "WHT": Role.WEIGHT,
    "WEIGHT": Role.WEIGHT,
    "MATCHED": Role.MATCHED,
    "FLOOR": Role.FLOOR,
    "OWNVAR": Role.OWN_VARIANCE,
    "LENTVAR": Role.LENT_VARIANCE,
    "MATCHVAR": Role.MATCHED_VARIANCE,
    "OWNIMAGE": Role.OWN_IMAGE,
    "DBASIS": Role.CORRECTION_BASIS,
    "DCOEF": Role.CORRECTION_COEFFICIENTS,
    "MASKRUNS": Role.MASK_RUNS,
    "DETECT": Role.DETECTION,
    "KBASIS": Role.KERNEL_BASIS,
    "KCOEF": Role.KERNEL_COEFFICIENTS,
    "BCOEF": Role.BACKGROUND_COEFFICIENTS,
    "KCOV": Role.KERNEL_COVARIANCE,
    "BCOV": Role.BACKGROUND_COVARIANCE,
    "RECIPE": Role.RECIPE,
    "STAMPS": Role.STAMPS,
    "CONFIG": Role.CONFIG,
    "PSFIMAGE": Role.PSF,
    "PSFNODES": Role.PSF_NODES,
    "D2IMARR": Role.COORDINATES,
    "WCSDVARR": Role.COORDINATES,
}

ROLE_OF_UTYPE = {
    "STDDEVUNCERTAINTY": Role.SIGMA,
    "VARIANCEUNCERTAINTY": Role.VARIANCE,
    "INVERSEVARIANCE": Role.INVERSE_VARIANCE,
}

TABLE_ROLES = {
    Role.KERNEL_COEFFICIENTS,
    Role.BACKGROUND_COEFFICIENTS,
    Role.RECIPE,
    Role.CORRECTION_COEFFICIENTS,
    Role.MASK_RUNS,
    Role.DETECTION,
    Role.STAMPS,
    Role.CONFIG,
    Role.PSF_NODES,
}
NOISE_ROLES = (Role.VARIANCE, Role.SIGMA, Role.INVERSE_VARIANCE, Role.WEIGHT)

PIXEL_TYPES = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
UNSIGNED = {(8, -(2**7)): "int8", (16, 2**15): "uint16", (32, 2**31): "uint32", (64, 2**63): "uint64"}


@dataclass(frozen=True)
class HduEntry:
    """One line of a file's table of contents.

    Parameters
    ----------
    index : `int`
        Position in the file, from 0.
    name : `str`
        EXTNAME, upper case; "PRIMARY" or empty where there is none.
    version : `int`
        EXTVER.
    kind : `str`
        "image", "table" or "empty".
    shape : `tuple` of `int`
        Of an image, slowest axis first; of a table, (rows,).
    dtype : `str`
        Pixel type of an image.
    role : `Role`
        What the HDU is for.
    """

    index: int
    name: str
    version: int
    kind: str
    shape: tuple[int, ...]
    dtype: str
    role: Role

    @property
    def isPlane(self) -> bool:
        """Whether this is a two-dimensional image with pixels; leading axes of length 1 do not count."""
        return self.kind == "image" and planeShape(self.shape) is not None

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
    return [_entry(index, hdu) for index, hdu in enumerate(source.hdus)]


def describe(path: Source) -> list[HduEntry]:
    """List the HDUs of a file with what each is for; reads headers only.

    Parameters
    ----------
    path : `str`, `os.PathLike` or `astropy.io.fits.HDUList`
        The file; brackets select nothing here and are ignored.

    Returns
    -------
    entries : `list` [`HduEntry`]
        One entry per HDU, in the order of the file.

    Raises
    ------
    FileNotFoundError, ExposureReadError
        If the file is missing, or is not FITS.
    """
    with openFits(splitSource(path)[0]) as source:
        return listHdus(source)


def listImages(path: Source) -> list[HduEntry]:
    """List the images of a file, as a camera of many detectors writes one for each; reads headers only.

    Parameters
    ----------
    path : `str`, `os.PathLike` or `astropy.io.fits.HDUList`
        The file; where brackets name an HDU, nothing is listed.

    Returns
    -------
    images : `list` [`HduEntry`]
        The planes that have the role of an image; where none has, those without a role, unless there is one in the
        primary HDU, beside which others are rarely images of the sky.

    Raises
    ------
    FileNotFoundError, ExposureReadError
        If the file is missing, or is not FITS.
    """
    if splitSource(path)[1] is not None:
        return []
    planes = [entry for entry in describe(path) if entry.isPlane]
    images = [entry for entry in planes if entry.role is Role.IMAGE]
    others = [entry for entry in planes if entry.role is Role.NONE]
    return images or ([] if any(entry.index == 0 for entry in others) else others)


def chooseHdu(source: FitsSource, entries: Sequence[HduEntry], selector: HduSelector) -> HduEntry:
    """Find the HDU that the user asked for.

    Raises
    ------
    ExposureReadError
        If there is none; the message lists those that exist.
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

    Parameters
    ----------
    source : `FitsSource`
        The open file.
    entries : sequence of `HduEntry`
        Its contents.
    selector : `int`, `str`, `tuple` or None
        HDU that the user asked for.
    wanted : sequence of `Role`
        Roles looked for when the user did not ask, best first. Where none is found the first two-dimensional
        image without a role is taken; then the first of any role, unless a mask or noise is wanted and there
        are several.

    Returns
    -------
    entry : `HduEntry`
        The HDU.

    Raises
    ------
    ExposureReadError
        If there is no two-dimensional image, or none that can be told from others; the message lists the HDUs.
    """
    if selector is not None:
        entry = chooseHdu(source, entries, selector)
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


def companion(entries: Sequence[HduEntry], image: HduEntry, role: Role) -> HduEntry | None:
    """Find the HDU with a role that belongs to an image: the same EXTVER, or the only image of the file.

    Returns
    -------
    entry : `HduEntry` or None
        None also where the image itself has another role, as a template stored beside the difference has.
    """
    if image.role not in (Role.IMAGE, Role.NONE):
        return None
    rivals = [entry for entry in entries if entry.isPlane and entry.role is image.role]
    if image.role is Role.NONE and (len(rivals) > 1 or any(entry.role is Role.IMAGE for entry in entries)):
        return None
    found = [entry for entry in entries if entry.isPlane and entry.role is role]
    if len(rivals) > 1:
        found = [entry for entry in found if entry.version == image.version]
    return found[0] if found else None


def _entry(index: int, hdu: fits.hdu.base._BaseHDU) -> HduEntry:
    header = hdu.header
    name = str(hdu.name).upper()
    kind, dtype = "empty", ""
    shape: tuple[int, ...] = ()
    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not isinstance(hdu, fits.CompImageHDU):
        kind, shape = "table", (int(header["NAXIS2"]),)
    elif header.get("NAXIS", 0) > 0 and getattr(hdu, "is_image", False):
        kind = "image"
        shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(header["NAXIS"], 0, -1))
        dtype = _pixelType(header)
    role = _role(name, header)
    if (role in TABLE_ROLES) != (kind == "table"):
        role = Role.NONE
    return HduEntry(index, name, int(hdu.ver), kind, shape, dtype, role)


def _role(name: str, header: fits.Header) -> Role:
    role = ROLE_OF_NAME.get(str(header.get("EXTTYPE", "")).strip().upper()) or ROLE_OF_NAME.get(name, Role.NONE)
    if role in NOISE_ROLES:
        return ROLE_OF_UTYPE.get(str(header.get("UTYPE", "")).strip().upper(), role)
    return role


def _pixelType(header: fits.Header) -> str:
    bitpix = int(header["BITPIX"])
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    if scale == 1 and (bitpix, zero) in UNSIGNED:
        return UNSIGNED[bitpix, zero]
    if (zero, scale) != (0, 1) and bitpix > 0:
        return f"{PIXEL_TYPES[bitpix]} (scaled)"
    return PIXEL_TYPES.get(bitpix, f"BITPIX {bitpix}")


def _extType(source: FitsSource, entry: HduEntry) -> str:
    return str(source.hdus[entry.index].header.get("EXTTYPE", "")).strip().upper()


def _listing(entries: Sequence[HduEntry]) -> str:
    shown = "; ".join(str(entry) for entry in entries[:12])
    return shown if len(entries) <= 12 else f"{shown}; and {len(entries) - 12} more"

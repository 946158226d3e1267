"""The plainest celestial coordinates, a tangent plane without distortion, without `astropy.wcs`.

Most images have RA---TAN and DEC--TAN, a reference point and a matrix, and nothing else. Their gnomonic projection is a
few lines (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3), whereas importing `astropy.wcs` takes as long as
subtracting a small image. Any card beyond these leaves the header to astropy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from psfmatch.io.cards import isNumber
from psfmatch.io.headers import COORDINATES

if TYPE_CHECKING:
    from astropy.wcs import WCS

FloatArray = NDArray[np.float64]

PLANE = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CNAME|CRDER|CSYER)[12]|(CD|PC)[12]_[12]|WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE"
    r"|LATPOLE"
)
"""Cards that a `TangentPlane` understands."""
PASSED_OVER = re.compile(
    r"LTV\d|LTM\d_\d|WCSDIM"
    r"|(WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CNAME)\d|(CD|PC)\d_\d)[A-Z]"
)
"""Cards of other coordinates than the celestial ones, which astropy passes over, too."""
OLD = re.compile(r"EPOCH|(CD|PC)\d{6}|PROJP\d|CUBEFACE")
"""Cards that wcslib knows from before the standard."""

MIN_COSINE = 1e-12
"""Of the distance from the tangent point: below that rounding decides where a position lies."""


@dataclass(frozen=True, eq=False)
class TangentPlane:
    """Celestial coordinates of one tangent plane; made by `tangentPlane`.

    reference : pixel (x, y) of the tangent point, parent coordinates from 0; sky : its right ascension and declination,
    degrees; matrix (2, 2) : intermediate coordinates per pixel, degrees; frame : RADESYS and EQUINOX as given, both of
    which mean that of 2000; cards : the header's cards of these coordinates; shape : height and width of its image;
    moved : pixels (x, y) from the header's coordinates to the parent's.
    """

    reference: tuple[float, float]
    sky: tuple[float, float]
    matrix: tuple[tuple[float, float], tuple[float, float]]
    frame: tuple[str, float | None]
    cards: tuple[str, ...]
    shape: tuple[int, int]
    moved: tuple[int, int] = (0, 0)

    has_celestial = True
    """As of astropy's WCS."""

    def shifted(self, dx: int, dy: int) -> TangentPlane:
        """Return these coordinates with what was pixel (0, 0) at (dx, dy)."""
        reference = self.reference[0] + dx, self.reference[1] + dy
        return replace(self, reference=reference, moved=(self.moved[0] + dx, self.moved[1] + dy))

    def toSky(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return right ascension (0 to 360) and declination, degrees, of pixels."""
        (a, b), (c, d) = self.matrix
        dx, dy = (np.asarray(v, dtype=np.float64) - r for v, r in zip((x, y), self.reference, strict=True))
        xi, eta = np.radians(a * dx + b * dy), np.radians(c * dx + d * dy)
        dec = math.radians(self.sky[1])
        inward = math.cos(dec) - eta * math.sin(dec)
        lon = np.degrees(np.arctan2(xi, inward)) + self.sky[0]
        lat = np.degrees(np.arctan2(math.sin(dec) + eta * math.cos(dec), np.hypot(xi, inward)))
        return lon % 360.0, lat

    def toPixels(self, ra: ArrayLike, dec: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return pixels (x, y) of positions in degrees; NaN for those that no plane shows, 90 degrees off and more."""
        lon = np.radians(np.asarray(ra, dtype=np.float64) - self.sky[0])
        lat, lat0 = np.radians(np.asarray(dec, dtype=np.float64)), math.radians(self.sky[1])
        offset = np.radians(np.asarray(dec, dtype=np.float64) - self.sky[1])
        # cos(distance) and sin(offset) + ... rather than differences of products, which would lose digits.
        bend = 2.0 * np.cos(lat) * np.sin(0.5 * lon) ** 2
        cosine = np.cos(offset) - math.cos(lat0) * bend
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.where(cosine > MIN_COSINE, cosine, np.nan)
            xi = np.degrees(np.cos(lat) * np.sin(lon) / cosine)
            eta = np.degrees((np.sin(offset) + math.sin(lat0) * bend) / cosine)
        (a, b), (c, d) = self.matrix
        determinant = a * d - b * c
        return (
            (d * xi - b * eta) / determinant + self.reference[0],
            (a * eta - c * xi) / determinant + self.reference[1],
        )

    def toWcs(self) -> WCS:
        """Return the coordinates as astropy's WCS, made of the same cards."""
        from astropy.wcs import WCS

        from psfmatch.io.coordinates import shiftWcs
        from psfmatch.io.files import quietAstropy

        header = fits.Header([("NAXIS", 2), ("NAXIS1", self.shape[1]), ("NAXIS2", self.shape[0])])
        header.extend((fits.Card.fromstring(card) for card in self.cards), end=True)
        with quietAstropy():
            wcs = WCS(header)
            wcs.wcs.set()
        return shiftWcs(wcs, *self.moved)


def tangentPlane(header: fits.Header) -> TangentPlane | None:
    """Return the coordinates of a header, with pixels counted from 0; None unless they are such a plane alone."""
    given: dict[str, Any] = {}
    for key, value in header.items():
        if PLANE.fullmatch(key):
            if key in given:
                return None
            given[key] = value
        elif OLD.fullmatch(key) or (COORDINATES.fullmatch(key) and not PASSED_OVER.fullmatch(key)):
            return None
    matrix = _matrixOf(given)
    points: list[Any] = [given.get(f"{name}{axis}") for name in ("CRPIX", "CRVAL") for axis in (1, 2)]
    isPlane = (given.get("CTYPE1"), given.get("CTYPE2")) == ("RA---TAN", "DEC--TAN") and header.get("NAXIS") == 2
    isPlane &= all(given.get(f"CUNIT{axis}", "deg") == "deg" for axis in (1, 2)) and given.get("WCSAXES", 2) == 2
    isPlane &= given.get("RADESYS", "ICRS") in ("ICRS", "FK5") and given.get("EQUINOX", 2000.0) == 2000.0
    isPlane &= given.get("LONPOLE", 180.0) == 180.0 and isNumber(given.get("LATPOLE", 90.0))
    if not isPlane or matrix is None or not all(isNumber(value) for value in points) or not abs(points[3]) <= 90.0:
        return None
    determinant = matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]
    if not (math.isfinite(determinant) and determinant != 0.0):
        return None
    return TangentPlane(
        (points[0] - 1.0, points[1] - 1.0),
        (float(points[2]), float(points[3])),
        matrix,
        (given.get("RADESYS", ""), given.get("EQUINOX")),
        tuple(header.cards[key].image for key in given),
        (header.get("NAXIS2", 0), header.get("NAXIS1", 0)),
    )


def _matrixOf(given: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return degrees per pixel of CD, or of CDELT and PC; None where these are incomplete, mixed or no numbers."""
    names = [key[:2] for key in given if key.startswith(("CD1_", "CD2_", "PC"))]
    unit = (1.0, 1.0)
    if "CD" not in names:
        unit = given.get("CDELT1"), given.get("CDELT2")  # type: ignore[assignment]
    elif "PC" in names or any(given.get(f"CDELT{axis}", 1.0) != 1.0 for axis in (1, 2)):
        return None
    name = "CD" if "CD" in names else "PC"
    default = {(1, 1): 1.0, (2, 2): 1.0} if name == "PC" else {}
    rows = [[given.get(f"{name}{i}_{j}", default.get((i, j), 0.0)) for j in (1, 2)] for i in (1, 2)]
    if not all(isNumber(value) for value in (*unit, *rows[0], *rows[1])):
        return None
    return (unit[0] * rows[0][0], unit[0] * rows[0][1]), (unit[1] * rows[1][0], unit[1] * rows[1][1])

"""A small picture of a subtraction as PNG, without matplotlib: the two images of one PSF, and their difference.

For pages that show hundreds of pairs: it takes about a hundredth of a second whatever the size of the images.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from psfmatch.displays.drawing import Plane, binned, noiseOf, percentile
from psfmatch.exposure import Exposure, Mask, MaskedImage
from psfmatch.plots import HIDDEN_PLANES
from psfmatch.reporting.subject import Reported, matchedPair

__all__ = ["pngBytes", "thumbnail"]

Bytes = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

SIDE = 112  # px, of a panel at most
SAMPLES = 3  # pixels that are looked at along each side of a pixel of the panel, at least
GAP = 3  # px, between the panels
PULLS = 5.0  # of its noise, at which a difference has its full colour
SHADES = 32  # of grey, of red and of blue
RED, BLUE = np.array((178, 24, 43)), np.array((33, 102, 172))
HIDDEN, PAPER = 253, 254
"""Numbers of the colours of what cannot be used, and between the panels."""


def thumbnail(result: Reported) -> bytes:
    """Return the two images, from the same black to the same white, and the difference over its noise, side by side.

    Red is brighter, blue fainter in the science image, full at 5 times the noise; what cannot be used is yellowish.
    """
    first, second, difference = (_small(image) for image in matchedPair(result).values())
    noise = max(noiseOf(plane.values) for plane in (first, second))
    brightest = max(percentile(plane.values - plane.sky, 99.9) for plane in (first, second))
    panels = [_counts(plane, noise, max(brightest, 20.0 * noise)) for plane in (first, second)]
    panels.append(_pulls(difference))
    gap = np.full((panels[0].shape[0], GAP), PAPER, dtype=np.uint8)
    # Rows of a PNG go down, those of an image up.
    return pngBytes(np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)[::-1], _palette())


def pngBytes(pixels: Bytes, palette: Bytes) -> bytes:
    """Return a picture, (h, w) numbers of colours (n, 3), as the content of a PNG file."""
    height, width = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    # Each row begins with the number of its filter, here none; 8 bits for the number of a colour.
    rows = np.concatenate([np.zeros((height, 1), dtype=np.uint8), pixels], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 4)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def _palette() -> Bytes:
    """Return greys from white to black; white to red, white to blue; what cannot be used; paper."""
    depth = np.linspace(0.0, 1.0, SHADES)[:, np.newaxis]
    greys, reds, blues = (255.0 + depth * (np.array(full) - 255.0) for full in ((0, 0, 0), RED, BLUE))
    colours = np.full((256, 3), 255.0)
    colours[: 3 * SHADES] = np.concatenate([greys, reds, blues])
    colours[HIDDEN] = (222, 214, 190)
    return colours.round().astype(np.uint8)


def _small(image: Exposure) -> Plane:
    """Return an image of at most SIDE pixels, the means of some of the pixels there."""
    masked = image.maskedImage
    step = max(1, -(-max(masked.shape) // SIDE) // SAMPLES)
    planes = [np.ascontiguousarray(plane[::step, ::step]) for plane in (masked.image, masked.variance, masked.mask)]
    return binned(MaskedImage(planes[0], Mask(planes[2], masked.mask.planes), planes[1]), HIDDEN_PLANES, SIDE)


def _counts(plane: Plane, noise: float, brightest: float) -> Bytes:
    """Return counts above the sky as greys, the bright black, linear up to a few times the noise."""
    scale = np.arcsinh(brightest / (3.0 * noise))
    return _numbered(0.15 + 0.85 * np.arcsinh((plane.values - plane.sky) / (3.0 * noise)) / scale)


def _pulls(plane: Plane) -> Bytes:
    with np.errstate(invalid="ignore", divide="ignore"):
        pulls = plane.values / np.sqrt(np.where(plane.variance > 0.0, plane.variance, np.nan)) / PULLS
    return np.where(pulls < 0.0, _numbered(-pulls, 2 * SHADES), _numbered(pulls, SHADES))


def _numbered(depth: FloatArray, first: int = 0) -> Bytes:
    """Return the numbers of shades from 0 (white) to 1, HIDDEN where nothing is known."""
    with np.errstate(invalid="ignore"):
        shade = np.clip(depth * (SHADES - 1), 0, SHADES - 1).round()
    return np.where(np.isfinite(depth), first + np.nan_to_num(shade), HIDDEN).astype(np.uint8)

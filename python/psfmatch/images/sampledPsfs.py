"""A PSF as numbers that a file can hold: images at the nodes of a grid of positions, and back."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.images.foreignPsfs import asPsf
from psfmatch.images.gridPsf import GridPsf
from psfmatch.images.psfModels import ImagePsf, Psf
from psfmatch.io import PsfNodes

__all__ = ["psfFromNodes", "psfImageAt", "psfOrNone", "samplePsf"]

log = logging.getLogger("psfmatch.images")

NODES = 5
"""Along each axis, for PSFs that vary and are no grid themselves."""
NOT_THERE = (ArithmeticError, LookupError, RuntimeError, ValueError)


def psfImageAt(psf: Any, x: float, y: float) -> npt.NDArray[np.float64] | None:
    """Return the image of any PSF at (x, y), parent pixels; None, said in the log, where it has none."""
    try:
        return np.array(asPsf(psf).computeKernelImage(x, y), dtype=np.float64)
    except NOT_THERE as error:
        log.warning("The PSF has no image at (%.1f, %.1f): %s", x, y, error)
        return None


def psfOrNone(psf: Any) -> Psf | None:
    """Return what came with an image as a PSF; None, said in the log, if it is none."""
    if psf is None:
        return None
    try:
        return asPsf(psf)
    except (TypeError, ValueError) as error:
        log.warning("What came as the image's PSF cannot be used (%s); going on without it", error)
        return None


def samplePsf(psf: Any, x0: float, y0: float, x1: float, y1: float) -> PsfNodes | None:
    """Draw a PSF at the nodes of a grid.

    Parameters
    ----------
    psf
        Whatever `asPsf` takes. An `ImagePsf` is one node, a `GridPsf` its own nodes: both come back as they were.
        Others are drawn at 5x5 positions, at one if they are equal everywhere.
    x0, y0, x1, y1
        First and last pixel of the image, parent coordinates.

    Returns
    -------
    nodes : `psfmatch.io.PsfNodes` or None
        None, said in the log, where the PSF is not defined anywhere.
    """
    psf = asPsf(psf)
    centre = np.array([(x0 + x1) / 2]), np.array([(y0 + y1) / 2])
    if isinstance(psf, ImagePsf):
        return PsfNodes(psf.computeKernelImage(0.0, 0.0)[np.newaxis, np.newaxis], *centre)
    if isinstance(psf, GridPsf):
        return PsfNodes(psf.images, psf.x, psf.y)
    x, y = np.linspace(x0, x1, NODES), np.linspace(y0, y1, NODES)
    drawn = [[_imageOrNone(psf, float(column), float(row)) for column in x] for row in y]
    known = [image for images in drawn for image in images if image is not None]
    if not known:
        log.warning("The PSF is not defined anywhere on the image: it is not written")
        return None
    shape = max(image.shape[0] for image in known), max(image.shape[1] for image in known)
    nodes = np.array([[_padded(image, shape) for image in images] for images in drawn])
    if len(known) == NODES**2 and (nodes == nodes[0, 0]).all():
        return PsfNodes(nodes[:1, :1], *centre)
    return PsfNodes(nodes, x, y)


def psfFromNodes(nodes: PsfNodes) -> Psf:
    """Return the PSF that `samplePsf` drew: an `ImagePsf` for one node, else a `GridPsf`."""
    if nodes.images.shape[:2] == (1, 1):
        return ImagePsf(nodes.images[0, 0])
    return GridPsf(nodes.images, nodes.x, nodes.y)


def _imageOrNone(psf: Psf, x: float, y: float) -> npt.NDArray[np.float64] | None:
    try:
        return np.array(psf.computeKernelImage(x, y), dtype=np.float64)
    except NOT_THERE:
        return None


def _padded(image: npt.NDArray[np.float64] | None, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return an image of odd sides amid zeros; NaN throughout for a node where the PSF is not known."""
    if image is None:
        return np.full(shape, np.nan)
    margins = [((side - own) // 2,) * 2 for side, own in zip(shape, image.shape, strict=True)]
    return np.pad(image, margins)

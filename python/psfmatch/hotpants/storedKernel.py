"""A kernel in a file, of ours or of HOTPANTS, with what is needed to apply it."""

from __future__ import annotations

from os import PathLike
from typing import Literal

from psfmatch.difference import StoredKernel, SubtractionRecipe
from psfmatch.hotpants.kernels import readHotpantsKernel
from psfmatch.hotpants.tables import hasHotpantsTable, readHotpantsTable
from psfmatch.images import Box
from psfmatch.kernels import LinearCombinationKernel

__all__ = ["readStoredKernel", "recipeOf"]


def readStoredKernel(path: str | PathLike[str]) -> StoredKernel:
    """Read a kernel for `psfmatch.applyKernel`: of a file of ours, or the first of a table of HOTPANTS.

    Raises
    ------
    FileNotFoundError, ExposureReadError
        If there is no such file, or no kernel in it.
    """
    if not hasHotpantsTable(path):
        return StoredKernel.readFits(path)
    table = readHotpantsTable(path)
    kernel, background = readHotpantsKernel(path)
    if table.box is None:
        return StoredKernel(kernel, background)
    return StoredKernel(kernel, background, recipeOf(kernel, table.convolved or "template", table.box))


def recipeOf(kernel: LinearCombinationKernel, convolved: Literal["template", "science"], box: Box) -> SubtractionRecipe:
    """Return what else is needed to apply the kernel of a region, in science counts."""
    return SubtractionRecipe(
        convolved=convolved,
        divisor=kernel.kernelSum(*box.centre) if convolved == "science" else 1.0,
        shape=box.shape,
        xy0=(box.x0, box.y0),
    )

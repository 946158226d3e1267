"""A kernel in a file, of ours or of HOTPANTS, with what is needed to apply it."""

from __future__ import annotations

from os import PathLike

from psfmatch.difference import StoredKernel, SubtractionRecipe
from psfmatch.hotpants.kernels import readHotpantsKernel
from psfmatch.hotpants.tables import hasHotpantsTable, readHotpantsTable
from psfmatch.images import Box

__all__ = ["readStoredKernel"]


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
    if table.x0 is None or table.y0 is None or table.width is None or table.height is None:
        return StoredKernel(kernel, background)
    box = Box(table.x0, table.y0, table.width, table.height)
    isScience = table.convolved == "science"
    recipe = SubtractionRecipe(
        convolved="science" if isScience else "template",
        divisor=kernel.kernelSum(*box.centre) if isScience else 1.0,
        shape=box.shape,
        xy0=(box.x0, box.y0),
    )
    return StoredKernel(kernel, background, recipe)

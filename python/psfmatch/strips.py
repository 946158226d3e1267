"""Work over a whole image in strips of rows, which stay in a processor's cache, on several threads.

Temporary arrays are as small as a strip. The result of each strip is its own, so that the number of threads never
changes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TypeVar

from psfmatch.threads import mapThreads

__all__ = ["mapStrips"]

Result = TypeVar("Result")

STRIP_PIXELS = 1 << 16
"""A quarter of a megabyte of float32: a few such arrays fit the cache of one core."""


def mapStrips(function: Callable[[slice], Result], shape: tuple[int, ...], threads: int | None = None) -> list[Result]:
    """Call a function for all strips of an image, and return what it returns, in their order.

    Parameters
    ----------
    function
        Takes the rows of a strip as a slice; called from several threads at a time.
    shape
        Shape (h, w) of the image; of an array of any other number of dimensions likewise.
    threads
        Number of threads; by default as `psfmatch.threads.resolveThreads` has it.
    """
    rows = max(1, STRIP_PIXELS // max(1, math.prod(shape[1:])))
    edges = [*range(0, shape[0], rows), shape[0]]
    strips = [slice(*pair) for pair in itertools.pairwise(edges)]
    return mapThreads(function, strips, threads)

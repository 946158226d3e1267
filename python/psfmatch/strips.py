"""Work over a whole image in strips of rows, which stay in a processor's cache, on several threads.

Temporary arrays are as small as a strip. numpy releases the interpreter's lock while it computes, and so does the
operating system while it reads and writes: plain threads serve. The result of each strip is its own, so that the
number of threads never changes it.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import TypeVar

from psfmatch.threads import resolveThreads

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
    nThreads = min(resolveThreads(threads), len(strips))
    if nThreads <= 1:
        return [function(strip) for strip in strips]
    # Cheaper by far than a pool, whose futures cost as much as a small strip.
    pending, lock = iter(range(len(strips))), threading.Lock()
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors:
                with lock:
                    number = next(pending, None)
                if number is None:
                    return
                results[number] = function(strips[number])
        except BaseException as error:
            errors.append(error)

    helpers = [threading.Thread(target=work) for _ in range(nThreads - 1)]
    try:
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
    except BaseException as error:  # Ctrl-C between strips: nobody may go on with what the caller closes
        errors.append(error)
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(strips))]

"""How many threads may be used - as told, else ``PSFMATCH_NUM_THREADS``, else the CPUs of this process - and their use.

numpy and the core release the interpreter's lock while they compute, and so does the operating system while it reads
and writes: plain threads serve.
"""

from __future__ import annotations

import contextvars
import numbers
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["mapThreads", "resolveThreads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def resolveThreads(threads: int | None = None) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    threads
        Wanted number; None asks the environment variable ``PSFMATCH_NUM_THREADS`` and then the number of CPUs
        that this process may run on.

    Raises
    ------
    ValueError
        If the number, given or from the environment, is not a whole number of at least 1.
    """
    if threads is not None:
        isWhole = isinstance(threads, numbers.Integral) and not isinstance(threads, bool)
        if not isWhole or threads < 1:
            raise ValueError(f"threads={threads}: must be a whole number of at least 1")
        return int(threads)
    fromEnvironment = os.environ.get("PSFMATCH_NUM_THREADS")
    if fromEnvironment:
        if not re.fullmatch("[0-9]+", fromEnvironment) or int(fromEnvironment) < 1:
            raise ValueError(
                f"PSFMATCH_NUM_THREADS={fromEnvironment!r}: must be a whole number of at least 1; unset it to use "
                "all CPUs of this process"
            )
        return int(fromEnvironment)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mapThreads(function: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None) -> list[Result]:
    """Call a function for all items, on several threads at a time, and return what it returns, in their order.

    Parameters
    ----------
    function
        May be called from any thread. What it does for one item must not depend on others: then the number of threads
        never changes the result.
    items
        Taken in their order.
    threads
        Number of threads; by default as `resolveThreads` has it.
    """
    nThreads = min(resolveThreads(threads), len(items))
    if nThreads <= 1:
        return [function(item) for item in items]
    # Cheaper by far than a pool, whose futures cost as much as a small strip of an image.
    pending, lock = iter(range(len(items))), threading.Lock()
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors:
                with lock:
                    number = next(pending, None)
                if number is None:
                    return
                results[number] = function(items[number])
        except BaseException as error:
            errors.append(error)

    # Each in a copy of the caller's context: numpy's error state and the task that log lines belong to.
    helpers = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(nThreads - 1)]
    try:
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
    except BaseException as error:  # Ctrl-C between items: nobody may go on with what the caller closes
        errors.append(error)
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(items))]

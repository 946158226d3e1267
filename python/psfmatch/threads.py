"""How many threads the core may use: as told, else ``PSFMATCH_NUM_THREADS``, else the CPUs of this process."""

from __future__ import annotations

import numbers
import os
import re

__all__ = ["resolveThreads"]


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

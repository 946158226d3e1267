"""How many threads may be used - as told, else ``PSFMATCH_NUM_THREADS``, else the CPUs of this process - and their use.

The CPUs of a process are those that it may run on, but no more than its control groups give it the time of: a
container with a quota of one and a half CPUs on a machine of 64 has two. numpy and the core release the interpreter's
lock while they compute, and so does the operating system while it reads and writes: plain threads serve.

Work within other work shares its threads: `mapThreads` gives each of its threads a part of what it has, and
`usingThreads` bounds everything in a block, whatever is asked for there. `mapStrips` goes over a whole image in strips
of rows, which stay in a processor's cache; the result of each strip is its own, so that the number of threads never
changes it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
import math
import numbers
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from psfmatch.errors import advice

__all__ = ["availableCpus", "mapStrips", "mapThreads", "resolveThreads", "sideBySide", "usingThreads", "withThreads"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")
Parameters = ParamSpec("Parameters")

STRIP_PIXELS = 1 << 16
"""A quarter of a megabyte of float32: a few such arrays fit the cache of one core."""

_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("psfmatchThreads", default=None)
"""The threads that work in this context may use; None: no work around it has said."""


def resolveThreads(threads: int | None = None) -> int:
    """Return the number of threads to use; no more than `usingThreads` allows here.

    Parameters
    ----------
    threads
        Wanted number; None takes what `usingThreads` allows, else the environment variable ``PSFMATCH_NUM_THREADS``,
        else `availableCpus`.

    Raises
    ------
    ValueError
        If the number, given or from the environment, is not a whole number of at least 1.
    """
    if threads is not None:
        isWhole = isinstance(threads, numbers.Integral) and not isinstance(threads, bool)
        if not isWhole or threads < 1:
            name = advice("threads=", "--threads ", "threads=", manifest="threads=")
            raise ValueError(f"{name}{threads}: must be a whole number of at least 1")
    limit = _limit.get()
    if threads is not None or limit is not None:
        return min(int(number) for number in (threads, limit) if number is not None)
    fromEnvironment = os.environ.get("PSFMATCH_NUM_THREADS")
    if fromEnvironment:
        if not re.fullmatch("[0-9]+", fromEnvironment) or int(fromEnvironment) < 1:
            raise ValueError(
                f"PSFMATCH_NUM_THREADS={fromEnvironment!r}: must be a whole number of at least 1; unset it to use "
                "all CPUs of this process"
            )
        return int(fromEnvironment)
    return availableCpus()


def availableCpus(root: str | os.PathLike[str] = "/") -> int:
    """Return the number of CPUs that this process may use: its affinity, or a smaller quota, rounded up.

    Quotas are those of the process' control group and of all groups above: ``cpu.max`` of version 2,
    ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us`` of version 1 (the Linux kernel's guides ``cgroup-v2.rst`` and
    ``sched-bwc.rst``). What cannot be read limits nothing.

    Parameters
    ----------
    root
        Folder that holds ``proc/self/cgroup`` and ``sys/fs/cgroup``.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cpus, *(max(1, math.ceil(quota)) for quota in _quotas(Path(root)))])


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of the control groups that this process belongs to, in CPUs."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _quotasAbove(top, path)
        elif "cpu" in controllers.split(","):  # version 1 has a tree for each set of controllers, and links to it
            for name in dict.fromkeys((controllers, "cpu")):
                yield from _quotasAbove(top / name, path)


def _quotasAbove(top: Path, path: str) -> Iterator[float]:
    """Yield the quotas of a group and of those above it; a container may see its own group as the top."""
    group = top / path.strip("/")
    for folder in (group, *group.parents):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if folder.is_relative_to(top) else ():
            try:
                quota, period = map(float, " ".join((folder / name).read_text() for name in names).split())
            except (OSError, ValueError):  # "max" stands for no quota, as does -1 in version 1
                continue
            if quota > 0.0 and period > 0.0:
                yield quota / period


@contextlib.contextmanager
def usingThreads(threads: int | None) -> Iterator[int]:
    """Let nothing in this block that asks `resolveThreads` use more threads; yield their number."""
    number = resolveThreads(threads)
    token = _limit.set(number)
    try:
        yield number
    finally:
        _limit.reset(token)


def withThreads(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function with a keyword ``threads``, which then bounds all that the function calls."""

    @functools.wraps(function)
    def bounded(*args: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        with usingThreads(cast("int | None", keywords.get("threads"))):
            return function(*args, **keywords)

    return bounded


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
        Number of threads; by default as `resolveThreads` has it. Where there are fewer items than threads, the work
        on an item may use several.
    """
    allThreads = resolveThreads(threads)
    nThreads = max(1, min(allThreads, len(items)))
    with usingThreads(allThreads // nThreads):
        return [function(item) for item in items] if nThreads == 1 else _sharedBy(nThreads, function, items)


def mapStrips(function: Callable[[slice], Result], shape: tuple[int, ...], threads: int | None = None) -> list[Result]:
    """Call a function for all strips of an image, and return what it returns, in their order.

    Parameters
    ----------
    function
        Takes the rows of a strip as a slice; called from several threads at a time.
    shape
        Shape (h, w) of the image; of an array of any other number of dimensions likewise.
    threads
        Number of threads; by default as `resolveThreads` has it.
    """
    rows = max(1, STRIP_PIXELS // max(1, math.prod(shape[1:])))
    edges = [*range(0, shape[0], rows), shape[0]]
    strips = [slice(*pair) for pair in itertools.pairwise(edges)]
    return mapThreads(function, strips, threads)


def sideBySide(
    first: Callable[[], Result], second: Callable[[], Other], threads: int | None = None
) -> tuple[Result, Other]:
    """Call two functions at the same time, if there are two threads, and return what they return; see `mapThreads`."""
    parts: tuple[Callable[[], Any], ...] = first, second
    one, other = mapThreads(lambda part: part(), parts, threads)
    return one, other


def _sharedBy(nThreads: int, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call the function for all items on this thread and others."""
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

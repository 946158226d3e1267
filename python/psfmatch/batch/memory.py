"""How much memory a pair needs, from the sizes of its images, and how much there is."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from psfmatch.batch.manifest import Pair

__all__ = ["availableMemory", "estimateMemory", "keepFreedMemory", "parseMemory", "processMemory"]

# Measured as the peak of fresh processes on 512 to 2048 px squares, with a tenth on top; one thread.
PROCESS = 110 << 20  # bytes, with everything imported
PER_SCIENCE_PIXEL = 120  # bytes; inputs, registered, matched, difference, decorrelated, the planes of each
PER_TEMPLATE_PIXEL = 24  # bytes, of a template that is kept while the next is read
PER_THREAD = 8 << 20  # bytes, for rows at work
CONTROL_GROUPS = Path("/sys/fs/cgroup")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def estimateMemory(pair: Pair, threads: int) -> int:
    """Return about how many bytes a process needs for a pair; that of an empty one for files that cannot be read."""
    pixels = [_pixelsOf(path) for path in (pair.science, pair.template)]
    return PROCESS + threads * PER_THREAD + pixels[0] * PER_SCIENCE_PIXEL + pixels[1] * PER_TEMPLATE_PIXEL


def availableMemory() -> int | None:
    """Return the bytes that this process may still take, None where the system does not tell."""
    known = []
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        known.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass
    known += _leftInControlGroups()
    if not known:
        known = _ofTheSystem()
    return max(0, min(known)) if known else None


def processMemory() -> int:
    """Return the peak memory of this process in bytes by Windows' own count; 0 on other systems."""
    library = _windows()
    if library is None:
        return 0
    told = _ProcessMemory(size=ctypes.sizeof(_ProcessMemory))
    library.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(library.kernel32.GetCurrentProcess())
    isTold = library.kernel32.K32GetProcessMemoryInfo(process, ctypes.byref(told), told.size)
    return int(told.peakWorkingSet) if isTold else 0


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows: percent in use, and bytes of memory, page file and address space, whole and free."""

    _fields_ = [("size", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
        (name, ctypes.c_uint64)
        for name in ("whole", "free", "wholePage", "freePage", "wholeSpace", "freeSpace", "more")
    ]


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of Windows: bytes, the largest so far and now."""

    _fields_ = [("size", ctypes.c_uint32), ("faults", ctypes.c_uint32)] + [
        (name, ctypes.c_size_t)
        for name in ("peakWorkingSet", "workingSet", "peakPaged", "paged", "peakOther", "other", "page", "peakPage")
    ]


def _windows() -> Any:
    """Return the libraries of Windows; None on other systems."""
    return getattr(ctypes, "windll", None)


def _ofTheSystem() -> list[int]:
    """Return the bytes that are free where there is no /proc: as Windows tells; of others half of all there are."""
    library = _windows()
    if library is not None:
        told = _MemoryStatus(size=ctypes.sizeof(_MemoryStatus))
        return [int(told.free)] if library.kernel32.GlobalMemoryStatusEx(ctypes.byref(told)) else []
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2]
    except (AttributeError, ValueError, OSError):
        return []


def parseMemory(text: str) -> int:
    """Return a number of bytes from words such as ``16G`` or ``500M``; ValueError for others."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0.0:
        raise ValueError(f"memory {text!r}: give bytes, or a number with K, M, G or T, such as 16G")
    return int(float(match[1]) * UNITS[match[2].upper()])


def keepFreedMemory() -> bool:
    """Let this process keep freed arrays for the next ones; return whether the C library can be told so.

    Memory that goes back to the system comes again with all its pages to be cleared: some 40 000 for a pair of
    1024x1024, and several times as many in Dask's workers, which are started with a MALLOC_TRIM_THRESHOLD_ that gives
    all back at once.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:  # not the GNU C library
        return False
    trimThreshold, mapThreshold = -1, -3  # the parameters' numbers in malloc.h
    # The largest that are allowed: arrays up to 32 MiB are kept, and at the heap's end as much as a pair needs.
    return bool(mallopt(mapThreshold, 32 << 20)) and bool(mallopt(trimThreshold, 1 << 30))


def _leftInControlGroups() -> list[int]:
    """Return what the control groups of a batch system or a container leave, bytes; caches of files do not count."""
    left = []
    try:
        (line,) = (
            text
            for text in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
            if text.startswith("0::")
        )
        group = CONTROL_GROUPS / line[3:].strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(CONTROL_GROUPS) and (folder / "memory.max").exists():
                limit = (folder / "memory.max").read_text().strip()
                fields = dict(text.split() for text in (folder / "memory.stat").read_text().splitlines())
                left += [int(limit) - int(fields["anon"])] if limit != "max" else []
    except (OSError, KeyError, ValueError):
        pass
    return left


@lru_cache(maxsize=4096)
def _pixelsOf(path: str) -> int:
    """Return the number of pixels of the largest plane of a file, 0 if it cannot be read."""
    from psfmatch.io import describe

    try:
        entries = describe(path)
    except (OSError, ValueError, RuntimeError):
        return 0
    return max((entry.shape[-2] * entry.shape[-1] for entry in entries if entry.isPlane or entry.nPlanes), default=0)

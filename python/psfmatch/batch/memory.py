"""How much memory a pair needs, from the sizes of its images, and how much there is."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from psfmatch.batch.manifest import Pair

__all__ = [
    "availableMemory",
    "estimateMemory",
    "keepFreedMemory",
    "parseMemory",
    "peakMemory",
    "resetPeakMemory",
]

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
    known = _leftInControlGroups()
    with suppress(OSError, KeyError, ValueError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        known.append(int(fields["MemAvailable"].split()[0]) * 1024)
    known = known or _ofTheSystem()
    return max(0, min(known)) if known else None


def _ofTheSystem() -> list[int]:
    """Return the bytes that are free where there is no /proc: as Windows tells; of others half of all there are."""
    if kernel := _windows():
        # MEMORYSTATUSEX: its own size, then bytes of memory, whole and free, and of five other kinds.
        told = (ctypes.c_uint64 * 8)(64)
        return [told[2]] if kernel.GlobalMemoryStatusEx(ctypes.byref(told)) else []
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2]
    except (AttributeError, ValueError, OSError):
        return []


def _windows() -> Any:
    """Return the library of Windows; None on other systems."""
    library = getattr(ctypes, "windll", None)
    return library and library.kernel32


def resetPeakMemory() -> None:
    """Let the system's record of the process's peak memory begin anew, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peakMemory() -> int:
    """Return the peak memory of the process in bytes, since `resetPeakMemory` where that works; 0: not known."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return _peakOfWindows()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peakOfWindows() -> int:
    kernel = _windows()
    if kernel is None:
        return 0
    # PROCESS_MEMORY_COUNTERS: two integers of 4 bytes, the first its own size, then 8 words, the first the peak.
    word = ctypes.sizeof(ctypes.c_size_t)
    size, peak = 8 + 8 * word, 8 // word
    told = (ctypes.c_size_t * (peak + 8))(size)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    return told[peak] if kernel.K32GetProcessMemoryInfo(process, ctypes.byref(told), size) else 0


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
    with suppress(OSError, KeyError, ValueError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        (group,) = (CONTROL_GROUPS / line[3:].strip("/") for line in lines if line.startswith("0::"))
        for folder in (group, *group.parents):
            if folder.is_relative_to(CONTROL_GROUPS) and (folder / "memory.max").exists():
                limit = (folder / "memory.max").read_text().strip()
                fields = dict(text.split() for text in (folder / "memory.stat").read_text().splitlines())
                left += [int(limit) - int(fields["anon"])] if limit != "max" else []
    return left


@lru_cache(maxsize=4096)
def _pixelsOf(path: str) -> int:
    """Return the number of pixels of the largest plane of a file, 0 if it cannot be read, or has to be fetched."""
    from psfmatch.io import describe
    from psfmatch.io.names import isRemote

    try:
        entries = [] if isRemote(path) else describe(path)
    except (OSError, ValueError, RuntimeError):
        return 0
    return max((entry.shape[-2] * entry.shape[-1] for entry in entries if entry.isPlane or entry.nPlanes), default=0)

"""The machine in words that may be published: processor, cores, memory, compiler, versions. No names, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from suite.timing import Record

PACKAGES = ("psfmatch", "numpy", "astropy")


def processorModel() -> str:
    """Return the processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        fields = dict(re.findall(r"^(.*?)\s*: (.*)$", information.read_text().split("\n\n")[0], re.MULTILINE))
        name = fields.get("model name", fields.get("CPU part", ""))
        numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model", "stepping") if key in fields]
        return f"{name} ({', '.join(numbers)})" if numbers else name
    return platform.processor() or platform.machine()


def describe(compiler: str) -> Record:
    """Describe the machine and the versions that were measured."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "source tree"
    return {
        "processor": processorModel(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "compiler": compiler,
        **versions,
    }


def fileName(machine: Record) -> str:
    """Return the name of the machine's result file: its processor and cores, letters and digits."""
    words = f"{machine['processor']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"

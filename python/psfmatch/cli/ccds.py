"""Files with an image for each detector of a camera: the same ones of template and science image, several at a time."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from psfmatch.cli.gates import EXIT_QUALITY_GATE
from psfmatch.cli.outputs import OUTPUTS, requireSubtractOutputs
from psfmatch.cli.reporting import errorOf, summarize, tell
from psfmatch.errors import fixed

if TYPE_CHECKING:
    from psfmatch.frontdoor import SubtractionResult
    from psfmatch.io import HduEntry

__all__ = ["Ccd", "commonCcds", "subtractCcds"]

log = logging.getLogger("psfmatch.cli")

PLANES = [f"{which}_{plane}" for which in ("template", "science") for plane in ("noise", "variance", "weight", "mask")]


class Ccd(NamedTuple):
    """One detector: its name for outputs, EXTNAME and EXTVER, and the HDUs of template and science image."""

    name: str
    key: tuple[str, int]
    template: int
    science: int


def commonCcds(options: argparse.Namespace) -> list[Ccd]:
    """Return the detectors that both files have by the same names; none unless they have several."""
    from psfmatch.io import listImages

    sciences = _byKey(listImages(options.science))
    if len(sciences) < 2:
        return []
    templates = _byKey(listImages(options.template))
    common = [key for key in sciences if key in templates]
    if len(common) < 2:
        return []
    if left := [_nameOf(key, sciences) for key in sciences if key not in templates]:
        log.warning("%s has no %s: left out", options.template, ", ".join(left))
    return [Ccd(_nameOf(key, sciences), key, templates[key].index, sciences[key].index) for key in common]


def subtractCcds(
    options: argparse.Namespace,
    ccds: Sequence[Ccd],
    run: Callable[[argparse.Namespace], tuple[SubtractionResult, dict[str, Any], float]],
) -> int:
    """Subtract each detector with outputs of its own, and tell of all; the first error is raised in the end."""
    from concurrent.futures import ThreadPoolExecutor

    # Imported before there are threads, of which two could find a module half made.
    import astropy.table
    import astropy.wcs  # noqa: F401

    from psfmatch.frontdoor import subtract  # noqa: F401
    from psfmatch.threads import resolveThreads, usingThreads

    for ccd in ccds:
        requireSubtractOutputs(_optionsOf(ccd, options, 1))
    threads = resolveThreads(options.threads)
    atATime = min(len(ccds), threads, _allowedByMemory(options))
    summaries: dict[str, dict[str, Any]] = {}
    errors: list[Exception] = []

    def work(ccd: Ccd) -> None:
        try:
            one = _optionsOf(ccd, options, threads // atATime)
            with usingThreads(one.threads):
                result, extra, seconds = run(one)
            summaries[ccd.name] = summarize(result, one, extra, seconds)
            log.info("%s is done", ccd.name)
        except (RuntimeError, OSError, ValueError, TypeError) as error:
            log.error("%s failed: %s", ccd.name, error)
            summaries[ccd.name] = {"error": errorOf(error)}
            errors.append(error)

    with ThreadPoolExecutor(atATime) as pool:
        list(pool.map(work, ccds))
    tell(options, {"ccds": {ccd.name: summaries[ccd.name] for ccd in ccds}}, _inWords(ccds, summaries))
    if errors:
        raise errors[0]
    return EXIT_QUALITY_GATE if any(summary.get("failedGates") for summary in summaries.values()) else 0


def _byKey(images: Sequence[HduEntry]) -> dict[tuple[str, int], HduEntry]:
    """Return the images by EXTNAME and EXTVER; by their place if any has no name of its own."""
    named = {(entry.name, entry.version): entry for entry in images if entry.name}
    return named if len(named) == len(images) else {("", entry.index): entry for entry in images}


def _nameOf(key: tuple[str, int], keys: dict[tuple[str, int], HduEntry]) -> str:
    name, version = key
    isOnly = sum(other == name for other, _ in keys) == 1
    return name if isOnly else f"{name}{version}"


def _optionsOf(ccd: Ccd, options: argparse.Namespace, threads: int) -> argparse.Namespace:
    """Return the options for one detector."""
    one = argparse.Namespace(**{**vars(options), "threads": threads})
    one.template, one.science = f"{options.template}[{ccd.template}]", f"{options.science}[{ccd.science}]"
    for plane in PLANES:
        if (path := getattr(options, plane)) is not None:
            setattr(one, plane, _planeOf(ccd, path))
    for output in OUTPUTS:
        if (path := getattr(options, output)) is not None:
            setattr(one, output, _outputOf(ccd, path))
    return one


def _planeOf(ccd: Ccd, path: str) -> str:
    """Return the HDU of a file of noise or masks that belongs to a detector."""
    from psfmatch.io import describe, parseFileName

    if parseFileName(path)[1] is not None:
        return path
    planes = [entry for entry in describe(path) if entry.isPlane]
    # A plane of another kind has another name: the n-th version of it, or the one in the same place.
    name, version = ccd.key
    found = [entry for entry in planes if (entry.name, entry.version) == (name, version)]
    found = found or [entry for entry in planes if entry.index == ccd.science]
    if len(planes) < 2 or not found:
        raise ValueError(f"{path} has no HDU for {ccd.name}")
    return f"{path}[{found[0].index}]"


def _outputOf(ccd: Ccd, path: str) -> str:
    """Return the name of an output with that of the detector before the suffix."""
    if path == "-":
        raise ValueError("the tables of several detectors cannot all go to standard output (-); give a name")
    whole = Path(path)
    suffix = "".join(whole.suffixes[-2:]) if whole.suffix.lower() in (".gz", ".fz") else whole.suffix
    # An EXTNAME may hold what no file name can.
    name = re.sub(r'[/\\:*?"<>|]', "_", ccd.name)
    return str(whole.with_name(f"{whole.name.removesuffix(suffix)}_{name}{suffix}"))


def _allowedByMemory(options: argparse.Namespace) -> int:
    """Return how many detectors can be in memory at a time."""
    from psfmatch.batch import Pair
    from psfmatch.batch.memory import availableMemory, estimateMemory

    available = availableMemory()
    needed = estimateMemory(Pair("", options.template, options.science), 1)
    return len(PLANES) * 1000 if available is None else max(1, int(0.8 * available) // needed)


def _inWords(ccds: Sequence[Ccd], summaries: dict[str, dict[str, Any]]) -> dict[str, str]:
    rows = {}
    for ccd in ccds:
        summary = summaries[ccd.name]
        if "error" in summary:
            rows[ccd.name] = f"failed: {summary['error']['message']}"
            continue
        numbers = (("kernel sum", "kernelSum"), ("noise", "chiRobustStdev"))
        told = [f"{words} {fixed(summary[key], 4)}" for words, key in numbers if summary[key] is not None]
        found = [f"{summary['nDetections']} changes"] if "nDetections" in summary else []
        rows[ccd.name] = ", ".join([f"grade {summary['grade'] or 'none'}", *told, *found, summary["output"]])
    return rows

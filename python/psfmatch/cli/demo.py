"""``psfmatch demo``: simulate a pair with transients, subtract it, draw it."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.cli.options import changedConfiguration
from psfmatch.cli.outputs import addOverwrite, requireOutputs
from psfmatch.cli.reporting import draw, report

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.images import Exposure
    from psfmatch.testing import Truth

__all__ = ["addCommand"]

FILES = ("template.fits", "science.fits", "difference.fits", "difference.png", "report.html", "report.json")

REACH = 2.0  # px, between where a transient was put and where a change is found

log = logging.getLogger("psfmatch.cli")


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "demo",
        parents=parents,
        help="simulate a pair with transients, subtract it, draw it",
        description="Simulate a pair with a varying PSF and injected transients, subtract it, and write template.fits, "
        "science.fits, difference.fits, difference.png and report.html.",
    )
    parser.add_argument("-o", "--output", metavar="DIR", default="psfmatch-demo", help="folder (default: %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: %(default)s)")
    addOverwrite(parser)
    parser.set_defaults(run=_demo)


def _countTransients(difference: Exposure, truth: Truth, found: Table | None) -> dict[str, Any]:
    """Return how many transients should stand out (true signal-to-noise above 8) and are among the changes found."""
    import numpy as np

    from psfmatch.testing import transientFluxes

    fluxes = transientFluxes(difference, truth)
    injected = fluxes[np.abs(fluxes["predictedSignalToNoise"]) > 8.0]
    if found is None:
        return {"nInjected": len(injected), "nDetected": 0}
    apart = np.hypot(
        np.subtract.outer(np.asarray(injected["x"]), np.asarray(found["x"])),
        np.subtract.outer(np.asarray(injected["y"]), np.asarray(found["y"])),
    )
    isSame = np.sign(np.asarray(injected["trueFlux"]))[:, np.newaxis] == np.asarray(found["polarity"])
    isFound = ((apart < REACH) & isSame).any(axis=1)
    return {"nInjected": len(injected), "nDetected": int(np.count_nonzero(isFound))}


def _demo(options: argparse.Namespace) -> int:
    from psfmatch import io
    from psfmatch.frontdoor import subtract
    from psfmatch.pictures.numbers import detectionCounts, findDetections
    from psfmatch.testing import simulatePair

    start = time.perf_counter()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {".fits": io.FITS_FILES, ".png": io.PICTURES, ".html": io.PAGES, ".json": io.NUMBERS}
    requireOutputs([(str(folder / name), kinds[Path(name).suffix]) for name in FILES], [], options.overwrite)
    log.info("Simulating a pair of %dx%d pixels", options.size, options.size)
    pair = simulatePair(seed=options.seed, size=options.size)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    result = subtract(
        pair.template, pair.science, config=changedConfiguration(options), mode=options.mode, threads=options.threads
    )
    result.writeFits(folder / "difference.fits")
    extra: dict[str, Any] = {"output": str(folder / "difference.fits")}
    extra["trueKernelSum"] = pair.truth.kernelSum(*pair.truth.box.centre)
    detections = findDetections(result, options.threads)
    extra |= detectionCounts(detections)
    extra |= _countTransients(result.difference, pair.truth, detections.table)
    try:
        draw(result, str(folder / "difference.png"), detections)
        extra["picture"] = str(folder / "difference.png")
        result.report(folder / "report.html", title=f"Demonstration, seed {options.seed}", threads=options.threads)
        extra["report"] = str(folder / "report.html")
    except ModuleNotFoundError:
        log.warning("No picture and no report: matplotlib is not installed (pip install 'psfmatch[plot]')")
    report(result, options, extra, time.perf_counter() - start)
    return 0

"""Run other programs on the pairs that psfmatch is measured on, and compare times, memory and quality.

    python benchmarks/peers.py [--size 1024] [--threads 2] [--only NAME ...] [--limit SECONDS] [--json FILE]

Subtraction: sfft (NumPy backend, stars only) and properimage. A fixed kernel of 21x21 pixels: scipy.signal.fftconvolve
and scipy.ndimage.convolve. Warping: reproject. What is not installed, fails or exceeds the limit is said to. Each
program runs in a process of its own. How to install them and how to read the tables: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from psfmatch.testing import SimulatedPair, simulatePair
from suite.quality import Judge
from suite.timing import Column, Record, printTable, progress, runChild
from suite.workers import HALF_WIDTH, WORKERS, Array, run, warpGrids

SUBTRACTIONS = ("psfmatch", "sfft", "properimage")
CONVOLUTIONS = ("psfmatch convolve", "scipy fftconvolve", "scipy ndimage")
WARPS = ("psfmatch warp", "reproject_interp", "reproject_adaptive")
OWN_SCALE = ("properimage",)
MARGIN = 32  # px along the edges that do not count
TRANSIENTS = 60  # per megapixel: the simulation's own number is too small to compare fluxes

COSTS: list[Column] = [
    ("program", "name", "s"),
    ("first call s", "first", ".3f"),
    ("next calls s", "seconds", ".3f"),
    ("x ours", "times", ".1f"),
    ("CPU s", "cpu", ".2f"),
    ("peak MiB", "peakMiB", ".0f"),
    ("x ours", "timesMemory", ".1f"),
]
QUALITY: list[Column] = [
    ("star robust", "starRobust", ".2f"),
    ("plain", "starPlain", ".2f"),
    ("scale error", "scaleError", "+.2%"),
    ("flux bias", "fluxBias", "+.2%"),
    ("pull width", "pullWidth", ".2f"),
    ("false/Mpx", "falsePerMpx", ".1f"),
    ("complete", "completeness", ".2f"),
    ("", "failure", "s"),
]
ERRORS: list[Column] = [("largest error", "error", ".1e"), ("", "failure", "s")]


def writeInput(pair: SimulatedPair, sky: Array, kernel: Array, folder: Path) -> None:
    """Leave the arrays that workers read."""
    for name, exposure in (("template", pair.template), ("science", pair.science)):
        for plane in ("image", "mask", "variance"):
            np.save(folder / f"input-{name}-{plane}.npy", np.asarray(getattr(exposure, plane)))
    stars = pair.truth.stars
    bright = ~np.asarray(stars["isSaturated"]) & ~np.asarray(stars["isVariable"])
    bright &= np.asarray(stars["isBright"])
    np.save(folder / "input-stars.npy", np.column_stack([stars["x"][bright], stars["y"][bright]]))
    np.save(folder / "input-sky.npy", sky)
    np.save(folder / "input-kernel.npy", kernel)


def makeSky(size: int) -> tuple[Array, Array]:
    """Return Gaussian stars (sigma 1.3 px, peak 1) on the grid to warp from, and as they are on the grid to warp to."""
    generator = np.random.default_rng(2)
    source, target = warpGrids(size)
    images = np.zeros((2, size, size))
    x, y = generator.uniform(-0.2 * size, 1.2 * size, (2, size**2 // 2000))
    steps = np.arange(-9, 10)
    for image, places in zip(images, ((x, y), target.all_world2pix(*source.all_pix2world(x, y, 0), 0)), strict=True):
        for starX, starY in zip(*places, strict=True):
            columns, rows = steps + round(starX), steps + round(starY)
            profile = np.exp(-((columns - starX) ** 2 + (rows[:, None] - starY) ** 2) / (2 * 1.3**2))
            inX, inY = (columns >= 0) & (columns < size), (rows >= 0) & (rows < size)
            image[np.ix_(rows[inY], columns[inX])] += profile[np.ix_(inY, inX)]
    return images[0].astype(np.float32), images[1]


def largestError(result: Array, expected: Array) -> float:
    """Largest difference where both are known, off the edges, in units of the largest expected value."""
    inside = (slice(MARGIN, -MARGIN),) * 2
    errors = np.abs(result[inside] - expected[inside])
    return float(np.nanmax(errors) / np.nanmax(np.abs(expected[inside])))


def runPeer(name: str, folder: Path, threads: int, limit: float) -> tuple[Record, Array | None]:
    """Run a worker; return its costs and its result, or why there is none."""
    progress(name)
    for left in ("result.npy", "seconds.json"):
        (folder / left).unlink(missing_ok=True)
    command = [sys.executable, __file__, "--worker", name, "--folder", str(folder), "--threads", str(threads)]
    child = runChild(command, threads, limit)
    record: Record = {"name": name, "peakMiB": child.peakMiB}
    if not (folder / "seconds.json").exists():
        last = (child.output.strip().splitlines() or ["no message"])[-1]
        isMissing = "ModuleNotFoundError" in last
        record["failure"] = f"over {limit:.0f} s" if child.wall > limit else last
        return ({"name": name, "failure": "not installed"} if isMissing else record), None
    calls = json.loads((folder / "seconds.json").read_text())
    wall, cpu = (statistics.median(figures) for figures in zip(*(calls[1:] or calls), strict=True))
    record |= {"first": calls[0][0], "seconds": wall, "cpu": cpu}
    return record, np.load(folder / "result.npy")


def addRatios(records: list[Record]) -> None:
    """Add times and memory in units of the first program's."""
    ours = records[0]
    for record in records:
        if "seconds" in record and "seconds" in ours:
            record["times"] = record["seconds"] / ours["seconds"]
            record["timesMemory"] = record["peakMiB"] / ours["peakMiB"]


def main() -> None:
    """Run the programs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=WORKERS, default=list(WORKERS), metavar="NAME",
                        help=f"of {', '.join(WORKERS)}; default all")  # fmt: skip
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each program")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run(options.worker, options.folder, options.threads)
        return

    progress(f"simulating a pair of {options.size} px")
    pair = simulatePair(options.seed, options.size, transients=round(TRANSIENTS * options.size**2 / 1e6))
    sky, warped = makeSky(options.size)
    kernel = pair.truth.kernelImage(options.size / 2, options.size / 2, 2 * HALF_WIDTH + 1)
    judge = Judge(pair)
    results: dict[str, list[Record]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writeInput(pair, sky, kernel, folder)
        for section, names, columns in (
            ("subtraction", SUBTRACTIONS, COSTS + QUALITY),
            ("convolution", CONVOLUTIONS, COSTS + ERRORS),
            ("warping", WARPS, COSTS + ERRORS),
        ):
            records = []
            for name in (name for name in names if name in options.only):
                record, result = runPeer(name, folder, options.threads, options.limit)
                if result is not None and section == "subtraction":
                    record |= judge.judge(result, hasOwnScale=name in OWN_SCALE)
                elif result is not None:
                    record["error"] = largestError(result, warped if section == "warping" else exact(pair, kernel))
                records.append(record)
            if not records:
                continue
            addRatios(records)
            if section == "subtraction":
                records.append({"name": "nothing can do better", **judge.judge(pair.idealDifference().image)})
            results[section] = records
            printTable(f"{section}, {options.size} px, {options.threads} threads", columns, records)
    if options.json is not None:
        options.json.write_text(json.dumps({"size": options.size, "threads": options.threads, **results}, indent=1))


def exact(pair: SimulatedPair, kernel: Array) -> Array:
    """Return the template correlated with the kernel in double precision, by transforms; NaN where it is not finite."""
    image = pair.template.image.astype(np.float64)
    shape = [n + k - 1 for n, k in zip(image.shape, kernel.shape, strict=True)]
    product = np.fft.rfft2(image, shape) * np.fft.rfft2(kernel[::-1, ::-1], shape)
    whole = np.fft.irfft2(product, shape)
    return whole[HALF_WIDTH : HALF_WIDTH + image.shape[0], HALF_WIDTH : HALF_WIDTH + image.shape[1]]


if __name__ == "__main__":
    main()

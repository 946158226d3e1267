"""What `psfmatch.subtract` without a parameter leaves of real image pairs, in figures and pictures.

    python benchmarks/realPairs.py DIRECTORY [--only NAME ...] [--pictures DIR] [--subtract MODULE:FUNCTION]
        [--threads N] [--json FILE]

Every folder of the directory is a pair: template.fits and science.fits, or two FITS files of which the first by
name is the template; NAME_noise.fits beside them holds 1 sigma noise. A pair is run both ways round. Source residual:
robust (1.4826 MAD) and plain standard deviation of difference / sqrt(predicted variance) within 4 px of peaks above
15 sigma in one image that stand out by 5 sigma in the other, too, 32 px from the edges; "either": of all peaks, with
cosmic rays and what has changed; sky: the same of pixels 12 px from any peak. Pictures show
template, science image and difference, each in units of its own noise, from -10 to 10.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import Exposure, MaskedImage
from psfmatch.testing.metrics import robustSigma
from quality import Subtract, describe, importFunction, plainSubtract
from suite.quality import grow
from suite.timing import Column, Record, printTable, progress

THRESHOLD = 15.0  # sigma
BOTH_THRESHOLD = 5.0  # sigma, within 2 px in the other image
SOURCE_RADIUS, CLEARANCE, MARGIN = 4, 12, 32  # px
UNUSABLE = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")

FloatImage = npt.NDArray[np.float64]
COLUMNS: list[Column] = [
    ("pair", "pair", "s"),
    ("robust", "sourceRobust", ".2f"),
    ("plain", "sourcePlain", ".2f"),
    ("either robust", "eitherRobust", ".2f"),
    ("plain", "eitherPlain", ".2f"),
    ("pixels", "nSourcePixels", "d"),
    ("peaks", "nPeaks", "d"),
    ("sky robust", "skyRobust", ".3f"),
    ("plain", "skyPlain", ".3f"),
    ("mean", "skyMean", "+.3f"),
    ("used", "usableFraction", ".3f"),
    ("kernel sum", "kernelSum", ".4f"),
    ("grade", "grade", "s"),
    ("wall s", "seconds", ".2f"),
    ("chosen", "chosen", "s"),
    ("", "failure", "s"),
]


def findPairs(directory: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield name, template and science file of the pairs in the folders of a directory, each both ways round."""
    for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.glob("*.fits*") if "_noise" not in path.name)
        named = [path for key in ("template", "science") for path in files if path.name.startswith(key)]
        if len(pair := named or files) != 2:
            progress(f"{folder}: {len(pair)} images, not two")
            continue
        yield folder.name, pair[0], pair[1]
        yield f"{folder.name} reversed", pair[1], pair[0]


def read(path: Path) -> Exposure:
    """Read an image with the noise that lies beside it."""
    noise = path.with_name(f"{path.name.split('.')[0]}_noise.fits")
    return Exposure.readFits(path, noise=noise if noise.exists() else None)


def significance(masked: MaskedImage) -> FloatImage:
    """Pixels above the sky in units of the sky's noise; unusable ones are zero."""
    good = np.isfinite(masked.image) & ~masked.badPixels(UNUSABLE)
    values = np.where(good, masked.image, 0.0).astype(np.float64)
    middle = np.median(values[good])
    level = robustSigma(values[good])
    noise = np.sqrt(np.where(masked.variance > 0, masked.variance, 0.0)).astype(np.float64)
    # Noiseless templates have no variance in the sky, and a plane may be too small.
    noise = np.maximum(noise, level if level > 0 else 1e-9 * np.abs(values).max() + 1e-30)
    return np.where(good, (values - middle) / noise, 0.0)


def peaksOf(ratio: FloatImage) -> npt.NDArray[np.bool_]:
    """Pixels above the threshold that are the largest of the 3x3 around them."""
    height, width = ratio.shape
    padded = np.pad(ratio, 1, constant_values=-np.inf)
    shifts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    peaks: npt.NDArray[np.bool_] = (ratio > THRESHOLD) & (ratio >= np.max(shifts, axis=0))
    return peaks


def disc(peaks: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """Pixels within a radius of peaks."""
    near = np.zeros_like(peaks)
    height, width = peaks.shape
    for y, x in zip(*np.nonzero(peaks), strict=True):
        rows = np.arange(max(y - radius, 0), min(y + radius + 1, height))
        columns = np.arange(max(x - radius, 0), min(x + radius + 1, width))
        inside = (columns - x) ** 2 + ((rows - y) ** 2)[:, None] <= radius**2
        near[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= inside
    return near


def figures(template: MaskedImage, science: MaskedImage, difference: MaskedImage) -> Record:
    """Return residuals on sources and in the sky; template and science image lie on the difference's pixels."""
    ratios = significance(science), significance(template)
    peaks = peaksOf(ratios[0]) | peaksOf(ratios[1])
    inBoth = peaks & np.logical_and(*(grow(ratio > BOTH_THRESHOLD, 2) for ratio in ratios))
    usable = ~difference.badPixels(UNUSABLE) & (difference.variance > 0) & np.isfinite(difference.image)
    inside = np.zeros_like(usable)
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    pull = np.zeros(difference.shape)
    pull[usable] = difference.image[usable] / np.sqrt(difference.variance[usable], dtype=np.float64)
    onSources = pull[usable & inside & disc(inBoth, SOURCE_RADIUS)]
    onEither = pull[usable & inside & disc(peaks, SOURCE_RADIUS)]
    sky = pull[usable & inside & ~grow(disc(peaks, SOURCE_RADIUS), CLEARANCE - SOURCE_RADIUS)]
    return {
        "nPeaks": int(np.count_nonzero(inBoth & inside)),
        "eitherRobust": robustSigma(onEither),
        "eitherPlain": float(np.std(onEither)) if onEither.size else float("nan"),
        "nSourcePixels": int(onSources.size),
        "sourceRobust": robustSigma(onSources),
        "sourcePlain": float(np.std(onSources)) if onSources.size else float("nan"),
        "skyRobust": robustSigma(sky),
        "skyPlain": float(np.std(sky)) if sky.size else float("nan"),
        "skyMean": float(np.mean(sky)) if sky.size else float("nan"),
        "usableFraction": float(np.mean(usable)),
    }


def drawTriplet(path: Path, title: str, images: Sequence[FloatImage], names: Sequence[str]) -> None:
    """Draw images in units of their noise side by side, on one symmetric scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(images), figsize=(7 * len(images), 7.4), constrained_layout=True)
    for axis, image, name in zip(axes, images, names, strict=True):
        axis.imshow(image, origin="lower", cmap="gray", vmin=-10, vmax=10, interpolation="nearest")
        axis.set_title(name)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def judgePair(name: str, paths: tuple[Path, Path], function: Subtract, threads: int, pictures: Path | None) -> Record:
    """Return the figures of one pair and draw it."""
    template, science = (read(path) for path in paths)
    start = time.perf_counter()
    try:
        result: Any = function(template, science, threads)
    except Exception as error:  # the other pairs are still to be judged
        return {"pair": name, "failure": f"{type(error).__name__}: {error}"[:120]}
    seconds = time.perf_counter() - start
    difference = getattr(result.difference, "maskedImage", result.difference)
    warped = getattr(result, "template", template)
    record = {"pair": name} | figures(warped.maskedImage, science.maskedImage, difference)
    record |= {"seconds": seconds, "chosen": describe(result)}
    record["grade"] = getattr(getattr(result, "quality", None), "grade", None)
    kernel = getattr(result, "kernel", None)
    record["kernelSum"] = None if kernel is None else float(kernel.kernelSum(*science.getBBox().centre))
    if pictures is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = difference.image / np.sqrt(difference.variance)
        title = f"{name}: sources {record['sourceRobust']:.2f} / {record['sourcePlain']:.2f}, {record['chosen']}"
        images = (significance(warped.maskedImage), significance(science.maskedImage), pull.astype(np.float64))
        drawTriplet(
            pictures / f"{name.replace(' ', '-')}.png", title, images, ("template", "science image", "difference")
        )
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the pairs of a directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="pairs whose name contains one of these")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder to draw in")
    parser.add_argument("--subtract", type=importFunction, default=plainSubtract, metavar="MODULE:FUNCTION")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args(arguments)
    records = []
    for name, *paths in findPairs(options.directory):
        if options.only is None or any(word in name for word in options.only):
            progress(name)
            pair = paths[0], paths[1]
            records.append(judgePair(name, pair, options.subtract, options.threads, options.pictures))
    printTable("Real pairs", COLUMNS, records)
    if options.json is not None:
        options.json.write_text(json.dumps(records, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

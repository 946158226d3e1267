"""Convolution alone, with kernels solved on the field, against the ceilings and the plain loop of the same run."""

from __future__ import annotations

from functools import partial

from psfmatch import LinearCombinationKernel, MaskedImage
from suite.ceilings import ceilingWorks
from suite.context import Context
from suite.fields import KERNEL_FWHM, loadPair, makeTask
from suite.library import METHODS, Task
from suite.timing import Record, medians, printTable, progress, takeTurns

SIDES = (21, 35)
ORDERS = (0, 1, 2, 3, 4)
SWEEP_SIZE = 2048  # px: all sides and orders
CRITERIA_SIZE = 4096  # px: side 21 only
CRITERIA_ORDERS = (2, 4)
PLAIN_ROWS = 64  # of the plain loop; its time grows with the rows
PLANE_BYTES = 8  # read and written for each pixel of one plane


def cases(context: Context) -> list[tuple[int, int, int]]:
    """Return size, side of the kernel and order of every case."""
    if context.isQuick:
        return [(512, 21, 0), (512, 21, 2)]
    found = [(SWEEP_SIZE, side, order) for side in SIDES for order in ORDERS]
    if max(context.sizes) >= CRITERIA_SIZE:
        found += [(CRITERIA_SIZE, SIDES[0], order) for order in CRITERIA_ORDERS]
    return found


def measure(context: Context) -> list[Record]:
    """Measure every case."""
    records: list[Record] = []
    loaded = 0
    for size, side, order in cases(context):
        if size != loaded:
            pair, loaded = loadPair(size, context.cache), size
        progress(f"convolution, {size} px, {side}x{side}, order {order}")
        task = makeTask(size, max(context.threads), order=order, side=side)
        kernel = task.subtractMaskedImages(*pair, None, *KERNEL_FWHM).psfMatchingKernel
        records += _measureKernel(context, pair[0], kernel)
    return records


def _measureKernel(context: Context, source: MaskedImage, kernel: LinearCombinationKernel) -> list[Record]:
    library = context.library
    unmasked, masked = (library.prepare(source, kernel, withMask) for withMask in (False, True))
    size, side = source.shape[0], kernel.shape[0]
    works = {}
    for threads in context.threads:
        works[f"image{threads}"] = partial(library.convolve, unmasked, True, threads)
        works[f"variance{threads}"] = partial(library.convolve, unmasked, False, threads)
        works[f"all{threads}"] = partial(library.convolve, masked, False, threads)
        works |= ceilingWorks(library, threads)
        for name, method in METHODS.items():
            works[f"{name}{threads}"] = partial(library.convolve, unmasked, True, threads, method)
    works["plain"] = partial(_plain, context, unmasked)
    found = medians(takeTurns(works, context.repeats))
    plain = found["plain"] * (size - side + 1) / PLAIN_ROWS
    records = []
    for threads in context.threads:
        image, variance, everything = (found[f"{name}{threads}"] for name in ("image", "variance", "all"))
        peak, copy = found[f"flops{threads}"], found[f"copy{threads}"]
        flops = 2.0 * side**2 * size**2
        bound = flops / peak * 1e-9
        records.append(
            {
                "size": size,
                "side": side,
                "order": kernel.order,
                "threads": threads,
                "imageMs": image * 1e3,
                "varianceMs": variance * 1e3,
                "allMs": everything * 1e3,
                "gflops": flops / image * 1e-9,
                "ofPeak": bound / image,
                "imageBounds": image / bound,
                "allBounds": everything / bound,
                "GBs": 3 * PLANE_BYTES * size**2 / everything * 1e-9,
                "ofCopy": 3 * PLANE_BYTES * size**2 / everything * 1e-9 / copy,
                "plainSeconds": plain,
                "timesPlain": plain / variance,
                "speedUp": found[f"image{context.threads[0]}"] / image if threads != context.threads[0] else None,
                "allSpeedUp": found[f"all{context.threads[0]}"] / everything if threads != context.threads[0] else None,
                **{f"{name}Ms": found[f"{name}{threads}"] * 1e3 for name in METHODS if f"{name}{threads}" in found},
                "peakGflops": peak,
                "copyGBs": copy,
            }
        )
    return records


def _plain(context: Context, task: Task) -> None:
    first = task.planes.height // 2 - PLAIN_ROWS // 2
    context.library.plainLoop(task, first, first + PLAIN_ROWS)


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "Convolution with the kernel solved on the field (27 functions), milliseconds",
        [
            ("size", "size", "d"),
            ("K", "side", "d"),
            ("order", "order", "d"),
            ("threads", "threads", "d"),
            ("image", "imageMs", ".1f"),
            ("+variance", "varianceMs", ".1f"),
            ("+mask", "allMs", ".1f"),
            ("GFLOP/s", "gflops", ".0f"),
            ("of peak", "ofPeak", ".0%"),
            ("image/bound", "imageBounds", ".2f"),
            ("all/bound", "allBounds", ".2f"),
            ("GB/s", "GBs", ".2f"),
            ("of copy", "ofCopy", ".0%"),
            ("plain s", "plainSeconds", ".1f"),
            ("plain/+variance", "timesPlain", ".1f"),
            ("x faster", "speedUp", ".2f"),
            ("all x faster", "allSpeedUp", ".2f"),
            *((name, f"{name}Ms", ".1f") for name in METHODS),
        ],
        records,
        [
            "GFLOP/s: of a direct sum, 2 K^2 a pixel, over the time of the image; bound: that sum at the peak",
            "GB/s: 24 bytes a pixel over the time of all planes",
            f"plain: double loop over image and variance, kernel of the centre, one thread, from {PLAIN_ROWS} rows",
            "direct, transforms: the image with the method chosen",
            "goals at 4096 px, 21x21, order 2: image/bound 1.7, all/bound 3.6; 1.8 x faster, plain/+variance 40",
        ],
    )

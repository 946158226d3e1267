"""``psfmatch apply``: subtract two files with a kernel that was found before."""

from __future__ import annotations

import argparse
import time
from typing import Any

from psfmatch.cli.inputs import addInputs, readImage
from psfmatch.cli.options import addThreads
from psfmatch.cli.outputs import addOverwrite, inputsOf, requireOutputs
from psfmatch.cli.reporting import tell

__all__ = ["addCommand"]


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "apply",
        parents=parents,
        help="subtract two images with a kernel that was found before",
        description="Prepare, register, convolve and subtract two images as they were when the kernel was found: on "
        "the same files, read with the same options, the difference is the same to the last bit. On a changed science "
        "image, for example one with injected sources, it is what the existing kernel makes of it.",
    )
    parser.add_argument("kernel", metavar="KERNEL", help="a kernel file, or a difference image of psfmatch")
    addInputs(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="difference image to write")
    parser.add_argument("--no-background", action="store_true", help="do not subtract the stored background")
    parser.add_argument(
        "--convolved", choices=("template", "science"), help="which image, if the kernel's file does not say it"
    )
    addOverwrite(parser)
    addThreads(parser)
    parser.set_defaults(run=_apply)


def _apply(options: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from psfmatch import io
    from psfmatch.difference import applyKernel, differenceNoise
    from psfmatch.hotpants.storedKernel import readStoredKernel
    from psfmatch.images import readInput

    start = time.perf_counter()
    requireOutputs([(options.output, io.FITS_FILES)], inputsOf(options), options.overwrite)
    with ThreadPoolExecutor(1) as reader:
        template, science = (reader.submit(readImage, readInput, options, which) for which in ("template", "science"))
    applied = applyKernel(
        readStoredKernel(options.kernel),
        template.result(),
        science.result(),
        convolved=options.convolved,
        useBackground=not options.no_background,
        threads=options.threads,
    )
    applied.writeFits(options.output)
    recipe = applied.stored.recipe
    assert recipe is not None  # for mypy: what was applied is always told
    noise = differenceNoise(applied.difference.maskedImage).robustStdev
    summary = {
        "kernel": str(options.kernel),
        "convolved": recipe.convolved,
        "kernelSize": applied.stored.kernel.shape[1],
        "kernelSum": applied.stored.kernel.kernelSum(*applied.difference.getBBox().centre),
        "instructionSet": recipe.instructionSet,
        "chiRobustStdev": noise if noise == noise else None,
        "output": options.output,
        "seconds": round(time.perf_counter() - start, 3),
    }
    rows = {
        "kernel": f"{applied.stored.kernel}, sum {summary['kernelSum']:.4f}; {recipe.convolved} convolved",
        "noise": f"difference / sqrt(variance) scatters by {noise:.3f} (1 is ideal)",
        "written": f"{options.output} in {summary['seconds']:.1f} s",
    }
    tell(options, summary, rows)
    return 0

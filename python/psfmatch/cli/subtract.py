"""``psfmatch subtract``: two files in, the difference out."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from psfmatch.cli.inputs import readInput, requireOtherOutput
from psfmatch.cli.options import configuration
from psfmatch.cli.reporting import draw, report

__all__ = ["addCommand"]


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "subtract",
        parents=parents,
        help="subtract a template from a science image",
        description="Warp the template to the science image's pixels, match the PSFs and subtract. Files are FITS "
        "(also .fz and .gz); brackets choose an HDU: 'file.fits[SCI]'.",
    )
    parser.add_argument("template", metavar="TEMPLATE", help="image of the same sky, usually deeper and sharper")
    parser.add_argument("science", metavar="SCIENCE", help="image in which to look for changes")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="difference image to write")
    parser.add_argument("--picture", metavar="PNG", help="also draw template, matched, science, difference")
    files = parser.add_argument_group("what the files do not say")
    for which in ("template", "science"):
        files.add_argument(f"--{which}-noise", metavar="FILE", help=f"1 sigma noise of the {which} image")
        files.add_argument(f"--{which}-variance", metavar="FILE", help=f"variance of the {which} image")
        files.add_argument(f"--{which}-mask", metavar="FILE", help=f"mask of the {which} image")
        files.add_argument(f"--{which}-fwhm", metavar="PIX", type=float, help=f"PSF FWHM of the {which} image")
    files.add_argument(
        "--gain", metavar="G", type=float, help="e-/count of both images, for a variance where the files have none"
    )
    files.add_argument("--read-noise", type=float, metavar="E", help="read noise in e-, with --gain")
    files.add_argument("--use-xy0", action="store_true", help="honour the pixel origins (LTV, WCS A) in the files")
    files.add_argument(
        "--ignore-wcs", action="store_true", help="take the images as registered whatever their WCSs say: do not warp"
    )
    parser.set_defaults(run=_subtract)


def _subtract(options: argparse.Namespace) -> int:
    from psfmatch.exposure import Exposure

    start = time.perf_counter()
    requireOtherOutput(options.output, options.template, options.science)
    with ThreadPoolExecutor(1) as reader:
        template, science = (reader.submit(readInput, Exposure, options, which) for which in ("template", "science"))
        # The other half of what the run needs is imported while the pixels are read, here alone: two threads that
        # import the same modules can find them half made.
        from psfmatch.differencing import subtract

        config = configuration(options)
    result = subtract(
        template.result(),
        science.result(),
        config=config,
        mode=options.mode,
        templateFwhmPix=options.template_fwhm,
        scienceFwhmPix=options.science_fwhm,
        threads=options.threads,
    )
    result.writeFits(options.output)
    if options.picture is not None:
        draw(science.result(), result, options.picture, None)
    report(result, options, {"output": options.output}, time.perf_counter() - start)
    return 0

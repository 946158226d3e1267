"""The two images of a command, and what their files do not say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psfmatch.images import Exposure

__all__ = ["addGains", "addInputs", "addWidths", "readImage"]


def addInputs(parser: argparse.ArgumentParser, orDirectory: str = "") -> argparse._ArgumentGroup:
    """Add TEMPLATE, SCIENCE and the options about their files; return the group of the latter.

    With words about a directory, it may be given in place of the two: SCIENCE is None then.
    """
    told = f"image of the same sky, usually deeper and sharper{f'; or {orDirectory}' if orDirectory else ''}"
    count = "?" if orDirectory else None
    parser.add_argument("template", metavar="TEMPLATE", help=told)
    parser.add_argument("science", metavar="SCIENCE", nargs=count, help="image in which to look for changes")
    files = parser.add_argument_group("what the files do not say")
    for which in ("template", "science"):
        files.add_argument(f"--{which}-noise", metavar="FILE", help=f"1 sigma noise of the {which} image")
        files.add_argument(f"--{which}-variance", metavar="FILE", help=f"variance of the {which} image")
        files.add_argument(
            f"--{which}-weight",
            metavar="FILE",
            help=f"weight map of the {which} image: 1/variance, relative or 0/1, told apart by its pixels; 0: no data",
        )
        files.add_argument(f"--{which}-mask", metavar="FILE", help=f"mask of the {which} image")
    addGains(files, "for a variance where the files have none")
    files.add_argument("--use-xy0", action="store_true", help="honour the pixel origins (LTV, WCS A) in the files")
    files.add_argument(
        "--ignore-wcs", action="store_true", help="take the images as registered whatever their WCSs say: do not warp"
    )
    return files


def addGains(group: argparse._ArgumentGroup, when: str) -> None:
    """Add gain and read noise, of both images and of each."""
    group.add_argument("--gain", metavar="G", type=float, help=f"e-/count of both images, {when}")
    group.add_argument("--read-noise", metavar="E", type=float, help="read noise in e-, with --gain")
    for which in ("template", "science"):
        group.add_argument(f"--{which}-gain", metavar="G", type=float, help=f"the same of the {which} image alone")
        group.add_argument(f"--{which}-read-noise", metavar="E", type=float, help=f"read noise of the {which} image")


def addWidths(files: argparse._ArgumentGroup) -> None:
    """Add the sizes of the PSFs."""
    for which in ("template", "science"):
        files.add_argument(f"--{which}-fwhm", metavar="PIX", type=float, help=f"PSF FWHM of the {which} image")


def readImage(readInput: Callable[..., Exposure], options: argparse.Namespace, which: str) -> Exposure:
    """Read the "template" or the "science" image as the options say, by `psfmatch.images.readInput`."""
    from psfmatch.images import gainOf

    gains = ("gain", "read_noise", f"{which}_gain", f"{which}_read_noise")
    gain, readNoise = gainOf(*(getattr(options, name) for name in gains))
    return readInput(
        getattr(options, which),
        lambda plane: getattr(options, f"{which}_{plane}"),
        gain,
        readNoise,
        useXY0=options.use_xy0,
        ignoreWcs=options.ignore_wcs,
    )

"""The options of HOTPANTS, as its users type them, with what becomes of each here.

`OPTIONS` is the only list: the parser, the help, the reference page and the tests walk through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["GROUPS", "OPTIONS", "Option"]

Kind = Literal["flag", "text", "int", "float", "gaussians", "images", "box", "keyword"]


@dataclass(frozen=True)
class Option:
    """One option.

    name : without the dash; values : what follows it, in words for the help; kind : how that is read;
    default : HOTPANTS' own, None where there is none or where ours is chosen from the images;
    does : what it does here; reason : why it has no meaning here, in one line that is printed when it is given, else
    empty; choices : words that are allowed.
    """

    name: str
    values: str
    kind: Kind
    default: Any
    does: str
    reason: str = ""
    choices: tuple[str, ...] = ()


def _ofBoth(suffix: str, values: str, kind: Kind, default: Any, does: str) -> tuple[Option, Option]:
    """Return the options of template and science image that differ in their first letter alone."""
    return (
        Option(f"t{suffix}", values, kind, default, does),
        Option(f"i{suffix}", values, kind, default, does),
    )


GROUPS: dict[str, tuple[Option, ...]] = {
    "required": (
        Option("inim", "FILE", "text", None, "science image; brackets choose an HDU: 'file.fits[1]'"),
        Option("tmplim", "FILE", "text", None, "template on the same pixels"),
        Option("outim", "FILE", "text", None, "difference image to write"),
    ),
    "which pixels count, and their noise (-t: template, -i: science image)": (
        *_ofBoth("u", "COUNTS", "float", None, "saturated from here up; without it found from mask, header or plateau"),
        *_ofBoth("uk", "COUNTS", "float", None, "left out of the kernel fit alone from here up"),
        *_ofBoth("l", "COUNTS", "float", None, "bad at and below this; without it there is no limit"),
        *_ofBoth("g", "GAIN", "float", 1.0, "e-/count: variance max(counts - pedestal, 0)/gain + (read noise/gain)^2"),
        *_ofBoth("r", "E", "float", 0.0, "read noise in e-, for the same"),
        *_ofBoth("p", "COUNTS", "float", 0.0, "pedestal in counts, for the same"),
        *_ofBoth("ni", "FILE", "text", None, "noise plane (1 sigma), taken before gain and read noise"),
        *_ofBoth("mi", "FILE", "text", None, "mask; of a file that names its bits the bad ones, else all but 0"),
    ),
    "kernel (what is not given is chosen from the images)": (
        Option("r", "PIX", "int", 10, "half width of the kernel"),
        Option(
            "kcs",
            "PIX",
            "int",
            21,
            "",
            "the convolution is exact at every pixel, no kernel is kept constant over blocks",
        ),
        Option("ng", "N DEG SIGMA ...", "gaussians", None, "Gaussians: how many, and degree and sigma (px) of each"),
        Option("ko", "ORDER", "int", 2, "order of the kernel's variation over the field"),
        Option("bgo", "ORDER", "int", 1, "order of the differential background"),
        Option("pca", "N FILE ...", "images", None, "N images as the kernel's basis functions instead of Gaussians"),
        Option("ki", "FILE", "text", None, "use a stored kernel: ours, of a difference of ours, or HOTPANTS'"),
        Option("hki", "", "flag", False, "write the kernel to an extension of the difference"),
        Option("oki", "FILE", "text", None, "write the kernel to this file"),
    ),
    "stars and their stamps": (
        Option("nsx", "N", "int", 10, "stamps of a region along x; at most nsx nsy nss are fitted"),
        Option("nsy", "N", "int", 10, "the same along y"),
        Option("nss", "N", "int", 3, "centroids of each stamp"),
        Option("rss", "PIX", "int", 15, "half width of what is fitted about each"),
        Option("ft", "SIGMA", "float", 20.0, "threshold of their detection"),
        Option("sft", "FACTOR", "float", 0.5, "factor on it when too many stamps stay empty"),
        Option("nft", "PART", "float", 0.1, "part of the stamps that may stay empty before that"),
        Option("ssf", "FILE", "text", None, "text file of positions to use, x y from 1 in its first columns"),
        Option("cmp", "FILE", "text", None, "the same, for a .cmp file"),
        Option("afssc", "0|1", "int", 1, "with either: 1 adds stars that are found, 0 does not", choices=("0", "1")),
        Option("savexy", "FILE", "text", None, "write the stamps used (and rejected, red) as ds9 regions"),
    ),
    "regions, each fitted by itself": (
        Option("gd", "XMIN XMAX YMIN YMAX", "box", None, "use this part alone, pixels from 1; the rest is filled"),
        Option("nrx", "N", "int", 1, "regions along x"),
        Option("nry", "N", "int", 1, "regions along y"),
        Option("rf", "FILE", "text", None, "text file of regions, xmin:xmax,ymin:ymax a line, pixels from 1"),
        Option("rkw", "KEYWORD N", "keyword", None, "N regions [x1:x2,y1:y2] in the science image's cards KEYWORDn"),
    ),
    "direction and scale": (
        Option("c", "t|i", "text", None, "convolve template or science image; else the sharper", "", ("t", "i")),
        Option(
            "n",
            "t|i|u",
            "text",
            "t",
            "flux scale: template, science or unconvolved image",
            "",
            ("t", "i", "u"),
        ),
        Option(
            "fom",
            "v|s|h",
            "text",
            None,
            "without -c: try both directions, keep the one of less variance, clipped sigma, or histogram width",
            "",
            ("v", "s", "h"),
        ),
        Option(
            "sconv",
            "",
            "flag",
            False,
            "",
            "the direction is chosen once for the whole image, so that all regions share it in any case",
        ),
    ),
    "clipping": (
        Option("ssig", "SIGMA", "float", 3.0, "clipping of the statistics in the header"),
        Option("ks", "SIGMA", "float", 2.0, "rejection from the fit: pixels beyond 2.5 times this leave it"),
    ),
    "masks and fill values": (
        Option("mins", "PART", "float", None, "bad pixels grown by this part of -r leave the fit, else ungrown"),
        Option("mous", "PART", "float", None, "bad pixels grown by this part of -r are bad in the result, too"),
        Option("kfm", "PART", "float", 0.99, "part of abs(kernel) on good pixels that makes a pixel good"),
        Option("omi", "FILE", "text", None, "write the mask, in HOTPANTS' bits"),
        Option("fi", "VALUE", "float", 1e-30, "value of bad pixels"),
        Option("fin", "VALUE", "float", 0.0, "value of bad pixels in the noise image"),
        Option("okn", "", "flag", False, "rescale the noise to the scatter of the sky, inputs and difference"),
    ),
    "what is written": (
        Option("oni", "FILE", "text", None, "write the noise (1 sigma)"),
        Option("ond", "FILE", "text", None, "write the difference over its noise"),
        Option("oci", "FILE", "text", None, "write the convolved image, background included"),
        Option("nim", "", "flag", False, "the noise as an extension of the difference"),
        Option("ndm", "", "flag", False, "difference over noise as an extension"),
        Option("cim", "", "flag", False, "the convolved image as an extension"),
        Option("allm", "", "flag", False, "all of these and the mask as extensions"),
        Option(
            "convvar",
            "",
            "flag",
            False,
            "",
            "the variance is always convolved, with the square of the kernel, never the noise",
        ),
        Option("sht", "", "flag", False, "write images as 16-bit integers"),
        Option("obs", "SCALE", "float", 1.0, "their BSCALE"),
        Option("obz", "ZERO", "float", 0.0, "their BZERO"),
        Option("nsht", "", "flag", False, "write noise images as 16-bit integers"),
        Option("nbs", "SCALE", "float", 1.0, "their BSCALE"),
        Option("nbz", "ZERO", "float", 0.0, "their BZERO"),
        Option("nc", "", "flag", False, "do not overwrite files"),
        Option("v", "0|1|2", "int", 1, "0: warnings alone, 1: a summary, 2: every step", "", ("0", "1", "2")),
    ),
}
"""What becomes of each option, in groups for the help."""

OPTIONS: dict[str, Option] = {option.name: option for options in GROUPS.values() for option in options}

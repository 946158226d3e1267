"""``psfmatch detect``: what has changed on a difference image, as a table."""

from __future__ import annotations

import argparse
import logging
import time
from typing import TYPE_CHECKING, Any

from psfmatch.cli.options import addThreads
from psfmatch.cli.outputs import TABLE_ENDINGS, addOverwrite, inputsOf, requireOutputs, sendTable
from psfmatch.cli.reporting import tell

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from astropy.table import Table

    from psfmatch.frontdoor.changes import StoredDifference
    from psfmatch.images import Exposure
    from psfmatch.transients import PhotometryImage

__all__ = ["addCommand"]

log = logging.getLogger("psfmatch.cli")


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "detect",
        parents=parents,
        help="find and measure what has changed on a difference image",
        description="Find point sources of both signs on a difference image with its PSF, measure them there and on "
        "the images that were subtracted, flag dipoles and what lies near defects. On a file of psfmatch subtract they "
        "are those that the run itself finds, with the same numbers. On others the PSF comes from --psf-fwhm, else "
        "from the file, else from the stars of the science image or of the matched template in the file.",
    )
    parser.add_argument("difference", metavar="DIFFERENCE", help="difference image, as psfmatch subtract writes it")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help=f"table to write: {TABLE_ENDINGS}, or - for standard output",
    )
    parser.add_argument("--science", metavar="FILE", help="science image, on the same pixels")
    parser.add_argument(
        "--template",
        metavar="FILE",
        help="template on the same pixels, with a PSF of its own (default: the matched one in the file)",
    )
    parser.add_argument(
        "--template-scale",
        metavar="K",
        type=float,
        default=1.0,
        help="science counts per count of --template (default: 1)",
    )
    parser.add_argument("--psf-fwhm", metavar="PIX", type=float, help="FWHM of a Gaussian PSF of the difference")
    parser.add_argument(
        "--threshold", metavar="SIGMA", type=float, default=5.0, help="least significance (default: %(default)s)"
    )
    addOverwrite(parser)
    addThreads(parser)
    parser.set_defaults(run=_detect)


def _detect(options: argparse.Namespace) -> int:
    from psfmatch import io
    from psfmatch.images import Exposure

    start = time.perf_counter()
    requireOutputs([(options.output, io.TABLES)], inputsOf(options), options.overwrite)
    difference = Exposure.readFits(options.difference)
    science = None if options.science is None else Exposure.readFits(options.science)
    stored = _storedIn(options.difference, difference, options.threads)
    if stored is None:
        sources, origin = _detectAlone(options, difference, science)
    else:
        sources, origin = _detectStored(options, stored, science)
    numbers = {
        "output": options.output,
        "nSources": len(sources),
        "nPositive": sources.meta["NPOS"],
        "nNegative": sources.meta["NNEG"],
        "nDipoles": sources.meta["NDIPOLE"],
        "nUnflagged": int(sum(not any(row) for row in zip(*(sources[f] for f in _FLAGS), strict=True))),
        "threshold": options.threshold,
        "psfFwhmPix": sources.meta["PSFFWHM"],
        "psfFrom": origin,
        "noiseScale": sources.meta["NOISESCL"],
        "seconds": round(time.perf_counter() - start, 3),
    }
    counts = f"{numbers['nSources']} above {options.threshold:g} sigma"
    signs = f"{numbers['nPositive']} positive, {numbers['nNegative']} negative"
    rows = {
        "sources": f"{counts}: {signs}, {numbers['nDipoles']} dipoles; {numbers['nUnflagged']} without a flag",
        "PSF": f"FWHM {numbers['psfFwhmPix']:.2f} px, {origin}",
        "noise": f"significance on blank sky scatters by {numbers['noiseScale']:.3f} (1 is ideal)",
        "written": f"{options.output} in {numbers['seconds']:.1f} s",
    }
    tell(options, numbers | sendTable(sources, options.output, "SOURCES", options), rows)
    return 0


def _storedIn(path: str, difference: Exposure, threads: int | None) -> StoredDifference | None:
    """Return the difference with all that the run which made it has written for this; None where that is not there."""
    from psfmatch import io
    from psfmatch.frontdoor.changes import StoredDifference

    file, chosen = io.parseFileName(path)
    if chosen is not None:
        return None
    return StoredDifference.readFits(file, difference, _planeIn(path, "MATCHED"), _planeIn(path, "FLOOR"), threads)


def _detectStored(options: argparse.Namespace, stored: StoredDifference, science: Exposure | None) -> tuple[Table, str]:
    """Find what the run that made the file finds; images and a PSF that are given take the place of those there."""
    from psfmatch.images import SIGMA_TO_FWHM, GaussianPsf
    from psfmatch.transients import PhotometryImage

    given: dict[str, Any] = {}
    if options.psf_fwhm is not None:
        given["psf"] = GaussianPsf(options.psf_fwhm / SIGMA_TO_FWHM)
    if science is not None:
        given["science"] = PhotometryImage(science, science.psf or given.get("psf") or stored.unconvolvedPsf[0])
    if options.template is not None:
        given["template"] = _ownTemplate(options)
    sources = stored.detect(options.threshold, threads=options.threads, **given)
    return sources, sources.meta["PSFFROM"]


def _ownTemplate(options: argparse.Namespace) -> PhotometryImage:
    from psfmatch.images import Exposure
    from psfmatch.sources import psfFromStars
    from psfmatch.transients import PhotometryImage

    own = Exposure.readFits(options.template)
    return PhotometryImage(own, own.psf or psfFromStars(own, threads=options.threads), options.template_scale)


def _detectAlone(options: argparse.Namespace, difference: Exposure, science: Exposure | None) -> tuple[Table, str]:
    """Find changes on a difference of which no more is known than its own planes."""
    from psfmatch.sources import psfFromStars
    from psfmatch.transients import PhotometryImage, detectOnDifference

    matched = _matchedIn(options.difference, difference)
    template: PhotometryImage | Exposure | None = matched if options.template is None else _ownTemplate(options)
    isSmoothed = _isSmoothed(options.difference)
    # The stars of the science image are narrower than the difference then.
    psf, origin = _psfOf(options, difference, None if isSmoothed and matched is not None else science, matched)
    before: PhotometryImage | Exposure | None = science
    if science is not None and isSmoothed:
        before = PhotometryImage(science, science.psf or psfFromStars(science, threads=options.threads))
    sources = detectOnDifference(
        difference,
        psf,
        science=before,
        template=template,
        threshold=options.threshold,
        floor=_planeIn(options.difference, "FLOOR"),
        threads=options.threads,
    )
    return sources, origin


_FLAGS = ("flagEdge", "flagMasked", "flagInterpolated", "flagSaturated", "flagNoFit", "flagDipole")
"""Flags that make a source doubtful; one near a bad pixel is sound."""


def _matchedIn(path: str, difference: Exposure) -> Exposure | None:
    """Return the matched image of a file of ours, with the difference's mask and variance, which bound its own."""
    from psfmatch.images import Exposure, MaskedImage

    image = _planeIn(path, "MATCHED")
    return None if image is None else Exposure(MaskedImage(image, difference.mask, difference.variance, difference.xy0))


def _isSmoothed(path: str) -> bool:
    """Return whether a file of ours says that an image was smoothed before the fit."""
    from psfmatch import io
    from psfmatch.difference import StoredKernel

    file, chosen = io.parseFileName(path)
    if chosen is not None or all(entry.role is not io.Role.RECIPE for entry in io.describe(file)):
        return False
    recipe = StoredKernel.readFits(file).recipe
    return recipe is not None and recipe.smoothing > 0.0


def _planeIn(path: str, name: str) -> npt.NDArray[np.float32] | None:
    """Return a plane (h, w) of a file of ours that an image of its own name holds; None without it."""
    from psfmatch import io
    from psfmatch.images import Exposure

    file, chosen = io.parseFileName(path)
    if chosen is not None or all(entry.role is not io.Role[name] for entry in io.describe(file)):
        return None
    # A variance is named, so that none is guessed.
    return Exposure.readFits(f"{file}[{name}]", variance=f"{file}[VARIANCE]").image


def _psfOf(
    options: argparse.Namespace, difference: Exposure, science: Exposure | None, matched: Exposure | None
) -> tuple[Any, str]:
    """Return the PSF of the difference and where it comes from, in words."""
    from psfmatch.errors import InsufficientKernelSourcesError
    from psfmatch.images import SIGMA_TO_FWHM, GaussianPsf
    from psfmatch.sources import psfFromStars

    if options.psf_fwhm is not None:
        return GaussianPsf(options.psf_fwhm / SIGMA_TO_FWHM), "given"
    if difference.psf is not None:
        return difference.psf, "from the file"
    failure = "there is neither a science nor a matched image to measure it on"
    for name, exposure in (("the science image", science), ("the matched image", matched)):
        if exposure is None:
            continue
        try:
            psf = exposure.psf or psfFromStars(exposure, threads=options.threads)
        except InsufficientKernelSourcesError as error:
            failure = f"{name}: {error}"
            continue
        return psf, f"from the stars of {name}"
    raise ValueError(f"the PSF of the difference is unknown ({failure}); give --psf-fwhm, or --science")

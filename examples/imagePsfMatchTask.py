#!/usr/bin/env python3
"""Match or subtract two exposures with a subclass of the documented task, on files or on simulated images.

    ./examples/imagePsfMatchTask.py [--debug] [--mode matchExposures|subtractExposures] [-t FILE -s FILE]

With ``--debug`` the views that ``debug.py`` in the working directory or on the path asks for (all of them without
one) are written to ``psfmatch-debug/``, and after them the matched template and the subtracted image.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from astropy.wcs import WCS

from psfmatch import DoubleGaussianPsf, Exposure, ImagePsfMatchConfig, ImagePsfMatchTask, PsfMatchError
from psfmatch.config import Struct
from psfmatch.pictures import debugging, showExposure
from psfmatch.testing import makeFakeKernelSet

MODES = ("matchExposures", "subtractExposures")

TEMPLATE_SIGMA = 1.5  # px
SCIENCE_SIGMA = 2.5  # px, nominal: the kernel adds that much
BACKGROUND = 200.0  # counts, of the fake science image alone
PSF_SIZE = 21  # px
CELL_SIZE = 128  # px


class MyImagePsfMatchTask(ImagePsfMatchTask):
    """The task with a `run` that does what is asked by name."""

    _DefaultName = "myImagePsfMatch"

    def run(self, templateExp: Exposure, scienceExp: Exposure, mode: str) -> Struct:
        """Return what the method called `mode` makes of the exposures; ValueError for another mode."""
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
        result: Struct = getattr(self, mode)(templateExp, scienceExp)
        return result


def makeConfig(isFake: bool) -> ImagePsfMatchConfig:
    """Return the configuration: a kernel of order 1, a constant background; cells that suit the fake images."""
    config = MyImagePsfMatchTask.ConfigClass()
    config.kernel.name = "AL"
    config.kernel.active.fitForBackground = True
    config.kernel.active.spatialKernelOrder = 1
    config.kernel.active.spatialBgOrder = 0
    if isFake:
        config.kernel.active.sizeCellX = CELL_SIZE
        config.kernel.active.sizeCellY = CELL_SIZE
    return config


def readExposure(path: str, name: str) -> Exposure:
    """Read an image by its name; FileNotFoundError if there is no such file, RuntimeError if it cannot be read."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path} for the {name}")
    try:
        return Exposure.readFits(path)
    except (PsfMatchError, OSError, ValueError) as error:
        raise RuntimeError(f"cannot read the {name}, {path}: {error}") from error


def makeFakeExposures() -> tuple[Exposure, Exposure]:
    """Return template and science exposure: nine stars through a known kernel, on one grid of the sky."""
    fakes = makeFakeKernelSet(sizeCell=CELL_SIZE, tGaussianWidth=TEMPLATE_SIGMA, bgValue=BACKGROUND)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [215.604025685476, 53.1595451514076]
    wcs.wcs.crpix = [fakes.box.width / 2, fakes.box.height / 2]
    wcs.wcs.cd = [[5.10808e-05, 0.0], [0.0, 5.10808e-05]]
    wcs.wcs.set()
    exposures = []
    for image, sigma in ((fakes.template, TEMPLATE_SIGMA), (fakes.science, SCIENCE_SIGMA)):
        psf = DoubleGaussianPsf(sigma, 2 * sigma, ratio=0.0, size=PSF_SIZE)  # the fake stars have no wings
        exposures.append(Exposure(image, wcs=wcs.deepcopy(), psf=psf))
    return exposures[0], exposures[1]


def main(arguments: Sequence[str] | None = None) -> Struct:
    """Run the task and print what came of it."""
    parser = argparse.ArgumentParser(description="PSF-match or subtract two exposures.")
    parser.add_argument("-d", "--debug", action="store_true", help="draw debug views")
    parser.add_argument("-t", "--template", metavar="FILE", help="template exposure; both or none")
    parser.add_argument("-s", "--science", metavar="FILE", help="science exposure")
    parser.add_argument("--mode", choices=MODES, default="subtractExposures", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if (options.template is None) != (options.science is None):
        parser.error("give --template and --science, or neither for simulated images")
    isFake = options.template is None
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s: %(message)s", stream=sys.stderr)

    with debugging(options.debug):
        if isFake:
            template, science = makeFakeExposures()
        else:
            template = readExposure(options.template, "template")
            science = readExposure(options.science, "science image")
        task = MyImagePsfMatchTask(config=makeConfig(isFake))
        result = task.run(template, science, options.mode)
        if options.debug:
            showExposure(result.matchedExposure, "Matched template")
            if "subtractedExposure" in result:
                showExposure(result.subtractedExposure, "Subtracted image")

    x, y = science.getBBox().centre
    print(f"{options.mode}: {result.psfMatchingKernel}")
    print(f"kernel sum at the centre {result.psfMatchingKernel.kernelSum(x, y):.4f}")
    print(f"background at the centre {result.backgroundModel(x, y):.4g} counts")
    return result


if __name__ == "__main__":
    main()

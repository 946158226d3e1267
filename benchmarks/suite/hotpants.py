"""The command line of HOTPANTS on a pair, as a function that benchmarks/quality.py can judge.

python benchmarks/quality.py --subtract suite.hotpants:byCommandLine --no-withheld --fields sparse --seeds 0-3
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from astropy.io import fits

from psfmatch import Exposure, MaskedImage
from psfmatch.cli import main
from psfmatch.hotpants import readHotpantsKernel

OPTIONS = (
    "-tu 49000 -tl -1e4 -iu 49000 -il -1e4 -r 10 -rss 15 -nsx 10 -nsy 10 -ng 3 4 0.7 2 1.5 2 3.0 -ko 2 -bgo 2 -c t "
    "-n i -v 0"
)
"""As a pipeline would give them."""


def byCommandLine(template: Exposure, science: Exposure, threads: int) -> Any:
    """Write the images with their noise and masks, subtract them by `OPTIONS`, and read what was written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for letter, image in (("t", template), ("s", science)):
            fits.writeto(folder / f"{letter}.fits", image.image)
            fits.writeto(folder / f"{letter}n.fits", np.sqrt(image.variance))
            fits.writeto(folder / f"{letter}m.fits", np.asarray(image.mask))
        files = "-inim {0}/s.fits -tmplim {0}/t.fits -outim {0}/d.fits -tni {0}/tn.fits -ini {0}/sn.fits"
        files += " -tmi {0}/tm.fits -imi {0}/sm.fits -oni {0}/n.fits -oki {0}/k.fits"
        status = main(["hotpants", *shlex.split(f"{files.format(folder)} {OPTIONS}")])
        if status != 0:
            raise RuntimeError(f"psfmatch hotpants ended with status {status}")
        image, header = fits.getdata(folder / "d.fits", header=True)
        noise = fits.getdata(folder / "n.fits")
        kernel, background = readHotpantsKernel(folder / "k.fits")
    isGood = image != np.float32(header["MASKVAL"])
    pixels = MaskedImage(image, ~isGood, np.where(isGood, noise, 0.0) ** 2)
    return SimpleNamespace(difference=pixels, kernel=kernel, background=background, kernelSum=float(header["KSUM00"]))

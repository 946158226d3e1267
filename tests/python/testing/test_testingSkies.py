"""Stars rendered on any grid: fluxes, positions, noise, errors."""

import numpy as np
import pytest

from psfmatch import Box, getFwhmPix
from psfmatch.testing import makeTanWcs, renderStars


@pytest.mark.parametrize("distortion", ["", "SIP", "TPV"])
def test_starsLieWhereTheWcsSays(distortion):
    wcs = makeTanWcs(0.2, 0.3, (130.0, 215.0), distortion)
    box = Box(100, 200, 60, 40)
    ra, dec = wcs.all_pix2world([120.3], [219.8], 0)
    exposure = renderStars(wcs, box, ra, dec, [500.0], 3.0, filter="r")
    y, x = np.mgrid[200:240, 100:160]
    # Sampled Gaussians of FWHM 3 px sum to their flux within 1e-6; rounding to float32 adds some.
    assert exposure.image.sum() == pytest.approx(500.0, rel=1e-5)
    assert (exposure.image * x).sum() / exposure.image.sum() == pytest.approx(120.3, abs=1e-3)
    assert (exposure.image * y).sum() / exposure.image.sum() == pytest.approx(219.8, abs=1e-3)
    assert getFwhmPix(exposure.psf) == pytest.approx(3.0, rel=1e-3)
    assert (exposure.getBBox(), exposure.filter) == (box, "r")
    assert (exposure.variance == 1.0).all()


def test_starsBeyondTheBorder():
    wcs = makeTanWcs(0.2)
    ra, dec = wcs.all_pix2world([-0.5, -100.0], [20.0, 20.0], 0)
    exposure = renderStars(wcs, Box(0, 0, 40, 40), ra, dec, 100.0, 3.0)
    assert exposure.image.sum() == pytest.approx(50.0, rel=1e-4), "half of the first, nothing of the second"


def test_noise():
    box = Box(0, 0, 100, 100)
    exposure = renderStars(makeTanWcs(0.2), box, [], [], [], 3.0, 2.0, np.random.default_rng(1))
    assert (exposure.variance == 4.0).all()
    # 10^4 pixels: 0.7 %.
    assert exposure.image.std() == pytest.approx(2.0, rel=0.03)
    with pytest.raises(ValueError, match="noise needs a generator"):
        renderStars(makeTanWcs(0.2), box, [], [], [], 3.0, 2.0)


def test_unknownDistortion():
    with pytest.raises(ValueError, match="distortion 'TNX' is unknown"):
        makeTanWcs(0.2, distortion="TNX")

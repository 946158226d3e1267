"""Positions from one image to another by way of the sky."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from psfmatch import InputImagesError
from psfmatch.images import PixelTransform
from psfmatch.io import TangentPlane
from psfmatch.io.coordinates import readWcs
from psfmatch.testing import makeTanWcs

X, Y = np.meshgrid(np.linspace(-10.0, 210.0, 5), np.linspace(0.0, 180.0, 4))


@pytest.mark.parametrize("distortion", ["", "SIP", "TPV"])
def test_toItselfAndBack(distortion):
    wcs, other = makeTanWcs(0.2, 0.3, (90.0, 80.0), distortion), makeTanWcs(0.25, -1.0, (100.0, 70.0))
    x, y = PixelTransform(wcs, wcs)(X, Y)
    # astropy inverts distortions to 1e-4 px.
    np.testing.assert_allclose([x, y], [X, Y], rtol=0, atol=1e-4)
    x, y = PixelTransform(other, wcs)(*PixelTransform(wcs, other)(X, Y))
    assert x.shape == X.shape
    np.testing.assert_allclose([x, y], [X, Y], rtol=0, atol=1e-4)


def test_againstTheAngle():
    """Two tangential projections about one point differ by a rotation and a scale."""
    x, y = PixelTransform(makeTanWcs(0.2, 0.0, (50.0, 60.0)), makeTanWcs(0.1, 0.5, (7.0, 8.0)))(X, Y)
    u, v = 2.0 * (X - 50.0), 2.0 * (Y - 60.0)
    c, s = np.cos(0.5), np.sin(0.5)
    # The matrix of makeTanWcs is its own inverse but for the scale.
    expected = c * u + s * v, -s * u + c * v
    np.testing.assert_allclose([x - 7.0, y - 8.0], expected, rtol=0, atol=1e-7)


def test_plainPlanesAsAstropysWcs():
    planes, wcss = [], []
    for pixelScale, angle, centre in ((0.2, 0.3, (50.0, 60.0)), (0.31, -1.2, (70.0, 40.0))):
        header = fits.Header([("SIMPLE", True), ("NAXIS", 2)])
        header.update(makeTanWcs(pixelScale, angle, centre).to_header())
        planes.append(readWcs(header, None, (4, -3)))
        wcss.append(planes[-1].toWcs())
    assert all(isinstance(plane, TangentPlane) for plane in planes)
    expected = PixelTransform(*wcss)(X, Y)
    # wcslib and ours round angles of degrees by 1e-14 of pixels of 5e-5.
    np.testing.assert_allclose(PixelTransform(*planes)(X, Y), expected, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(PixelTransform(planes[0], wcss[1])(X, Y), expected)
    other = replace(planes[1], frame=("FK5", 2000.0))
    assert np.abs(np.subtract(PixelTransform(planes[0], other)(X, Y), expected)).max() < 1e-8


def test_declinationFirst():
    plain = makeTanWcs(0.2, 0.3, (50.0, 60.0))
    swapped = WCS(naxis=2)
    swapped.wcs.ctype = ["DEC--TAN", "RA---TAN"]
    swapped.wcs.cunit = ["deg", "deg"]
    swapped.wcs.crval = plain.wcs.crval[::-1]
    swapped.wcs.crpix = plain.wcs.crpix
    swapped.wcs.cd = plain.wcs.cd[::-1]
    swapped.wcs.set()
    for pair in ((plain, swapped), (swapped, plain)):
        np.testing.assert_allclose(PixelTransform(*pair)(X, Y), [X, Y], rtol=0, atol=1e-7)


def test_otherFrames():
    """Galactic coordinates are another name for the same sky; an unnamed system is taken as the same."""
    plain = makeTanWcs(0.2, 0.0, (50.0, 60.0))
    plain.wcs.radesys = "ICRS"
    plain.wcs.set()
    from astropy.coordinates import SkyCoord

    galactic = WCS(naxis=2)
    galactic.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    galactic.wcs.cunit = ["deg", "deg"]
    pole = SkyCoord(*plain.wcs.crval, unit="deg", frame="icrs").galactic
    galactic.wcs.crval = [pole.l.deg, pole.b.deg]
    galactic.wcs.crpix = plain.wcs.crpix
    galactic.wcs.cd = plain.wcs.cd
    galactic.wcs.set()
    x, y = PixelTransform(galactic, plain)(X, Y)
    # A rotation about the common centre.
    np.testing.assert_allclose(np.hypot(x - 50.0, y - 60.0), np.hypot(X - 50.0, Y - 60.0), rtol=1e-7)
    np.testing.assert_allclose(PixelTransform(plain, galactic)(x, y), [X, Y], rtol=0, atol=1e-6)
    unnamed = plain.deepcopy()
    unnamed.wcs.radesys = ""
    unnamed.wcs.set()
    np.testing.assert_allclose(PixelTransform(unnamed, plain)(X, Y), [X, Y], rtol=0, atol=1e-7)


def test_placesThatDoNotExist():
    here, there = makeTanWcs(0.2), makeTanWcs(0.2)
    there.wcs.crval = [35.0, -53.0]
    there.wcs.set()
    assert np.isnan(PixelTransform(here, there)(X, Y)).all()
    x, y = PixelTransform(here, here)([1.0, np.nan, np.inf], [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(np.isnan(x), [False, True, True])
    np.testing.assert_array_equal(np.isnan(y), [False, True, True])


def test_inverseThatDoesNotConverge():
    """A distortion that folds the plane has no inverse far out: those positions are NaN, the others exact."""
    from astropy.wcs import Sip

    folded = makeTanWcs(0.2, 0.0, (100.0, 100.0), "SIP")
    a = np.zeros((3, 3))
    a[2, 0] = -4e-3
    folded.sip = Sip(a, np.zeros((3, 3)), None, None, folded.wcs.crpix)
    folded.wcs.set()
    plain = makeTanWcs(0.2, 0.0, (100.0, 100.0))
    x, _ = PixelTransform(plain, folded)(np.array([90.0, 100.0, 110.0, 400.0]), np.full(4, 100.0))
    u = x[:3] - 100.0
    np.testing.assert_allclose(u - 4e-3 * u**2, [-10.0, 0.0, 10.0], rtol=0, atol=1e-4)
    # u - 4e-3 u^2 is never above 62.5.
    assert np.isnan(x[3])


def test_threeAxes():
    cube = WCS(naxis=3)
    cube.wcs.ctype = ["RA---TAN", "DEC--TAN", "FREQ"]
    plain = makeTanWcs(0.2, 0.0, (50.0, 60.0))
    cube.wcs.crval = [*plain.wcs.crval, 1.0]
    cube.wcs.crpix = [*plain.wcs.crpix, 1.0]
    cube.wcs.cd = np.block([[plain.wcs.cd, np.zeros((2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]])
    np.testing.assert_allclose(PixelTransform(cube, plain)(X, Y), [X, Y], rtol=0, atol=1e-7)


def test_brokenWcs():
    broken = makeTanWcs(0.2)
    broken.wcs.cd = np.zeros((2, 2))
    with pytest.raises(InputImagesError, match="a WCS cannot be used"):
        PixelTransform(makeTanWcs(0.2), broken)

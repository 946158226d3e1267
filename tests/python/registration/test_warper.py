"""The warp against analytic fields of stars: flux, centroids, variance, mask, PSF; every option by pixels."""

import math
import pickle

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp

from psfmatch import Box, Exposure, GaussianPsf, GridPsf, InputImagesError, MaskedImage
from psfmatch.config import WarperConfig
from psfmatch.images import SIGMA_TO_FWHM, ImagePsf, Mask, PixelTransform, getFwhmPix
from psfmatch.registration import Alignment, WarpedPsf, Warper, applyAlignment, registerTemplate
from psfmatch.registration.warper import _onLattice
from psfmatch.testing import makeTanWcs, renderStars

SCALE = 0.2
SIDE = 200
BOX = Box(0, 0, SIDE, SIDE)
FLUX = 1000.0


def makeConfig(**fields):
    config = WarperConfig()
    config.update(**fields)
    return config


# Made once: a pex_config configuration is slow to make.
CONFIGS = {
    "plain": makeConfig(),
    "corrected": makeConfig(keepCentroids=True),
    "bilinear": makeConfig(warpingKernelName="bilinear"),
    **{f"lanczos{n}": makeConfig(warpingKernelName=f"lanczos{n}") for n in (3, 4, 5)},
}


def shiftTransform(dx, dy):
    return lambda x, y: (x + dx, y + dy)


def makeStars(wcs, step=24.0, seed=1):
    """Sky positions of stars on a jittered grid of the box, so that every phase of a pixel occurs."""
    generator = np.random.default_rng(seed)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(30.0, SIDE - 30.0, step), np.arange(30.0, SIDE - 30.0, step)))
    return wcs.all_pix2world(x + generator.random(x.size), y + generator.random(x.size), 0)


def measure(image, x, y, sigma):
    """Flux, plain centroid and centroid under a Gaussian weight, the last two as errors (pixels)."""
    column, row, r = math.floor(x + 0.5), math.floor(y + 0.5), math.ceil(7.0 * sigma)
    stamp = image[row - r : row + r + 1, column - r : column + r + 1].astype(float)
    if stamp.shape != (2 * r + 1, 2 * r + 1) or not np.isfinite(stamp).all():
        return None
    dy, dx = np.mgrid[-r : r + 1, -r : r + 1] - np.array([y - row, x - column])[:, None, None]
    flux = stamp.sum()
    plain = np.array([(stamp * dx).sum(), (stamp * dy).sum()]) / flux
    weighted = np.zeros(2)
    for _ in range(20):
        weight = stamp * np.exp(-0.5 * ((dx - weighted[0]) ** 2 + (dy - weighted[1]) ** 2) / sigma**2)
        # A Gaussian under its own Gaussian weight answers to half of a shift.
        weighted += [(weight * (d - w)).sum() / weight.sum() for d, w in zip((dx, dy), weighted, strict=True)]
    return flux, np.abs(plain).max(), np.abs(weighted).max()


def measureAll(warped, sky, sigma):
    x, y = warped.wcs.all_world2pix(*sky, 0)
    found = [measure(warped.image, *p, sigma) for p in zip(x - warped.xy0[0], y - warped.xy0[1], strict=True)]
    return np.array([f for f in found if f is not None])


# Analytic fields


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.1])
@pytest.mark.parametrize(("distortion", "angle"), [("", 0.1), ("", 0.0), ("SIP", -0.7), ("TPV", 2.0)])
def test_fluxAndCentroids(ratio, distortion, angle):
    """Stars of FWHM 2.6 px on the coarser of the two grids, pixel ratio 0.9 to 1.1."""
    destination = makeTanWcs(SCALE, crpix=(99.3, 100.1))
    source = makeTanWcs(SCALE / ratio, angle, (120.2, 118.9), distortion)
    sky = makeStars(destination)
    fwhm = 2.6 * max(1.0, ratio)
    template = renderStars(source, Box(0, 0, 240, 240), *sky, FLUX, fwhm)
    # Lanczos3 cannot do better for the flux of a single star; corrected weights can.
    for name, tolerance, fluxTolerance in (("plain", 0.02, 5e-3), ("corrected", 0.0025, 1e-3)):
        warped = Warper(CONFIGS[name]).warpExposure(destination, template, BOX)
        flux, plain, weighted = measureAll(warped, sky, fwhm / ratio / SIGMA_TO_FWHM).T
        assert flux.size > 25
        assert np.sqrt(((flux / FLUX - 1.0) ** 2).mean()) < fluxTolerance
        assert abs(flux.mean() / FLUX - 1.0) < 1e-3
        assert plain.max() < tolerance
        # The core under a Gaussian weight, which the moments of the whole do not fix.
        assert weighted.max() < 0.007


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.4])
def test_centroidsOfAShift(fraction):
    """A shift has one phase for all stars: the worst case, which plain weights fail at 0.01 px."""
    wcs = makeTanWcs(SCALE)
    moved = makeTanWcs(SCALE, crpix=(fraction, -fraction))
    sky = makeStars(wcs)
    template = renderStars(moved, BOX, *sky, FLUX, 2.6)
    errors = {}
    for name in ("plain", "corrected"):
        found = measureAll(Warper(CONFIGS[name]).warpExposure(wcs, template, BOX), sky, 2.6 / SIGMA_TO_FWHM)
        assert abs(found[:, 0] / FLUX - 1.0).max() < 1e-5, "the weights sum to one"
        errors[name] = found[:, 1].max()
        assert found[:, 2].max() < (0.007 if name == "corrected" else 0.02)
    assert errors["plain"] < 0.02
    assert errors["corrected"] < 0.0025
    assert errors["plain"] > 4.0 * errors["corrected"]


@pytest.mark.parametrize("ratio", [1.3, 2.0, 5.0, 20.0])
def test_templateOfFinerPixelsIsAveraged(ratio):
    destination = makeTanWcs(SCALE, crpix=(22.3, 22.1))
    source = makeTanWcs(SCALE / ratio, 0.1, (32.0 * ratio, 31.5 * ratio))
    side = round(64 * ratio)
    sky = destination.all_pix2world([12.2, 30.0, 14.7], [11.4, 15.5, 30.1], 0)
    template = renderStars(source, Box(0, 0, side, side), *sky, FLUX, 3.0 * ratio)
    warped = Warper(CONFIGS["corrected"]).warpExposure(destination, template, Box(0, 0, 44, 44))
    found = measureAll(warped, sky, 3.0 / SIGMA_TO_FWHM)
    assert len(found) == 3
    # Averaging over an output pixel conserves flux to 1e-3, and its convolution has no direction.
    np.testing.assert_allclose(found[:, 0], FLUX, rtol=1e-3)
    assert found[:, 1].max() < 0.005
    # An output pixel holds ratio^2 source pixels of variance 1; interpolation between them takes some of it away.
    perSourcePixel = float(np.median(warped.variance[15:25, 15:25])) / ratio**2
    assert 0.3 < perSourcePixel < 1.0


@pytest.mark.parametrize(("ratio", "name"), [(1.0, "plain"), (0.9, "corrected"), (1.1, "lanczos5"), (2.0, "plain")])
def test_varianceIsThatOfTheDraws(ratio, name):
    destination, source = makeTanWcs(SCALE, crpix=(40.0, 40.0)), makeTanWcs(SCALE / ratio, 0.3, (100.0, 100.0))
    generator = np.random.default_rng(5)
    warper = Warper(CONFIGS[name])
    transform = PixelTransform(destination, source)
    sigma = np.sqrt(np.linspace(1.0, 3.0, 200))[:, np.newaxis] * np.ones(200)
    squares = []
    for _ in range(30):
        noise = MaskedImage(generator.normal(0.0, sigma), variance=sigma**2)
        warped = warper.warpMaskedImage(noise, transform, Box(15, 15, 50, 50))
        squares.append(warped.image.astype(float) ** 2 / warped.variance)
    # 30 draws of 2500 pixels, of which neighbours are one in part: sqrt(2 / 3e4) = 0.8 %.
    assert np.mean(squares) == pytest.approx(1.0, abs=0.02)


def test_agreesWithReproject():
    """Bicubic interpolation is another kernel: equal to 1e-3 of the peak where stars are well sampled."""
    destination, source = makeTanWcs(SCALE, crpix=(99.3, 100.1)), makeTanWcs(SCALE, 0.2, (120.2, 118.9), "SIP")
    template = renderStars(source, Box(0, 0, 240, 240), *makeStars(destination), FLUX, 4.0)
    other, _ = reproject_interp((template.image.astype(float), source), destination, BOX.shape, order="bicubic")
    for name in ("plain", "corrected"):
        warped = Warper(CONFIGS[name]).warpExposure(destination, template, BOX)
        # reproject keeps surface brightness.
        area = abs(np.linalg.det(destination.wcs.cd) / np.linalg.det(source.wcs.cd))
        difference = (warped.image / area - other)[20:-20, 20:-20]
        assert np.sqrt((difference**2).mean()) < 1e-3 * np.nanmax(other)


# Geometry


def test_originsOfBothImages():
    """The same pixels in a larger parent image: the same result, bit by bit but for rounding of positions."""
    destination, source = makeTanWcs(SCALE, crpix=(99.3, 100.1)), makeTanWcs(SCALE, 0.2, (120.2, 118.9))
    template = renderStars(source, Box(0, 0, 240, 240), *makeStars(destination), FLUX, 3.0)
    warped = Warper(CONFIGS["plain"]).warpExposure(destination, template, BOX)
    moved, movedSource = makeTanWcs(SCALE, crpix=(599.3, 400.1)), makeTanWcs(SCALE, 0.2, (20.2, 1118.9))
    shifted = Exposure(MaskedImage(template.image, variance=template.variance, xy0=(-100, 1000)), movedSource)
    again = Warper(CONFIGS["plain"]).warpExposure(moved, shifted, Box(500, 300, SIDE, SIDE))
    assert again.xy0 == (500, 300)
    # Positions agree to 1e-7 px; cacheSize may round them to neighbouring entries, 1e-6 px apart.
    np.testing.assert_allclose(again.image, warped.image, rtol=0, atol=3e-6 * template.image.max())
    np.testing.assert_array_equal(np.asarray(again.mask), np.asarray(warped.mask))


def test_partOfTheBoxIsPartOfTheImage():
    destination, source = makeTanWcs(SCALE, crpix=(99.3, 100.1)), makeTanWcs(SCALE, 0.2, (120.2, 118.9))
    template = renderStars(source, Box(0, 0, 240, 240), *makeStars(destination), FLUX, 3.0)
    warper = Warper(makeConfig(interpLength=0))
    whole = warper.warpExposure(destination, template, BOX).image
    part = warper.warpExposure(destination, template, Box(40, 60, 50, 30)).image
    np.testing.assert_allclose(part, whole[60:90, 40:90], rtol=0, atol=3e-6 * template.image.max())


def test_paddingAndPlaces():
    source = MaskedImage(np.ones((30, 40)), mask=np.full((30, 40), 1 << 5))
    warped = Warper(CONFIGS["plain"]).warpMaskedImage(source, shiftTransform(5.5, -4.0), Box(0, 0, 40, 30))
    # lanczos3 needs 2 pixels before and 3 behind: columns up to 40 - 3 - 5.5, rows from 2 + 4 to 29 - 3 + 4.
    expected = np.zeros((30, 40), dtype=bool)
    expected[6:30, 0:32] = True
    np.testing.assert_array_equal(np.isfinite(warped.image), expected)
    np.testing.assert_array_equal(np.isfinite(warped.variance), expected)
    noData = 1 << warped.mask.planes["NO_DATA"]
    np.testing.assert_array_equal(np.asarray(warped.mask), np.where(expected, 1 << 5, noData))


def test_positionsThatDoNotConverge():
    """A distortion that cannot be inverted somewhere leaves those cells without data, and nothing else."""

    def transform(x, y):
        return np.where(x > 60.0, np.nan, x), np.where(y < 20.0, np.inf, y)

    warped = Warper(CONFIGS["plain"]).warpMaskedImage(MaskedImage(np.ones((100, 100))), transform, Box(0, 0, 100, 100))
    finite = np.isfinite(warped.image)
    assert finite[20:97, 2:60].all()
    assert not finite[:, 61:].any()
    assert not finite[:10].any()
    assert warped.mask.hasAny("NO_DATA")[~finite].all()


@pytest.mark.parametrize("distortion", ["", "SIP", "TPV"])
def test_sparseLattice(distortion):
    """A large lattice is interpolated between exact nodes; it must agree with all of them."""
    transform = PixelTransform(
        makeTanWcs(SCALE, 0.3, (500.0, 520.0), distortion), makeTanWcs(SCALE, 0.0, (480.0, 500.0))
    )
    nodes = 10.0 * np.arange(103)
    found, exact = _onLattice(transform, nodes, nodes), transform(*np.meshgrid(nodes, nodes))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [*range(2, 11), 13])
@pytest.mark.parametrize("isTall", [False, True])
def test_latticesOfAnyShape(side, isTall):
    """A strip may have too few nodes along one side for cubics, however many it has along the other."""
    x, y = (np.arange(side), np.arange(6000)) if isTall else (np.arange(6000), np.arange(side))
    calls = []

    def transform(x, y):
        calls.append(np.size(x))
        return 1.01 * x + 0.3, y + 1e-4 * x

    found, exact = _onLattice(transform, 1.0 * x, 1.0 * y), transform(*np.meshgrid(x, y))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8)
    # Sides of nine or more are interpolated, in two calls for far fewer nodes.
    assert (sum(calls[:-1]) < calls[-1] / 4) == (side >= 9)


def test_roughTransformIsNotInterpolated():
    def transform(x, y):
        return x + 0.01 * np.sign(np.sin(x)), y

    nodes = 10.0 * np.arange(103)
    np.testing.assert_array_equal(_onLattice(transform, nodes, nodes), transform(*np.meshgrid(nodes, nodes)))


# Options


def delta(side=30, at=(15, 15)):
    image = np.zeros((side, side))
    image[at] = 1.0
    return MaskedImage(image, variance=np.ones((side, side)))


@pytest.mark.parametrize(("name", "width"), [("bilinear", 2), ("lanczos3", 6), ("lanczos4", 8), ("lanczos5", 10)])
def test_warpingKernelName(name, width):
    """A single pixel shows the kernel: so many pixels wide, with the value at half a pixel that the formula gives."""
    warped = Warper(CONFIGS[name]).warpMaskedImage(delta(), shiftTransform(0.5, 0.0), Box(0, 0, 30, 30))
    assert (np.abs(np.nan_to_num(warped.image[15])) > 1e-6).sum() == width
    n = width // 2
    offsets = np.arange(width) - n + 0.5
    weights = np.full(2, 0.5) if name == "bilinear" else np.sinc(offsets) * np.sinc(offsets / n)
    expected = weights / weights.sum()
    np.testing.assert_allclose(warped.image[15, 15 - n : 15 + n], expected, rtol=0, atol=1e-6)
    # Variance 1 everywhere: the sum of the squares.
    assert warped.variance[15, 15] == pytest.approx((expected**2).sum(), rel=1e-5)


@pytest.mark.parametrize(("name", "nFlagged"), [("bilinear", 4), ("lanczos3", 36), ("lanczos4", 64), ("", 64)])
def test_maskWarpingKernelName(name, nFlagged):
    source = delta()
    source.mask[15, 15] = 1 << 5
    config = makeConfig(warpingKernelName="lanczos4", maskWarpingKernelName=name)
    warped = Warper(config).warpMaskedImage(source, shiftTransform(0.5, 0.5), Box(0, 0, 30, 30))
    assert warped.mask.hasAny("DETECTED").sum() == nFlagged


def test_growFullMask():
    mask = Mask(np.zeros((30, 30), dtype=np.int32), {"EDGE": 9, "CROSSTALK": 4})
    for name in ("EDGE", "CROSSTALK", "DETECTED"):
        mask[15, 15] |= mask.getPlaneBitMask(name)
    source = MaskedImage(np.ones((30, 30)), mask)

    def counts(bits):
        config = makeConfig(growFullMask=bits)
        warped = Warper(config).warpMaskedImage(source, shiftTransform(0.5, 0.5), Box(0, 0, 30, 30))
        assert warped.mask.planes == mask.planes
        return [int(warped.mask.hasAny(name).sum()) for name in ("EDGE", "CROSSTALK", "DETECTED")]

    assert counts(0) == [4, 4, 4]
    # Bits are those of the default planes (EDGE 4, DETECTED 5), wherever the mask keeps these.
    assert counts(CONFIGS["plain"].growFullMask) == [36, 4, 4]
    assert counts(1 << 4 | 1 << 5) == [36, 4, 36]


def test_interpLength():
    """Between the nodes of the lattice a bent transform is replaced by chords: the error grows with the square."""

    def bent(x, y):
        return x + 1e-4 * (x - 50.0) ** 2, y

    ramp = MaskedImage(np.tile(np.arange(160.0), (30, 1)))

    def positions(length):
        config = makeConfig(interpLength=length, warpingKernelName="bilinear")
        image = Warper(config).warpMaskedImage(ramp, bent, Box(0, 0, 100, 30)).image[15]
        area = 1.0 + 2e-4 * (np.arange(100) - 50.0)
        return image / area

    exact = bent(np.arange(100.0), 0.0)[0]
    errors = {}
    for length in (-1, 0, 1, 10, 40):
        found = positions(length)
        # Middle of the lattice's first cell, where chord and curve are furthest apart; the area is the chord's too.
        errors[length] = np.nanmax(np.abs(found - exact)[2:98])
    # At each pixel: the area of an output pixel is taken to the next one, 1e-4 of a position of up to 100.
    assert errors[0] == errors[-1] == errors[1] < 0.02
    assert 0.02 < errors[10] < errors[40]


def test_cacheSize():
    ramp = MaskedImage(np.tile(np.arange(60.0), (30, 1)))

    def positions(size):
        config = makeConfig(cacheSize=size, warpingKernelName="bilinear")
        return (
            Warper(config).warpMaskedImage(ramp, lambda x, y: (0.97 * x + 0.111, y), Box(0, 0, 50, 30)).image[10] / 0.97
        )

    exact = 0.97 * np.arange(50) + 0.111
    np.testing.assert_allclose(positions(0), exact, rtol=1e-6)
    np.testing.assert_allclose(positions(1000000), exact, rtol=0, atol=1e-5)
    # Fractions are rounded down.
    np.testing.assert_allclose(positions(4), np.floor(exact * 4.0) / 4.0, rtol=1e-6)
    np.testing.assert_allclose(positions(1), np.floor(exact), rtol=1e-6)


def test_keepCentroids():
    """The first moment of a shifted point: 0.02 px off with plain weights, nothing with corrected ones."""
    columns = np.arange(30)
    for name, low, high in (("plain", 5e-3, 0.02), ("corrected", 0.0, 3e-6)):
        warped = Warper(CONFIGS[name]).warpMaskedImage(delta(), shiftTransform(0.2, 0.0), Box(0, 0, 30, 30))
        row = np.nan_to_num(warped.image[15].astype(float))
        assert low <= abs((row * columns).sum() / row.sum() - 14.8) <= high


# Bad pixels


def test_badPixelsAreFlaggedAndDoNotRing():
    image = np.full((60, 60), 10.0)
    mask = np.zeros((60, 60), dtype=np.int32)
    image[20, 20] = np.nan
    image[20, 40] = 1e5
    mask[20, 40] = 1
    variance = np.ones((60, 60))
    variance[40, 30] = -1.0
    source = MaskedImage(image, mask, variance)
    shift, box = shiftTransform(0.3, 0.4), Box(3, 3, 50, 50)
    warped = Warper(CONFIGS["plain"]).warpMaskedImage(source, shift, box)
    bad, lost = warped.mask.hasAny("BAD"), warped.mask.hasAny("NO_DATA")
    np.testing.assert_array_equal(lost, ~np.isfinite(warped.image))
    np.testing.assert_allclose(warped.image[~lost], 10.0, rtol=1e-5)
    # Where a pixel holds more than 1 % of the kernel: the four around it and some beyond.
    assert 4 <= bad.sum() <= 25
    assert 8 <= lost.sum() <= 50
    reference = Warper(CONFIGS["plain"], badPlanes=()).warpMaskedImage(
        source, shiftTransform(0.3, 0.4), Box(3, 3, 50, 50)
    )
    assert np.nanmax(np.abs(reference.image[~bad] - 10.0)) > 100.0, "the reference's ringing, unflagged"
    everywhere = Warper(CONFIGS["plain"], maskedKernelFraction=0.0)
    grown = everywhere.warpMaskedImage(source, shift, box).mask.hasAny("BAD")
    assert grown.sum() == 36


def test_allBad():
    source = MaskedImage(np.full((20, 20), np.nan))
    warped = Warper(CONFIGS["plain"]).warpMaskedImage(source, shiftTransform(0.3, 0.4), Box(0, 0, 20, 20))
    assert not np.isfinite(warped.image).any()
    assert warped.mask.hasAny("NO_DATA").all()


# Exposures and PSFs


def test_propertiesOfTheResult():
    destination, source = makeTanWcs(SCALE), makeTanWcs(SCALE, 0.1)
    template = renderStars(
        source, BOX, *makeStars(destination), FLUX, 3.0, photoCalib=2.0, filter="R", metadata={"NIGHT": 1}
    )
    before = [np.array(plane, copy=True) for plane in (template.image, template.mask, template.variance)]
    warped = Warper.fromConfig(CONFIGS["plain"]).warpExposure(destination, template, Box(5, 6, 90, 80))
    assert warped.wcs is destination
    assert (warped.photoCalib, warped.filter, warped.metadata) == (2.0, "R", {"NIGHT": 1})
    assert warped.metadata is not template.metadata
    assert warped.getBBox() == Box(5, 6, 90, 80)
    assert isinstance(warped.psf, WarpedPsf)
    for plane, old in zip((template.image, template.mask, template.variance), before, strict=True):
        np.testing.assert_array_equal(np.asarray(plane), old)
    template.psf = None
    assert Warper(CONFIGS["plain"]).warpExposure(destination, template, Box(5, 6, 90, 80)).psf is None


@pytest.mark.parametrize(("ratio", "angle"), [(1.0, 0.0), (0.9, 0.5), (1.1, 2.0), (2.0, 0.1)])
def test_warpedPsfIsThatOfTheWarpedStars(ratio, angle):
    destination, source = makeTanWcs(SCALE, crpix=(30.0, 30.0)), makeTanWcs(SCALE / ratio, angle, (70.0, 75.0))
    sky = destination.all_pix2world([31.0], [28.0], 0)
    x, y = source.all_world2pix(*sky, 0)
    # Twice as long as wide, along the source's x axis.
    dy, dx = np.mgrid[:150, :150] - np.array([y[0], x[0]])[:, None, None]
    sigma = 1.5 * max(1.0, ratio)

    def ellipse(u, v):
        return np.exp(-0.5 * (u**2 / (4.0 * sigma**2) + v**2 / sigma**2))

    half = math.ceil(10 * sigma)
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    template = Exposure(MaskedImage(ellipse(dx, dy)), source, ImagePsf(ellipse(u, v)))
    warped = Warper(CONFIGS["corrected"]).warpExposure(destination, template, Box(0, 0, 64, 64))
    found = warped.psf.computeKernelImage(31.0, 28.0)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.shape[0] % 2 == found.shape[1] % 2 == 1
    r = 12
    star = warped.image[28 - r : 28 + r + 1, 31 - r : 31 + r + 1]
    middle = found.shape[0] // 2
    stamp = found[middle - r : middle + r + 1, middle - r : middle + r + 1]
    # The kernel's phase is another one: interpolation errors of Lanczos kernels are below 1 % of the peak.
    np.testing.assert_allclose(stamp / stamp.sum(), star / star.sum(), rtol=0, atol=0.01 * stamp.max() / stamp.sum())


def test_warpedPsfWidth():
    destination, source = makeTanWcs(SCALE), makeTanWcs(SCALE * 1.1, 0.3)
    psf = WarpedPsf(GaussianPsf(2.0), PixelTransform(destination, source), Warper(CONFIGS["plain"]))
    # The moments of Lanczos weights are not quite zero.
    assert getFwhmPix(psf, (20.0, 30.0)) == pytest.approx(1.1 * SIGMA_TO_FWHM * math.hypot(2.0, 12**-0.5), rel=5e-3)
    nowhere = WarpedPsf(GaussianPsf(2.0), lambda x, y: (x * np.nan, y), Warper(CONFIGS["plain"]))
    with pytest.raises(ValueError, match=r"no place for \(1.0, 2.0\)"):
        nowhere.computeKernelImage(1.0, 2.0)


def test_crop():
    wcs = makeTanWcs(SCALE)
    template = renderStars(wcs, Box(-20, -10, 240, 230), *makeStars(wcs), FLUX, 3.0)
    template.mask[50, 60] = 1
    template.image[40, 40] = np.nan
    warper = Warper(CONFIGS["plain"])
    cut = warper.cropExposure(wcs, template, BOX, (20, 10))
    expected = template.subset(BOX)
    np.testing.assert_array_equal(cut.image, expected.image)
    np.testing.assert_array_equal(cut.variance, expected.variance)
    np.testing.assert_array_equal(np.asarray(cut.mask), np.asarray(expected.mask))
    assert not np.shares_memory(cut.image, template.image)
    beyond = warper.cropExposure(wcs, template, BOX, (100, -5))
    assert np.isfinite(beyond.image[5:, :140]).sum() == 195 * 140 - 0
    assert not np.isfinite(beyond.image[:5]).any()
    assert not np.isfinite(beyond.image[:, 140:]).any()
    assert beyond.mask.hasAny("NO_DATA")[:5].all()


# Speed must change nothing


def test_threadsAndInstructionSets():
    destination, source = makeTanWcs(SCALE), makeTanWcs(SCALE, 0.4, (30.0, 20.0))
    template = renderStars(source, BOX, *makeStars(destination), FLUX, 2.6, 1.0, np.random.default_rng(3))
    template.image[100, 100] = np.nan

    def warp(**options):
        pixels = Warper(CONFIGS["corrected"], **options).warpExposure(destination, template, BOX)
        return pixels.image, pixels.variance, np.asarray(pixels.mask)

    one = warp(threads=1)
    for threads in (2, 5):
        for plane, other in zip(one, warp(threads=threads), strict=True):
            np.testing.assert_array_equal(plane, other)
    baseline = warp(threads=1, instructionSet="baseline")
    np.testing.assert_array_equal(one[2], baseline[2])
    np.testing.assert_allclose(one[0], baseline[0], rtol=0, atol=1e-6 * np.nanmax(one[0]))


# Errors


def test_errors():
    wcs = makeTanWcs(SCALE)
    source = Exposure(MaskedImage(np.ones((20, 20))), wcs)
    warper = Warper(CONFIGS["plain"])
    with pytest.raises(InputImagesError, match="without celestial coordinates: the source has none"):
        warper.warpExposure(wcs, Exposure(source.maskedImage), BOX)
    with pytest.raises(InputImagesError, match="without celestial coordinates: the destination has none"):
        warper.warpExposure(WCS(naxis=2), source, BOX)
    with pytest.raises(ValueError, match="empty box"):
        warper.warpExposure(wcs, source, Box(0, 0, 0, 5))
    with pytest.raises(ValueError, match="instruction set 'sse9' is unknown"):
        Warper(CONFIGS["plain"], instructionSet="sse9")
    with pytest.raises(ValueError, match=r"maskedKernelFraction is 1\.0"):
        Warper(CONFIGS["plain"], maskedKernelFraction=1.0)


@pytest.mark.parametrize("method", ["registerTemplate", "alignment"])
def test_whatIsCutKeepsItsPsf(method):
    """The same pixels in another box: the PSF is not resampled, and follows where the pixels are counted anew."""
    wcs, shape = makeTanWcs(SCALE), (60, 70)
    images = [[GaussianPsf(1.5 + 0.01 * (x + y), 15).computeKernelImage(0, 0) for x in (0, 70)] for y in (0, 60)]
    psf = GridPsf(images, [0.0, 70.0], [0.0, 60.0])
    pixels = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    template = Exposure(MaskedImage(pixels, variance=np.ones(shape)), wcs=wcs, psf=psf)
    science = template.subset(Box(12, 9, 40, 30))

    def registered(first, second, shift):
        if method == "registerTemplate":
            return registerTemplate(first, second, Warper())
        affine, centre = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), second.getBBox().centre
        numbers = {"nTemplateStars": 9, "nScienceStars": 9, "nMatched": 9, "nUsed": 9, "rms": (0.0, 0.0)}
        found = Alignment(
            "none", "pixels", "for a test", True, centre, affine, affine, shift, 0.0, **numbers, modelRms={}
        )
        return applyAlignment(first, second, found)

    cut = registered(template, science, (12, 9))
    np.testing.assert_array_equal(cut.image, science.image)
    assert cut.psf is psf
    # In coordinates of its own the same cut-out counts from (0, 0).
    own = science.wcs.deepcopy()
    own.wcs.crpix -= [12, 9]
    anew = Exposure(MaskedImage(science.image, variance=science.variance), wcs=own, psf=psf)
    moved = registered(template, anew, (12, 9))
    np.testing.assert_array_equal(moved.image, science.image)
    np.testing.assert_array_equal(moved.psf.computeKernelImage(5.0, 7.0), psf.computeKernelImage(17.0, 16.0))
    average = psf.getAveragePosition()
    assert moved.psf.getAveragePosition() == (average[0] - 12, average[1] - 9)
    assert moved == pickle.loads(pickle.dumps(moved))

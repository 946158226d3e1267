"""The binding of the fit to regions, against the same steps in NumPy."""

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.testing import simulatePair

HALF = 9
KERNEL = 15


@pytest.fixture(scope="module")
def stamps():
    pair = simulatePair(3, 256)
    images = []
    for image, sky in ((pair.template, 800.0), (pair.science, 350.0)):
        image = getattr(image, "maskedImage", image)
        mask = np.ascontiguousarray(np.asarray(image.mask), dtype=np.int32)
        images.append((image.image + np.float32(sky), image.variance, mask, 1))
    reach = HALF + KERNEL // 2
    x, y = np.random.default_rng(2).integers(reach, 256 - reach, (2, 30))
    return _core.RegionStamps(*images, x, y, HALF, KERNEL, KERNEL), images, x, y


@pytest.fixture(scope="module")
def basis():
    return _core.renormalizeBasis(_core.makeAlardLuptonBasis(KERNEL // 2, [0.7, 1.5, 3.0], [2, 2, 0], hermite=True))


def test_stamps(stamps):
    regions, (_, science), x, y = stamps
    side = 2 * HALF + 1
    assert (len(regions), regions.height, regions.width) == (30, side, side)
    usable = regions.usable
    np.testing.assert_allclose(regions.usableFraction, usable.mean(axis=(1, 2)))
    for k in range(30):
        part = np.s_[y[k] - HALF : y[k] + HALF + 1, x[k] - HALF : x[k] + HALF + 1]
        np.testing.assert_allclose(regions.science[k], np.where(usable[k], science[0][part], 0.0), rtol=1e-6)
        variance = np.where(regions.usable[k], science[1][part], np.float32(0))
        np.testing.assert_array_equal(regions.scienceVariance[k], variance)


def test_fit(stamps, basis):
    """A solution of the equations, true skies included, leaves noise; rejected pixels have no weight."""
    regions, (template, science), *_ = stamps
    fit = _core.RegionFit(regions, _core.PreparedBasis(basis))
    equations = fit.equations
    n = len(basis)
    assert len(fit) == len(equations) == 30
    solution = np.linalg.solve(equations.matrices.sum(axis=0), equations.rightHandSides.sum(axis=0))
    coefficients, backgrounds = np.tile(solution[:n], (30, 1)), np.full(30, solution[n])
    # Where there is no star, the kernel's sum takes one sky to the other.
    expected = np.nanmedian(science[0]) - solution[0] * np.nanmedian(template[0])
    assert solution[n] == pytest.approx(expected, abs=3.0)
    residuals = fit.judge(coefficients, backgrounds)
    again = fit.judge(coefficients, backgrounds, nThreads=3)
    np.testing.assert_array_equal(residuals.pull, again.pull)
    kept = residuals.usable & (residuals.signal < 3.0)
    assert np.std(residuals.pull[kept]) == pytest.approx(1.0, abs=0.1)
    rejected = _core.findOutliers(residuals, threshold=5.0, growth=3)
    flags = rejected.asarray()
    assert rejected == _core.RegionFlags(flags)
    assert rejected != _core.RegionFlags(~flags)
    assert rejected.fraction == pytest.approx(flags.mean())
    assert fit.reweigh(residuals, rejected) == bool(flags.any())
    assert not fit.reweigh(residuals, rejected, nThreads=2)
    np.testing.assert_array_equal(fit.weightCounts, (residuals.usable & ~flags).sum(axis=(1, 2)))
    summary = residuals.summary(rejected)
    np.testing.assert_array_equal(summary.nPixels, fit.weightCounts)
    square = np.where(residuals.usable & ~flags, residuals.pull.astype(float) ** 2, 0.0).sum(axis=(1, 2))
    np.testing.assert_allclose(summary.chiSquare * summary.nPixels, square)
    bright = residuals.usable & (residuals.signal > 5.0)
    pull = np.sqrt(np.minimum(residuals.pull[bright].astype(float) ** 2, 25.0).mean())
    assert residuals.brightScatter(fit, 0.3)[1:] == pytest.approx((pull, bright.any(axis=(1, 2)).sum()))
    fit.reweigh(residuals, _core.RegionFlags(np.zeros_like(flags)))
    assert fit.rejectedFraction == 0.0
    assert fit.rejected.asarray().sum() == 0


def test_tilePlaces():
    """Side by side, x before y, those of most light first to be taken; the same on any number of threads."""
    generator = np.random.default_rng(2)
    pixels = generator.normal(size=(60, 80)).astype(np.float32)
    pixels[40:43, 8:11] += 100.0
    image = pixels, np.ones_like(pixels), np.zeros(pixels.shape, np.int32), 1
    places = _core.tilePlaces(image, 4, 2, 600)
    x, y = np.unique(places[:, 0]), np.unique(places[:, 1])
    assert (x[0], x[-1], y[0], y[-1]) == (6, 73, 6, 53)
    assert places.tolist() == [[i, j] for j in y for i in x]
    (brightest,) = _core.tilePlaces(image, 4, 2, 1, nThreads=2).tolist()
    assert np.hypot(brightest[0] - 9, brightest[1] - 41) < 6
    image[2][:] = 1
    assert _core.tilePlaces(image, 4, 2, 600).shape == (0, 2)
    with pytest.raises(ValueError, match="60 pixels has no room for a tile of 65"):
        _core.tilePlaces(image, 30, 2, 600)


def test_regionFolds():
    """Few regions are each withheld alone; else blocks of 128 pixels share a fold."""
    assert _core.regionFolds(np.arange(12.0), np.arange(12.0)).tolist() == list(range(12))
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(0.0, 1024.0, 64.0), np.arange(0.0, 256.0, 64.0)))
    assert _core.regionFolds(x, y).tolist() == ((x // 128 + 3 * (y // 128)) % 8).tolist()


def test_refusals(stamps, basis):
    regions, images, x, y = stamps
    with pytest.raises(ValueError, match="leaves the image"):
        _core.RegionStamps(*images, x * 0, y, HALF, KERNEL, KERNEL)
    with pytest.raises(ValueError, match="must have 1"):
        _core.RegionStamps(*images, x[None], y, HALF, KERNEL, KERNEL)
    with pytest.raises(ValueError, match="cannot be fitted by those of 3x3"):
        _core.RegionFit(regions, _core.PreparedBasis(np.ones((1, 3, 3))))
    with pytest.raises(ValueError, match="flags have 2 dimensions"):
        _core.RegionFlags(np.zeros((3, 3), dtype=bool))

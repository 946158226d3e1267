"""The core's sources against those of sep on the same smoothed pixels: isolated ones the same, blends mostly."""

import functools
import math

import numpy as np
import pytest
import sep

from psfmatch import _core
from psfmatch.sources import FootprintSet

SIGMA = 1.6
N_SIGMA = 5.0


@functools.cache
def field(nStars, size=800):
    """Return a field of stars of 100 to 30000 counts with noise 1, and its stars' x, y and flux."""
    rng = np.random.default_rng(nStars)
    image = rng.normal(0.0, 1.0, (size, size)).astype(np.float32)
    x, y = rng.uniform(15.0, size - 15.0, (2, nStars))
    flux = 100.0 * 10.0 ** rng.uniform(0.0, 2.5, nStars)
    for sx, sy, f in zip(x, y, flux, strict=True):
        px, py = int(sx), int(sy)
        rows, columns = np.mgrid[py - 14 : py + 15, px - 14 : px + 15]
        profile = np.exp(-0.5 * ((columns - sx) ** 2 + (rows - sy) ** 2) / SIGMA**2) / (2.0 * math.pi * SIGMA**2)
        image[py - 14 : py + 15, px - 14 : px + 15] += (f * profile).astype(np.float32)
    return image, x, y, flux


@functools.cache
def bothFound(nStars):
    """Return the sources of the core and of sep, and the footprints of each with their numbers of sources."""
    image = field(nStars)[0]
    profile = np.exp(-0.5 * (np.arange(-5, 6) / SIGMA) ** 2)
    profile /= profile.sum()
    filled = _core.fillBadPixels(image, np.ones_like(image), np.zeros(image.shape, dtype=np.int32), 0)
    smooth = _core.smoothedSamples(image, filled, profile=profile, rowStep=1, columnStep=1)
    border = ~np.isfinite(smooth)
    smooth[border] = 0.0
    threshold = N_SIGMA * _core.clippedStatistics(smooth[~border].astype(np.float64)).stdev
    (ours, runs, count), _ = _core.findSources(image, image, filled, profile=profile, threshold=threshold, minPixels=5)
    theirs, segments = sep.extract(
        smooth, threshold, mask=border, minarea=5, filter_kernel=None, segmentation_map=True, clean=False
    )
    footprints = FootprintSet.fromPixels(segments > 0)
    np.testing.assert_array_equal(runs["y"], footprints.y)
    np.testing.assert_array_equal(runs["x0"], footprints.x0)
    np.testing.assert_array_equal(runs["x1"], footprints.x1)
    np.testing.assert_array_equal(runs["footprint"], footprints.label)
    assert count == len(footprints)
    label = footprints.labelsAt(theirs["xpeak"], theirs["ypeak"])
    nOurs, nTheirs = (np.bincount(numbers, minlength=count) for numbers in (ours["footprint"], label))
    return ours, theirs, label, nOurs, nTheirs


@pytest.mark.parametrize("nStars", [300, 1500])
def test_isolatedSources(nStars):
    ours, theirs, label, nOurs, nTheirs = bothFound(nStars)
    isAlone = (nOurs == 1) & (nTheirs == 1)
    assert isAlone.sum() > 200
    one, other = ours[isAlone[ours["footprint"]]], theirs[isAlone[label]]
    other = other[np.argsort(label[isAlone[label]])]
    # The samples that sep is given and the pixels that are searched are sums of 11 float32 numbers, in another order.
    for name in ("x", "y", "a", "b"):
        np.testing.assert_allclose(one[name], other[name], rtol=0.0, atol=1e-5)
    np.testing.assert_allclose(one["flux"], other["flux"], rtol=1e-6)
    np.testing.assert_allclose(one["peak"], other["peak"], rtol=1e-6)
    np.testing.assert_array_equal(one["nPixels"], other["npix"])
    np.testing.assert_array_equal(one["flags"], other["flag"])


@pytest.mark.parametrize("nStars", [300, 1500])
def test_blends(nStars):
    ours, theirs, label, nOurs, nTheirs = bothFound(nStars)
    isBlend = (nOurs > 1) | (nTheirs > 1)
    assert isBlend.sum() > 20
    # The same number of sources in all but a few: the paper leaves open what "above the threshold" of a branch is.
    assert (nOurs == nTheirs)[isBlend].mean() > 0.98
    for number in np.flatnonzero(isBlend & (nOurs == nTheirs)):
        own, their = ours[ours["footprint"] == number], theirs[label == number]
        # All pixels are given away, and to one source each.
        assert own["nPixels"].sum() == their["npix"].sum()
        assert own["flux"].sum() == pytest.approx(their["flux"].sum(), rel=1e-6)
    isSame = isBlend & (nOurs == nTheirs)
    own, their = ours[isSame[ours["footprint"]]], theirs[isSame[label]]
    distance = np.hypot(own["x"][:, np.newaxis] - their["x"], own["y"][:, np.newaxis] - their["y"])
    nearest = distance.argmin(axis=1)
    # Which of two stars the faint pixels between them belong to is a matter of the profiles that are assumed.
    assert np.median(distance.min(axis=1)) < 0.1
    assert np.percentile(distance.min(axis=1), 90) < 0.5
    assert np.median(np.abs(own["flux"] / their["flux"][nearest] - 1.0)) < 0.01


@pytest.mark.parametrize("nStars", [300, 1500])
def test_completeness(nStars):
    ours, theirs, *_ = bothFound(nStars)
    _, x, y, _ = field(nStars)
    # A smoothed pixel has a noise of 1 / (2 sqrt(pi) 1.6) = 0.18 counts, so the threshold is 0.9. One of 100 peaks at
    # 3.1, and the brightest is above the threshold within 8.4 pixels, the faintest within 3.6.
    found = [
        np.hypot(x[:, np.newaxis] - sources["x"], y[:, np.newaxis] - sources["y"]).min(axis=1) < 1.5
        for sources in (ours, theirs)
    ]
    # Stars within a few pixels of a brighter one are lost to both.
    assert found[0].mean() > found[1].mean() - 0.015
    alone = np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y)) + np.diag(np.full(x.size, np.inf))
    assert found[0][alone.min(axis=1) > 14.0].all()

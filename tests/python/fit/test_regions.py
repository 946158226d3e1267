"""Regions of pixels: where they lie, which pixels they reject, and the kernel that is fitted to them."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import (
    InsufficientKernelSourcesError,
    MaskedImage,
    NoKernelCandidatesError,
    frontDoorConfig,
)
from psfmatch.config import KernelOptions
from psfmatch.fit import RegionCells, fitRegions
from psfmatch.kernels.gaussians import familyOf

RATIO, LEVEL, SIDE = 1.25, 7.0, 256
SIGMA, WIDE = 1.2, 1.7


@pytest.fixture(scope="module")
def options():
    """Of the kernel: regions of 31x31 pixels, one kernel for the field."""
    kernel = frontDoorConfig().kernel.active
    kernel.update(fitMethod="regions", spatialKernelOrder=0, spatialBgOrder=0, fitForBackground=True, nStarPerCell=-1)
    return KernelOptions.fromConfig(kernel)


@pytest.fixture(scope="module")
def small(options):
    """The same for regions of 21x21 pixels."""
    return laidOut(options, halfWidth=10)


def laidOut(options, **changes):
    return replace(options, regions=replace(options.regions, **changes))


def stars(count=16, flux=2e4, shape=SIDE, sigma=SIGMA):
    """Return positions, off the pixels' middles, and the image of Gaussian stars on a grid."""
    per = int(np.ceil(np.sqrt(count)))
    grid = (np.arange(per) + 0.5) * shape / per
    x, y = (axis.ravel()[:count] for axis in np.meshgrid(grid + 0.3, grid - 0.2))
    return Table({"x": x, "y": y}), render(x, y, np.full(count, flux), shape, sigma)


def render(x, y, flux, shape, sigma):
    pixels = np.arange(shape)
    profiles = [
        np.exp(-0.5 * ((pixels - axis[:, None]) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) for axis in (x, y)
    ]
    return np.einsum("s,sy,sx->yx", flux, profiles[1], profiles[0])


def makeImages(count=16, sky=5.0, seed=0, scienceFlux=None):
    """Template of noise 3, science image 1.25 times as bright, wider, 7 counts higher, of noise 5."""
    table, template = stars(count)
    flux = np.full(count, 2e4 * RATIO) if scienceFlux is None else scienceFlux
    science = render(np.asarray(table["x"]), np.asarray(table["y"]), flux, SIDE, WIDE)
    generator = np.random.default_rng(seed)
    images = []
    for light, noise, level in ((template, 3.0, 0.0), (science, sky, LEVEL)):
        variance = noise**2 + light
        pixels = light + level + np.sqrt(variance) * generator.normal(size=light.shape)
        images.append(MaskedImage(pixels.astype(np.float32), variance=variance.astype(np.float32)))
    return table, *images


def fit(options, table, template, science, threads=1):
    """Return the candidates, the fit, and which pixels it has rejected, (regions, h, w)."""
    family = familyOf(2.3548 * SIGMA, 2.3548 * WIDE, science.shape, options.regions.halfWidth)
    basis = family.basis()
    cells = RegionCells(template, science, options, family.kernelSize, table, threads)
    candidates = cells.regionsToFit(-1)
    solver = cells.begun = cells.solverOf(candidates, basis) if candidates else None
    found = fitRegions(cells, basis, options)
    assert cells.begun is None
    return candidates, found, solver.fit.rejected.asarray()


@pytest.fixture(scope="module")
def images():
    return makeImages()


@pytest.fixture(scope="module")
def fitted(options, images):
    return fit(options, *images)


# Where they lie


def centresOf(*arguments):
    """Return the middles, x and y, in the sequence of the regions."""
    return np.array([(region.x, region.y) for region in RegionCells(*arguments).regionsToFit(-1)])


def test_centresOfStars(small):
    """The nearest pixel, once; a star near the edge stays inside its region, one within half a kernel of it is none."""
    _, image = stars(1)
    field = MaskedImage(image.astype(np.float32), variance=np.ones_like(image, dtype=np.float32), xy0=(100, 200))
    table = Table({"x": [150.4, 150.0, 106.0, 104.0, 300.0, np.nan], "y": [250.6, 251.0, 449.0, 250.0, 205.0, 300.0]})
    centres = centresOf(field, field, small, 11, table)
    # Half a region and half a kernel: 10 + 5 pixels from every edge.
    assert centres.tolist() == [[300, 215], [150, 251], [115, 440]]  # in the sequence of their places
    few = centresOf(field, field, laidOut(small, maxRegions=2), 11, table)
    assert few.tolist() == [[150, 251], [115, 440]]


def test_tiles(small):
    """Side by side over all pixels, most light first; of too many the brightest and some that are spread evenly."""
    table, image = stars(1)
    field = MaskedImage(image.astype(np.float32), variance=np.ones_like(image, dtype=np.float32))
    tiles = laidOut(small, layout="tiles")
    centres = centresOf(field, field, tiles, 11)
    # 246 pixels have a whole kernel on them: 11 middles, 22.5 pixels apart, along each axis.
    assert len(centres) == 11**2
    assert centres.min() == 15
    assert centres.max() == SIDE - 16
    gaps = np.diff(np.unique(centres[:, 0]))
    assert gaps.max() <= 25
    few = centresOf(field, field, laidOut(small, layout="tiles", maxRegions=30), 11)
    assert len(few) == 30
    # The star's own tile is among the few.
    assert abs(few - [table["x"][0], table["y"][0]]).max(axis=1).min() < 13
    assert len(np.unique(few, axis=0)) == 30
    assert np.ptp(few, axis=0).min() > 200


def test_emptyTilesAreLeftOut(small):
    """Of tiles without finite pixels nothing can be learnt."""
    _, image = stars(1)
    image[:, 128:] = np.nan
    field = MaskedImage(image.astype(np.float32), variance=np.ones_like(image, dtype=np.float32))
    centres = centresOf(field, field, laidOut(small, layout="tiles"), 11)
    assert centres[:, 0].max() < 128 + 11
    assert centres.size


def test_noRoom(small):
    field = MaskedImage(np.zeros((31, 30), dtype=np.float32))
    with pytest.raises(NoKernelCandidatesError, match="30x31 pixels have no room for a region of 31 pixels") as error:
        centresOf(field, field, small, 11, Table({"x": [15.0], "y": [15.0]}))
    assert error.value.nSources == 0


# The fit


def test_kernelAndBackground(fitted):
    """Sixteen stars of 2e4 counts: the sum is known to a half a per cent."""
    candidates, result, rejected = fitted
    error = result.kernelSumError
    assert 0.0 < error < 0.01 * RATIO
    assert abs(result.kernel.kernelSum(128, 128) - RATIO) < 4 * error
    # The wings of the widest Gaussian are much like a sky: 0.2, many times the noise of 15 000 pixels.
    assert abs(result.background(128.0, 128.0) - LEVEL) < 0.8
    assert all(candidate.status.name == "GOOD" for candidate in candidates)
    table = result.heldOut
    assert len(table) == 16
    # 16 x 961 pixels: a chi-square per pixel of 1 to 1.1 %, and half a per cent for the kernel.
    assert np.mean(table["chiSquare"]) == pytest.approx(1.005, abs=0.045)
    assert rejected.mean() < 0.01
    assert result.rejectedFraction == pytest.approx(rejected.mean())
    assert (table["keptFraction"] > 0.9).all()
    assert np.all(table["nPixels"] <= 961)


def test_threadsAndInputs(options, images, fitted):
    """Bit for bit the same on three threads; nothing is changed in place."""
    table, template, science = images
    before = [plane.copy() for image in (template, science) for plane in (image.image, image.variance)]
    _, other, rejected = fit(options, *images, threads=3)
    assert np.array_equal(other.kernel.scaledParameters, fitted[1].kernel.scaledParameters)
    assert np.array_equal(rejected, fitted[2])
    after = [plane for image in (template, science) for plane in (image.image, image.variance)]
    assert all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
    assert table.colnames == ["x", "y"]


def test_whatHangsOnTheWeights(options, images):
    """Models are judged by the weights of now, whatever orders were made ready."""
    table, template, science = images
    family = familyOf(2.3548 * SIGMA, 2.3548 * WIDE, science.shape, options.regions.halfWidth)
    cells = RegionCells(template, science, options, family.kernelSize, table)
    regions, basis = cells.regionsToFit(-1), family.basis()
    solver = cells.solverOf(regions, basis)
    assert (solver.x.tolist(), solver.y.tolist()) == ([r.x for r in regions], [r.y for r in regions])
    assert np.array_equal(solver.basisList, basis)
    assert np.array_equal(solver.usableFraction, cells.stampsOf(regions).usableFraction)
    model = solver.usualModel(range(len(basis)))
    before = solver.chiSquares(model)
    richer = model.replaced(kernelOrder=3)
    assert not solver.hasJudged(richer)
    assert not np.array_equal(solver.chiSquares(richer), before)
    assert solver.hasJudged(richer)
    # The equations for a higher order hold those for a lower one, to the bit.
    fresh = cells.solverOf(regions, basis)
    fresh.prepare(richer.kernel)
    np.testing.assert_array_equal(fresh.chiSquares(model), before)
    solver.reject(model)
    assert solver.nPasses == 1
    assert not solver.hasJudged(model)
    assert not np.array_equal(solver.chiSquares(model), before)


def test_variableStarIsRejected(options, fitted):
    """A star that has lost half its light is left out, pixel by pixel; the kernel sum stays."""
    flux = np.full(16, 2e4 * RATIO)
    flux[5] *= 0.5
    images = makeImages(scienceFlux=flux)
    _, result, rejected = fit(options, *images)
    assert rejected[5, 15, 15]
    assert rejected[np.arange(16) != 5].mean() < 0.02
    assert abs(result.kernel.kernelSum(128, 128) - RATIO) < 5 * result.kernelSumError
    # Without rejection a sixteenth of the light misses half: the sum falls by 3 %, and more as the shape gives way.
    _, without, rejected = fit(laidOut(options, rejectPixels=False), *images)
    assert not rejected.any()
    assert without.kernel.kernelSum(128, 128) < RATIO * (1.0 - 0.5 / 16) + 0.01


def test_transientInATile(options, images):
    """A new source is cut out of its tile, and takes no part."""
    table, template, science = images
    x, y = 96.0, 160.0  # between the stars
    pixels = science.image + render(np.array([x]), np.array([y]), np.array([4e3]), SIDE, WIDE).astype(np.float32)
    changed = MaskedImage(pixels, variance=science.variance.copy())
    tiles = laidOut(options, layout="tiles")
    candidates, result, allRejected = fit(tiles, table, template, changed)
    found = False
    for candidate, rejected in zip(candidates, allRejected, strict=True):
        column, row = int(x - candidate.x) + 15, int(y - candidate.y) + 15
        if 0 <= column < 31 and 0 <= row < 31:
            assert rejected[row, column]
            found = True
    assert found
    assert abs(result.kernel.kernelSum(128, 128) - RATIO) < 5 * result.kernelSumError


def test_badRegions(options, images):
    """A region without half its pixels is told as rejected, with the share."""
    table, template, science = images
    pixels = science.image.copy()
    row, column = round(float(table["y"][2])), round(float(table["x"][2]))
    pixels[row - 15 : row + 16, column - 15 : column + 6] = np.nan
    candidates, result, _ = fit(options, table, template, MaskedImage(pixels, variance=science.variance))
    assert candidates[2].status.name == "BAD"
    assert "bad pixels: only 32%" in candidates[2].reason
    assert sum(candidate.status.name == "GOOD" for candidate in candidates) == 15
    assert np.isfinite(result.kernel.scaledParameters).all()


def test_tooFewRegions(options, images):
    table, template, science = images
    with pytest.raises(NoKernelCandidatesError, match="No region with usable pixels is found"):
        fit(options, table[:0], template, science)
    need = replace(options, minKernelSources=5)
    with pytest.raises(InsufficientKernelSourcesError, match=r"4 regions .* are found, minKernelSources is 5") as error:
        fit(need, table[:4], template, science)
    assert (error.value.nSources, error.value.nRequired) == (4, 5)


def test_fitOfFewerRegionsThanBegun(options, images):
    """What the choice has begun with all regions is no start for those that the configuration takes of each cell."""
    table, template, science = images
    one = replace(options, nStarPerCell=1, sizeCellX=128, sizeCellY=128)
    basis = familyOf(2.3548 * SIGMA, 2.3548 * WIDE, science.shape, options.regions.halfWidth).basis()
    found = []
    for isBegun in (True, False):
        cells = RegionCells(template, science, one, basis.shape[1], table)
        if isBegun:
            cells.begun = cells.solverOf(cells.regionsToFit(-1), basis)
        found.append(fitRegions(cells, basis, one))
    assert len(found[0].heldOut) == 4
    assert np.array_equal(found[0].kernel.scaledParameters, found[1].kernel.scaledParameters)

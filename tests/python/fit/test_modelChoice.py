"""The Gaussians of a kernel, models compared on what they have not seen, and the sources that take part."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import Box, MaskedImage, _core
from psfmatch.config import usualOptions
from psfmatch.fit import ImagePair
from psfmatch.fit.choice.models import ModelSearch
from psfmatch.kernels.gaussians import DEGREES, EQUAL_DEGREES, WIDEST_SIGMA, familyOf, pinnedFamily
from psfmatch.sources.starSelection import MIN_SNR, SPREAD_CELL, chooseRegionSources

# Gaussians


def test_familyBetweenTwoPsfs():
    """From 0.6 of the width between the PSFs to 3.1 of the wider one, in equal ratios."""
    family = familyOf(2.5, 4.0, (1000, 1000), 15)
    between = math.sqrt(4.0**2 - 2.5**2) / 2.3548
    assert not family.isEqual
    assert family.degrees == DEGREES
    assert family.sigmas[0] == pytest.approx(0.6 * between, abs=1e-3)
    assert family.sigmas[-1] == pytest.approx(WIDEST_SIGMA * 4.0 / 2.3548, abs=1e-3)
    assert np.diff(np.log(family.sigmas), 2) == pytest.approx(0.0, abs=5e-3)
    assert family.kernelSize == 2 * math.ceil(3.0 * WIDEST_SIGMA * 4.0 / 2.3548) + 1


def test_familyOfEqualPsfs():
    for convolved, other in ((3.0, 3.0), (3.5, 3.4), (4.0, 3.0)):
        family = familyOf(convolved, other, (1000, 1000), 15)
        assert family.isEqual
        assert family.degrees == EQUAL_DEGREES
        assert family.sigmas[0] >= 0.4


def test_familyWithoutWidths():
    """3.5 px, and 0.8 of the other."""
    for unknown in (None, 0.0, math.nan):
        assert familyOf(unknown, unknown, (500, 500), 15) == familyOf(2.8, 3.5, (500, 500), 15)


def test_smallImagesHaveSmallKernels():
    """A region and the kernel about it fit in any image that can hold them."""
    for side in (40, 64, 128, 256, 512):
        family = familyOf(3.0, 6.0, (side, 2 * side), 15)
        assert family.kernelSize % 2 == 1
        assert 3 <= family.kernelSize <= 61
        assert family.kernelSize + 2 * 15 <= side


def test_imagesOfASmallerSet():
    """The images of lower degrees are those of the full set, one by one."""
    family = familyOf(2.5, 4.0, (1000, 1000), 15)
    basis = family.basis()
    assert family.images(family.degrees[-1]) == tuple(range(len(basis)))
    previous = set()
    for degrees in family.degrees:
        chosen = family.images(degrees)
        assert len(chosen) == sum((d + 1) * (d + 2) // 2 for d in degrees)
        assert chosen[0] == 0
        assert previous < set(chosen)
        previous = set(chosen)
    sums = basis.sum(axis=(1, 2))
    assert sums[0] == pytest.approx(1.0)
    assert abs(sums[1:]).max() < 1e-10


def test_kernelNorm():
    """The flux ratio times the norm of a Gaussian; sources outside, faint or NaN tell nothing."""
    y, x = np.mgrid[:64, :64]
    star = 1e4 * np.exp(-0.5 * ((x - 30) ** 2 + (y - 32) ** 2) / 2.0)
    template = MaskedImage(star.astype(np.float32))
    science = MaskedImage((1.6 * star + 50.0).astype(np.float32))
    family = familyOf(2.5, 4.0, (64, 64), 5)
    unit = 1.0 / (2.0 * math.sqrt(math.pi) * math.hypot(*family.sigmas[:2]))
    # Four digits are kept.
    assert family.expectedNorm(1.6) == pytest.approx(1.6 * unit, rel=1e-3)
    sources = Table({"x": [30.0, -50.0], "y": [32.0, 700.0]})

    def fluxRatio(science, sources):
        return ImagePair(template, science, sources, (2.5, 4.0)).fluxRatio(("BAD",))

    assert fluxRatio(science, sources) == pytest.approx(1.6, rel=1e-3)
    assert fluxRatio(science, sources[:0]) == 1.0
    assert fluxRatio(MaskedImage((-star).astype(np.float32)), sources) == 1.0


# Models compared


CONSTANT = _core.SpatialFunction(_core.SpatialModel.chebyshev1, 0, _core.Frame())


class FakeSolver:
    """Held-out chi-squares that are told by the order of the kernel, infinite for a model without solution."""

    def __init__(self, *figures):
        self.figures = figures
        self.judged = set()

    def prepare(self, function):
        """Do nothing: all is known."""

    def polynomials(self, order):
        return CONSTANT.ofOrder(order)

    def chiSquares(self, model):
        self.judged.add(model)
        return self.figures[model.kernelOrder]

    def hasJudged(self, model):
        return model in self.judged


def models(*orders):
    return [_core.SpatialModelOptions((0,), CONSTANT.ofOrder(order), CONSTANT, 1.0, 0.1) for order in orders]


def searchOf(system):
    return ModelSearch(system, None, models(0)[0], {})


def test_bestModel():
    """A later model is taken if it is better by half the error of the difference."""
    low, middle, high = models(0, 1, 2)
    base = np.full(100, 50.0)
    better = base - 2.0
    noisy = better + np.where(np.arange(100) % 2, 10.0, -10.1)  # by 5 in all, its error 100
    system = FakeSolver(base, better, noisy)
    search = searchOf(system)
    assert search.best([low, middle, high]) == middle
    assert search.gain(low, middle)[0] == pytest.approx(200.0)
    # The extreme hundredth on either side is cut at quantiles that are the others' values.
    assert search.gain(high, middle)[0] == pytest.approx(-5.0)
    assert len(system.judged) == 3
    assert search.best([middle, high, low]) == middle
    assert search.best([low]) == low


def test_climb():
    """Up while the next is better; else down while the richer is no better; what lies beyond is not tried."""
    base, better, best = (np.full(100, value) for value in (50.0, 48.0, 46.0))
    ladder = models(0, 1, 2, 3)
    system = FakeSolver(base, better, best, best)
    assert searchOf(system).climb(ladder) == ladder[2]
    assert len(system.judged) == 4
    assert searchOf(system).climb(ladder, 1) == ladder[2]
    # From the top: no better than the second, which is better than the one before.
    system.judged.clear()
    assert searchOf(system).climb(ladder, 3) == ladder[2]
    assert len(system.judged) == 3
    flat = searchOf(FakeSolver(base, base, base, base))
    assert flat.climb(ladder, 2) == ladder[0]
    assert flat.climb(ladder) == ladder[0]
    assert flat.climb(ladder[:1]) == ladder[0]


def test_modelsWithoutSolution():
    low, middle, high = models(0, 1, 2)
    search = searchOf(FakeSolver(np.full(5, np.inf), np.full(5, 3.0), np.full(5, np.inf)))
    assert search.best([low, middle, high]) == middle
    assert search.gain(middle, high)[0] == -math.inf
    assert search.climb([low, middle, high]) == middle


def test_pairedGain():
    """One variable star in a hundred decides nothing; of few regions all count."""
    first, second = np.full(200, 10.0), np.full(200, 9.0)
    second[7] = 1e6
    gain, error = _core.pairedGain(first, second)
    assert gain == pytest.approx(200.0, rel=0.02)
    assert error == pytest.approx(math.sqrt(200.0), rel=0.02)
    assert _core.pairedGain(first[:20], second[:20])[0] < -9e5


# Sources


def table(x, y, snr, bad=False):
    n = len(x)
    return Table({"x": x, "y": y, "snr": np.broadcast_to(snr, n), "badCentre": np.broadcast_to(bad, n)})


def test_regionSources():
    """Faint ones and bad ones are left out, blends are not; brightest first as they came."""
    x = np.arange(10.0)
    snr = np.where(np.arange(10) < 7, 100.0, MIN_SNR - 0.1)
    bad = np.arange(10) == 2
    chosen = chooseRegionSources(table(x, x, snr, bad), 100, Box(0, 0, 100, 100))
    assert chosen["x"].tolist() == [0.0, 1.0, 3.0, 4.0, 5.0, 6.0]
    assert len(chooseRegionSources(table(x, x, snr)[:0], 100, Box(0, 0, 100, 100))) == 0


def test_regionSourcesTakeTurns():
    """Of a crowded corner and a sparse field the brightest of every cell come first, then the second of each."""
    generator = np.random.default_rng(1)
    crowd = generator.uniform(0, SPREAD_CELL, (2, 300))
    rest = generator.uniform(SPREAD_CELL, 4 * SPREAD_CELL, (2, 60))
    x, y = np.concatenate([crowd, rest], axis=1) + np.array([[1000.0], [500.0]])
    sources = table(x, y, 100.0)
    chosen = chooseRegionSources(sources, 60, Box(1000, 500, 4 * SPREAD_CELL, 4 * SPREAD_CELL))
    assert len(chosen) == 60
    assert chosen.colnames == sources.colnames
    cells = (np.asarray(sources["y"]) - 500) // SPREAD_CELL * 100 + (np.asarray(sources["x"]) - 1000) // SPREAD_CELL
    rank = np.zeros(len(sources), dtype=int)
    for cell in np.unique(cells):
        rank[cells == cell] = np.arange((cells == cell).sum())
    taken = np.isin(np.asarray(sources["x"]), np.asarray(chosen["x"]))
    assert taken.sum() == 60
    assert rank[taken].max() <= rank[~taken].min()
    assert np.all(np.diff(np.flatnonzero(taken)) > 0)
    assert taken[rank == 0].all()


def test_widestGaussian():
    """Of four, if nothing was set: its images are the last of the set, and the degrees are found by them."""
    family = familyOf(5.0, 7.0, (1024, 1024), 11)
    degrees = family.usualDegrees
    narrower = family.narrower(degrees)
    assert narrower == (*degrees[:3], -1)
    assert family.images(narrower) == family.images(degrees)[: -3 if degrees[3] else -1]
    assert family.degreesOf(family.images(narrower)) == narrower
    assert family.degreesOf(family.images(degrees)) == degrees
    options = usualOptions().kernel
    free = pinnedFamily(family, {}, options, (5.0, 7.0), (1024, 1024))
    assert free.narrower(degrees) == narrower
    pinned = [{"kernelSize": family.kernelSize}, {"kernelSizeMax": 25}, {"alardDegGauss": degrees}]
    kept = [pinnedFamily(family, pins, options, (5.0, 7.0), (1024, 1024)) for pins in pinned]
    for fixed in (replace(family, isFixed=True), family.point(), family.rich(), *kept):
        assert fixed.narrower(fixed.degrees[-1]) == fixed.degrees[-1]


class FakeExtents:
    fit = SimpleNamespace(weightCounts=np.array([400]))

    def __init__(self, figures):
        self.figures, self.hasJudged, self.chiSquares = figures, figures.__contains__, figures.__getitem__

    def prepare(self, function):
        """Do nothing: all is known."""

    def polynomials(self, order):
        return CONSTANT.ofOrder(order)


def test_extent():
    """Left out where held-out regions are served better without by half the error of that, else kept."""
    family = familyOf(5.0, 7.0, (1024, 1024), 11)
    images = [family.images(each) for each in (family.usualDegrees, family.narrower(family.usualDegrees))]
    own, narrow = (_core.SpatialModelOptions(each, *2 * [CONSTANT.ofOrder(1)], 1.0, 0.01, 0.2) for each in images)
    cases = ((1.0, 1.0, 1.0, -0.5), narrow), ((1.0, -1.0, 1.0, -0.9), own), ((-1.0, -1.0, -2.0, -1.0), own)
    for gains, chosen in cases:
        solver = FakeExtents({own: np.full(4, 100.0), narrow: 100.0 - np.array(gains)})
        search = ModelSearch(solver, family, own, {})
        search.takeExtent()
        assert search.model == chosen
        (told,) = search.choices
        assert told.name == "Extent of the kernel"
        widest = family.sigmas[3 if chosen == own else 2]
        assert told.chosen == f"Gaussians up to sigma {widest:.2f} px"

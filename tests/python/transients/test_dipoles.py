"""Dipoles: fluxes and places of the lobes, with images missing, and what is called a dipole."""

import numpy as np
import pytest
from starFields import sampledPsf

from psfmatch import Box, MaskedImage
from psfmatch.kernels import PsfField
from psfmatch.transients import DipoleControl, minimizeSquares
from psfmatch.transients.dipoles import DipoleImage, fitDipole, pairPeaks

SIGMA, SIDE = 2.0, 90
PSF = PsfField(sampledPsf(SIGMA), Box(0, 0, SIDE, SIDE))


def images(positive, negative, seed=0, slope=0.1):
    """Return difference, science, template with one star each (x, y, flux), noise 1 and a sloping sky."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    planes = []
    for a, b, flux in (positive, negative):
        star = flux / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / SIGMA**2)
        planes.append(100 + slope * x + star + rng.standard_normal((SIDE, SIDE)))
    return [
        DipoleImage.of(MaskedImage(p, variance=np.full(p.shape, v)), PSF)
        for p, v in ((planes[0] - planes[1], 2.0), (planes[0], 1.0), (planes[1], 1.0))
    ]


PEAKS = ((47.3, 46.9), (43.2, 42.8))


@pytest.mark.parametrize("missing", ["", "science", "template"])
def test_lobesAreRecovered(missing):
    difference, science, template = images((46.1, 45.6, 3000), (44.6, 44.1, 3000))
    dipole = fitDipole(
        difference, None if missing == "science" else science, None if missing == "template" else template, PEAKS
    )
    # Errors of a star of 3000 in noise 1: 7 in flux, sqrt(8 pi) sigma^2 / 3000 = 0.007 px; four of them.
    assert [dipole.fluxPositive, dipole.fluxNegative] == pytest.approx([3000, 3000], abs=30)
    assert [dipole.xPositive, dipole.yPositive] == pytest.approx([46.1, 45.6], abs=0.03)
    assert [dipole.xNegative, dipole.yNegative] == pytest.approx([44.6, 44.1], abs=0.03)
    assert [dipole.x, dipole.y] == pytest.approx([45.35, 44.85], abs=0.03)
    assert dipole.separation == pytest.approx(1.5 * np.sqrt(2), abs=0.04)
    assert dipole.orientation == pytest.approx(np.pi / 4, abs=0.02)
    assert dipole.isDipole


def test_differenceAlone():
    difference, *_ = images((46.1, 45.6, 3000), (44.6, 44.1, 3000))
    dipole = fitDipole(difference, None, None, PEAKS)
    # Flux and separation can hardly be told apart: the fit says so.
    assert dipole.fluxPositiveErr > 30
    assert dipole.fluxPositive == pytest.approx(3000, abs=4 * dipole.fluxPositiveErr)
    assert dipole.fluxPositive == dipole.fluxNegative
    assert dipole.chi2 == pytest.approx(1.0, abs=0.2)


def test_smallShiftOfABrightStar():
    difference, science, template = images((45.1, 45.0, 3e4), (44.95, 45.0, 3e4))
    dipole = fitDipole(difference, science, template, ((48.0, 45.0), (42.0, 45.0)))
    assert dipole.separation == pytest.approx(0.15, abs=0.004)
    assert dipole.isDipole


def test_unequalLobesAreNoDipole():
    difference, science, template = images((48.0, 45.0, 3000), (42.0, 45.0, 1000))
    dipole = fitDipole(difference, science, template, ((48.0, 45.0), (42.0, 45.0)))
    assert dipole.fluxPositive / dipole.fluxNegative == pytest.approx(3.0, rel=0.05)
    assert not dipole.isDipole
    one = fitDipole(difference, science, template, ((48.0, 45.0), (42.0, 45.0)), DipoleControl(separateFluxes=False))
    assert one.fluxPositive == one.fluxNegative == pytest.approx(2000, rel=0.05)


def test_failedFits():
    difference, science, template = images((46.0, 45.0, 3000), (44.0, 45.0, 3000))
    assert fitDipole(difference, science, template, PEAKS, DipoleControl(maxEvaluations=2)) is None
    nothing = DipoleImage(difference.maskedImage, np.zeros((SIDE, SIDE), dtype=np.float32), PSF)
    assert fitDipole(nothing, None, None, PEAKS) is None
    # Peaks of the wrong order have no positive flux.
    assert fitDipole(difference, None, None, (PEAKS[1], PEAKS[0])) is None


def test_pairsAreMutual():
    x = np.array([0.0, 3.0, 20.0, 23.0, 40.0])
    y = np.zeros(5)
    assert pairPeaks(x, y, np.array([9.0, -8.0, 7.0, 6.0, -5.0]), 5.0) == [(0, 1)]
    # Of two that want the same partner the more significant one has it.
    assert pairPeaks(x[:3] * [1, 1, 0.25], y[:3], np.array([9.0, -8.0, 30.0]), 6.0) == [(2, 1)]
    assert pairPeaks(np.zeros(0), np.zeros(0), np.zeros(0), 5.0) == []


def test_leastSquaresOfAnExponential():
    t = np.linspace(0, 4, 50)
    data = 3.0 * np.exp(-0.7 * t)

    def evaluate(p):
        model = p[0] * np.exp(-p[1] * t)
        return data - model, np.array([model / p[0], -t * model])

    high, low = np.full(2, 10.0), np.full(2, 1e-3)
    p, covariance, total, n = minimizeSquares(evaluate, np.array([1.0, 2.0]), low, high, 1e-12, 100)
    np.testing.assert_allclose(p, [3.0, 0.7], rtol=1e-6)
    assert total < 1e-12
    assert n <= 50
    slopes = evaluate(p)[1]
    np.testing.assert_allclose(covariance, np.linalg.inv(slopes @ slopes.T), rtol=1e-6)
    # A bound holds; parameters that do nothing have no solution.
    p, *_ = minimizeSquares(evaluate, np.array([1.0, 0.3]), low, np.array([2.0, 10.0]), 1e-9, 100)
    assert p[0] == 2.0
    assert minimizeSquares(lambda p: (data, np.zeros((2, 50))), np.ones(2), low, high, 1e-9, 100) is None

"""Functions of position that a configuration asks for: of a kernel's shape, of its sum, of the background."""

from dataclasses import replace

import numpy as np
import pytest

from psfmatch import frontDoorConfig, subtract
from psfmatch.config import usualOptions
from psfmatch.fit.spatialModel import spatialModels
from psfmatch.testing import simulatePair

FRAME = (255.5, 255.5, 256.0, 256.0)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=512, fluxRatioVariation=0.2)


def offOf(result, truth):
    """Scatter over the field of the kernel sum about the true one, relative."""
    places = np.linspace(30.0, 480.0, 8)
    ratios = [result.kernel.kernelSum(x, y) / truth.kernelSum(x, y) for x in places for y in places]
    return np.std(ratios)


POLYNOMIAL = {"scaleModelType": "chebyshev1", "scaleOrder": 2}


@pytest.mark.parametrize(
    ("fitMethod", "scale"),
    [("regions", POLYNOMIAL), ("regions", {"scaleModelType": "bspline"}), ("candidates", POLYNOMIAL)],
)
def test_theSumOfTheKernelFollowsTheScale(pair, fitMethod, scale):
    config = frontDoorConfig()
    config.kernel.active.update(fitMethod=fitMethod, splineDegree=2)
    constant = offOf(subtract(pair.template, pair.science, config=config, threads=1), pair.truth)
    config.kernel.active.update(**scale)
    varying = offOf(subtract(pair.template, pair.science, config=config, threads=1), pair.truth)
    assert constant > 0.03
    assert varying < 0.5 * constant


def test_sizes():
    options = replace(usualOptions().kernel, spatialKernelOrder=2, spatialBgOrder=1, fitForBackground=True)
    models = spatialModels(options, FRAME)
    assert [each.size for each in (models.kernel, models.scale, models.background)] == [6, 1, 3]
    splines = replace(options, spatialModelType="bspline", splineKnotsX=(-0.5, 0.5), scaleModelType="polynomial")
    models = spatialModels(splines, FRAME)
    # Degree 3: 2 knots and 4 along x, one and 4 along y.
    assert [each.size for each in (models.kernel, models.scale, models.background)] == [30, 3, 30]
    models = spatialModels(replace(splines, spatialBgModelType="chebyshev1"), FRAME)
    assert models.background.size == 3
    # Steps go with polynomials: six of these, and two steps along x, one along y, and their products.
    models = spatialModels(replace(splines, splineDegree=0), FRAME)
    assert models.kernel.size == 6 + 2 + 1 + 2


def test_unknown():
    with pytest.raises(ValueError, match="'waves' is unknown"):
        spatialModels(replace(usualOptions().kernel, spatialModelType="waves"), FRAME)

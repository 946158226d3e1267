"""The kernel of two images from all their sources together."""

import math

import numpy as np
import pytest
from faintFields import makeField

from psfmatch.fit.stackFit import matchSources


def matched(fwhms, snr, **options):
    template, science, places = makeField(fwhms, snr, **options)
    ones = np.ones(len(places))
    return matchSources(template, science, *places.T, ones, fwhms)


@pytest.mark.parametrize("fwhms", [(1.2, 1.2), (1.2, 4.0), (3.0, 3.0), (4.0, 8.0), (10.0, 14.0)])
def test_ratioAndWidth(fwhms):
    """Within three errors, which with S/N 80 together are 3 to 6 %: a regression on the template loses up to 90 %."""
    found = matched(fwhms, (8.0, 15.0), shift=(0.3, -0.2), seed=2)
    assert found.isFound
    assert min(found.snr) > 30
    assert abs(found.ratio - 1.25) < 3.0 * found.ratioError < 0.3
    assert np.abs(np.add(found.shift, (0.3, -0.2))).max() < 4.0 * found.shiftError
    expected = (fwhms[1] ** 2 - fwhms[0] ** 2) / 2.3548**2
    assert abs(found.variance - expected) < 3.0 * found.varianceError + 0.15 * expected
    assert found.kernel.sum() == pytest.approx(found.ratio)


def test_knownShiftStays():
    template, science, places = makeField((3.0, 4.0), (10.0, 20.0))
    found = matchSources(template, science, *places.T, np.ones(len(places)), (3.0, 4.0), (0.2, -0.1))
    assert found.shift == (0.2, -0.1)
    assert found.shiftError == 0.0


def test_threadsAndInputs():
    template, science, places = makeField((3.0, 4.0), (10.0, 20.0))
    before = template.image.copy()
    found = [matchSources(template, science, *places.T, np.ones(len(places)), (3.0, 4.0), None, n) for n in (1, 2, 7)]
    assert found[0].ratio == found[1].ratio == found[2].ratio
    assert (found[0].kernel == found[2].kernel).all()
    assert (template.image == before).all()


def test_weights():
    """Those not known count as the median; bright ones four times as much at most."""
    template, science, places = makeField((3.0, 4.0), (10.0, 20.0))
    ones = np.ones(len(places))
    known = matchSources(template, science, *places.T, ones, (3.0, 4.0))
    unknown = matchSources(template, science, *places.T, np.where(ones.cumsum() > 5, 1.0, np.nan), (3.0, 4.0))
    assert unknown.ratio == known.ratio
    bright = [np.where(ones.cumsum() > 1, 1.0, weight) for weight in (4.0, 1e6)]
    assert len({matchSources(template, science, *places.T, each, (3.0, 4.0)).ratio for each in bright}) == 1


@pytest.mark.parametrize("what", ["nothing there", "no places", "all masked"])
def test_nothingFound(what):
    template, science, places = makeField((3.0, 4.0), (10.0, 20.0))
    if what == "nothing there":
        places = np.random.default_rng(1).uniform(20, 300, (40, 2))
        template.image[...] = 300.0 + np.random.default_rng(2).normal(0, 10, template.shape)
    elif what == "no places":
        places = places[:0]
    else:
        np.asarray(template.mask)[...] |= 1 << template.mask.addPlane("BAD")
    found = matchSources(template, science, *places.T, np.ones(len(places)), (3.0, 4.0))
    assert not found.isFound
    assert math.isnan(found.ratio) or min(found.snr) < 8

"""Mask planes of the template under names of their own, and planes that the convolution does not spread."""

import json

import numpy as np
import pytest

from psfmatch import applyKernel, frontDoorConfig, subtract
from psfmatch.config import configToDict
from psfmatch.config.equality import sameValue
from psfmatch.difference import SubtractionRecipe
from psfmatch.frontdoor import FrontDoorConfig
from psfmatch.images.planeRules import PlaneRules
from psfmatch.testing import simulatePair

BOX = np.s_[100:112, 60:80]


@pytest.fixture(scope="module")
def pair():
    """A pair whose images have planes on different pixels."""
    pair = simulatePair(seed=3, size=256, withPsf=True)
    for image, shift in ((pair.template, 0), (pair.science, 40)):
        image.mask.addPlane("INJECTED")
        part = np.s_[BOX[0].start + shift : BOX[0].stop + shift, BOX[1]]
        image.mask[part] |= image.mask.getPlaneBitMask(["INJECTED", "SAT"])
    return pair


def difference(pair, mode, **fields):
    config = frontDoorConfig()
    config.doFindSaturation = False
    config.update(**fields)
    return subtract(pair.template, pair.science, config=config, mode=mode, threads=1)


@pytest.mark.parametrize("mode", ["convolveTemplate", "convolveScience"])
def test_names(pair, mode):
    plain = difference(pair, mode)
    named = difference(pair, mode, renameTemplateMask=["SAT", "INJECTED", "NEVER_SEEN"])
    for image in ("difference", "decorrelated"):
        before, after = (getattr(result, image) for result in (plain, named))
        np.testing.assert_array_equal(before.image, after.image)
        np.testing.assert_array_equal(before.variance, after.variance)
        for name in ("SAT", "INJECTED"):
            own, others = after.mask.hasAny(name), after.mask.hasAny(f"{name}_TEMPLATE")
            np.testing.assert_array_equal(own | others, before.mask.hasAny(name))
            assert others[BOX].all()
            assert not own[BOX].any()
            assert own[140:152, 60:80].all()
            assert not others[140:152, 60:80].any()
    assert "NEVER_SEEN_TEMPLATE" not in named.difference.mask.planes
    # Field by field: a NaN in a tuple is not equal to itself.
    assert sameValue(named.quality, plain.quality)
    # What is saturated in the template alone is not measured either.
    assert named.difference.maskedImage.badPixels(("SAT_TEMPLATE",))[BOX].all()
    for first, second in ((plain, named), (plain.score, named.score)):
        np.testing.assert_array_equal(first.detect()["significance"], second.detect()["significance"])
    np.testing.assert_array_equal(plain.difference.toCCDData().mask, named.difference.toCCDData().mask)
    assert named.matched.mask.hasAny("SAT_TEMPLATE" if mode == "convolveTemplate" else "SAT").any()
    assert plain.template.mask.hasAny("SAT").sum() == named.template.mask.hasAny("SAT").sum()


@pytest.mark.parametrize("mode", ["convolveTemplate", "convolveScience"])
def test_planesThatStayInPlace(pair, mode):
    plain = difference(pair, mode)
    kept = difference(pair, mode, preserveMaskPlanes=["INJECTED"])
    both = pair.template.mask.hasAny("INJECTED") | pair.science.mask.hasAny("INJECTED")
    for image in (kept.difference, kept.decorrelated):
        np.testing.assert_array_equal(image.mask.hasAny("INJECTED"), both)
    assert plain.difference.mask.hasAny("INJECTED").sum() > both.sum()
    np.testing.assert_array_equal(plain.difference.mask.hasAny("SAT"), kept.difference.mask.hasAny("SAT"))
    np.testing.assert_array_equal(plain.difference.image, kept.difference.image)


def test_byTheNameThatTheyGet(pair):
    result = difference(
        pair, "convolveTemplate", renameTemplateMask=["INJECTED"], preserveMaskPlanes=["INJECTED", "INJECTED_TEMPLATE"]
    )
    mask = result.difference.mask
    np.testing.assert_array_equal(mask.hasAny("INJECTED"), pair.science.mask.hasAny("INJECTED"))
    np.testing.assert_array_equal(mask.hasAny("INJECTED_TEMPLATE"), pair.template.mask.hasAny("INJECTED"))


@pytest.mark.parametrize("mode", ["convolveTemplate", "convolveScience"])
def test_storedKernel(pair, mode):
    """A stored kernel makes the same mask again, also by way of a file's text."""
    result = difference(pair, mode, renameTemplateMask=["SAT"], preserveMaskPlanes=["INJECTED"])
    stored = result.storedKernel()
    recipe = SubtractionRecipe.fromDict(json.loads(json.dumps(stored.recipe.toDict())))
    assert recipe.planes == stored.recipe.planes == PlaneRules(("SAT",), ("INJECTED",))
    again = applyKernel(stored, pair.template, pair.science)
    assert again.difference.mask.planes == result.difference.mask.planes
    np.testing.assert_array_equal(again.difference.mask, result.difference.mask)


@pytest.mark.parametrize("name", ["renameTemplateMask", "preserveMaskPlanes"])
@pytest.mark.parametrize("plane", ["NO_DATA", "EDGE"])
def test_planesOfTheDifferenceItself(pair, name, plane):
    with pytest.raises(ValueError, match=f"{plane} tell of the difference itself"):
        difference(pair, "auto", **{name: [plane]})


def test_configuration():
    config = FrontDoorConfig()
    config.renameTemplateMask = ["SAT", "INJECTED"]
    assert configToDict(config)["renameTemplateMask"] == ["SAT", "INJECTED"]

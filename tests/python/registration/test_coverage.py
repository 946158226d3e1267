"""How much of the science image the template covers: counts, the box about them, and what is too little."""

import logging

import numpy as np
import pytest

from psfmatch.errors import InputImagesError
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.registration import measureCoverage, requireCoverage


def image(shape=(40, 50), good=np.s_[:, :], xy0=(100, -20)):
    """NaN but for some pixels."""
    values = np.full(shape, np.nan, dtype=np.float32)
    values[good] = 1.0
    return MaskedImage(values, variance=np.ones(shape, dtype=np.float32), xy0=xy0)


def test_allIsCovered():
    coverage = measureCoverage(image(), image())
    assert (coverage.nPixels, coverage.nTemplate, coverage.nScience, coverage.nBoth) == (2000, 2000, 2000, 2000)
    assert coverage.bbox == Box(100, -20, 50, 40)
    assert coverage.fraction == coverage.templateFraction == 1.0
    requireCoverage(coverage, required=1.0)


def test_countsAndBox():
    template, science = image(good=np.s_[10:, :30]), image(good=np.s_[:, 20:])
    template.mask[15, 25] |= template.mask.getPlaneBitMask("NO_DATA")
    science.mask[16, 25] |= science.mask.getPlaneBitMask("BAD")
    # A saturated star is covered.
    science.mask[17, 25] |= science.mask.getPlaneBitMask("SAT")
    science.variance[18, 25] = -1.0
    coverage = measureCoverage(Exposure(template), Exposure(science))
    assert (coverage.nTemplate, coverage.nScience, coverage.nBoth) == (30 * 30 - 1, 40 * 30 - 2, 30 * 10 - 3)
    assert coverage.bbox == Box(120, -10, 10, 30)
    assert coverage.fraction == 297 / 2000
    assert coverage.templateFraction == 297 / 1198
    assert coverage.toDict()["bbox"] == [120, -10, 10, 30]
    withSaturated = measureCoverage(template, science, planes=("BAD", "NO_DATA", "SAT"))
    assert withSaturated.nBoth == 296


def test_tooLittle(caplog):
    template = image(good=np.s_[:8, :])
    with caplog.at_level(logging.WARNING):
        requireCoverage(measureCoverage(template, image()))
        assert not caplog.records
        requireCoverage(measureCoverage(image(good=np.s_[:7, :]), image()))
        assert "Only 17.5 % of the science image (350 of 2000 pixels)" in caplog.text
    with pytest.raises(InputImagesError, match=r"only 7\.5 % .* 10 % are needed") as caught:
        requireCoverage(measureCoverage(image(good=np.s_[:3, :]), image()))
    assert caught.value.nBoth == 150
    requireCoverage(measureCoverage(image(good=np.s_[:3, :]), image()), required=0.05)


def test_nothing():
    coverage = measureCoverage(image(good=np.s_[:0, :]), image())
    assert coverage.bbox.isEmpty
    assert coverage.fraction == coverage.templateFraction == 0.0
    with pytest.raises(InputImagesError, match="overlap enough"):
        requireCoverage(coverage, required=0.0, expected=0.0)


def test_shapesMustAgree():
    with pytest.raises(InputImagesError, match="different size"):
        measureCoverage(image(), image((40, 51)))

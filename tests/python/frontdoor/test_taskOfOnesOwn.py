"""A subclassed task reaches `subtract`: its methods, its fields, its criteria."""

import numpy as np
import pytest
from lsst.pex.config import RangeField

from psfmatch import ImagePsfMatchConfig, ImagePsfMatchTask, frontDoorConfig, subtract
from psfmatch.frontdoor import FrontDoorConfig
from psfmatch.testing import simulatePair


class ScaledConfig(FrontDoorConfig):
    factor = RangeField(doc="Of the FWHM of the template.", dtype=float, default=1.25, min=0.5)


class ScaledTask(ImagePsfMatchTask):
    """Takes the template's stars for wider than they are measured."""

    ConfigClass = ScaledConfig
    _DefaultName = "scaled"

    def measureFwhms(self, *args, **kwargs):
        template, science = super().measureFwhms(*args, **kwargs)
        return self.config.factor * template, science


class MatchConfig(ImagePsfMatchConfig):
    extra = RangeField(doc="Of a task without the steps of a run.", dtype=int, default=1, min=0)


class CountingTask(ImagePsfMatchTask):
    ConfigClass = MatchConfig
    calls: list = []  # noqa: RUF012

    def subtractExposures(self, *args, **kwargs):
        self.calls.append(type(self))
        return super().subtractExposures(*args, **kwargs)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=2, size=300, brightStars=100)


def test_itsMethodsAndFields(pair):
    usual = subtract(pair.template, pair.science, threads=1)
    result = subtract(pair.template, pair.science, task=ScaledTask, threads=1)
    assert not np.array_equal(result.difference.image, usual.difference.image)
    # The same task by its configuration, and as it was without its field.
    config = ScaledConfig()
    assert isinstance(result.config, ScaledConfig)
    again = subtract(pair.template, pair.science, config=config, task=ScaledTask, threads=1)
    np.testing.assert_array_equal(again.difference.image, result.difference.image)
    config.factor = 1.0
    same = subtract(pair.template, pair.science, config=config, task=ScaledTask, threads=1)
    np.testing.assert_array_equal(same.difference.image, usual.difference.image)


def test_withoutTheStepsOfARun(pair):
    """Whose configuration is that of the task alone: the kernel is chosen all the same where none is given."""
    CountingTask.calls.clear()
    usual = subtract(pair.template, pair.science, threads=1)
    result = subtract(pair.template, pair.science, task=CountingTask, threads=1)
    assert CountingTask.calls == [CountingTask]
    np.testing.assert_array_equal(result.difference.image, usual.difference.image)


def test_configurationOfAnother(pair):
    with pytest.raises(TypeError, match="ScaledTask needs a ScaledConfig as config, got FrontDoorConfig"):
        subtract(pair.template, pair.science, config=frontDoorConfig(), task=ScaledTask)

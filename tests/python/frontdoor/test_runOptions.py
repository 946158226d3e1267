"""What a run is told is read once, without a configuration too, and a configuration is made of it for who asks."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask, MaskedImage, frontDoorConfig
from psfmatch.config import (
    DetectionOptions,
    ImagePsfMatchOptions,
    KernelOptions,
    MeasurementOptions,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    configToDict,
    usualOptions,
)
from psfmatch.config.usual import DEFAULTS, usualData, usualFields
from psfmatch.frontdoor import FrontDoorConfig
from psfmatch.frontdoor.options import RunOptions
from psfmatch.sources import SourceDetectionTask
from psfmatch.tasks import ImagePsfMatchConfig

FIELDS = {"alardNGauss": 2, "alardSigGauss": (1.0, 2.5), "alardDegGauss": (3, 1), "kernelSize": 17, "nStarPerCell": -1}
REGIONS = {"halfWidth": 9, "firstDegrees": (2, 0), "shapeScale": 2.0}


def withChosen(read):
    """Return options of a run whose kernel has been chosen."""
    kernel = replace(read.kernel, regions=replace(read.kernel.regions, **REGIONS), **FIELDS)
    return replace(read, kernel=kernel, chooseKernel=False)


def test_theDefaultsAreThoseOfTheClasses():
    # To renew the file: json.dumps(configToDict(frontDoorConfig()), indent=1), and an empty line's end.
    assert json.loads(DEFAULTS.read_text()) == configToDict(frontDoorConfig()) == usualData()


def test_theyAreReadAsAConfigurationIs():
    config = frontDoorConfig()
    assert ImagePsfMatchOptions.fromConfig(config) == usualOptions()
    assert replace(RunOptions.fromConfig(config), source=None) == RunOptions.fromConfig(None)
    assert usualFields().kernel.active is usualFields().kernel.values.AL
    usualData()["doAlign"] = False
    assert usualData()["doAlign"] is True


def test_everyFieldOfTheSourcesIsRead():
    assert set(SourceDetectionConfig._fields) == set(DetectionOptions.__dataclass_fields__)
    assert set(SourceMeasurementConfig._fields) == set(MeasurementOptions.__dataclass_fields__)


@pytest.mark.parametrize("name", ["AL", "DF"])
def test_optionsAreSetInAConfiguration(name):
    config, other = FrontDoorConfig(), FrontDoorConfig()
    config.kernel.name = other.kernel.name = name
    config.kernel.active.update(kernelSize=17, badMaskPlanes=["SAT"])
    config.kernel.active.regionConfig.halfWidth = 9
    config.kernel.active.warpingConfig.keepCentroids = False
    nSet = len(other.kernel.active.history["kernelSumClipping"])
    KernelOptions.fromConfig(config.kernel.active).setIn(other.kernel.active)
    assert configToDict(other) == configToDict(config)
    assert len(other.kernel.active.history["kernelSumClipping"]) == nSet  # what is the same is not set


def test_aTaskOfOptionsMakesItsConfigurationWhenItIsRead():
    usual = usualOptions()
    detection = replace(usual.selectDetection, thresholdValue=7.0)
    given = replace(usual, fwhmDefinition="halfMaximum", selectDetection=detection)
    task = ImagePsfMatchTask(config=given, threads=1)
    assert task.options is given.kernel
    assert isinstance(task.selectDetection, SourceDetectionTask)
    assert task.selectDetection.getFullName() == "imagePsfMatch.selectDetection"
    assert task.selectDetection.options is detection
    assert isinstance(task.config, ImagePsfMatchConfig)
    assert task.config is task.config
    assert ImagePsfMatchOptions.fromConfig(task.config) == given
    assert task.kConfig.kernelSize == task.options.kernelSize
    assert isinstance(task.selectDetection.config, SourceDetectionConfig)
    assert task.selectDetection.config.toDict() == task.config.selectDetection.value.toDict()
    with pytest.raises(ValueError, match="frozen"):
        task.config.fwhmDefinition = "traceRadius"
    arrived = pickle.loads(pickle.dumps(ImagePsfMatchTask(config=given, threads=1)))
    assert configToDict(arrived.config) == configToDict(task.config)


@pytest.mark.parametrize("config", [None, frontDoorConfig()], ids=["without", "with"])
def test_whatIsChosenIsStoredAsTheConfigurationWouldStoreIt(config):
    read = RunOptions.fromConfig(config)
    chosen = withChosen(read)
    assert read.chooseKernel
    made = chosen.toConfig()
    assert made._frozen
    assert made.chooseKernel is False
    assert list(made.kernel.active.alardSigGauss) == [1.0, 2.5]
    assert made.kernel.active.regionConfig.halfWidth == 9
    assert json.dumps(chosen.toData()) == json.dumps(configToDict(made))
    assert KernelOptions.fromConfig(made.kernel.active) == chosen.kernel
    assert RunOptions.fromConfig(made) == replace(chosen, source=made)
    assert json.dumps(read.toData()) == json.dumps(configToDict(frontDoorConfig()))
    assert json.dumps(pickle.loads(pickle.dumps(chosen)).toData()) == json.dumps(chosen.toData())


class OwnDetectionTask(SourceDetectionTask):
    """Somebody's own."""


def test_subtasksOfOthersStayInTheConfiguration():
    config = frontDoorConfig()
    config.selectDetection.retarget(OwnDetectionTask)
    made = withChosen(RunOptions.fromConfig(config)).toConfig()
    assert made.selectDetection.target is OwnDetectionTask
    assert not config._frozen
    assert config.chooseKernel


def test_theSourcesOfBothAreTheSame():
    rng = np.random.default_rng(5)
    image = MaskedImage(rng.normal(size=(120, 130)).astype(np.float32), variance=np.ones((120, 130), np.float32))
    image.image[60, 70] += 300.0
    config = SourceDetectionConfig()
    config.reEstimateBackground, config.thresholdValue = False, 10.0
    found = [
        SourceDetectionTask(config=given).run(image, 1.5).sources for given in (config, usualOptions().selectDetection)
    ]
    assert len(found[0]) == len(found[1]) == 1
    np.testing.assert_array_equal(found[0]["flux"], found[1]["flux"])

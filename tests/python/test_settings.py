"""The usual configuration as plain data is that of the classes, and is read in the same way."""

import copy
import json
import pickle

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask, SourceDetectionTask, configToDict, frontDoorConfig
from psfmatch.config import KernelOptions, Settings, SourceDetectionConfig, usualSettings
from psfmatch.config.settings import DEFAULTS
from psfmatch.differencing import FrontDoorConfig
from psfmatch.differencing.settings import (
    ChosenFields,
    FrontDoorOptions,
    chosenConfig,
    chosenData,
    chosenOptions,
    frontDoorSettings,
)

FIELDS = {"alardNGauss": 2, "alardSigGauss": (1, 2.5), "alardDegGauss": (3, 1), "kernelSize": 17, "maxKsumSigma": 2}
REGIONS = {"halfWidth": 9, "firstDegrees": (2, 0), "shapeScale": 2}


def test_theDefaultsAreThoseOfTheClasses():
    # To renew the file: json.dumps(configToDict(frontDoorConfig()), indent=1), and an empty line's end.
    assert json.loads(DEFAULTS.read_text()) == configToDict(frontDoorConfig())


def test_fieldsAreReadAsThoseOfAConfiguration():
    config, settings = frontDoorConfig(), frontDoorSettings()
    assert KernelOptions.fromConfig(settings.kernel.active) == KernelOptions.fromConfig(config.kernel.active)
    assert FrontDoorOptions.fromConfig(settings) == FrontDoorOptions.fromConfig(config)
    assert settings.kernel.name == "AL"
    assert "doAlign" in settings
    assert "doAlign" not in settings.kernel.active
    assert settings.selectDetection.statsMask == tuple(config.selectDetection.statsMask)
    with pytest.raises(AttributeError, match="no field 'doAling'"):
        settings.doAling  # noqa: B018


def test_settingsAreCopiedAndChanged():
    usual = usualSettings().selectDetection
    changed = usual.with_(thresholdValue=3.5)
    assert (usual.thresholdValue, changed.thresholdValue) == (10.0, 3.5)
    for twin in (copy.deepcopy(changed), pickle.loads(pickle.dumps(changed))):
        assert twin.toDict() == changed.toDict()
    changed.toDict()["thresholdValue"] = 1.0
    assert changed.thresholdValue == 3.5


def test_aTaskOfSettingsMakesItsConfigurationWhenItIsRead():
    task = ImagePsfMatchTask(config=frontDoorSettings(), threads=1)
    assert isinstance(task.settings, Settings)
    assert isinstance(task.selectDetection, SourceDetectionTask)
    assert task.selectDetection.getFullName() == "imagePsfMatch.selectDetection"
    assert isinstance(task.config, FrontDoorConfig)
    assert task.config is task.config
    assert configToDict(task.config) == configToDict(frontDoorConfig())
    assert task.kConfig.kernelSize == task.options.kernelSize
    assert isinstance(task.selectDetection.config, SourceDetectionConfig)
    assert task.selectDetection.config.toDict() == task.config.selectDetection.value.toDict()
    with pytest.raises(ValueError, match="frozen"):
        task.config.doAlign = False
    arrived = pickle.loads(pickle.dumps(ImagePsfMatchTask(config=frontDoorSettings(), threads=1)))
    assert configToDict(arrived.config) == configToDict(task.config)


@pytest.mark.parametrize("isConfig", [False, True], ids=["settings", "config"])
def test_whatIsChosenIsStoredAsTheConfigurationWouldStoreIt(isConfig):
    chosen = ChosenFields(frontDoorConfig() if isConfig else frontDoorSettings(), FIELDS, REGIONS)
    config = chosenConfig(chosen)
    assert config.chooseKernel is False
    assert list(config.kernel.active.alardSigGauss) == [1.0, 2.5]
    assert json.dumps(chosenData(chosen)) == json.dumps(configToDict(config))
    assert chosenOptions(chosen) == KernelOptions.fromConfig(config.kernel.active) == chosenOptions(config)
    assert chosenData(config) == configToDict(config)


def test_theSourcesOfBothAreTheSame():
    rng = np.random.default_rng(5)
    from psfmatch import MaskedImage

    image = MaskedImage(rng.normal(size=(120, 130)).astype(np.float32), variance=np.ones((120, 130), np.float32))
    image.image[60, 70] += 300.0
    config = SourceDetectionConfig()
    config.reEstimateBackground, config.thresholdValue = False, 10.0
    found = [
        SourceDetectionTask(config=given).run(image, 1.5).sources for given in (config, usualSettings().selectDetection)
    ]
    assert len(found[0]) == len(found[1]) == 1
    np.testing.assert_array_equal(found[0]["flux"], found[1]["flux"])

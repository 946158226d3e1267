"""Tests of what the code below the tasks is told."""

import dataclasses
import pickle

import pytest

from psfmatch.config import (
    DetectionConfig,
    KernelOptions,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    RegionOptions,
    StampOptions,
    SubtractBackgroundConfig,
    WarperConfig,
    WarpOptions,
)
from psfmatch.config.options import BackgroundOptions

GROUPS = {"regionConfig": "regions", "detectionConfig": "stamps", "afwBackgroundConfig": "background"}


@pytest.mark.parametrize(
    ("Options", "Config", "unread"),
    [
        (RegionOptions, RegionConfig, set()),
        (StampOptions, DetectionConfig, set()),
        # Fields with one value that is not refused.
        (BackgroundOptions, SubtractBackgroundConfig, {"isNanSafe", "approxOrderY"}),
        (WarpOptions, WarperConfig, set()),
    ],
)
def testFieldsAreThoseOfTheConfiguration(Options, Config, unread):
    config = Config()
    options = Options.fromConfig(config)
    names = {field.name for field in dataclasses.fields(Options)}
    assert names == set(config) - unread
    for name in names:
        value = getattr(config, name)
        assert getattr(options, name) == (tuple(value) if hasattr(value, "append") else value), name


@pytest.mark.parametrize("Config", [PsfMatchConfigAL, PsfMatchConfigDF])
def testKernelOptionsHoldEveryField(Config):
    config = Config()
    options = KernelOptions.fromConfig(config)
    for name in set(config) - {"useAfwBackground", *GROUPS, "warpingConfig"}:
        value = getattr(config, name)
        assert getattr(options, name) == (tuple(value) if hasattr(value, "append") else value), name
    assert options.regions == RegionOptions.fromConfig(config.regionConfig)
    assert options.warping == WarpOptions.fromConfig(config.warpingConfig)
    assert options.badPlanes() == config.badPlanes()
    # Fields of the other family have that family's defaults.
    assert options.alardNGauss == PsfMatchConfigAL().alardNGauss
    assert options.lambdaValue == PsfMatchConfigDF().lambdaValue


def testOptionsAreValues():
    config = PsfMatchConfigAL()
    options = KernelOptions.fromConfig(config)
    assert options == KernelOptions.fromConfig(PsfMatchConfigAL())
    assert hash(options) == hash(KernelOptions.fromConfig(config))
    assert pickle.loads(pickle.dumps(options)) == options
    assert KernelOptions.fromConfig(options) is options
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.kernelSize = 23
    # Read once: what is set later is another configuration.
    config.kernelSize = 31
    assert options.kernelSize == 21
    variant = dataclasses.replace(options, regions=dataclasses.replace(options.regions, layout="tiles"))
    assert (variant.regions.layout, options.regions.layout) == ("tiles", "stars")


def testBadPlanesFollowTheWeights():
    config = PsfMatchConfigAL()
    config.zeroWeightBadPixels = False
    assert KernelOptions.fromConfig(config).badPlanes() == tuple(config.badMaskPlanes)
    assert KernelOptions.fromConfig(config).edgePlanes()[: len(config.badPixelMaskPlanes)] == tuple(
        config.badPixelMaskPlanes
    )

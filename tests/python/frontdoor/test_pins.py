"""What a user sets of the kernel is kept, and the rest is chosen around it."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from lsst.pex.config import FieldValidationError

from psfmatch import InsufficientKernelSourcesError, frontDoorConfig, subtract
from psfmatch.cli import main
from psfmatch.config import KernelOptions, applyOverride, configFromDict, configToDict, updateFromDict
from psfmatch.fit import ImagePair, chooseKernel, effortFor
from psfmatch.fit.choice.choosing import fixedFields
from psfmatch.frontdoor import FrontDoorConfig
from psfmatch.frontdoor.configuration import setKernelFields
from psfmatch.frontdoor.options import RunOptions
from psfmatch.frontdoor.pins import pinnedFields, withPins
from psfmatch.kernels.gaussians import familyOf, isFamilyPinned, pinnedFamily
from psfmatch.tasks import ImagePsfMatchConfig
from psfmatch.testing import simulatePair

KERNEL = "kernel.active."
FWHMS, SHAPE = (2.6, 3.8), (500, 500)


def configured(*overrides):
    config = frontDoorConfig()
    for override in overrides:
        applyOverride(config, KERNEL + override)
    return config


# What was set


def test_nothingIsSet():
    config = frontDoorConfig()
    assert config.chooseKernel
    assert setKernelFields(config) == []
    same, pins = withPins(config)
    assert same is config
    assert (pins.values, pins.choices, pins.isFixed) == ({}, (), False)


def test_valueOfTheDefaultIsSetToo():
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 2
    config.kernel["AL"].regionConfig.update(shapeScale=1.0)
    assert setKernelFields(config) == ["spatialKernelOrder", "regionConfig.shapeScale"]
    assert pinnedFields(config).values == {"spatialKernelOrder": 2, "regionConfig.shapeScale": 1.0}


def inAFile(config):
    return configFromDict(FrontDoorConfig, json.loads(json.dumps(configToDict(config))))


@pytest.mark.parametrize(
    "copied", [lambda config: pickle.loads(pickle.dumps(config)), lambda config: inAFile(config.withNames())]
)
def test_copiesKnowWhatWasSet(copied):
    config = configured("spatialKernelOrder=2", "regionConfig.shapeScale=1.0")
    assert setKernelFields(copied(config)) == ["spatialKernelOrder", "regionConfig.shapeScale"]
    assert setKernelFields(copied(frontDoorConfig())) == []
    # What is set afterwards comes to it.
    later = copied(config)
    later.kernel.active.kernelSize = 21
    assert set(setKernelFields(later)) == {"kernelSize", "spatialKernelOrder", "regionConfig.shapeScale"}


def test_wholeFilesAreComparedWithTheDefaults(tmp_path):
    """A file of all fields without the names of those that were set: what differs from the default was."""
    saved = configured("spatialKernelOrder=1", "alardSigGauss=0.7,1.5,3.0")
    assert setKernelFields(inAFile(saved)) == ["spatialKernelOrder"]
    saved.save(str(tmp_path / "saved.py"))
    loaded = frontDoorConfig()
    loaded.load(str(tmp_path / "saved.py"))
    assert setKernelFields(loaded) == ["spatialKernelOrder"]


def test_filesOfSomeFields():
    config = frontDoorConfig()
    updateFromDict(config, {"kernel": {"values": {"AL": {"spatialKernelOrder": 2}}}, "doAlign": False})
    assert setKernelFields(config) == ["spatialKernelOrder"]
    assert config.kernel.active.fitForBackground  # the front door's defaults stay


def test_namedFields():
    config = frontDoorConfig()
    config.fixedKernelFields = ["kernelSize", "regionConfig.shapeScale"]
    assert pinnedFields(config).values == {"kernelSize": 21, "regionConfig.shapeScale": 1.0}
    config.fixedKernelFields = ["shapeScal"]
    with pytest.raises(ValueError, match=r"names 'shapeScal'.*did you mean regionConfig.shapeScale"):
        pinnedFields(config)


# What it implies


@pytest.mark.parametrize(
    ("overrides", "values", "sentence"),
    [
        (("alardSigGauss=0.8,2.0",), {"alardSigGauss": (0.8, 2.0), "alardNGauss": 2}, "2 values mean as many"),
        (("alardDegGauss=4,2,2,0",), {"alardDegGauss": (4, 2, 2, 0), "alardNGauss": 4}, "alardNGauss = 4"),
        (("alardGaussBeta=1.8",), {"scaleByFwhm": True}, "follow from the FWHMs as configured"),
        (
            ("scaleByFwhm=False", "kernelSize=25"),
            {"scaleByFwhm": False, "kernelSize": 25, "alardNGauss": 3, "alardSigGauss": (0.7, 1.5, 3.0)},
            "as wide as configured: alardNGauss = 3, alardSigGauss = 0.7 1.5 3.0.",
        ),
        (("fitForBackground=False",), {"fitForBackground": False, "spatialBgOrder": 0}, "stays in the difference"),
        (("fitMethod=regions",), {"fitMethod": "regions"}, "Set, not chosen: fitMethod = 'regions'."),
        (("sizeCellX=64", "badMaskPlanes=SAT"), {}, None),
        (("kernelSumClipping=True",), {}, None),
    ],
)
def test_implications(overrides, values, sentence):
    config = configured(*overrides)
    pins = pinnedFields(config)
    assert dict(pins.values) == values
    assert not pins.isFixed
    told = " ".join(choice.sentence for choice in pins.choices)
    assert (told == "") if sentence is None else (sentence in told)
    ready, again = withPins(config)
    ready.validate()  # with lists of one length
    assert again == pins
    assert setKernelFields(config) == list(ready.fixedKernelFields)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("fitMethod=candidates",), "to stars one by one (fitMethod 'candidates'), its model as configured"),
        (("kernelSumClipping=False",), "kernelSumClipping belongs to the fit to stars"),
        (("maxKsumSigma=4", "useCoreStats=True"), "useCoreStats, maxKsumSigma belong to the fit to stars"),
    ],
)
def test_starFitIsAsConfigured(overrides, sentence):
    config = configured(*overrides)
    ready, pins = withPins(config)
    assert pins.isFixed
    assert sentence in pins.choices[0].sentence
    assert not ready.chooseKernel
    assert ready.kernel.active.fitMethod == "candidates"
    assert config.chooseKernel  # the caller's stays as it is


def test_deltaFunctionsAreAsConfigured():
    config = frontDoorConfig()
    config.kernel.name = "DF"
    assert "Kernel DF: only that of Gaussians is chosen" in pinnedFields(config).choices[0].sentence
    assert not withPins(config)[0].chooseKernel


def test_stepsOfTheFrontDoor():
    own = ImagePsfMatchConfig()
    assert RunOptions.fromConfig(own) == RunOptions(KernelOptions.fromConfig(own.kernel.active), own)
    config = frontDoorConfig()
    config.doAlign = False
    options = RunOptions.fromConfig(config)
    assert (options.doAlign, options.doDecorrelate) == (False, True)


# What is tried


def test_fieldsOfTheModel():
    """What is set of the model is no longer tried otherwise."""
    pins = {"spatialKernelOrder": 1, "regionConfig.shapeScale": 0.0, "kernelSize": 21}
    assert fixedFields(pins) == {"kernelOrder": 1, "shapeScale": 0.0}
    assert fixedFields({}) == {}


def familyWith(*overrides):
    config, pins = withPins(configured(*overrides))
    options = KernelOptions.fromConfig(config.kernel.active)
    free = familyOf(*FWHMS, SHAPE, 15)
    return free, pinnedFamily(free, pins.values, options, FWHMS, SHAPE), pins.values


def test_gaussiansThatAreTried():
    free, family, pins = familyWith()
    assert family == free
    assert not isFamilyPinned(pins)
    free, family, pins = familyWith("kernelSize=25")
    assert family == replace(free, kernelSize=25)
    assert not isFamilyPinned(pins)
    _, family, pins = familyWith("alardSigGauss=0.8,9.0")
    assert family.sigmas == (0.8, 9.0)
    assert {len(degrees) for degrees in family.degrees} == {2}
    assert free.kernelSize < family.kernelSize == 55
    assert isFamilyPinned(pins)
    free, family, _ = familyWith("alardNGauss=2")
    assert family.sigmas == pytest.approx((free.sigmas[0], free.sigmas[-1]), abs=1e-3)
    free, family, _ = familyWith("alardDegGauss=4,2,2,0")
    assert family == replace(free, degrees=((4, 2, 2, 0),))
    # The documented rule: 0.7 px at least, and twice as wide each.
    _, family, _ = familyWith("scaleByFwhm=True")
    assert family.sigmas == pytest.approx((0.7, 1.4, 2.8))
    assert family.kernelSize == 21
    free, family, _ = familyWith("kernelSizeMin=5", "kernelSizeMax=21")
    assert family == replace(free, kernelSize=21)


# Whole runs


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=256, brightStars=300, faintStars=100)


@pytest.fixture(scope="module")
def usual(pair):
    return subtract(pair.template, pair.science)


def rid(config):
    """Switch what comes after the difference off."""
    config.doDecorrelate = config.doAssessQuality = False
    return config


def test_whatWouldBeChosenAnyway(pair, usual):
    """The order that is chosen, set: the same difference, bit for bit, and no grade is lost."""
    order = usual.config.kernel.active.spatialKernelOrder
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = order
    result = subtract(pair.template, pair.science, config=config)
    # One of the other orders may have been second in the choice of what follows.
    assert result.grade == usual.grade
    assert result.config.kernel.active.spatialKernelOrder == order
    assert result.config.kernel.active.fitMethod == "regions"
    assert f"Set, not chosen: spatialKernelOrder = {order}." in result.explain()
    assert list(result.config.fixedKernelFields) == ["spatialKernelOrder"]
    assert list(config.fixedKernelFields) == []
    replayed = subtract(pair.template, pair.science, config=result.config)
    assert np.array_equal(replayed.difference.image, result.difference.image, equal_nan=True)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("spatialKernelOrder=0", "spatialBgOrder=3"), {"spatialKernelOrder": 0, "spatialBgOrder": 3}),
        (("kernelSize=19",), {"kernelSize": 19, "scaleByFwhm": False}),
        (("alardNGauss=1", "alardDegGauss=3"), {"alardNGauss": 1, "alardDegGauss": [3]}),
        (("alardSigGauss=0.8,2.0",), {"alardSigGauss": [0.8, 2.0], "alardNGauss": 2, "fitMethod": "regions"}),
        (("regionConfig.layout=tiles", "regionConfig.rejectPixels=False"), {"layout": "tiles", "rejectPixels": False}),
        (("regionConfig.layout=stars", "regionConfig.rejectPixels=True"), {"layout": "stars", "rejectPixels": True}),
        (
            ("regionConfig.shapeScale=0.5", "regionConfig.variationScale=0.02", "regionConfig.widthScale=0.1"),
            {"shapeScale": 0.5, "variationScale": 0.02, "widthScale": 0.1},
        ),
        (("regionConfig.halfWidth=13", "regionConfig.maxRegions=50"), {"halfWidth": 13, "maxRegions": 50}),
        (("regionConfig.kernelNorm=0.4", "nStarPerCell=4"), {"kernelNorm": 0.4, "nStarPerCell": 4}),
        (("calculateKernelUncertainty=False",), {"calculateKernelUncertainty": False}),
        (("kernelSumClipping=False",), {"fitMethod": "candidates", "kernelSumClipping": False, "spatialBgOrder": 1}),
    ],
)
def test_kept(pair, overrides, expected):
    result = subtract(pair.template, pair.science, config=rid(configured(*overrides)))
    kernel = result.config.kernel.active
    found = {name: getattr(kernel if name in kernel else kernel.regionConfig, name) for name in expected}
    assert {name: list(v) if hasattr(v, "append") else v for name, v in found.items()} == expected
    assert any(choice.name == "pinned" and choice.sentence in result.explain() for choice in result.choices)
    assert not result.steps


def test_withoutBackground(pair):
    result = subtract(pair.template, pair.science, config=rid(configured("fitForBackground=False")))
    assert result.config.kernel.active.fitMethod == "regions"
    assert np.array_equal(np.unique(result.background(np.arange(9.0), np.arange(9.0))), [0.0])


def test_layoutAndStarsExclude(pair):
    with pytest.raises(ValueError, match="leave candidateList out, or the layout"):
        subtract(
            pair.template,
            pair.science,
            config=configured("regionConfig.layout=tiles"),
            candidateList=np.array([[50.0, 50.0]]),
        )


def test_tooFewStarsOfASetLayout(pair):
    """Where stars alone may be fitted and there are too few, tiles do not take their place."""
    options = KernelOptions.fromConfig(configured("minKernelSources=1000").kernel.active)
    images = pair.template.maskedImage, pair.science.maskedImage
    options, isThorough = effortFor(options, len(pair.truth.stars), FWHMS, images[0].shape)
    with pytest.raises(InsufficientKernelSourcesError, match=r"sources found .*minKernelSources is 1000"):
        chooseKernel(
            ImagePair(*images, pair.truth.stars, FWHMS),
            options,
            isThorough=isThorough,
            pinned={"regionConfig.layout": "stars"},
        )


# The command


def test_command(pair, tmp_path, capsys):
    """The same by -c, by a file of one field, and by the whole file that ``psfmatch config`` writes."""
    for name in ("template", "science"):
        getattr(pair, name).writeFits(tmp_path / f"{name}.fits")
    (tmp_path / "one.json").write_text('{"kernel": {"values": {"AL": {"spatialKernelOrder": 2}}}}')
    assert main(["config", "-c", "kernel.active.spatialKernelOrder=2", "-o", str(tmp_path / "all.json")]) == 0
    bare = ["-c", "doDecorrelate=False", "-c", "doAssessQuality=False", "--json", "--explain"]
    files = [str(tmp_path / f"{name}.fits") for name in ("template", "science")]
    capsys.readouterr()
    for ways in (
        ["-c", "kernel.active.spatialKernelOrder=2"],
        ["--config", str(tmp_path / "one.json")],
        ["--config", str(tmp_path / "all.json")],
    ):
        assert main(["subtract", *files, "-o", str(tmp_path / "difference.fits"), "--overwrite", *ways, *bare]) == 0
        out, err = capsys.readouterr()
        summary = json.loads(out)
        assert summary["spatialKernelOrder"] == 2, ways
        assert "Set, not chosen: spatialKernelOrder = 2." in out + err


# What the fit does not use


@pytest.mark.parametrize(
    "override", ["singleKernelClipping=False", "usePcaForSpatialKernel=True", "candidateResidualStdMax=2.5"]
)
def test_switchesOfTheStarFitAreRefused(override):
    name = override.partition("=")[0]
    config = configured("fitMethod=regions", override)
    with pytest.raises(FieldValidationError, match=rf"{name}=.* has no effect on a fit to regions.*set fitMethod to"):
        config.validate()
    # Set to what it is anyway, it changes nothing.
    setattr(config.kernel.active, name, getattr(frontDoorConfig().kernel.active, name))
    config.validate()


def test_deltaFunctionsOnRegionsAreRefused():
    config = frontDoorConfig()
    config.kernel.name = "DF"
    config.kernel.active.fitMethod = "regions"
    with pytest.raises(FieldValidationError, match=r"usePcaForSpatialKernel.*set fitMethod to 'candidates'"):
        config.validate()

"""Configuration: the documented fields and defaults, their checks, files, overrides and plain data."""

import json
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigChoiceField,
    ConfigField,
    ConfigurableField,
    Field,
    FieldValidationError,
    ListField,
)

from psfmatch.config import (
    DetectionConfig,
    PsfMatchConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
    WarperConfig,
    applyOverride,
    configFromDict,
    configToDict,
)

allClasses = [
    DetectionConfig,
    PsfMatchConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
    WarperConfig,
]

edgePlanes = ["NO_DATA", "EDGE", "SAT"]
commonDefaults = {
    "fitMethod": "candidates",
    "useAfwBackground": False,
    "fitForBackground": False,
    "kernelBasisSet": "alard-lupton",
    "kernelSize": 21,
    "scaleByFwhm": True,
    "kernelSizeFwhmScaling": 6.0,
    "kernelSizeMin": 21,
    "kernelSizeMax": 35,
    "spatialModelType": "chebyshev1",
    "spatialBgModelType": "same",
    "splineDegree": 3,
    "splineKnotsX": [0.0],
    "splineKnotsY": [0.0],
    "scaleModelType": "constant",
    "scaleOrder": 1,
    "spatialKernelOrder": 2,
    "spatialBgOrder": 1,
    "sizeCellX": 128,
    "sizeCellY": 128,
    "nStarPerCell": 3,
    "maxSpatialIterations": 3,
    "usePcaForSpatialKernel": False,
    "subtractMeanForPca": True,
    "weightPcaByInformation": True,
    "numPrincipalComponents": 5,
    "singleKernelClipping": True,
    "kernelSumClipping": True,
    "spatialKernelClipping": True,
    "checkConditionNumber": False,
    "badMaskPlanes": edgePlanes,
    "candidateResidualMeanMax": 0.25,
    "candidateResidualStdMax": 1.50,
    "useCoreStats": False,
    "candidateCoreRadius": 3,
    "maxKsumSigma": 3.0,
    "maxConditionNumber": 5.0e7,
    "conditionNumberType": "EIGENVALUE",
    "maxSpatialConditionNumber": 1.0e10,
    "iterateSingleKernel": False,
    "constantVarianceWeighting": True,
    "calculateKernelUncertainty": False,
    "useBicForKernelBasis": False,
    # Ours, not the reference's:
    "zeroWeightBadPixels": True,
    "badPixelMaskPlanes": ["BAD", "SAT", "CR", "EDGE", "NO_DATA"],
    "maskedKernelFraction": 0.01,
    "safeKernelFraction": 0.0,
    "maskedStampFraction": 0.1,
    "doCopyEdge": False,
    "minKernelSources": 3,
}
# The documented interface: every field that is not itself a configuration, with its default.
documentedDefaults = {
    DetectionConfig: {
        "detThreshold": 10.0,
        "detThresholdType": "pixel_stdev",
        "detOnTemplate": True,
        "badMaskPlanes": edgePlanes,
        "fpNpixMin": 5,
        "fpNpixMax": 500,
        "fpGrowKernelScaling": 1.0,
        "fpGrowPix": 30,
        "scaleByFwhm": True,
    },
    PsfMatchConfig: commonDefaults,
    PsfMatchConfigAL: commonDefaults
    | {
        "alardNGauss": 3,
        "alardDegGauss": [4, 2, 2],
        "alardSigGauss": [0.7, 1.5, 3.0],
        "alardWidthRule": "continuous",
        "alardGaussBeta": 2.0,
        "alardMinSig": 0.7,
        "alardDegGaussDeconv": 3,
        "alardMinSigDeconv": 0.4,
        "alardNGaussDeconv": 3,
    },
    PsfMatchConfigDF: commonDefaults
    | {
        "kernelBasisSet": "delta-function",
        "maxConditionNumber": 5.0e6,
        "usePcaForSpatialKernel": True,
        "useRegularization": True,
        "regularizationType": "centralDifference",
        "centralRegularizationStencil": 9,
        "forwardRegularizationOrders": [1, 2],
        "regularizationBorderPenalty": 3.0,
        "lambdaType": "absolute",
        "lambdaValue": 0.2,
        "lambdaScaling": 1e-4,
        "lambdaStepType": "log",
        "lambdaMin": -1.0,
        "lambdaMax": 2.0,
        "lambdaStep": 0.1,
    },
    RegionConfig: {
        "layout": "stars",
        "halfWidth": 15,
        "maxRegions": 600,
        "iterations": 3,
        "refineBackground": True,
        "rejectPixels": True,
        "threshold": 5.0,
        "growth": 6,
        "shapeScale": 1.0,
        "variationScale": 0.1,
        "widthScale": 0.2,
        "kernelNorm": 0.35,
        "firstDegrees": [],
    },
    SourceDetectionConfig: {
        "minPixels": 1,
        "isotropicGrow": False,
        "combinedGrow": True,
        "nSigmaToGrow": 2.4,
        "returnOriginalFootprints": False,
        "thresholdValue": 5.0,
        "includeThresholdMultiplier": 1.0,
        "thresholdType": "stdev",
        "thresholdPolarity": "positive",
        "adjustBackground": 0.0,
        "reEstimateBackground": True,
        "doTempLocalBackground": True,
        "doTempWideBackground": False,
        "nPeaksMaxSimple": 1,
        "nSigmaForKernel": 7.0,
        "statsMask": ["BAD", "SAT", "EDGE", "NO_DATA"],
    },
    SourceMeasurementConfig: {"badMaskPlanes": ["BAD", "SAT", "CR", "EDGE", "NO_DATA"]},
    SubtractBackgroundConfig: {
        "statisticsProperty": "MEANCLIP",
        "undersampleStyle": "REDUCE_INTERP_ORDER",
        "binSize": 128,
        "binSizeX": 0,
        "binSizeY": 0,
        "algorithm": "AKIMA_SPLINE",
        "ignoredPixelMask": ["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
        "isNanSafe": False,
        "useApprox": True,
        "approxOrderX": 6,
        "approxOrderY": -1,
        "weighting": True,
    },
    WarperConfig: {
        "warpingKernelName": "lanczos3",
        "maskWarpingKernelName": "bilinear",
        "interpLength": 10,
        "cacheSize": 1000000,
        "growFullMask": 16,
        "keepCentroids": False,
    },
}


class WarpTask:
    """Something that a `ConfigurableField` can hold."""

    ConfigClass = WarperConfig


class OtherWarpTask(WarpTask):
    """Another one with the same configuration."""


class MatchConfig(Config):
    """A task's configuration as `psfmatch.tasks` has it: a choice of kernels and a subtask."""

    kernel = ConfigChoiceField(
        doc="Kernel family.", typemap={"AL": PsfMatchConfigAL, "DF": PsfMatchConfigDF}, default="AL"
    )
    warp = ConfigurableField(doc="Subtask.", target=WarpTask)


class SeveralConfig(Config):
    """A choice of which several can be made at once."""

    kernels = ConfigChoiceField(
        doc="Kernel families.",
        typemap={"AL": PsfMatchConfigAL, "DF": PsfMatchConfigDF},
        default=["DF"],
        multi=True,
    )


@pytest.fixture
def matchConfig():
    return MatchConfig()


@pytest.mark.parametrize("ConfigClass", allClasses)
def test_everyFieldIsDocumentedAndHasItsDefault(ConfigClass):
    config = ConfigClass()
    config.validate()
    expected = documentedDefaults[ConfigClass]
    groups = {name for name, field in ConfigClass._fields.items() if isinstance(field, ConfigField)}
    assert {name: value for name, value in config.toDict().items() if name not in groups} == expected
    for name, field in ConfigClass._fields.items():
        assert len(field.doc) > 15, name


def test_subConfigurations():
    config = PsfMatchConfig()
    assert type(config.warpingConfig) is WarperConfig
    assert type(config.detectionConfig) is DetectionConfig
    assert type(config.regionConfig) is RegionConfig
    assert type(config.afwBackgroundConfig) is SubtractBackgroundConfig
    detection = SourceDetectionConfig()
    assert (detection.background.binSize, detection.background.useApprox) == (128, True)
    for background, binSize in ((detection.tempLocalBackground, 64), (detection.tempWideBackground, 512)):
        assert background.binSize == binSize
        assert background.algorithm == "AKIMA_SPLINE"
        assert not background.useApprox


@pytest.mark.parametrize(
    ("ConfigClass", "name", "good", "bad"),
    [
        (DetectionConfig, "detThreshold", 3.0, 2.9),
        (DetectionConfig, "fpNpixMin", 5, 4),
        (DetectionConfig, "fpNpixMax", 500, 501),
        (DetectionConfig, "fpGrowKernelScaling", 1.0, 0.9),
        (DetectionConfig, "fpGrowPix", 10, 9),
        (PsfMatchConfig, "kernelSize", 1, 0),
        (PsfMatchConfig, "kernelSizeFwhmScaling", 1.0, 0.9),
        (PsfMatchConfig, "spatialKernelOrder", 0, -1),
        (PsfMatchConfig, "spatialBgOrder", 0, -1),
        (PsfMatchConfig, "sizeCellX", 32, 31),
        (PsfMatchConfig, "sizeCellY", 32, 31),
        (PsfMatchConfig, "nStarPerCell", 1, 0),
        (PsfMatchConfig, "nStarPerCell", -1, -2),
        (PsfMatchConfig, "maxSpatialIterations", 5, 6),
        (PsfMatchConfig, "maxSpatialIterations", 1, 0),
        (PsfMatchConfig, "numPrincipalComponents", 3, 2),
        (PsfMatchConfig, "candidateResidualMeanMax", 0.0, -0.1),
        (PsfMatchConfig, "candidateResidualStdMax", math.inf, math.nan),
        (PsfMatchConfig, "candidateCoreRadius", 1, 0),
        (PsfMatchConfig, "maxKsumSigma", 0.0, -1.0),
        (PsfMatchConfig, "maxConditionNumber", 0.0, -1.0),
        (PsfMatchConfig, "maxSpatialConditionNumber", 0.0, -1.0),
        (PsfMatchConfig, "maskedKernelFraction", 0.0, -0.01),
        (PsfMatchConfig, "maskedKernelFraction", 0.99, 1.0),
        (PsfMatchConfig, "safeKernelFraction", 0.0, -0.01),
        (PsfMatchConfig, "safeKernelFraction", 0.99, 1.0),
        (PsfMatchConfig, "maskedStampFraction", 1.0, 1.01),
        (PsfMatchConfig, "minKernelSources", 1, 0),
        (PsfMatchConfigAL, "alardNGauss", 1, 0),
        (PsfMatchConfigAL, "alardDegGauss", [0, -1], [-2, 1]),
        (PsfMatchConfigAL, "alardSigGauss", [0.5], [0.0]),
        (PsfMatchConfigAL, "alardGaussBeta", 0.0, -0.1),
        (PsfMatchConfigAL, "alardMinSig", 0.25, 0.24),
        (PsfMatchConfigAL, "alardMinSigDeconv", 0.25, 0.24),
        (PsfMatchConfigAL, "alardDegGaussDeconv", 1, 0),
        (PsfMatchConfigAL, "alardNGaussDeconv", 1, 0),
        (PsfMatchConfigDF, "centralRegularizationStencil", 5, 7),
        (PsfMatchConfigDF, "forwardRegularizationOrders", [1, 2, 3], [0]),
        (PsfMatchConfigDF, "forwardRegularizationOrders", [3], [4]),
        (PsfMatchConfigDF, "regularizationBorderPenalty", 0.0, -1.0),
        (PsfMatchConfigDF, "lambdaStep", 0.01, 0.0),
        (SubtractBackgroundConfig, "binSize", 1, 0),
        (SourceDetectionConfig, "thresholdValue", 0.0, -1.0),
        (WarperConfig, "cacheSize", 0, -1),
    ],
)
def test_checksHoldAtAssignment(ConfigClass, name, good, bad):
    config = ConfigClass()
    setattr(config, name, good)
    with pytest.raises(FieldValidationError, match=name):
        setattr(config, name, bad)
    assert getattr(config, name) == good, "a refused value changes nothing"


@pytest.mark.parametrize("ConfigClass", allClasses)
def test_choicesRefuseWhatIsNotListed(ConfigClass):
    config = ConfigClass()
    for name, field in ConfigClass._fields.items():
        if isinstance(field, ChoiceField):
            for choice in field.allowed:
                setattr(config, name, choice)
            with pytest.raises(FieldValidationError, match="is not allowed"):
                setattr(config, name, "foo" if field.dtype is str else -1)
            assert None not in field.allowed, name


@pytest.mark.parametrize("ConfigClass", allClasses)
def test_aStringIsNoListOfPlanes(ConfigClass):
    for name, field in ConfigClass._fields.items():
        if isinstance(field, ListField) and field.itemtype is str:
            with pytest.raises(FieldValidationError, match="not a valid value: S"):
                setattr(ConfigClass(), name, "SAT")


@pytest.mark.parametrize(
    ("ConfigClass", "changes", "message"),
    [
        (DetectionConfig, {"fpNpixMin": 30, "fpNpixMax": 20}, "fpNpixMin=30 is above fpNpixMax=20"),
        (SubtractBackgroundConfig, {"approxOrderY": 3}, "approxOrderY=3 with approxOrderX=6.*to -1"),
        (WarperConfig, {"warpingKernelName": "bilinear", "maskWarpingKernelName": "lanczos3"}, "6 px.*2 px"),
        (PsfMatchConfig, {"kernelSizeMin": 41}, "kernelSizeMin=41 is above kernelSizeMax=35"),
        (PsfMatchConfigAL, {"alardNGauss": 2}, "alardDegGauss has 3 items for alardNGauss=2"),
        (PsfMatchConfigAL, {"alardSigGauss": [1.0]}, "alardSigGauss has 1 items for alardNGauss=3"),
        (PsfMatchConfigAL, {"kernelSize": 20}, "kernelSize=20 is even.*use 21"),
        (PsfMatchConfigAL, {"kernelBasisSet": "delta-function"}, "set kernel.name to 'DF'"),
        (PsfMatchConfigAL, {"alardWidthRule": "classic", "alardNGaussDeconv": 2}, "classic rule needs 3"),
        (PsfMatchConfigDF, {"kernelBasisSet": "alard-lupton"}, "set kernel.name to 'AL'"),
        (PsfMatchConfigDF, {"useBicForKernelBasis": True}, "no polynomial degrees to choose"),
        (PsfMatchConfigDF, {"forwardRegularizationOrders": []}, "Minimum allowed list length=1"),
        (PsfMatchConfigDF, {"lambdaMin": 3.0}, "lambdaMin=3 is above lambdaMax=2"),
        (
            PsfMatchConfigDF,
            {"lambdaType": "minimizeBiasedRisk", "lambdaStepType": "linear"},
            "starts at lambdaMin=-1; start at 0",
        ),
    ],
)
def test_validateSaysWhatToDo(ConfigClass, changes, message):
    config = ConfigClass()
    config.update(**changes)
    with pytest.raises(FieldValidationError, match=message):
        config.validate()


def test_validateAllowsWhatIsUnusual():
    # The number of Gaussians with its lists; an even kernel of delta functions; the mask kernel of the image;
    # the classic rule's numbers where they are not used.
    PsfMatchConfigAL(alardNGauss=1, alardDegGauss=[2], alardSigGauss=[1.5]).validate()
    PsfMatchConfigDF(kernelSize=20).validate()
    WarperConfig(warpingKernelName="bilinear", maskWarpingKernelName="").validate()
    PsfMatchConfigAL(alardWidthRule="classic", alardNGaussDeconv=1, scaleByFwhm=False).validate()
    SubtractBackgroundConfig(approxOrderX=2, approxOrderY=2).validate()


@pytest.mark.parametrize("ConfigClass", [*allClasses, MatchConfig])
def test_savedFileGivesTheConfigurationBack(ConfigClass, tmp_path):
    config = ConfigClass()
    for name, field in ConfigClass._fields.items():
        if field.dtype is bool:
            setattr(config, name, not getattr(config, name))
    if ConfigClass is MatchConfig:
        config.kernel.name = "DF"
        config.kernel["AL"].alardDegGauss = [3, 1, 1]
        config.kernel["DF"].maxKsumSigma = math.inf
        config.warp.interpLength = 0
    path = str(tmp_path / "config.py")
    config.save(path)
    loaded = ConfigClass()
    loaded.load(path)
    assert loaded.toDict() == config.toDict()
    assert pickle.loads(pickle.dumps(config)).toDict() == config.toDict()


class TestApplyOverride:
    @pytest.mark.parametrize(
        ("assignment", "read", "expected"),
        [
            ("kernel.active.spatialKernelOrder=1", lambda c: c.kernel.active.spatialKernelOrder, 1),
            (" kernel.AL.kernelSize = 23 ", lambda c: c.kernel["AL"].kernelSize, 23),
            ("config.kernel['AL'].kernelSize=25", lambda c: c.kernel["AL"].kernelSize, 25),
            ('kernel["DF"].kernelSize=19', lambda c: c.kernel["DF"].kernelSize, 19),
            ("kernel=DF", lambda c: c.kernel.name, "DF"),
            ("kernel.name=DF", lambda c: c.kernel.name, "DF"),
            ("config.kernel.name='DF'", lambda c: c.kernel.name, "DF"),
            ("kernel.active.fitForBackground=true", lambda c: c.kernel.active.fitForBackground, True),
            ("kernel.active.fitForBackground=True", lambda c: c.kernel.active.fitForBackground, True),
            ("kernel.active.maxKsumSigma=4", lambda c: c.kernel.active.maxKsumSigma, 4.0),
            ("kernel.active.maxKsumSigma=1e3", lambda c: c.kernel.active.maxKsumSigma, 1e3),
            ("kernel.active.maxKsumSigma=inf", lambda c: c.kernel.active.maxKsumSigma, math.inf),
            (
                "kernel.active.spatialModelType=polynomial",
                lambda c: c.kernel.active.spatialModelType,
                "polynomial",
            ),
            ("kernel.active.alardDegGauss=3,2,1", lambda c: c.kernel.active.alardDegGauss, [3, 2, 1]),
            ("kernel.active.alardDegGauss=[3, 2, 1]", lambda c: c.kernel.active.alardDegGauss, [3, 2, 1]),
            ("kernel.active.alardDegGauss=4", lambda c: c.kernel.active.alardDegGauss, [4]),
            ("kernel.active.alardSigGauss=1,2.5", lambda c: c.kernel.active.alardSigGauss, [1.0, 2.5]),
            ("kernel.active.badMaskPlanes=SAT, BAD", lambda c: c.kernel.active.badMaskPlanes, ["SAT", "BAD"]),
            ("kernel.active.badMaskPlanes=['SAT']", lambda c: c.kernel.active.badMaskPlanes, ["SAT"]),
            ("kernel.active.badMaskPlanes=SAT", lambda c: c.kernel.active.badMaskPlanes, ["SAT"]),
            ("kernel.active.badMaskPlanes=", lambda c: c.kernel.active.badMaskPlanes, []),
            (
                "kernel.active.warpingConfig.maskWarpingKernelName=",
                lambda c: c.kernel.active.warpingConfig.maskWarpingKernelName,
                "",
            ),
            ("warp.interpLength=-1", lambda c: c.warp.interpLength, -1),
        ],
    )
    def test_setsOneField(self, matchConfig, assignment, read, expected):
        assert read(matchConfig) != expected
        applyOverride(matchConfig, assignment)
        assert read(matchConfig) == expected
        matchConfig.kernel["AL"].alardDegGauss = matchConfig.kernel["AL"].alardSigGauss = [1, 1, 1]
        matchConfig.validate()

    @pytest.mark.parametrize(
        ("assignment", "message"),
        [
            ("kernel.active.spatialKernelOrdr=1", "did you mean spatialKernelOrder"),
            (
                "spatialKernelOrder=1",
                "'spatialKernelOrder'; did you mean kernel.active.spatialKernelOrder or",
            ),
            ("alardngauss=1", "mean kernel.active.alardNGauss"),
            ("kernel.active.lambdaValue=1", "mean kernel.DF.lambdaValue"),
            ("warp.interpLenght=1", "mean interpLength"),
            ("xyzzy=1", "known are kernel, warp$"),
            ("kernel=XX", "Unknown key 'XX'.*Known are AL, DF"),
            ("kernel.XX.kernelSize=1", "there is no choice 'XX'; known are AL, DF"),
            ("kernel.active=1", "it is a group.*kernelSize"),
            ("warp=1", "it is a group.*interpLength"),
            ("kernel.active.kernelSize.side=1", "kernelSize is a value, not a group"),
            ("kernel.active.kernelSize=0", "outside of valid range.*It means: Side of the kernel"),
            ("kernel.active.kernelSize=2.5", "Expected type int"),
            ("kernel.active.kernelSize=True", "Expected a number, not True"),
            ("kernel.active.maxKsumSigma=much", "Expected type float"),
            ("kernel.active.fitForBackground=1", "Expected type bool"),
            ("kernel.active.kernelBasisSet=5", r"Allowed values: \[alard-lupton, delta-function\]"),
            ("kernel.active.kernelSize", "expected field=value"),
            ("=3", "expected field=value"),
        ],
    )
    def test_saysWhatIsWrong(self, matchConfig, assignment, message):
        with pytest.raises(ValueError, match=message) as caught:
            applyOverride(matchConfig, assignment)
        assert "\n" not in str(caught.value), "one line for the command line"
        assert matchConfig.toDict() == MatchConfig().toDict()

    def test_refusesAFrozenConfiguration(self, matchConfig):
        matchConfig.freeze()
        with pytest.raises(ValueError, match="frozen"):
            applyOverride(matchConfig, "warp.interpLength=3")

    def test_executesNothing(self, matchConfig):
        applyOverride(matchConfig, "kernel.active.badMaskPlanes=__import__('sys').exit()")
        assert matchConfig.kernel.active.badMaskPlanes == ["__import__('sys').exit()"]

    def test_severalChoices(self):
        config = SeveralConfig()
        applyOverride(config, "kernels=AL,DF")
        assert sorted(config.kernels.names) == ["AL", "DF"]
        applyOverride(config, "kernels.names=AL")
        assert sorted(config.kernels.names) == ["AL"]
        with pytest.raises(ValueError, match="no choice 'active'; known are AL, DF"):
            applyOverride(config, "kernels.active.kernelSize=3")


class TestPlainData:
    @pytest.mark.parametrize("ConfigClass", [*allClasses, MatchConfig, SeveralConfig])
    def test_jsonRoundTripOfDefaults(self, ConfigClass):
        config = ConfigClass()
        text = json.dumps(configToDict(config), allow_nan=False)
        assert configFromDict(ConfigClass, json.loads(text)).toDict() == config.toDict()

    # The values that JSON or the types could spoil: large and tiny numbers, infinity, lists, choices, flags.
    @settings(max_examples=25, deadline=None)
    @given(
        name=st.sampled_from(["AL", "DF"]),
        order=st.integers(0, 10),
        sigma=st.floats(0, allow_nan=False),
        sigmas=st.lists(st.floats(0.1, 1e300), min_size=3, max_size=3),
        planes=st.lists(st.text(min_size=2), max_size=4),
        clip=st.booleans(),
    )
    def test_jsonRoundTrip(self, name, order, sigma, sigmas, planes, clip):
        config = MatchConfig()
        config.kernel.name = name
        config.kernel["AL"].alardSigGauss = sigmas
        active = config.kernel.active
        active.spatialKernelOrder = order
        active.maxKsumSigma = sigma
        active.badMaskPlanes = planes
        active.kernelSumClipping = clip
        text = json.dumps(configToDict(config), allow_nan=False)
        back = configFromDict(MatchConfig, json.loads(text))
        assert back.toDict() == config.toDict()

    def test_activeOnlyLeavesTheOthersAtTheirDefaults(self, matchConfig):
        matchConfig.kernel["AL"].kernelSize = 25
        matchConfig.kernel["DF"].kernelSize = 15
        data = configToDict(matchConfig, activeOnly=True)
        assert list(data["kernel"]["values"]) == ["AL"]
        back = configFromDict(MatchConfig, data)
        assert (back.kernel["AL"].kernelSize, back.kernel["DF"].kernelSize) == (25, 21)
        assert list(configToDict(SeveralConfig(), activeOnly=True)["kernels"]["values"]) == ["DF"]

    def test_missingFieldsKeepTheirDefaults(self):
        config = configFromDict(MatchConfig, {"kernel": {"name": "DF"}})
        assert config.kernel.name == "DF"
        assert config.kernel["DF"] == PsfMatchConfigDF()
        assert configFromDict(MatchConfig, {}).toDict() == MatchConfig().toDict()

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"kernl": {}}, "MatchConfig has no field kernl; use kernel"),
            ({"xyzzy": 1}, "use one of kernel, warp"),
            (
                {"kernel": {"values": {"AL": {"kernelSice": 3}}}},
                "no field kernel.AL.kernelSice; use kernelSize",
            ),
            ({"kernel": {"values": {"XX": {}}}}, "kernel has no choice 'XX'; it has AL, DF"),
            ({"kernel": {"name": "XX"}}, "kernel cannot be 'XX'; it has AL, DF"),
            ({"kernel": {"values": {"AL": {"kernelSize": "21"}}}}, "Expected type int"),
            ({"kernel": {"values": {"AL": {"maxKsumSigma": "much"}}}}, "Expected type float"),
            ({"kernel": {"values": {"AL": {"maxKsumSigma": {}}}}}, "Expected type float"),
            ({"kernel": {"values": {"AL": {"kernelSize": 20}}}}, "kernelSize=20 is even"),
            ({"kernel": 3}, "kernel is a group of fields, but the data hold 3"),
            ({"kernel": "XX"}, "kernel cannot be 'XX'; it has AL, DF"),
            ({"kernel": {"activ": {}}}, "kernel has no choice 'activ'; did you mean active"),
            ({"kernel.active.kernelSice": 3}, "no field kernel.active.kernelSice; use kernelSize"),
            ({"warp": 3}, "warp is a group of fields, but the data hold 3"),
            ([1], r"MatchConfig is a group of fields, but the data hold \[1\]"),
        ],
    )
    def test_saysWhatIsWrong(self, data, message):
        with pytest.raises(ValueError, match=message):
            configFromDict(MatchConfig, data)

    def test_replacedSubtaskIsRecordedButNotImported(self, matchConfig):
        matchConfig.warp.retarget(OtherWarpTask)
        data = configToDict(matchConfig)
        assert data["warp"]["_target"].endswith(".OtherWarpTask")
        with pytest.raises(ValueError, match=r"made for .*OtherWarpTask, here it is .*\.WarpTask; retarget"):
            configFromDict(MatchConfig, data)

    def test_noneIsKept(self):
        class OptionalConfig(Config):
            limit = Field[float](doc="A limit that may be absent.", optional=True)

        assert configToDict(OptionalConfig()) == {"limit": None}
        assert configFromDict(OptionalConfig, {"limit": None}).limit is None

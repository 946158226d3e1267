"""Defaults that the tables of the reference page name are those of the configuration classes."""

import ast
import re

import pytest
from lsst.pex.config import Config, ConfigField, ConfigurableField, FieldValidationError
from referencePage import codes, readRows, rowsOf

from psfmatch.config import (
    DetectionConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    RegionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
    WarperConfig,
)
from psfmatch.frontdoor import FrontDoorConfig

AL, DF, REGIONS, FRONT_DOOR = PsfMatchConfigAL(), PsfMatchConfigDF(), RegionConfig(), FrontDoorConfig()
TABLE = [row for row in rowsOf("Configuration of the kernel") + rowsOf("The front door") if "default" in row.header]
NAMED = [(name, row) for row in TABLE for name in codes(row.cells[0])]


def parts(text):
    """Split at commas outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^(\[]*[)\]])", text)]


def valueOf(text):
    """Return the value that a word of the page stands for; units are left out."""
    text = re.sub(r" px$", "", text.strip())
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def expected(row, name):
    """Return what the row says of a field's default, for the families (AL, DF)."""
    names, text = codes(row.cells[0]), row.cells[1].split(";")[0]
    said = [text] if len(names) == 1 else parts(text)
    assert len(said) in (1, len(names)), row
    word = said[names.index(name)] if len(said) > 1 else said[0]
    alternatives = [re.sub(r" \((AL|DF)\)$", "", part) for part in word.split(" or ")]
    return valueOf(alternatives[0]), valueOf(alternatives[-1])


def isSame(value, said):
    """Whether the page says the value: lists in brackets or by commas, empty ones as none, numbers by kind, too."""
    if isinstance(value, str | bool | int | float):
        return value == said and (isinstance(value, float) or type(value) is type(said))
    if said is None:
        return value is None
    values = list(value or [])
    return values == (list(said) if isinstance(said, list | tuple) else [] if said == "none" else said.split(", "))


@pytest.mark.parametrize(("name", "row"), NAMED, ids=[name for name, _ in NAMED])
def test_defaults(name, row):
    """Of the class or classes that have the field; sub-configurations have none."""
    owners = [config for config in (FRONT_DOOR, REGIONS) if row.section == "The front door" or name in REGIONS._fields]
    owners = [config for config in owners if name in config._fields and type(config)._fields[name].doc]
    owners = owners[:1] or [config for config in (AL, DF) if name in config._fields]
    assert owners, f"no class has a field {name}"
    for config in owners:
        if isinstance(config._fields[name], ConfigField):
            assert row.cells[1] == ""
            continue
        said, value = expected(row, name)[config is DF], getattr(config, name)
        assert isSame(value, said), (value, said)


def test_everyFieldOfTheRegionsAndOfTheFrontDoor():
    names = {name for name, _ in NAMED}
    assert set(RegionConfig._fields) <= names
    inherited = {name for base in FrontDoorConfig.__mro__[1:] if issubclass(base, Config) for name in base._fields}
    assert set(FrontDoorConfig._fields) - inherited <= names


def test_fieldsWithoutADefaultInTheTables():
    """What is named in a sentence alone has its default in the rows of the differences, or says so elsewhere."""
    told = {name for name, _ in NAMED}
    others = (set(PsfMatchConfigAL._fields) | set(PsfMatchConfigDF._fields)) - told
    assert others == {
        "weightPcaByInformation",
        "alardWidthRule",
        "badPixelMaskPlanes",
        "zeroWeightBadPixels",
        "maskedKernelFraction",
        "safeKernelFraction",
        "maskedStampFraction",
        "doCopyEdge",
        "minKernelSources",
    }


def test_defaultsInSentences():
    """As ``name`` = value, in the differences."""
    found = 0
    for row in rowsOf("Deliberate differences"):
        for name, word in re.findall(r"`(\w+)` = ([\d.]+)", " ".join(row.cells)):
            assert getattr(AL, name) == valueOf(word)
            found += 1
    assert found >= 3
    assert AL.alardWidthRule == "continuous"
    assert FRONT_DOOR.kernel.active.maskedKernelFraction == AL.maskedKernelFraction
    assert (AL.safeKernelFraction, FRONT_DOOR.kernel.active.safeKernelFraction) == (0.0, 0.05)


WARPER_ROWS = [row for row in rowsOf("Warping") if "`WarperConfig." in row.cells[0] + row.cells[1]]


def test_warper():
    """In brackets behind the field."""
    said = {}
    for row in WARPER_ROWS:
        text = row.cells[0] if "`" in row.cells[0] else row.cells[1]
        said |= dict(re.findall(r"`(?:WarperConfig\.)?(\w+)` \(([^;)]+)", text))
    assert set(said) == set(WarperConfig._fields)
    config = WarperConfig()
    assert said.pop("growFullMask") == "EDGE"
    assert config.growFullMask == 1 << 4
    for name, word in said.items():
        assert getattr(config, name) == valueOf(word), name


CLASSES = {
    "DetectionConfig": DetectionConfig,
    "SubtractBackgroundConfig": SubtractBackgroundConfig,
    "SourceDetectionConfig": SourceDetectionConfig,
    "SourceMeasurementConfig": SourceMeasurementConfig,
}


def test_fieldsOfDetectionMeasurementAndSky():
    """Each field has one row, of the class that is named there or before."""
    said = {name: set() for name in CLASSES}
    current = ""
    for row in rowsOf("Configuration of detection, measurement and sky"):
        named = re.match(r"(\w+Config):", row.cells[0])
        current = named[1] if named else current
        if "`" in row.cells[0] and "afwBackgroundConfig" not in row.cells[0]:
            said[current] |= set(" ".join(codes(row.cells[0])).split())
    assert said == {name: set(ConfigClass._fields) for name, ConfigClass in CLASSES.items()}


def test_onlyOneFieldIsRefused():
    """Set to another value than the default; values that no field may have do not count."""
    refused = []
    for ConfigClass in CLASSES.values():
        for name, field in ConfigClass._fields.items():
            if field.dtype is not bool:
                continue
            config = ConfigClass()
            try:
                setattr(config, name, not getattr(config, name))
                config.validate()
            except FieldValidationError:
                refused.append(name)
    assert refused == ["isNanSafe"]


def test_subConfigurations():
    kernel = AL
    for name in ("warpingConfig", "detectionConfig", "afwBackgroundConfig", "regionConfig"):
        assert isinstance(kernel._fields[name], ConfigField)
    config = FRONT_DOOR
    assert isinstance(config._fields["selectDetection"], ConfigurableField)
    assert isinstance(config._fields["selectMeasurement"], ConfigurableField)
    assert config.kernel.name == "AL"
    assert type(config.kernel["DF"]) is PsfMatchConfigDF


def test_theReaderSeesWhatIsWrong():
    """The checks above are not vacuous: a row with another default does not pass."""
    (row,) = readRows("## X\n| field | default | says |\n|---|---|---|\n| `kernelSize`, `sizeCellX` | 23, 128 | |\n")
    assert not isSame(AL.kernelSize, expected(row, "kernelSize")[0])
    assert isSame(AL.sizeCellX, expected(row, "sizeCellX")[0])
    assert len(NAMED) > 60

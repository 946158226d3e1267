"""Tasks: names, configuration, subtasks of either kind, metadata, timing."""

import logging
import pickle
import time
from datetime import datetime

import numpy as np
import pytest
from astropy.table import Table
from lsst.pex.config import Config, ConfigField, ConfigurableField, Field, FieldValidationError, makeRegistry

from psfmatch import ImagePsfMatchTask, ModelPsfMatchTask
from psfmatch.config.task import Struct, Task, TaskMetadata, timeMethod
from psfmatch.sources import SourceDetectionTask
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.tasks import PsfMatchTask
from psfmatch.testing import simulatePair


class DetectConfig(Config):
    threshold = Field[float](doc="Threshold in sigma.", default=5.0, check=lambda value: value > 0)
    least = Field[float](doc="Least threshold in sigma.", default=1.0)

    def validate(self):
        super().validate()
        if self.threshold < self.least:
            raise FieldValidationError(type(self).threshold, self, "raise the threshold")


class DetectTask(Task):
    ConfigClass = DetectConfig
    _DefaultName = "detect"

    def __init__(self, schema=None, **keyArgs):
        super().__init__(**keyArgs)
        self.schema = schema

    def getSchemaCatalogs(self):
        return {"sources": []}


class BrightDetectTask(DetectTask):
    pass


registry = makeRegistry("Detection tasks.")
registry.register("plain", DetectTask)
registry.register("bright", BrightDetectTask)


class MatchConfig(Config):
    detect = DetectTask.makeField("Finds stars.")
    choice = registry.makeField("Finds stars, by name.", default="bright")
    order = Field[int](doc="Order of something.", default=1)


class MatchTask(Task):
    ConfigClass = MatchConfig
    _DefaultName = "match"

    def __init__(self, **keyArgs):
        super().__init__(**keyArgs)
        self.makeSubtask("detect", schema=["x", "y"])
        self.makeSubtask("choice")


class SurveyConfig(Config):
    match = MatchTask.makeField("Matches.")


class SurveyTask(Task):
    ConfigClass = SurveyConfig
    _DefaultName = "survey"

    def __init__(self, **keyArgs):
        super().__init__(**keyArgs)
        self.makeSubtask("match")


class TestStruct:
    def test_holdsWhatItWasGiven(self):
        result = Struct(kernel=1, background=None)
        assert result.kernel == 1
        assert "background" in result
        assert "matchedImage" not in result
        assert result.getDict() == {"kernel": 1, "background": None}
        assert repr(result) == "Struct(kernel=1, background=None)"

    def test_getDictIsAShallowCopy(self):
        values = [1]
        result = Struct(values=values)
        copy = result.getDict()
        assert copy["values"] is values
        copy["more"] = 1
        assert "more" not in result


class TestMetadata:
    def test_assigningReplacesAndAddingKeeps(self):
        metadata = TaskMetadata({"first": 1})
        metadata["sum"] = 1.0
        metadata["sum"] = 2.0
        for value in (3, 4, 5):
            metadata.add("rejected", value)
        assert dict(metadata) == {"first": 1, "sum": 2.0, "rejected": [3, 4, 5]}
        assert list(metadata) == ["first", "sum", "rejected"]
        assert metadata.getArray("sum") == [2.0]
        assert metadata.getArray("rejected") == [3, 4, 5]
        del metadata["sum"]
        assert "sum" not in metadata
        assert len(metadata) == 2
        assert repr(metadata) == "TaskMetadata({'first': 1, 'rejected': [3, 4, 5]})"

    def test_groupsAreReadByPath(self):
        metadata = TaskMetadata({"top:sub": TaskMetadata({"item": 1, "a.b": 2}), "plain": 3, "dotted.name": 4})
        assert metadata["top:sub.item"] == 1
        assert metadata["top:sub.a.b"] == 2
        assert metadata["dotted.name"] == 4
        for missing in ("top:sub.other", "plain.item", "nothing"):
            assert missing not in metadata
            with pytest.raises(KeyError, match=missing):
                metadata[missing]


class TestNames:
    def test_hierarchy(self):
        survey = SurveyTask()
        assert survey.match.detect.getName() == "detect"
        assert survey.match.detect.getFullName() == "survey.match.detect"
        assert survey.match.detect.log.name == "psfmatch.survey.match.detect"
        assert survey.log.name == "psfmatch.survey"
        assert list(survey.match.getTaskDict()) == [
            "survey",
            "survey.match",
            "survey.match.detect",
            "survey.match.choice",
        ]
        assert survey.getTaskDict()["survey.match"]() is survey.match

    def test_taskDictIsACopyOfWeakReferences(self):
        survey = SurveyTask()
        survey.getTaskDict().clear()
        assert "survey.match" in survey.getTaskDict()
        del survey.match
        assert survey.getTaskDict()["survey.match"]() is None
        assert list(survey.getFullMetadata()) == ["survey"]

    def test_ownNameAndLogger(self):
        task = DetectTask(name="other", log=logging.getLogger("pipeline"))
        assert task.getFullName() == "other"
        assert task.log.name == "pipeline.other"
        match = MatchTask(log=logging.getLogger("pipeline"))
        assert match.detect.log.name == "pipeline.match.detect"

    def test_missingNames(self):
        with pytest.raises(ValueError, match="this Task is a task without a name; give name="):
            Task()
        with pytest.raises(ValueError, match="this DetectTask is a subtask without a name"):
            DetectTask(parentTask=MatchTask())


class TestConfiguration:
    def test_isValidatedCopiedAndFrozen(self):
        config = MatchConfig()
        config.order = 2
        config.detect.threshold = 7.0
        task = MatchTask(config=config)
        assert task.config.toDict() == config.toDict()
        assert task.detect.config.threshold == 7.0
        for frozen, name in ((task.config, "order"), (task.detect.config, "threshold")):
            with pytest.raises(FieldValidationError, match="frozen"):
                setattr(frozen, name, 3)
        config.order = 3
        config.detect.threshold = 8.0
        assert task.config.order == 2
        assert task.config.detect.threshold == task.detect.config.threshold == 7.0
        assert MatchTask(config=config).config.order == 3

    def test_frozenConfigurationIsShared(self):
        task = MatchTask()
        assert MatchTask(config=task.config).config is task.config
        assert task.detect.config is task.config.detect.value

    def test_defaultsOfATaskAloneAndOfASubtask(self):
        assert DetectTask().config.toDict() == DetectConfig().toDict()
        config = MatchConfig()
        config.detect.threshold = 9.0
        match = MatchTask(config=config)
        assert DetectTask(name="detect", parentTask=match).config is match.config.detect.value

        class PlainConfig(Config):
            detect = ConfigField[DetectConfig](doc="Not a subtask, but what a task needs.")

        plain = Task(config=PlainConfig(), name="plain")
        assert DetectTask(name="detect", parentTask=plain).config is plain.config.detect

    def test_wrongConfigurations(self):
        with pytest.raises(TypeError, match=r"MatchTask needs a MatchConfig as config, got DetectConfig$"):
            MatchTask(config=DetectConfig())
        with pytest.raises(TypeError, match=r"got MatchConfig \(the class itself\)"):
            MatchTask(config=MatchConfig)
        config = DetectConfig()
        config.threshold = 0.5
        with pytest.raises(FieldValidationError, match="raise the threshold"):
            DetectTask(config=config)
        config.threshold = 1.5
        assert DetectTask(config=config).config.threshold == 1.5


class TestSubtasks:
    def test_fieldsRegistriesAndFurtherArguments(self):
        task = MatchTask()
        assert type(task.detect) is DetectTask
        assert task.detect.schema == ["x", "y"]
        assert type(task.choice) is BrightDetectTask

    def test_retargeting(self):
        config = MatchConfig()
        config.detect.retarget(BrightDetectTask)
        config.detect.threshold = 6.0
        config.choice.name = "plain"
        task = MatchTask(config=config)
        assert type(task.detect) is BrightDetectTask
        assert task.detect.config.threshold == 6.0
        assert type(task.choice) is DetectTask

    def test_unknownSubtask(self):
        with pytest.raises(ValueError, match="of match has no subtask 'measure'; it has: detect, choice"):
            MatchTask().makeSubtask("measure")
        with pytest.raises(ValueError, match="of match has no subtask 'order'"):
            MatchTask().makeSubtask("order")
        with pytest.raises(ValueError, match="it has: none"):
            DetectTask().makeSubtask("measure")

    def test_makeField(self):
        field = DetectTask.makeField("Finds stars.")
        assert isinstance(field, ConfigurableField)
        assert (field.target, field.doc) == (DetectTask, "Finds stars.")


class ForeignTask:
    """What a task of another framework may look like: the members that ours make use of, and nothing else."""

    def __init__(self, config):
        self.config = config
        self._taskDict = {}
        self.log = logging.getLogger("foreign")

    def getFullName(self):
        return "pipeline.foreign"


class TestForeignTasks:
    def test_ofAForeignParent(self):
        parent = ForeignTask(SurveyConfig())
        match = parent.config.match.apply(name="match", parentTask=parent)
        assert match.getFullName() == "pipeline.foreign.match"
        assert match.detect.getFullName() == "pipeline.foreign.match.detect"
        assert match.detect.log.name == "foreign.match.detect"
        assert list(parent._taskDict) == [
            "pipeline.foreign.match",
            "pipeline.foreign.match.detect",
            "pipeline.foreign.match.choice",
        ]

    def test_ofABareParent(self):
        class Bare:
            config = SurveyConfig()

        match = MatchTask(name="match", parentTask=Bare())
        assert match.detect.getFullName() == "match.detect"
        assert list(match.getTaskDict()) == ["match", "match.detect", "match.choice"]

    def test_foreignSubtaskFindsWhatItAsksFor(self):
        # A foreign subtask asks its parent for a full name, the table of tasks and the logger.
        class ForeignSubtask:
            ConfigClass = DetectConfig

            def __init__(self, config, name, parentTask):
                self.config = config
                self.fullName = parentTask._computeFullName(name)
                self.log = parentTask.log.getChild(name)
                self.metadata = {"n": 1}
                parentTask._taskDict[self.fullName] = lambda: self

            def getSchemaCatalogs(self):
                return {"foreign": 0}

        config = MatchConfig()
        config.detect.retarget(DetectTask)
        config.choice.name = "plain"
        task = MatchTask(config=config)
        ForeignSubtask(config=DetectConfig(), name="other", parentTask=task)
        assert task.getFullMetadata()["match:other.n"] == 1
        assert task.getAllSchemaCatalogs() == {"sources": [], "foreign": 0}


class TestMetadataOfTasks:
    def test_fullMetadata(self):
        survey = SurveyTask()
        survey.metadata["runs"] = 1
        survey.match.detect.metadata["ALBasisDegGauss"] = [4, 2, 2]
        full = survey.match.getFullMetadata()
        assert list(full) == ["survey", "survey:match", "survey:match:detect", "survey:match:choice"]
        assert full["survey.runs"] == 1
        assert full["survey:match:detect.ALBasisDegGauss"] == [4, 2, 2]

    def test_emptyMetadataReachesDownNotUp(self):
        survey = SurveyTask()
        kept = survey.match.detect.metadata
        for task in (survey, survey.match, survey.match.detect):
            task.metadata["n"] = 1
        survey.match.emptyMetadata()
        assert dict(survey.metadata) == {"n": 1}
        assert not survey.match.metadata
        assert not survey.match.detect.metadata
        assert dict(kept) == {"n": 1}, "what a result holds is not emptied"

    def test_schemaCatalogs(self):
        survey = SurveyTask()
        assert survey.getSchemaCatalogs() == {}
        assert survey.match.detect.getSchemaCatalogs() == {"sources": []}
        assert survey.match.choice.getAllSchemaCatalogs() == survey.getAllSchemaCatalogs() == {"sources": []}

    def test_foreignMetadataAreReadByPath(self):
        # Not a Mapping, but the members that count.
        class ForeignMetadata:
            def keys(self):
                return ["n"]

            def __contains__(self, name):
                return name == "n"

            def __getitem__(self, name):
                return 3

        metadata = TaskMetadata({"top:sub": ForeignMetadata()})
        assert metadata["top:sub.n"] == 3
        assert "top:sub.m" not in metadata

    def test_emptyMetadataKeepsTheKind(self):
        class OtherMetadata(TaskMetadata):
            pass

        task = DetectTask()
        task.metadata = OtherMetadata({"n": 1})
        task.emptyMetadata()
        assert type(task.metadata) is OtherMetadata
        assert not task.metadata

    def test_schemasOfTasksThatKnowNone(self):
        class ForeignSubtask:
            metadata = TaskMetadata()

        task = MatchTask()
        foreign = ForeignSubtask()
        task._taskDict["match.foreign"] = lambda: foreign
        assert task.getAllSchemaCatalogs() == {"sources": []}


class TestTimer:
    def test_recordsAndLogs(self, caplog):
        task = DetectTask()
        with caplog.at_level(logging.DEBUG, logger="psfmatch"), task.timer("solve"):
            busyUntil = time.process_time() + 0.01
            while time.process_time() < busyUntil:
                pass
        clocks = ("Utc", "CpuTime", "WallTime")
        assert list(task.metadata) == [f"solve{event}{clock}" for event in ("Start", "End") for clock in clocks]
        # The loop runs for 0.01 s of CPU time between the two readings.
        assert task.metadata["solveEndCpuTime"] - task.metadata["solveStartCpuTime"] >= 0.01
        start, end = (datetime.fromisoformat(task.metadata[name]) for name in ("solveStartUtc", "solveEndUtc"))
        assert start.utcoffset().total_seconds() == 0
        assert end >= start
        assert [record.name for record in caplog.records] == ["psfmatch.detect"] * 2
        assert caplog.messages[0] == "solve: start"
        assert caplog.messages[1].startswith("solve: end after 0.")

    def test_levelAndRepetition(self, caplog):
        task = DetectTask()
        with caplog.at_level(logging.INFO, logger="psfmatch"):
            for level in (logging.DEBUG, logging.INFO):
                with task.timer("solve", logLevel=level):
                    pass
        assert len(caplog.records) == 2
        assert len(task.metadata.getArray("solveStartUtc")) == 2

    def test_endIsRecordedAfterAnError(self):
        task = DetectTask()
        with pytest.raises(RuntimeError, match="broken"), task.timer("solve"):
            raise RuntimeError("broken")
        assert "solveEndUtc" in task.metadata

    def test_methodsAreTimedUnderTheirNames(self):
        class CountTask(DetectTask):
            @timeMethod
            def count(self, first: int, *, last: int) -> int:
                """Count."""
                return last - first

        task = CountTask()
        assert task.count(2, last=5) == 3
        assert CountTask.count.__doc__ == "Count."
        assert [name for name in task.metadata if name.endswith("Utc")] == ["countStartUtc", "countEndUtc"]
        with pytest.raises(TypeError, match="last"):
            task.count(2)
        assert len(task.metadata.getArray("countEndUtc")) == 2


# The tasks of the package


@pytest.fixture(scope="module")
def defaultTasks():
    return {
        Class: Class()
        for Class in (ImagePsfMatchTask, ModelPsfMatchTask, PsfMatchTask, SourceDetectionTask, SourceMeasurementTask)
    }


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)


@pytest.fixture(scope="module")
def imageTask(pair):
    """A task after all four ways in."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=0, fitForBackground=True)
    task = ImagePsfMatchTask(config=config, threads=1)
    sources = task.getSelectSources(pair.science)
    for name in ("matchExposures", "subtractExposures"):
        getattr(task, name)(pair.template, pair.science, 2.7, 3.9, candidateList=sources)
    for name in ("matchMaskedImages", "subtractMaskedImages"):
        getattr(task, name)(pair.template.maskedImage, pair.science.maskedImage, sources, 2.7, 3.9)
    return task


class TestOurTasks:
    def test_defaultConfigurationsAreValid(self, defaultTasks):
        for Class, task in defaultTasks.items():
            Class.ConfigClass().validate()
            assert task.getName() == Class._DefaultName
            assert hasattr(task, "run") == (Class not in (ImagePsfMatchTask, PsfMatchTask))

    def test_fpGrowPixTenIsLegal(self):
        config = ImagePsfMatchTask.ConfigClass()
        for name in ("AL", "DF"):
            config.kernel[name].detectionConfig.fpGrowPix = 10
            with pytest.raises(FieldValidationError, match="fpGrowPix"):
                config.kernel[name].detectionConfig.fpGrowPix = 9
        config.validate()

    def test_everyDocumentedMethodIsTimed(self, imageTask):
        full = imageTask.selectDetection.getFullMetadata()
        timed = (
            "matchExposures subtractExposures matchMaskedImages subtractMaskedImages getSelectSources "
            "makeCandidateList makeKernelBasisList select measurePsf stamps solve convolve subtract"
        )
        for name in timed.split():
            for clock in ("CpuTime", "WallTime"):
                # The first beginning comes before the last end.
                start, end = (full[f"imagePsfMatch.{name}{event}{clock}"] for event in ("Start", "End"))
                assert np.min(start) <= np.max(end)
        assert full["imagePsfMatch:selectDetection.runStartUtc"] <= full["imagePsfMatch:selectMeasurement.runEndUtc"]
        # subtractExposures calls matchExposures: it was called twice, and subtractExposures once.
        assert len(imageTask.metadata.getArray("matchExposuresEndUtc")) == 2
        assert len(imageTask.metadata.getArray("subtractExposuresEndUtc")) == 1

    def test_documentedMetadata(self, imageTask):
        metadata = imageTask.getFullMetadata()
        assert metadata["imagePsfMatch.ALBasisMode"] == "convolution"
        assert metadata["imagePsfMatch.ALBasisNGauss"] == 3
        assert metadata["imagePsfMatch.ALBasisDegGauss"] == [4, 2, 2]
        assert len(metadata["imagePsfMatch.ALBasisSigGauss"]) == 3
        assert metadata["imagePsfMatch.ALKernelSize"] == 21
        assert metadata["imagePsfMatch.spatialConditionNum"] > 1.0
        assert metadata["imagePsfMatch.spatialKernelSum"] == pytest.approx(1.25, rel=0.05)

    def test_schemaIsThatOfTheSelection(self, pair, imageTask):
        before = len(imageTask.selectDetection.metadata.getArray("runEndUtc"))
        catalogs = imageTask.selectMeasurement.getAllSchemaCatalogs()
        assert list(catalogs) == ["imagePsfMatch"]
        assert list(imageTask.getAllSchemaCatalogs()) == list(imageTask.getSchemaCatalogs()) == ["imagePsfMatch"]
        # Asking leaves no trace in the subtasks.
        assert len(imageTask.selectDetection.metadata.getArray("runEndUtc")) == before
        schema, sources = catalogs["imagePsfMatch"], imageTask.getSelectSources(pair.science)
        assert isinstance(schema, Table)
        assert len(schema) == 0 < len(sources)
        assert schema.dtype == sources.dtype
        units = {name: str(sources[name].unit or "") for name in sources.colnames}
        assert units == {name: str(schema[name].unit or "") for name in schema.colnames}
        assert units["x"] == units["b"] == "pix"
        assert units["ra"] == "deg"

    def test_schemaHasTheNameOfTheSubtask(self):
        class HolderConfig(Config):
            subtract = ImagePsfMatchTask.makeField("Subtracts.")

        class HolderTask(Task):
            ConfigClass = HolderConfig
            _DefaultName = "holder"

        holder = HolderTask()
        holder.makeSubtask("subtract", threads=1)
        assert list(holder.getAllSchemaCatalogs()) == ["subtract"]
        assert holder.subtract.selectDetection.getFullName() == "holder.subtract.selectDetection"

    def test_pickling(self, pair, imageTask):
        for task in (imageTask, imageTask.selectDetection):
            arrived = pickle.loads(pickle.dumps(task))
            assert arrived.config.toDict() == task.config.toDict()
            assert not arrived.metadata
        model = pickle.loads(pickle.dumps(ModelPsfMatchTask(threads=3)))
        assert model.threads == 3


def test_tasksReachOtherProcesses():
    config = MatchConfig()
    config.detect.threshold = 7.0
    task = MatchTask(config=config, name="renamed")
    arrived = pickle.loads(pickle.dumps(task))
    assert type(arrived) is MatchTask
    assert arrived.getName() == "renamed"
    assert arrived.detect.config.threshold == 7.0

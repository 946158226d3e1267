"""Tasks of lsst-pipe-base and ours hold one another. Not part of the default suite: `pip install '.[lsst]'` first."""

import logging
import pickle

import numpy as np
import pytest
from lsst.pex.config import Config, ConfigurableField, Field
from lsst.pipe.base import Struct as LsstStruct
from lsst.pipe.base import Task as LsstTask
from lsst.pipe.base import TaskMetadata as LsstMetadata
from lsst.utils.logging import trace_set_at
from lsst.utils.timer import timeMethod

from psfmatch import ImagePsfMatchTask
from psfmatch.config import Task
from psfmatch.config.task import TaskMetadata
from psfmatch.testing import simulatePair


class PipelineConfig(Config):
    subtract = ConfigurableField(doc="Subtracts the template.", target=ImagePsfMatchTask)
    label = Field[str](doc="Name of the run.", default="night")

    def setDefaults(self):
        self.subtract.kernel.active.update(spatialKernelOrder=0, fitForBackground=True)


class PipelineTask(LsstTask):
    """What a pipeline's author writes: one of theirs that holds ours."""

    ConfigClass = PipelineConfig
    _DefaultName = "pipeline"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.makeSubtask("subtract")

    @timeMethod
    def run(self, template, science):
        result = self.subtract.subtractExposures(template, science)
        return LsstStruct(difference=result.subtractedExposure, kernel=result.psfMatchingKernel)


class CountConfig(Config):
    least = Field[float](doc="Least value that counts.", default=0.0)


class CountTask(LsstTask):
    """One of theirs that ours holds."""

    ConfigClass = CountConfig
    _DefaultName = "count"

    @timeMethod
    def run(self, values):
        self.metadata["nValues"] = len(values)
        self.log.verbose("counting %d values", len(values))
        return LsstStruct(count=sum(value >= self.config.least for value in values))


class HolderConfig(Config):
    count = CountTask.makeField("Counts.")


class HolderTask(Task):
    ConfigClass = HolderConfig
    _DefaultName = "holder"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.makeSubtask("count")

    def getSchemaCatalogs(self):
        return {"holder": []}


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)


@pytest.fixture(scope="module")
def expected(pair):
    config = PipelineConfig().subtract.value
    return ImagePsfMatchTask(config=config).subtractExposures(pair.template, pair.science)


# Ours in theirs


def test_theirTaskRunsOurs(pair, expected):
    task = PipelineTask()
    result = task.run(pair.template, pair.science)
    np.testing.assert_array_equal(result.difference.image, expected.subtractedExposure.image)
    assert isinstance(task.subtract, ImagePsfMatchTask)
    assert task.subtract.getFullName() == "pipeline.subtract"
    assert list(task.getTaskDict()) == [
        "pipeline",
        "pipeline.subtract",
        "pipeline.subtract.selectDetection",
        "pipeline.subtract.selectMeasurement",
    ]
    assert task.getTaskDict() == task.subtract.selectDetection.getTaskDict()
    assert task.subtract.log.name == task.log.name + ".subtract"


def test_theirFullMetadataHoldsOurs(pair):
    task = PipelineTask()
    task.run(pair.template, pair.science)
    for full in (task.getFullMetadata(), task.subtract.getFullMetadata()):
        assert full["pipeline:subtract.ALBasisMode"] == "convolution"
        assert full["pipeline:subtract.spatialKernelSum"] == pytest.approx(1.25, rel=0.05)
        assert full["pipeline:subtract.subtractExposuresEndCpuTime"] > 0.0
        assert full["pipeline.runEndUtc"] >= full["pipeline:subtract.subtractExposuresEndUtc"][:10]
    # Theirs are validated on the way: everything that ours leave behind is of a kind that a Butler stores.
    metadata = task.getFullMetadata()
    assert isinstance(metadata, LsstMetadata)
    restored = LsstMetadata.model_validate_json(metadata.model_dump_json())
    names = [name for name in metadata["pipeline:subtract"].names() if "time" not in name.lower()]
    assert names
    for name in names:
        assert restored["pipeline:subtract"][name] == metadata["pipeline:subtract"][name]


def test_theirEmptyMetadataReachesOurs(pair, expected):
    task = PipelineTask()
    task.run(pair.template, pair.science)
    task.emptyMetadata()
    # Theirs gives all tasks its own kind of metadata; ours write into that as well, twice for repeated blocks.
    assert isinstance(task.subtract.metadata, LsstMetadata)
    for _ in range(2):
        result = task.run(pair.template, pair.science)
    np.testing.assert_array_equal(result.difference.image, expected.subtractedExposure.image)
    assert len(task.subtract.metadata.getArray("solveStartUtc")) == 2
    assert task.getFullMetadata()["pipeline:subtract.scienceFwhmPix"] > 3.0
    task.subtract.emptyMetadata()
    assert not list(task.subtract.metadata.names())
    assert "runEndUtc" in task.metadata


def test_schemasOfTheWholeHierarchy():
    """Theirs know no schemas; ours find those of our tasks all the same."""
    task = PipelineTask()
    catalogs = task.subtract.selectMeasurement.getAllSchemaCatalogs()
    assert list(catalogs) == ["subtract"]
    assert {"x", "y", "flux"} <= set(catalogs["subtract"].colnames)


def test_configurationOfTheWhole(tmp_path):
    config = PipelineConfig()
    config.subtract.kernel.active.spatialKernelOrder = 1
    config.save(str(tmp_path / "config.py"))
    loaded = PipelineConfig()
    loaded.load(str(tmp_path / "config.py"))
    task = PipelineTask(config=loaded)
    assert task.subtract.kConfig.spatialKernelOrder == 1

    class Retargeted(ImagePsfMatchTask):
        pass

    loaded.subtract.retarget(Retargeted)
    assert type(PipelineTask(config=loaded).subtract) is Retargeted


def test_pickling(pair, expected):
    config = PipelineConfig()
    config.label = "other"
    task = pickle.loads(pickle.dumps(PipelineTask(config=config)))
    assert task.config.label == "other"
    result = task.run(pair.template, pair.science)
    np.testing.assert_array_equal(result.difference.image, expected.subtractedExposure.image)
    alone = pickle.loads(pickle.dumps(task.subtract))
    assert alone.config.toDict() == task.subtract.config.toDict()


def test_traceLines(pair, caplog):
    task = PipelineTask()
    name = task.subtract.log.name
    try:
        trace_set_at(name, 4)
        task.run(pair.template, pair.science)
    finally:
        for number in range(6):
            logging.getLogger(f"TRACE{number}.{name}").setLevel(logging.NOTSET)
    lines = [record.getMessage() for record in caplog.records if record.name == f"TRACE4.{name}"]
    assert any(line.startswith("Pass 0: rejected") for line in lines)
    assert any("residual" in line and line.startswith("Candidate") for line in lines)


# Theirs in ours


def test_ourTaskRunsTheirs(caplog):
    config = HolderConfig()
    config.count.least = 2.0
    task = HolderTask(config=config)
    with caplog.at_level(logging.DEBUG, logger="psfmatch"):
        assert task.count.run([1.0, 2.0, 3.0]).count == 2
    assert "counting 3 values" in caplog.text
    assert task.count.getFullName() == "holder.count"
    assert task.count.log.name == "psfmatch.holder.count"
    assert list(task.getTaskDict()) == ["holder", "holder.count"]
    full = task.getFullMetadata()
    assert full["holder:count.nValues"] == 3
    assert full["holder:count.runEndUtc"]
    assert task.getAllSchemaCatalogs() == {"holder": []}


def test_eachKeepsItsKindOfMetadata():
    task = HolderTask()
    task.count.run([1.0])
    task.emptyMetadata()
    assert isinstance(task.metadata, TaskMetadata)
    assert isinstance(task.count.metadata, LsstMetadata)
    assert "nValues" not in task.count.metadata
    task.count.run([1.0, 2.0])
    assert task.getFullMetadata()["holder:count.nValues"] == 2


def test_picklingOfBoth():
    config = HolderConfig()
    config.count.least = 2.0
    for task in (HolderTask(config=config), pickle.loads(pickle.dumps(HolderTask(config=config)))):
        assert task.count.run([1.0, 2.0, 3.0]).count == 2
    count = pickle.loads(pickle.dumps(task.count))
    assert count.getFullName() == "holder.count"
    assert count.config.least == 2.0

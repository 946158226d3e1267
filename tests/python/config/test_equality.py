"""What has travelled to another process, or was copied, is what it was: results, kernels, cells and tasks."""

import copy
import pickle
import types
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import (
    Exposure,
    GaussianPsf,
    ImagePsfMatchTask,
    MaskedImage,
    ModelPsfMatchTask,
    _core,
    applyKernel,
    frontDoorConfig,
    subtract,
)
from psfmatch.config import Struct, usualOptions
from psfmatch.config.equality import sameValue
from psfmatch.difference import StoredKernel, SubtractionRecipe
from psfmatch.fit import RegionCells
from psfmatch.noise.blankSky import findBlankSky
from psfmatch.registration import Warper
from psfmatch.testing import simulatePair

WAYS = pytest.mark.parametrize("travelled", [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy])


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=256)


@pytest.fixture(scope="module")
def things(pair):
    """What the public functions and tasks return, by name; made once."""
    result = subtract(pair.template, pair.science, threads=1)
    task = ImagePsfMatchTask(threads=1)
    matched = task.matchExposures(pair.template, pair.science)
    modelTask = ModelPsfMatchTask(threads=1)
    exposure = Exposure(MaskedImage(np.ones((120, 120)), variance=np.ones((120, 120))), psf=GaussianPsf(1.5))
    model = modelTask.run(exposure, GaussianPsf(2.0))
    recipe = SubtractionRecipe(convolved="template", divisor=1.0, shape=pair.science.shape, xy0=(0, 0))
    stored = StoredKernel(result.kernel, result.background, recipe)
    return {
        "result": result,
        "kernel": result.kernel,
        "background": result.background,
        "quality": result.quality,
        "decorrelation": result.decorrelation,
        "matchExposures": matched,
        "subtractExposures": task.subtractExposures(pair.template, pair.science),
        "cells of regions": subtractCells(pair),
        "kernelFit": matched.kernelFit,
        "cells": matched.kernelCellSet,
        "candidate": next(iter(matched.kernelCellSet)).kernelSolution,
        "blankSky": findBlankSky(pair.science.maskedImage),
        "task": task,
        "modelTask": modelTask,
        "model": model,
        "stored": stored,
        "applied": applyKernel(stored, pair.template, pair.science),
        "score": result.score,
        "config": result.config,
        "frontDoorConfig": configWith(spatialKernelOrder=1),
        "taskConfig": ImagePsfMatchTask.ConfigClass(),
        "warper": Warper(),
        "pair": pair,
        "basis": task.makeKernelBasisList(2.5, 3.5),
        "preparation": result.preparation,
        "alignment": result.alignment,
        "coverage": result.coverage,
        "choices": list(result.choices),
        "noise": result.noise,
        "errorFloor": result.errorFloor,
        "changes": Struct(table=result.changes),  # whose comparison is one for each row
        "options": result.options,
        "psf": GaussianPsf(1.5),
        "unconvolvedPsf": result.unconvolvedPsf,
        "recipe": recipe,
    }


def configWith(**fields):
    config = frontDoorConfig()
    config.kernel.active.update(**fields)
    return config


def subtractCells(pair):
    """Return the cells of a fit to regions, in which a state of the core has been."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.fitMethod = "regions"
    return ImagePsfMatchTask(config=config, threads=1).matchExposures(pair.template, pair.science).kernelCellSet


NAMES = (
    "result",
    "kernel",
    "background",
    "quality",
    "decorrelation",
    "matchExposures",
    "subtractExposures",
    "kernelFit",
    "cells",
    "cells of regions",
    "candidate",
    "blankSky",
    "task",
    "modelTask",
    "model",
    "stored",
    "applied",
    "score",
    "config",
    "frontDoorConfig",
    "taskConfig",
    "warper",
    "pair",
    "basis",
    "preparation",
    "alignment",
    "coverage",
    "choices",
    "noise",
    "errorFloor",
    "changes",
    "options",
    "psf",
    "unconvolvedPsf",
    "recipe",
)


@WAYS
@pytest.mark.parametrize("name", NAMES)
def test_arrivesAsItWas(things, name, travelled):
    thing = things[name]
    arrived = travelled(thing)
    assert arrived is not thing
    assert type(arrived) is type(thing)
    assert arrived == thing


def test_aFitUnderWayStays(pair):
    """What the core holds of a fit that has begun is not for another process, and the error says what it is."""
    options = usualOptions().kernel
    masked = pair.template.maskedImage, pair.science.maskedImage
    cells = RegionCells(*masked, replace(options, regions=replace(options.regions, layout="tiles")), 21)
    cells.begun = cells.solverOf(cells.regionsToFit(3), np.ones((1, 21, 21)))
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="Region"):
            way(cells)
    cells.forget()
    assert copy.deepcopy(cells) == cells


def test_whatDiffersIsNotEqual(things, pair):
    result = things["result"]
    assert result != subtract(pair.science, pair.template, threads=1)
    assert result != replace(result, varianceFactor=2.0)
    other = copy.deepcopy(result)
    assert other == result
    other.difference.image[5, 7] += 1e-3
    assert other != result
    other.difference.image[5, 7] = np.nan
    assert other != result
    again = copy.deepcopy(other)
    assert again == other
    again.difference.mask[3, 3] ^= 1
    assert again != other
    assert things["kernel"] != things["background"]
    assert things["frontDoorConfig"] != configWith()
    assert things["frontDoorConfig"] == configWith(spatialKernelOrder=1)
    assert things["task"] != things["modelTask"]
    assert things["task"] != ImagePsfMatchTask(threads=2)
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.spatialKernelOrder = 1
    assert things["task"] != ImagePsfMatchTask(config=config, threads=1)
    cells = copy.deepcopy(things["cells"])
    next(iter(cells)).reject("for a test")
    assert cells != things["cells"]


@pytest.mark.parametrize(
    ("one", "other", "isSame"),
    [
        (float("nan"), float("nan"), True),
        (1.0, 1, False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([1.0], dtype=np.float32), False),
        (np.zeros(2), np.zeros((2, 1)), False),
        (np.array([1, "a"], dtype=object), np.array([1, "a"], dtype=object), True),
        (np.array([(1, 2.0)], dtype="i4,f8"), np.array([(1, np.nan)], dtype="i4,f8"), False),
        ({"a": [1, (np.ones(2),)]}, {"a": [1, (np.ones(2),)]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        (Table({"x": [1.0, np.nan]}, meta={"A": 1}), Table({"x": [1.0, np.nan]}, meta={"A": 1}), True),
        (Table({"x": [1.0]}, meta={"A": 1}), Table({"x": [1.0]}, meta={"A": 2}), False),
        (types.SimpleNamespace(a=np.ones(2)), types.SimpleNamespace(a=np.ones(2)), True),
        (Struct(a=np.ones(2)), Struct(a=np.zeros(2)), False),
        (test_arrivesAsItWas, test_whatDiffersIsNotEqual, False),
    ],
)
def test_sameValue(one, other, isSame):
    assert sameValue(one, other) is isSame


def test_othersAreNotEqual(things):
    """Whatever it is compared with: no error."""
    constant = _core.SpatialFunction(_core.SpatialModel.chebyshev1, 0, _core.Frame())
    core = (
        _core.SpatialModelOptions((0,), constant, constant, 1.0, 1.0),
        _core.RegionFlags(np.zeros((1, 3, 3), dtype=bool)),
    )
    for thing in (things["kernel"].coreFunction, things["kernel"].coreFunction.frame, things["blankSky"], *core):
        assert thing == thing
        assert thing != None  # noqa: E711
        assert thing != 1.0
    one, other = (Table({"x": np.ma.array([1.0, 2.0], mask=[0, mask])}) for mask in (0, 1))
    assert not sameValue(one, other)


def test_circlesEnd():
    def circle(value):
        inner = Struct(value=value)
        inner.outer = [inner]
        return inner

    assert circle(1) == circle(1)
    assert circle(1) != circle(2)


def convolveThere(kernel, image):
    return kernel.convolve(image, threads=1)


@pytest.fixture(scope="module")
def large():
    """A pair of 1024 x 1024 pixels with its result, and what the stored kernel makes of the pair again."""
    pair = simulatePair(seed=4, size=1024)
    result = subtract(pair.template, pair.science, threads=1)
    return result, pair.template, pair.science, applyAgain(result, pair.template, pair.science)[1]


def applyAgain(result, template, science):
    return result, applyKernel(result.storedKernel(), template, science, threads=1)


def requireSame(result, applied, large):
    """Check what came back, bit for bit."""
    assert result == large[0]
    assert applied == large[3]
    for made in (result.difference, applied.difference):
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(np.asarray(getattr(made, plane)), getattr(large[0].difference, plane))


def test_anotherProcess(large):
    """A process of its own, not a fork: nothing but the pickle gets there."""
    result, template, science, _ = large
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        matched = pool.submit(convolveThere, result.kernel, template.maskedImage).result()
        back, applied = pool.submit(applyAgain, result, template, science).result()
    requireSame(back, applied, large)
    assert matched == convolveThere(result.kernel, template.maskedImage)
    assert back.explain() == result.explain()
    assert back.config.compare(result.config)


def test_dask(large):
    """By its own messages over TCP, as between machines; that the worker is a thread saves seconds."""
    from distributed import Client, LocalCluster

    ways = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with LocalCluster(n_workers=1, threads_per_worker=1, **ways) as cluster, Client(cluster) as client:
        requireSame(*client.submit(applyAgain, *client.scatter(list(large[:3]))).result(), large)

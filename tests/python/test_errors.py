"""Errors: their family tree, the counts they carry, and their way through worker processes."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.errors import (
    ExposureReadError,
    InputImagesError,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
    NumericalError,
    PsfMatchError,
)

dataErrors = [
    ExposureReadError,
    InputImagesError,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
    NumericalError,
]


@pytest.mark.parametrize("ErrorClass", dataErrors)
def test_everyDataErrorIsAPsfMatchErrorAndARuntimeError(ErrorClass):
    with pytest.raises(PsfMatchError, match=r"^3 of 5 stars$"):
        raise ErrorClass("3 of 5 stars")
    assert issubclass(ErrorClass, RuntimeError)
    assert not issubclass(ErrorClass, ValueError), "a ValueError is a caller's slip"


def test_countsAreAttributes():
    error = InsufficientKernelSourcesError("2 of 3 stars", nSources=2, nRequired=3)
    assert (error.nSources, error.nRequired) == (2, 3)
    assert error.counts == {"nSources": 2, "nRequired": 3}


def test_countsThatAreNotThereAreNamed():
    error = InsufficientKernelSourcesError("2 of 3 stars", nSources=2, nRequired=3)
    with pytest.raises(AttributeError, match="no attribute 'nStars'; its counts: nRequired, nSources"):
        _ = error.nStars
    with pytest.raises(AttributeError, match="its counts: none"):
        _ = PsfMatchError("bare").nStars


@pytest.mark.parametrize("path", ["field.fits", Path("field.fits")])
def test_readErrorHoldsItsPathAndIsAnOSError(path):
    with pytest.raises(OSError, match="no 2-D image") as caught:
        raise ExposureReadError("no 2-D image", path=path, nHdus=3)
    assert caught.value.path == "field.fits"
    assert caught.value.nHdus == 3


@pytest.mark.parametrize("transport", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
@pytest.mark.parametrize("ErrorClass", dataErrors)
def test_errorsSurvivePicklingAndCopying(ErrorClass, transport):
    error = ErrorClass("1 of 3", nSources=1, nRequired=3)
    if ErrorClass is ExposureReadError:
        error.path = "field.fits"
    arrived = transport(error)
    assert type(arrived) is ErrorClass
    assert str(arrived) == "1 of 3"
    assert arrived.counts == {"nSources": 1, "nRequired": 3}
    assert getattr(arrived, "path", None) == getattr(error, "path", None)


def test_errorsSurviveTheTransportOfClusters():
    """Dask packs exceptions by their classes' own ``__new__``, not by calling them."""
    error = ExposureReadError("no image", path="field.fits", nSources=1)
    copied = ExposureReadError.__new__(ExposureReadError)
    copied.__dict__.update(error.__dict__)
    copied.args = error.args
    assert (str(copied), copied.path, copied.counts) == ("no image", "field.fits", {"nSources": 1})


ROOT = Path(__file__).resolve().parents[2]


def emptySystem():
    """Solve for a kernel from two stars whose equations hold nothing but zeros."""
    functions = _core.SpatialFunction(_core.SpatialModel.polynomial, 0, _core.Frame())
    equations = [np.zeros((2, 2))] * 2, [np.zeros(2)] * 2, [1.0, 2.0], [1.0, 2.0]
    _core.solveSpatialKernel(
        *equations, 2, functions, None, constantFirstTerm=True, conditionNumberType=_core.ConditionNumberType.eigenvalue
    )


def test_theCoreHasNoErrorsOfItsOwn():
    """Whatever it throws, wherever it is called from, is a slip of the caller or one of the package's errors."""
    assert not [name for name, value in vars(_core).items() if isinstance(value, type) and issubclass(value, Exception)]
    sources = [
        path for folder in ("cpp/src", "cpp/include", "python/bindings") for path in (ROOT / folder).rglob("*.*")
    ]
    thrown = {what for path in sources for what in re.findall(r"\bthrow ([A-Za-z_:]+)", path.read_text())}
    slips = {"std::invalid_argument", "py::value_error", "py::type_error", "py::error_already_set"}
    assert thrown == slips | {"NumericalError", "SolutionError"}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: _core.clippedStatistics([]), NumericalError),
        (lambda: _core.principalComponents(np.full((3, 5, 5), np.nan)), NumericalError),
        (lambda: emptySystem(), KernelSolutionError),
        (lambda: _core.clippedStatistics("no numbers"), (TypeError, ValueError)),
        (lambda: _core.SpatialFunction(_core.SpatialModel.polynomial, -1, _core.Frame()), ValueError),
    ],
)
def test_errorsOfTheCoreAreThoseOfThePackage(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "_core" not in type(caught.value).__module__

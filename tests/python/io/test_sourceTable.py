"""The internal table of sources: columns, rows, and astropy's Table made when it is asked for."""

import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from psfmatch.io.sourceTable import SourceTable, asTable, columnsOf, lazily, tableField

COLUMNS = {"id": np.arange(1, 5), "x": np.array([1.5, 2.5, 3.5, 4.5]), "name": np.array(["a", "b", "c", ""])}


@tableField("stars")
@dataclass(frozen=True)
class Holder:
    stars: Any
    number: int


@pytest.fixture
def sources():
    return SourceTable(COLUMNS, units={"x": "pix"})


def test_columnsAndRows(sources):
    assert sources.colnames == ["id", "x", "name"]
    assert len(sources) == 4
    assert len(SourceTable({})) == 0
    np.testing.assert_array_equal(sources["x"], COLUMNS["x"])
    assert sources[1] == {"id": 2, "x": 2.5, "name": "b"}
    for key, expected in ((slice(1, 3), [2, 3]), (COLUMNS["x"] > 3.0, [3, 4]), (np.array([3, 0]), [4, 1])):
        assert isinstance(sources[key], SourceTable)
        assert sources[key]["id"].tolist() == expected
        assert sources[key].units == {"x": "pix"}
    with pytest.raises(KeyError, match="flux"):
        sources["flux"]


def test_aChangeMakesANewTable(sources):
    wider = sources.with_({"y": np.zeros(4), "id": np.arange(4)}, {"y": "pix"})
    assert wider.colnames == ["id", "x", "name", "y"]
    assert wider["id"][0] == 0
    assert sources["id"][0] == 1
    assert wider.units == {"x": "pix", "y": "pix"}


@pytest.mark.parametrize("columns", [{"x": [1.0], "y": [1.0, 2.0]}, {"x": 1.0}])
def test_columnsOfOtherLengthsAreRefused(columns):
    with pytest.raises(ValueError, match="one length"):
        SourceTable(columns)


def test_asAstropysTable(sources):
    table = asTable(sources)
    assert isinstance(table, Table)
    assert table.colnames == sources.colnames
    assert table["x"].unit == units.pix
    assert table["id"].unit is None
    table["x"][0] = -1.0
    assert sources["x"][0] == 1.5
    assert asTable(table) is table


def test_aFieldIsATableForItsReader(sources):
    holder = Holder(lazily(sources), 3)
    assert columnsOf(holder, "stars") is sources
    copied = pickle.loads(pickle.dumps(replace(holder, stars=lazily(sources))))
    assert len(columnsOf(copied, "stars")) == 4
    for one in (holder, copied):
        assert isinstance(one.stars, Table)
        assert one.stars is one.stars
        assert columnsOf(one, "stars") is one.stars
    table = Table({"x": [1.0]})
    assert replace(holder, stars=table).stars is table

"""Binary tables written without astropy's Table: byte for byte what astropy makes of the same columns."""

import io

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.io.columns import tableBytes
from psfmatch.io.sourceTable import SourceTable

COLUMNS = {
    "id": np.arange(3),
    "short": np.arange(3, dtype=np.int16),
    "x": np.array([0.5, np.nan, -np.inf]),
    "single": np.arange(3, dtype=np.float32),
    "reason": np.array(["", "too faint", "x"]),
    "isUsed": np.array([True, False, True]),
}


def inFile(data):
    return fits.open(io.BytesIO(fits.PrimaryHDU().header.tostring().encode() + data))


@pytest.mark.parametrize("nRows", [0, 1, 3])
def test_bytesAreAstropys(nRows):
    table = SourceTable(COLUMNS, units={"x": "pix"})[:nRows]
    expected = fits.table_to_hdu(table.toTable())
    expected.name = "STAMPS"
    expected.header["EXTTYPE"] = "STAMPS"
    with inFile(tableBytes(table, "STAMPS")) as found:
        report = fits.HDUDiff(found[1], expected)
        assert report.identical, report.report()
        for name, values in COLUMNS.items():
            np.testing.assert_array_equal(found[1].data[name], values[:nRows])


def test_vectorsAndMoreCards():
    rows = np.arange(6.0).reshape(2, 3)
    data = tableBytes(SourceTable({"COEF": rows}), "KCOEF", [fits.Card("KORDER", 1, "total order")])
    assert len(data) % 2880 == 0
    with inFile(data) as found:
        assert found[1].columns["COEF"].format == "3D"
        assert found[1].header["KORDER"] == 1
        np.testing.assert_array_equal(found[1].data["COEF"], rows)

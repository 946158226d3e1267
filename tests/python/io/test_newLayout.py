"""A new FITS layout is an entry of the table of `psfmatch.io.roles`: what its HDUs are called."""

import numpy as np
import pytest
from astropy.io import fits

from psfmatch import Exposure
from psfmatch.io import describe, roles
from psfmatch.io.roles import Role

NAMES = {"STREUUNG": Role.SIGMA, "GUETE": Role.MASK, "HIMMEL": Role.IMAGE}


@pytest.fixture
def path(tmp_path):
    planes = {"GUETE": np.eye(40, dtype=np.int16), "STREUUNG": np.full((40, 40), 3.0), "HIMMEL": np.full((40, 40), 7.0)}
    hdus = [fits.ImageHDU(pixels, name=name) for name, pixels in planes.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "layout.fits")
    return tmp_path / "layout.fits"


def test_entryOfTheTable(path, monkeypatch):
    # Nobody knows it: the first plane is the image, and nothing is the mask.
    assert [entry.role for entry in describe(path)[1:]] == [Role.NONE] * 3
    for name, role in NAMES.items():
        monkeypatch.setitem(roles.ROLE_OF_NAME, name, role)
    assert [entry.role for entry in describe(path)[1:]] == [Role.MASK, Role.SIGMA, Role.IMAGE]
    exposure = Exposure.readFits(path)
    np.testing.assert_array_equal(exposure.image, np.full((40, 40), 7.0, dtype=np.float32))
    np.testing.assert_array_equal(exposure.variance, np.full((40, 40), 9.0, dtype=np.float32))
    np.testing.assert_array_equal(exposure.maskedImage.badPixels(("BAD",)), np.eye(40, dtype=bool))


def test_tableOfNamesIsWhatIsAsked():
    assert {name for role in Role for name in role.names} == set(roles.ROLE_OF_NAME)

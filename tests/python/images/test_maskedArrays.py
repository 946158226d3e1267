"""Arrays that carry a mask or a unit, of numpy.ma and astropy, at every door: nothing of either is lost."""

import numpy as np
import pytest
from astropy import units
from astropy.nddata import (
    CCDData,
    FlagCollection,
    InverseVariance,
    NDData,
    NDDataArray,
    NDDataRef,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.utils.masked import Masked

from psfmatch import Exposure, GaussianPsf, MaskedImage, detectOnDifference, subtract
from psfmatch.errors import InputImagesError
from psfmatch.images import toExposure
from psfmatch.testing import simulatePair

SHAPE = (60, 80)
rng = np.random.default_rng(7)
VALUES = rng.normal(100.0, 5.0, SHAPE)
BAD = np.zeros(SHAPE, dtype=bool)
BAD[20:26, 30:37] = True  # 42 pixels
GARBAGE = np.where(BAD, 1e7, VALUES)
FLAGS = FlagCollection(shape=SHAPE)
FLAGS["SATURATED"] = BAD

DOORS = {
    "numpy.ma": np.ma.MaskedArray(GARBAGE, mask=BAD),
    "numpy.ma of integers": np.ma.MaskedArray(GARBAGE.astype(np.int32), mask=BAD),
    "numpy.ma of big-endian numbers": np.ma.MaskedArray(GARBAGE.astype(">f8"), mask=BAD),
    "numpy.ma of float32": np.ma.MaskedArray(GARBAGE.astype(np.float32), mask=BAD),
    "Masked": Masked(GARBAGE, mask=BAD),
    "Masked Quantity": Masked(GARBAGE * units.electron, mask=BAD),
    "NDData of numpy.ma": NDData(np.ma.MaskedArray(GARBAGE, mask=BAD)),
    "NDData of Masked": NDData(Masked(GARBAGE, mask=BAD)),
    "NDDataRef with a mask": NDDataRef(GARBAGE, mask=BAD),
    "NDDataArray with a mask": NDDataArray(GARBAGE, mask=BAD),
    "CCDData of a Masked Quantity": CCDData(Masked(GARBAGE * units.electron, mask=BAD)),
    "CCDData with a mask": CCDData(GARBAGE, unit="adu", mask=BAD),
    "CCDData with a masked mask": CCDData(GARBAGE, unit="adu", mask=np.ma.MaskedArray(BAD, mask=False)),
    "CCDData with flags": CCDData(GARBAGE, unit="adu", flags=BAD * 4),
}
UNCERTAINTIES = {
    "standard deviation": StdDevUncertainty(np.full(SHAPE, 5.0)),
    "variance": VarianceUncertainty(np.full(SHAPE, 25.0)),
    "inverse variance": InverseVariance(np.full(SHAPE, 0.04)),
}


@pytest.mark.parametrize("door", DOORS)
def test_theMaskIsKept(door):
    exposure = toExposure(DOORS[door])
    np.testing.assert_array_equal(exposure.mask.hasAny("BAD"), BAD)
    assert type(exposure.image) is np.ndarray
    np.testing.assert_allclose(exposure.image[~BAD], VALUES[~BAD], rtol=0, atol=1.0 if "integers" in door else 1e-4)
    # 1/sqrt(2 x 4758) on the scatter, twice that on the variance; six times this. Garbage of 1e7 does not count.
    np.testing.assert_allclose(exposure.variance, 25.0, rtol=0.13)
    assert exposure.metadata.get("BUNIT") == {"Masked Quantity": "electron"}.get(
        door, "electron" if "Quantity" in door else ("adu" if "CCD" in door else None)
    )


@pytest.mark.parametrize("gain", [None, 4.0])
def test_whatIsMaskedTellsNothingOfTheNoise(gain):
    exposure = Exposure.fromArray(DOORS["numpy.ma"], gain=gain)
    assert np.isfinite(exposure.variance).all()
    np.testing.assert_allclose(exposure.variance[BAD], 25.0, rtol=0.13)


@pytest.mark.parametrize("kind", UNCERTAINTIES)
@pytest.mark.parametrize("Data", [CCDData, NDData])
def test_uncertaintiesOfAnyKindBesideAMask(kind, Data):
    given = Data(GARBAGE, unit="adu", mask=BAD, uncertainty=UNCERTAINTIES[kind])
    exposure = toExposure(given)
    np.testing.assert_array_equal(exposure.mask.hasAny("BAD"), BAD)
    np.testing.assert_allclose(exposure.variance, 25.0, rtol=1e-6)


def test_flagsByOtherNames():
    exposure = toExposure(CCDData(GARBAGE, unit="adu", flags=FLAGS))
    for plane in ("SATURATED", "SAT"):
        np.testing.assert_array_equal(exposure.mask.hasAny(plane), BAD)
    assert not exposure.mask.hasAny("BAD").any()


@pytest.mark.parametrize(
    "planes",
    [
        {"image": DOORS["numpy.ma"]},
        {"image": DOORS["Masked"]},
        {"image": DOORS["Masked Quantity"]},
        {"image": VALUES, "variance": np.ma.MaskedArray(np.ones(SHAPE), mask=BAD)},
        {"image": VALUES, "variance": Masked(np.ones(SHAPE), mask=BAD)},
        {"image": VALUES, "mask": np.ma.MaskedArray(BAD, mask=False)},
        {"image": VALUES, "mask": np.ma.MaskedArray(np.zeros(SHAPE, bool), mask=BAD)},
        {"image": DOORS["numpy.ma"], "mask": np.ma.nomask},
    ],
    ids=["ma", "Masked", "Quantity", "variance ma", "variance Masked", "mask ma", "masked mask", "nomask"],
)
def test_maskedImages(planes):
    np.testing.assert_array_equal(MaskedImage(**planes).mask.hasAny("BAD"), BAD)


def test_theMasksOfImageVarianceAndMaskAddUp():
    other = np.roll(BAD, 9, axis=1)
    given = np.roll(BAD, -9, axis=0)
    variance = np.ma.MaskedArray(np.ones(SHAPE), mask=other)
    image = MaskedImage(DOORS["numpy.ma"], given, variance)
    np.testing.assert_array_equal(image.mask.hasAny("BAD"), BAD | other | given)
    assert given.sum() == BAD.sum()


def test_assignmentAndSubtraction():
    image = MaskedImage(VALUES.copy())
    image.image = DOORS["numpy.ma"]
    np.testing.assert_array_equal(image.mask.hasAny("BAD"), BAD)
    image = MaskedImage(VALUES.copy())
    image.variance = DOORS["Masked"]
    np.testing.assert_array_equal(image.mask.hasAny("BAD"), BAD)
    image = MaskedImage(VALUES.copy())
    image -= np.ma.MaskedArray(np.ones(SHAPE), mask=BAD)
    np.testing.assert_array_equal(image.mask.hasAny("BAD"), BAD)


def test_varianceInAnotherUnit():
    image = MaskedImage(VALUES * units.nJy, variance=np.full(SHAPE, 25e-6) * units.uJy**2)
    np.testing.assert_allclose(image.variance, 25.0, rtol=1e-6)
    with pytest.raises(InputImagesError, match="the variance is in nJy, but the image in nJy"):
        MaskedImage(VALUES * units.nJy, variance=np.full(SHAPE, 25.0) * units.nJy)


def test_fromArrayWithPlanes():
    exposure = Exposure.fromArray(VALUES, mask=BAD, variance=np.full(SHAPE, 25.0))
    np.testing.assert_array_equal(exposure.mask.hasAny("BAD"), BAD)
    np.testing.assert_array_equal(exposure.variance, 25.0)
    assert "VARSRC" not in exposure.metadata
    with pytest.raises(ValueError, match="one of variance and weight"):
        Exposure.fromArray(VALUES, variance=VALUES, weight=VALUES)
    with pytest.raises(InputImagesError, match=r"the mask has shape \(3, 2\)"):
        Exposure.fromArray(VALUES, mask=np.zeros((3, 2), bool))


@pytest.mark.parametrize("wrap", [np.ma.MaskedArray, Masked])
def test_theFrontDoorAndDetection(wrap):
    pair = simulatePair(seed=5, size=256)
    bad = np.asarray(pair.science.mask) != 0
    bad |= ~np.isfinite(pair.science.image)
    bad[100:110, 50:60] = True
    garbage = np.where(bad, np.float32(1e6), pair.science.image)
    before = garbage.copy()
    template = wrap(pair.template.image, mask=~np.isfinite(pair.template.image))
    result = subtract(template, wrap(garbage, mask=bad), threads=1)
    assert result.difference.mask.hasAny("BAD")[bad].all()
    np.testing.assert_array_equal(garbage, before)
    found = detectOnDifference(wrap(result.difference.image, mask=bad), GaussianPsf(1.5), threads=1)
    assert not bad[np.rint(np.asarray(found["y"])).astype(int), np.rint(np.asarray(found["x"])).astype(int)].any()


@pytest.mark.parametrize("shape", [(60,), (80, 60), (1, 80)])
def test_masksOfOtherShapes(shape):
    wrong = np.zeros(shape, dtype=bool)
    with pytest.raises(InputImagesError, match="the mask of the CCDData has shape"):
        toExposure(NDData(VALUES, mask=wrong))
    with pytest.raises(InputImagesError, match="mask has shape"):
        MaskedImage(VALUES, wrong)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7)])
def test_allMasked(shape):
    exposure = toExposure(np.ma.MaskedArray(np.ones(shape), mask=True))
    assert exposure.mask.hasAny("BAD").all()
    assert np.isfinite(exposure.variance).all()

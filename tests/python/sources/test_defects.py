"""Defects that nobody masked: found, flagged, told, and gone from the result; nothing else is."""

import json

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage, applyKernel, frontDoorConfig, subtract
from psfmatch.registration import Preparation
from psfmatch.sources import findDefects, findSaturation, flagDefects
from psfmatch.sources.defects import SharpPixels, examineDefects
from psfmatch.testing import simulatePair

FULL_WELL = 5e4


def bare(exposure, image=None):
    """Return the exposure without its mask."""
    pixels = MaskedImage(exposure.image if image is None else image, variance=exposure.variance, xy0=exposure.xy0)
    return Exposure(pixels, wcs=exposure.wcs)


def spoiled(exposure, seed, share=0.01):
    """Return the exposure without its mask, a share of its pixels dead or hot; where they are."""
    generator = np.random.default_rng(seed)
    image = exposure.image.copy()
    places = generator.choice(image.size, round(share * image.size), replace=False)
    isHot = generator.random(places.size) < 0.5
    image.ravel()[places] = np.where(isHot, generator.uniform(0.1, 1.0, places.size) * FULL_WELL, 0.0)
    return bare(exposure, image), np.sort(places)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=5, size=384, badFraction=0.0, transients=8, transientSignalToNoise=(20.0, 60.0))


# Found


def test_planesAndCounts(pair):
    exposure, places = spoiled(pair.science, 1)
    image = exposure.image
    image[300:303, 40:90] = -32768.0
    for i in range(8):
        image[200 + i, 50 + i] += 3000.0
    image[20:140, 350] = 0.0
    found = findDefects(exposure)
    planes = {name: np.asarray(where) for name, where in found.planes.items()}
    assert set(planes["NO_DATA"]) == {y * 384 + x for y in range(300, 303) for x in range(40, 90)}
    assert {(200 + i) * 384 + 50 + i for i in range(8)} <= set(planes["CR"])
    column = {y * 384 + 350 for y in range(20, 140)}
    assert len(column & set(planes["BAD"])) > 0.97 * 120
    # All but those that lie where stars are as bright.
    flagged = set().union(*planes.values())
    assert len(flagged & set(places)) > 0.995 * places.size
    assert found.nPixels == len(flagged) == sum(where.size for where in planes.values())
    assert found.sharp.nDark + found.sharp.nBright + found.sharp.nLine == planes["BAD"].size
    assert found.blocks.values == ((-32768.0, 150),)


@pytest.mark.parametrize("value", [0.0, -999.0, -32768.0, 400.0, 1e30])
def test_blocksOfAnyValue(pair, value):
    image = pair.science.image.copy()
    image[:, :25] = value
    y, x = np.indices(image.shape)
    image[x + y > 650] = value
    found = findDefects(bare(pair.science, image))
    assert set(found.planes["NO_DATA"]) == set(np.flatnonzero(image == np.float32(value)))
    assert [count for _, count in found.blocks.values] == [int((image == np.float32(value)).sum())]


def test_wholeCounts(pair):
    """Whole counts of a low sky have many equal neighbours, and are no blocks; what is filled is."""
    image = np.round((pair.science.image - 380.0) / 15.0).astype(np.float32)
    assert np.mean(image[:, 1:] == image[:, :-1]) > 0.1
    assert findDefects(bare(pair.science, image)).blocks.places.size == 0
    clipped = np.maximum(image, 0.0)
    assert findDefects(bare(pair.science, clipped)).blocks.places.size == 0
    clipped[100:200, 60:200] = 0.0
    found = set(findDefects(bare(pair.science, clipped)).planes["NO_DATA"])
    block = {y * 384 + x for y in range(100, 200) for x in range(60, 200)}
    assert block <= found
    # What touches it and has its value may belong to it.
    assert len(found) < 1.05 * len(block)


@pytest.mark.parametrize("fwhm", [2.4, 4.0])
@pytest.mark.parametrize("density", [1, 10])
def test_nothingIsLost(fwhm, density):
    pair = simulatePair(
        seed=2,
        size=256,
        badFraction=0.0,
        brightStars=40 * density,
        faintStars=200 * density,
        templateFwhm=fwhm,
        scienceFwhm=1.7 * fwhm,
        transients=10,
    )
    for exposure in (pair.template, pair.science):
        # Clipped stars bleed: those are found before.
        assert findDefects(exposure).nPixels <= 1e-4 * exposure.image.size


def test_imageWithoutNoise():
    pair = simulatePair(seed=2, size=256, badFraction=0.0, noise=False, backgroundOrder=0, saturation=np.inf)
    for sky in (0.0, 300.0):
        image = pair.template.image - np.float32(300.0 - sky)
        assert findDefects(bare(pair.template, image)).nPixels == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3), (64, 65)])
@pytest.mark.parametrize("value", [0.0, np.nan, 7.0])
def test_imagesThatTellNothing(shape, value):
    exposure = Exposure(MaskedImage(np.full(shape, value, np.float32)))
    assert findDefects(exposure).nPixels == 0
    assert flagDefects(exposure, findDefects(exposure)) is exposure


def test_brightColumnsAreNoSaturation():
    """Two columns of one brightness pile up as clipped stars do, but no star touches them."""
    pair = simulatePair(seed=7, size=384, badFraction=0.0, saturation=np.inf, brightStars=120)
    image = pair.template.image.copy()
    image[30:330, 200:202] += 9000.0
    exposure = bare(pair.template, image)
    assert findSaturation(exposure).isPiledUp
    defects, saturation, _ = examineDefects(exposure, True)
    assert saturation.level is None
    assert saturation.trails is None
    column = {y * 384 + x for y in range(30, 330) for x in (200, 201)}
    assert len(column & set(defects.planes["BAD"])) > 0.95 * len(column)
    # A bleed trail is none: it touches the core of its star.
    clipped = simulatePair(seed=7, size=384, badFraction=0.0, saturation=2e4, brightStars=120).template
    assert examineDefects(bare(clipped), True)[1].level == pytest.approx(2e4, rel=0.01)


def test_threads(pair):
    exposure, _ = spoiled(pair.science, 3)
    exposure.image[:40, :50] = 0.0
    first = findDefects(exposure)
    assert all(findDefects(exposure, threads=count) == first for count in (2, 7))


# Flagged and told


def test_givenPlanesStay(pair):
    """Masked pixels are not found again, and nothing that is given is changed."""
    exposure, places = spoiled(pair.science, 1)
    mask = exposure.mask
    mask.ravel()[places[::2]] |= mask.getPlaneBitMask("SUSPECT") | mask.getPlaneBitMask("BAD")
    before = np.asarray(mask).copy()
    found = findDefects(exposure)
    assert not set(places[::2]) & set(found.planes["BAD"])
    flagged = flagDefects(exposure, found)
    assert np.array_equal(np.asarray(exposure.mask), before)
    changed = np.asarray(flagged.mask) ^ before
    assert np.count_nonzero(changed) == found.nPixels
    assert flagged.image is exposure.image
    for name, where in found.planes.items():
        assert (np.asarray(flagged.mask).ravel()[where] & flagged.mask.getPlaneBitMask(name)).all()


def test_sentence(pair):
    clean = findDefects(bare(pair.template)).reason
    assert clean.startswith("no block of one value; no pixel sharper than the PSF; a pixel may have 2.2")
    exposure, _ = spoiled(pair.science, 1)
    exposure.image[:, :10] = -1.0
    exposure.image[100, 100:104] += 4000.0
    found = findDefects(exposure)
    assert found.reason.startswith("3840 pixels in blocks of one value have no data (-1 on 3840 pixels); ")
    assert (
        f"{found.sharp.nDark} pixels far darker than those beside, {found.sharp.nBright} pixels bright" in found.reason
    )
    assert f"{found.sharp.cosmicRays.size} pixels bright and touching, as cosmic rays leave them: CR" in found.reason
    assert f"by {found.sharp.nStars} stars." in found.reason


def test_tooManyAreHowTheImageIs(pair):
    exposure, _ = spoiled(pair.science, 1, share=0.15)
    found = findDefects(exposure)
    assert found.sharp.share > 0.1
    assert found.nPixels == 0
    assert "more than the 10 % that defects can be: left as they are" in found.reason
    assert SharpPixels(found.sharp.bad, found.sharp.bad, 0, 0, 0, 5.0, 1, 0.0).told.endswith("too few stars telling")


# What becomes of the result


@pytest.fixture(scope="module")
def clean(pair):
    return subtract(bare(pair.template), bare(pair.science), threads=1)


def kernelSumOf(result):
    return result.kernel.kernelSum(*result.difference.getBBox().centre)


def test_nothingChangesWhereNothingIsWrong(pair, clean):
    config = frontDoorConfig()
    config.doFindDefects = False
    off = subtract(bare(pair.template), bare(pair.science), config=config, threads=1)
    assert np.array_equal(off.difference.image, clean.difference.image, equal_nan=True)
    assert np.array_equal(np.asarray(off.difference.mask), np.asarray(clean.difference.mask))
    assert not any(choice.name == "defects" for choice in off.choices)
    assert [choice.chosen for choice in clean.choices if choice.name == "defects"] == ["0", "0"]


def test_onePercentDeadOrHot(pair, clean):
    images = spoiled(pair.template, 1)[0], spoiled(pair.science, 2)[0]
    result = subtract(*images, threads=1)
    assert kernelSumOf(result) == pytest.approx(kernelSumOf(clean), rel=0.01)
    assert "ABCDF".index(result.grade) <= "ABCDF".index(clean.grade) + 1
    counts = [int(choice.chosen) for choice in result.choices if choice.name == "defects"]
    assert all(0.99 * 1475 < count < 1.01 * 1475 for count in counts)
    assert "Defects of the template: " in result.explain()
    # As if somebody had masked them, but for the few that lie in the cores of stars.
    config = frontDoorConfig()
    config.doFindDefects = False
    off = subtract(*(flagDefects(image, findDefects(image)) for image in images), config=config, threads=1)
    assert kernelSumOf(off) == pytest.approx(kernelSumOf(result), rel=0.003)


@pytest.mark.parametrize(
    ("value", "share"), [("brightest", 0.01), ("brightest", 0.02), (3000.0, 0.02), (65535.0, 0.01)]
)
def test_stuckPixelsAreNoSaturation(pair, clean, value, share):
    """Pixels stuck at one value pile up as saturated ones do, but alone."""
    image = pair.template.image.copy()
    isStuck = np.random.default_rng(4).random(image.shape) < share
    image[isStuck] = np.nanmax(image) if value == "brightest" else value
    defects, saturation, _ = examineDefects(bare(pair.template, image), True)
    assert saturation.level in (None, FULL_WELL)  # of the stars that are saturated
    assert saturation.trails is None
    assert defects.nPixels > 0.97 * isStuck.sum()
    result = subtract(bare(pair.template, image), bare(pair.science), threads=1)
    assert kernelSumOf(result) == pytest.approx(kernelSumOf(clean), rel=0.015)


def test_blankHalf(pair, clean):
    """Half of an image that has no data was taken for sky."""
    image = pair.science.image.copy()
    image[:, :150] = 0.0
    result = subtract(bare(pair.template), bare(pair.science, image), threads=1)
    assert kernelSumOf(result) == pytest.approx(kernelSumOf(clean), rel=0.01)
    assert result.difference.mask.hasAny("NO_DATA")[:, :150].all()
    assert result.grade in "ABC"


def test_replay(pair, tmp_path):
    """A stored kernel finds the same defects again, and makes the same difference."""
    images = spoiled(pair.template, 1)[0], spoiled(pair.science, 2)[0]
    images[1].image[:50, :60] = -999.0
    result = subtract(*images, threads=1)
    assert result.preparation.doFindDefects
    record = Preparation.fromDict(json.loads(json.dumps(result.preparation.toDict())))
    assert record.toDict() == json.loads(json.dumps(result.preparation.toDict()))
    result.writeFits(tmp_path / "difference.fits")
    again = applyKernel(tmp_path / "difference.fits", *images)
    stored = Exposure.readFits(tmp_path / "difference.fits")
    assert np.array_equal(again.difference.image, stored.image, equal_nan=True)
    assert np.array_equal(np.asarray(again.difference.mask), np.asarray(stored.mask))

"""Footprints above a threshold that are clean in both images."""

import functools
import logging

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask
from psfmatch.config import DetectionConfig
from psfmatch.errors import InputImagesError, NoKernelCandidatesError
from psfmatch.fit import KernelCandidateDetection
from psfmatch.images import Box, MaskedImage
from psfmatch.testing import simulatePair


@functools.cache
def makeDetection(**fields):
    config = DetectionConfig()
    for name, value in fields.items():
        setattr(config, name, value)
    return KernelCandidateDetection(config)


def makeImage(blocks=(), value=100.0, shape=(200, 300), variance=1.0, xy0=(0, 0)):
    image = np.zeros(shape, dtype=np.float32)
    for x, y, width, height in blocks:
        image[y : y + height, x : x + width] = value
    return MaskedImage(image, variance=np.full(shape, variance), xy0=xy0)


def apply(template, science, **fields):
    return makeDetection(**({"fpGrowPix": 10} | fields)).apply(template, science)


@pytest.fixture(scope="module")
def pair():
    found = simulatePair(seed=8, size=400, transients=0, galaxies=0, badFraction=0, saturation=np.inf)
    images = []
    for image in (found.template.maskedImage, found.science.maskedImage):
        # The sky comes off first.
        images.append(MaskedImage(image.image - np.median(image.image), variance=image.variance))
    return images


def test_boxOfAGrownBlock():
    # 4 x 3 pixels and 12 px about them, where the diamond of a pixel ends on each side.
    (found,) = apply(makeImage([(100, 50, 4, 3)], xy0=(1000, -500)), makeImage(xy0=(1000, -500)), fpGrowPix=12)
    assert found.bbox == Box(1000 + 100 - 12, -500 + 50 - 12, 4 + 24, 3 + 24)
    assert found.centroid == (1101.5, -449.0)


def test_largeBlocksCountAsTheirMiddle():
    large = [(100, 50, 30, 21)]
    (found,) = apply(makeImage(large), makeImage(), fpNpixMax=500)
    assert found.bbox == Box(114 - 10, 60 - 10, 21, 21)
    assert found.centroid == (114.0, 60.0)
    (whole,) = apply(makeImage([(100, 50, 20, 25)]), makeImage(), fpNpixMax=500)
    assert whole.bbox == Box(90, 40, 40, 45)


def test_sizesThatCount():
    blocks = [(50 + 50 * i, 100, n, 1) for i, n in enumerate((4, 5, 6, 7))]
    assert len(apply(makeImage(blocks), makeImage())) == 3
    assert len(apply(makeImage(blocks), makeImage(), fpNpixMin=7)) == 1
    centroids = [f.centroid[0] for f in apply(makeImage(blocks), makeImage(), fpNpixMax=6)]
    assert centroids == [102.0, 152.5, 203.0]


def test_whichImageIsSearched():
    template, science = makeImage([(100, 50, 4, 3)]), makeImage([(200, 150, 4, 3), (50, 150, 4, 3)])
    assert len(apply(template, science)) == 1
    assert len(apply(template, science, detOnTemplate=False)) == 2


@pytest.mark.parametrize(
    ("thresholdType", "unit"), [("value", 1.0), ("stdev", 3.0), ("variance", 9.0), ("pixel_stdev", 2.0)]
)
def test_unitsOfTheThreshold(thresholdType, unit):
    image = makeImage(variance=4.0)
    image.image[:] = np.random.default_rng(0).normal(0.0, 3.0 if unit > 2.0 else 0.1, image.shape)
    for x, level in ((100, 9.5), (200, 10.5)):
        image.image[100:103, x : x + 3] = level * unit
    found = apply(image, makeImage(), detThresholdType=thresholdType, detThreshold=10.0)
    # The scatter is known to 0.3 %, its square to 0.6 %.
    assert [f.centroid for f in found] == [(201.0, 101.0)]


def test_threshold():
    image = makeImage([(100, 100, 3, 3)], value=5.0)
    image.image[50:53, 200:203] = 20.0
    assert len(apply(image, makeImage())) == 1
    assert len(apply(image, makeImage(), detThreshold=4.0)) == 2


def test_edges():
    # A box of 10 px about a pixel touches the border at column 10 and leaves the image at column 9.
    blocks = [(9, 50, 3, 3), (10, 100, 3, 3), (287, 50, 3, 3), (288, 100, 3, 3), (100, 9, 3, 3), (100, 188, 3, 3)]
    found = apply(makeImage(blocks), makeImage())
    assert sorted(f.bbox.x0 for f in found) == [0, 277]


def test_footprintsAreClean(pair):
    template, science = (image.copy() for image in pair)
    rng = np.random.default_rng(1)
    for image in (template, science):
        y, x = rng.integers(0, 400, (2, 12))
        image.mask[y, x] = image.mask.getPlaneBitMask("SAT")
    found = apply(template, science)
    assert found
    for footprint in found:
        for image in (template, science):
            assert not image.subset(footprint.bbox).mask.hasAny("SAT").any()


def test_maskedPixelsRemoveFootprints(pair):
    # Stamps may overlap: take pixels that only one stamp holds.
    template, science = (image.copy() for image in pair)
    before = apply(template, science)
    assert len(before) > 6
    held = np.zeros(template.shape, dtype=int)
    for footprint in before:
        box = footprint.bbox
        held[box.y0 : box.y1, box.x0 : box.x1] += 1
    alone = []
    for footprint in before:
        box = footprint.bbox
        places = np.argwhere(held[box.y0 : box.y1, box.x0 : box.x1] == 1)
        if len(places):
            alone.append((places[0][0] + box.y0, places[0][1] + box.x0))
    template.mask[alone[0]] |= template.mask.getPlaneBitMask("EDGE")
    assert len(apply(template, science)) == len(before) - 1
    for pixel in alone[1:3]:
        science.mask[pixel] |= science.mask.getPlaneBitMask("NO_DATA")
    assert len(apply(template, science)) == len(before) - 3
    # A plane that does not count, and one that is asked for.
    science.mask[alone[3]] |= science.mask.getPlaneBitMask("CR")
    assert len(apply(template, science)) == len(before) - 3
    assert len(apply(template, science, badMaskPlanes=("SAT", "CR"))) == len(before) - 1
    # What is no number is no measurement either.
    science.image[alone[4]] = np.nan
    assert len(apply(template, science)) == len(before) - 4


def test_footprintsAsCandidates(pair):
    template, science = pair
    detection = makeDetection(fpGrowPix=10)
    detection.apply(template, science)
    config = ImagePsfMatchTask.ConfigClass()
    # The median of a field of stars is a little above its sky.
    config.kernel.active.fitForBackground = True
    task = ImagePsfMatchTask(config=config)
    result = task.subtractMaskedImages(
        template, science, candidateList=detection.getFootprints(), templateFwhmPix=2.7, scienceFwhmPix=3.9
    )
    assert task.metadata["nSelectedSources"] > 5
    # The science image has 1.25 times the template's counts; six terms from 18 stars of S/N 100 know it to 1 %.
    assert result.psfMatchingKernel.kernelSum(200.0, 200.0) == pytest.approx(1.25, rel=0.05)
    inner = np.s_[60:340, 60:340]
    difference = result.subtractedMaskedImage
    pulls = (difference.image / np.sqrt(difference.variance))[inner]
    # Half the distance between the quartiles: what stars of wrong brightness are left does not count.
    assert 0.741 * np.subtract(*np.nanpercentile(pulls, [75, 25])) == pytest.approx(1.0, abs=0.1)


def test_inputsStayAndTheListIsACopy(pair):
    before = [np.asarray(plane).copy() for image in pair for plane in (image.image, image.mask, image.variance)]
    detection = makeDetection(fpGrowPix=10)
    first = detection.apply(*pair)
    detection.getFootprints().clear()
    assert detection.getFootprints() == first
    after = [np.asarray(plane) for image in pair for plane in (image.image, image.mask, image.variance)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothingIsLeft(caplog):
    blank = makeImage()
    with pytest.raises(NoKernelCandidatesError, match=r"on the template: of 0 none above the threshold. Take the sky"):
        apply(blank, blank)
    edge, small = (2, 50, 3, 3), (100, 100, 2, 2)
    with (
        caplog.at_level(logging.INFO, "psfmatch"),
        pytest.raises(
            NoKernelCandidatesError, match="on the science image: of 2 1 too close to the edge, 1 fewer pixels"
        ) as caught,
    ):
        apply(blank, makeImage([edge, small]), detOnTemplate=False)
    assert caught.value.nSources == 2
    assert "Found 0 clean footprints of 2" in caplog.text
    with pytest.raises(InputImagesError, match="different size"):
        apply(blank, makeImage(shape=(10, 10)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (50, 50)])
@pytest.mark.parametrize("kind", ["nan", "masked", "variance"])
def test_hostileImages(shape, kind):
    image = makeImage(shape=shape)
    if kind == "nan":
        image.image[:] = np.nan
    elif kind == "masked":
        image.image[:], image.mask[:] = 1e3, 1 << 8
    else:
        image.image[:], image.variance[:] = 1e3, np.nan
    for thresholdType in ("value", "stdev", "variance", "pixel_stdev"):
        with pytest.raises(NoKernelCandidatesError):
            apply(image, image, detThresholdType=thresholdType)

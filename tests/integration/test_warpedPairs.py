"""Pairs on different pixel grids through the task, the front door and the command line: differences near the noise."""

import logging

import numpy as np
import pytest

from psfmatch import (
    Box,
    Exposure,
    ImagePsfMatchTask,
    InputImagesError,
    MaskedImage,
    frontDoorConfig,
    subtract,
)
from psfmatch.cli import main
from psfmatch.testing import makeTanWcs, renderStars

SIDE = 300
NOISE = 2.0
SCALE = 0.2


def makeSky(seed=7, nStars=160):
    generator = np.random.default_rng(seed)
    wcs = makeTanWcs(SCALE, crpix=(149.5, 149.5))
    # Beyond the borders too, so that the template holds more than the science image.
    x, y = generator.uniform(-60.0, SIDE + 60.0, (2, nStars))
    flux = 10.0 ** generator.uniform(3.3, 4.2, nStars)
    return *wcs.all_pix2world(x, y, 0), flux


@pytest.fixture(scope="module")
def science():
    ra, dec, flux = makeSky()
    wcs = makeTanWcs(SCALE, crpix=(149.5, 149.5))
    exposure = renderStars(wcs, Box(0, 0, SIDE, SIDE), ra, dec, flux, 3.9, NOISE, np.random.default_rng(8), filter="r")
    addTransient(exposure)
    return exposure


@pytest.fixture(scope="module")
def config():
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 1
    config.chooseKernel = False
    return config


TRANSIENT = (151.0, 140.0)


def addTransient(exposure, flux=2000.0):
    sigma = 3.9 / 2.3548
    y, x = np.mgrid[:SIDE, :SIDE]
    exposure.image += (
        flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((x - TRANSIENT[0]) ** 2 + (y - TRANSIENT[1]) ** 2) / sigma**2)
    )


def makeTemplate(ratio=1.0, angle=0.0, distortion="", box=None, offset=(0.0, 0.0), noise=NOISE / 2):
    ra, dec, flux = makeSky()
    box = box or Box(0, 0, round(460 * ratio), round(450 * ratio))
    centre = box.centre
    wcs = makeTanWcs(SCALE / ratio, angle, (centre[0] + offset[0], centre[1] + offset[1]), distortion)
    return renderStars(
        wcs, box, ra, dec, flux, 2.8 * ratio, noise, np.random.default_rng(9), filter="R", photoCalib=3.0
    )


def assertNearNoise(difference, low=0.85, high=1.1):
    """Every pixel: scatter by its variance, and stars no worse than the sky."""
    good = ~difference.mask.hasAny(("NO_DATA", "EDGE", "BAD"))
    pulls = (difference.image / np.sqrt(difference.variance))[good]
    # Covariance that warp and convolution leave between pixels takes some of the single pixel's scatter away.
    assert low < 1.4826 * np.median(np.abs(pulls)) < high
    assert abs(np.median(pulls)) < 0.1
    # One transient of 2000 counts is left, and nothing else at 6 sigma.
    y, x = np.nonzero(good & (np.abs(difference.image) > 6.0 * np.sqrt(difference.variance)))
    assert np.hypot(x - TRANSIENT[0], y - TRANSIENT[1]).max() < 6.0
    assert good.mean() > 0.7


GEOMETRIES = {
    "rotated and larger": {"angle": 0.4, "offset": (3.3, -2.1)},
    "upside down with SIP": {"angle": 3.0, "distortion": "SIP"},
    "finer pixels": {"ratio": 1.5, "angle": 0.1},
    "coarser pixels with TPV": {"ratio": 0.9, "angle": -0.2, "distortion": "TPV"},
    "another origin": {"angle": 0.05, "box": Box(1000, -300, 440, 430)},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_frontDoorWarps(science, config, name):
    template = makeTemplate(**GEOMETRIES[name])
    before = template.image.copy(), science.image.copy()
    result = subtract(template, science, config=config)
    assertNearNoise(result.difference)
    assert result.template.getBBox() == science.getBBox()
    np.testing.assert_array_equal(template.image, before[0])
    np.testing.assert_array_equal(science.image, before[1])


def test_frontDoorKeepsCentroids(config):
    assert all(config.kernel[name].warpingConfig.keepCentroids for name in ("AL", "DF"))
    assert not ImagePsfMatchTask.ConfigClass().kernel.active.warpingConfig.keepCentroids


@pytest.mark.parametrize("convolveTemplate", [True, False])
def test_subtractExposuresWarps(science, config, convolveTemplate, caplog):
    template = makeTemplate(angle=0.4)
    if not convolveTemplate:
        # The science image is the sharper one.
        ra, dec, flux = makeSky()
        template = renderStars(template.wcs, template.getBBox(), ra, dec, flux, 4.6, NOISE, np.random.default_rng(3))
    task = ImagePsfMatchTask(config=config)
    with caplog.at_level(logging.INFO):
        result = task.subtractExposures(template, science, convolveTemplate=convolveTemplate)
    assert "Astrometrically registering template to science image" in caplog.text
    warped = result.warpedExposure
    assert warped.getBBox() == science.getBBox()
    assert warped.wcs is science.wcs
    assert (warped.filter, warped.photoCalib) == (template.filter, template.photoCalib)
    # From the warped PSF model: what the stars were made with.
    assert task.metadata["templateFwhmPix"] == pytest.approx(2.8 if convolveTemplate else 4.6, rel=0.01)
    assertNearNoise(result.subtractedExposure, high=1.2)


def test_templateWithoutPsfIsMeasured(science, config):
    """The reference fails here."""
    template = makeTemplate(angle=0.4)
    template.psf = None
    task = ImagePsfMatchTask(config=config)
    result = task.subtractExposures(template, science)
    assert result.warpedExposure.psf is None
    assert task.metadata["templateFwhmPix"] == pytest.approx(2.8, rel=0.03)
    assertNearNoise(result.subtractedExposure)


def test_largerTemplateOnTheSameGrid(science, config):
    ra, dec, flux = makeSky()
    box = Box(-40, -30, 400, 380)
    template = renderStars(science.wcs, box, ra, dec, flux, 2.8, NOISE / 2, np.random.default_rng(9))
    result = ImagePsfMatchTask(config=config).subtractExposures(template, science)
    np.testing.assert_array_equal(result.warpedExposure.image, template.subset(science.getBBox()).image)
    assertNearNoise(result.subtractedExposure, low=0.9)


def test_partlyCovered(science, config, caplog):
    """What the template does not reach carries NO_DATA, and does not hurt the rest."""
    template = makeTemplate(angle=0.1, box=Box(0, 0, 300, 450), offset=(60.0, 0.0))
    result = ImagePsfMatchTask(config=config).subtractExposures(template, science)
    assert "The template covers only" in caplog.text
    difference = result.subtractedExposure
    missing = difference.mask.hasAny("NO_DATA")
    assert 0.05 < missing.mean() < 0.6
    pulls = (difference.image / np.sqrt(difference.variance))[~missing]
    assert 0.85 < 1.4826 * np.median(np.abs(pulls)) < 1.1


@pytest.mark.parametrize("method", ["matchExposures", "subtractExposures"])
def test_doWarpingFalse(science, config, method):
    with pytest.raises(InputImagesError, match="Input images not registered"):
        getattr(ImagePsfMatchTask(config=config), method)(makeTemplate(angle=0.4), science, doWarping=False)
    with pytest.raises(RuntimeError):
        getattr(ImagePsfMatchTask(config=config), method)(makeTemplate(), science, doWarping=False)


def test_hostileTemplates(science, config):
    task = ImagePsfMatchTask(config=config)
    empty = makeTemplate(angle=0.4)
    empty.image[:] = np.nan
    with pytest.raises(InputImagesError, match="none of 90000 science pixels"):
        task.subtractExposures(empty, science)
    point = Exposure(MaskedImage(np.ones((1, 1))), makeTanWcs(SCALE))
    with pytest.raises(InputImagesError, match="template of 1x1 pixels"):
        task.subtractExposures(point, science)
    with pytest.raises(InputImagesError, match="different size"):
        task.subtractExposures(Exposure(makeTemplate().maskedImage), science)


def test_commandLineWarps(science, tmp_path):
    makeTemplate(angle=0.4, distortion="SIP").writeFits(tmp_path / "template.fits")
    science.writeFits(tmp_path / "science.fits")
    paths = [str(tmp_path / f"{name}.fits") for name in ("template", "science", "difference")]
    # The template has another shape than the science image: the picture shows it as it was subtracted.
    options = ["-c", "kernel.active.spatialKernelOrder=1", "--picture", str(tmp_path / "picture.png")]
    assert main(["subtract", *paths[:2], "-o", paths[2], *options]) == 0
    assertNearNoise(Exposure.readFits(paths[2]))
    assert (tmp_path / "picture.png").stat().st_size > 1e5

"""Kernels that were found before, applied again: the stored difference bit for bit, from files."""

import json
import logging

import numpy as np
import pytest
from astropy.io import fits

from psfmatch import Box, Exposure, LinearCombinationKernel, MaskedImage, StoredKernel, applyKernel, frontDoorConfig
from psfmatch.cli import main
from psfmatch.config import configToDict
from psfmatch.difference import SubtractionRecipe
from psfmatch.errors import ExposureReadError, InputImagesError
from psfmatch.kernels import Polynomial2D
from psfmatch.registration import Preparation, prepareInputs
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.testing import simulatePair

PLANES = ("image", "variance", "mask")


@pytest.fixture(scope="module")
def config():
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 1
    config.freeze()
    return config


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=256, brightStars=300, faintStars=100, templateBadFraction=0.002, xy0=(20, -7))


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    """Template and science image in files: with masks, NaN, and a template turned by half a degree."""
    folder = tmp_path_factory.mktemp("pair")
    template, science = pair.template.copy(), pair.science.copy()
    template.image[40:43, 100:104] = np.nan
    science.image[200, 30] = np.nan
    science.variance[60, 60] = -1.0
    science.writeFits(folder / "science.fits")
    template.writeFits(folder / "template.fits")
    angle = np.deg2rad(0.5)
    turned = template.copy()
    turned.wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned.writeFits(folder / "turned.fits")
    Exposure(science.maskedImage.subset(Box(20, -7, 10, 200))).writeFits(folder / "narrow.fits")
    return folder


def requireEqual(first, second):
    for name in PLANES:
        assert np.asarray(getattr(first, name)).tobytes() == np.asarray(getattr(second, name)).tobytes(), name
    assert first.xy0 == second.xy0


def subtractAndStore(folder, templateName, config, convolved, path, preparation=None):
    """Subtract by the task and write the whole difference as the front door does; return the task's struct."""
    template, science = (Exposure.readFits(folder / name) for name in (templateName, "science.fits"))
    prepared = prepareInputs(template, science, preparation or Preparation())
    task = ImagePsfMatchTask(config=config)
    struct = task.subtractExposures(*prepared, 2.6, 3.8, convolveTemplate=convolved == "template")
    difference = struct.subtractedExposure
    stored = StoredKernel(
        struct.psfMatchingKernel,
        struct.backgroundModel,
        SubtractionRecipe.fromConfig(
            task.kConfig, convolved, struct.psfMatchingKernel, difference.getBBox(), preparation
        ),
    )
    difference.writeFits(path, matched=struct.matchedImage.image, kernel=stored.toTables(), config=configToDict(config))
    return struct, stored


@pytest.fixture(scope="module")
def stored(files, config):
    return subtractAndStore(files, "template.fits", config, "template", files / "difference.fits")[1]


# Bit for bit


@pytest.mark.parametrize("convolved", ["template", "science"])
@pytest.mark.parametrize("templateName", ["template.fits", "turned.fits"])
def test_storedDifferenceAgain(files, tmp_path, config, convolved, templateName):
    path = tmp_path / "difference.fits"
    struct, stored = subtractAndStore(files, templateName, config, convolved, path)
    assert np.isfinite(struct.subtractedExposure.image).mean() > 0.9
    stored.writeFits(tmp_path / "kernel.fits")
    for source in (path, tmp_path / "kernel.fits", stored):
        applied = applyKernel(source, files / templateName, files / "science.fits")
        requireEqual(applied.difference, Exposure.readFits(path))
        requireEqual(applied.matched, struct.matchedImage)
        requireEqual(applied.template, struct.warpedExposure)
    # What was applied can be applied again.
    applied.writeFits(tmp_path / "again.fits")
    again = applyKernel(tmp_path / "again.fits", files / templateName, files / "science.fits", threads=3)
    requireEqual(again.difference, Exposure.readFits(path))


def test_preparationIsReplayed(files, tmp_path, config):
    preparation = Preparation(
        templateVarianceFactor=1.0 / 3.0, scienceVarianceFactor=1.1, scienceSaturation=3e4, saturationGrowth=2.5
    )
    path = tmp_path / "difference.fits"
    struct, _ = subtractAndStore(files, "turned.fits", config, "template", path, preparation)
    applied = applyKernel(path, files / "turned.fits", files / "science.fits")
    requireEqual(applied.difference, struct.subtractedExposure)
    assert applied.stored.recipe.preparation == preparation
    plain = applyKernel(
        StoredKernel(applied.stored.kernel, applied.stored.background), files / "turned.fits", files / "science.fits"
    )
    assert plain.difference.variance.tobytes() != applied.difference.variance.tobytes()


def test_kernelWithCovarianceRoundTrip(tmp_path):
    rng = np.random.default_rng(5)
    covariance, backgroundCovariance = rng.normal(size=(9, 9)), rng.normal(size=(3, 3))
    kernel = LinearCombinationKernel(
        rng.normal(size=(3, 5, 7)), rng.normal(size=(3, 3)), bbox=Box(1, 2, 30, 40), covariance=covariance
    )
    background = Polynomial2D([1.0 / 3.0, -0.0, 1e-300], (1.5, 2.5, 7.0, 9.0), backgroundCovariance)
    kernel.writeFits(tmp_path / "kernel.fits", background)
    back = StoredKernel.readFits(tmp_path / "kernel.fits")
    assert back.recipe is None
    assert back.kernel.covariance.tobytes() == covariance.tobytes()
    assert back.background.covariance.tobytes() == backgroundCovariance.tobytes()
    assert back.background.scaledParameters.tobytes() == background.scaledParameters.tobytes()
    assert (back.background.frame, back.background.model) == (background.frame, "polynomial")
    assert back.kernel.kernelSumSigma(3.0, 4.0) == kernel.kernelSumSigma(3.0, 4.0)
    kernel.writeFits(tmp_path / "alone.fits")
    assert StoredKernel.readFits(tmp_path / "alone.fits").background is None


def test_recipeThroughJson(config):
    recipe = SubtractionRecipe.fromConfig(
        config.kernel.active,
        "science",
        LinearCombinationKernel(np.full((1, 3, 3), 1.0 / 7.0), [[1.0]]),
        Box(-3, 5, 7, 9),
        Preparation(
            np.float32(1.1),
            templateSaturation=1.0 / 3.0,
            scienceTrails=(np.float32(1.5), 2, np.int64(3)),
            alignment={"affine": [[1.0, 0.0, 0.1], [0.0, 1.0, 0.2]]},
        ),
    )
    assert recipe.divisor == pytest.approx(9.0 / 7.0, rel=1e-15)
    assert recipe.box == Box(-3, 5, 7, 9)
    assert SubtractionRecipe.fromDict(json.loads(json.dumps(recipe.toDict()))) == recipe


# Another science image: subtraction with an existing kernel


def test_injectedSourceComesOutWhole(files, stored, tmp_path):
    science = Exposure.readFits(files / "science.fits")
    before = applyKernel(stored, files / "template.fits", science).difference.image
    science.image[100:103, 50:53] += 1000.0
    after = applyKernel(stored, files / "template.fits", science).difference.image
    change = after.astype(float) - before
    # float32 rounding of pixel values up to 1e5
    np.testing.assert_allclose(change[100:103, 50:53], 1000.0, atol=0.02)
    change[100:103, 50:53] = 0.0
    assert np.nanmax(np.abs(change)) == 0.0


def test_withoutBackground(files, stored):
    science = Exposure.readFits(files / "science.fits")
    whole, plain = (
        applyKernel(stored, files / "template.fits", science, useBackground=use).difference for use in (True, False)
    )
    x, y = np.meshgrid(np.arange(20, 276), np.arange(-7, 249))
    expected = plain.image - stored.background(x, y)
    np.testing.assert_allclose(whole.image, expected, atol=0.02, rtol=1e-6)


def test_cutOut(files, stored):
    science = Exposure.readFits(files / "science.fits")
    part = applyKernel(stored, files / "template.fits", science.subset(Box(60, 30, 120, 100)))
    whole = applyKernel(stored, files / "template.fits", science).difference.subset(Box(60, 30, 120, 100))
    inner = np.s_[15:-15, 15:-15]
    # Convolution sums are float32: 1e-5 of pixel values up to 5e4.
    np.testing.assert_allclose(part.difference.image[inner], whole.image[inner], atol=0.5)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_kernelWithoutRecipe(convolved):
    rng = np.random.default_rng(3)
    template, science = (
        MaskedImage(rng.normal(100.0, 3.0, (20, 30)), variance=np.full((20, 30), 9.0)) for _ in range(2)
    )
    kernel = LinearCombinationKernel(np.array([[[0.0, 0, 0], [0, 2.0, 0], [0, 0, 0]]]), [[1.0]])
    applied = applyKernel(kernel, template, science, convolved=convolved)
    inner = np.s_[1:-1, 1:-1]
    expected = science.image - 2.0 * template.image if convolved == "template" else science.image - template.image / 2.0
    np.testing.assert_allclose(applied.difference.image[inner], expected[inner], atol=1e-4)
    variance = 9.0 + 4.0 * 9.0 if convolved == "template" else 9.0 + 9.0 / 4.0
    np.testing.assert_allclose(applied.difference.variance[inner], variance, rtol=1e-5)


# Errors


def test_scienceImageBeyondTheKernel(files, stored):
    science = Exposure.readFits(files / "science.fits")
    moved = Exposure(MaskedImage(science.image, science.mask, science.variance, xy0=(21, -7)))
    with pytest.raises(InputImagesError, match=r"kernel is known on .*: it varies") as caught:
        applyKernel(stored, files / "template.fits", moved)
    assert caught.value.kernelBox == Box(20, -7, 256, 256)
    fixed = StoredKernel(LinearCombinationKernel(np.ones((1, 3, 3)) / 9.0, [[1.0]]), None, stored.recipe)
    template = Exposure(MaskedImage(science.image, xy0=(21, -7)))
    assert applyKernel(fixed, template, moved).difference.xy0 == (21, -7)


def test_kernelLargerThanTheImage(files, stored):
    with pytest.raises(InputImagesError, match=r"images of 10x200 pixels are smaller than the kernel of \d+x\d+"):
        applyKernel(stored, files / "narrow.fits", files / "narrow.fits")


def test_templateOfAnotherShape(files, stored):
    science = Exposure.readFits(files / "science.fits")
    science.wcs = None
    with pytest.raises(InputImagesError, match="different size"):
        applyKernel(stored, MaskedImage(np.zeros((50, 60))), science)


def test_filesWithoutAKernel(files, tmp_path):
    with pytest.raises(ExposureReadError, match="holds no kernel"):
        applyKernel(files / "science.fits", files / "template.fits", files / "science.fits")
    with pytest.raises(FileNotFoundError, match=r"absent\.fits"):
        applyKernel(tmp_path / "absent.fits", files / "template.fits", files / "science.fits")
    with pytest.raises(TypeError, match="a list is no kernel"):
        applyKernel([], files / "template.fits", files / "science.fits")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('{"spin": 1}', "unknown parts of the recipe: spin"),
        ('{"preparation": {"spin": 1}}', "unknown steps of the preparation: spin"),
        ('{"edges": {}}', "the recipe is damaged"),
        ('{"convolved": "both"}', "must be 'template' or 'science'"),
        ('{"divisor": 0.0}', "cannot be divided by 0"),
        ("[1]", "HDU RECIPE holds no JSON: it holds list"),
        ("{", "HDU RECIPE holds no JSON"),
    ],
)
def test_damagedRecipe(files, stored, tmp_path, recipe, message):
    stored.writeFits(tmp_path / "kernel.fits")
    with fits.open(tmp_path / "kernel.fits") as hdus:
        column = fits.Column(name="RECIPE", format=f"{len(recipe)}A", array=[recipe])
        index = hdus.index_of("RECIPE")
        hdus[index] = fits.BinTableHDU.from_columns([column], name="RECIPE")
        hdus.writeto(tmp_path / "damaged.fits")
    with pytest.raises(ExposureReadError, match=message):
        StoredKernel.readFits(tmp_path / "damaged.fits")


def test_convolvedContradictsTheRecipe(files, stored):
    with pytest.raises(ValueError, match="convolved is 'science', but this kernel convolves the template"):
        applyKernel(stored, files / "template.fits", files / "science.fits", convolved="science")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"templateVarianceFactor": 0.0}, "templateVarianceFactor is 0.0"),
        ({"scienceVarianceFactor": np.nan}, "scienceVarianceFactor is nan"),
        ({"templateSaturation": np.inf}, "templateSaturation is inf"),
        ({"saturationGrowth": -1.0}, "saturationGrowth is -1.0"),
        ({"scienceTrails": (np.nan, 1.0, 3)}, "scienceTrails is"),
    ],
)
def test_impossiblePreparation(values, message):
    with pytest.raises(ValueError, match=message):
        Preparation(**values)


def test_otherVersionAndInstructionSetAreTold(files, stored, caplog):
    recipe = SubtractionRecipe.fromDict({**stored.recipe.toDict(), "version": "0.0", "instructionSet": "sse9"})
    with caplog.at_level(logging.WARNING, "psfmatch.applying"):
        applied = applyKernel(
            StoredKernel(stored.kernel, stored.background, recipe), files / "template.fits", files / "science.fits"
        )
    assert "made by psfmatch 0.0" in caplog.text
    assert "instruction set sse9" in caplog.text
    assert applied.stored.recipe.version != "0.0"


# The command


def test_command(files, stored, tmp_path, capsys):
    logger = logging.getLogger("psfmatch")
    state = logger.handlers[:], logger.level, logger.propagate
    arguments = [str(files / name) for name in ("template.fits", "science.fits")]
    output = str(tmp_path / "again.fits")
    try:
        assert main(["apply", str(files / "difference.fits"), *arguments, "-o", output, "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert (summary["convolved"], summary["output"]) == ("template", output)
        requireEqual(Exposure.readFits(output), Exposure.readFits(files / "difference.fits"))
        assert (
            main(
                [
                    "apply",
                    str(files / "difference.fits"),
                    *arguments,
                    "-o",
                    output,
                    "--overwrite",
                    "--no-background",
                    "-q",
                ]
            )
            == 0
        )
        assert "template convolved" in capsys.readouterr().out
        assert main(["apply", str(files / "science.fits"), *arguments, "-o", output, "--overwrite"]) == 3
        assert "holds no kernel" in capsys.readouterr().err
        assert main(["apply", output, *arguments, "-o", output]) == 2
        assert "is one of the inputs" in capsys.readouterr().err
    finally:
        logger.handlers[:], logger.propagate = state[0], state[2]
        logger.setLevel(state[1])

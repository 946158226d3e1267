"""Weight maps of every kind, and planes of noise by every name, become the right variance."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.masked import Masked

from psfmatch import Exposure, InputImagesError, readManifest, subtract
from psfmatch.batch import Pair
from psfmatch.cli import main
from psfmatch.images import toExposure
from psfmatch.io import describe, readPlanes
from psfmatch.io.roles import Role, roleOf
from psfmatch.testing import simulatePair

SHAPE = (192, 256)
SIGMA = 5.0
rng = np.random.default_rng(11)
STEP = np.where(np.arange(SHAPE[1]) < 128, 1.0, 2.25) * np.ones(SHAPE)
"""Variance in units of that of the left half: fewer exposures on the right."""
NONE = np.zeros(SHAPE, dtype=bool)
NONE[20:40, 60:80] = True  # 400 pixels
y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
LIGHT = sum(5000.0 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8.0) for a, b in rng.uniform(20, 170, (12, 2)))
VARIANCE = SIGMA**2 * STEP
IMAGE = (100.0 + LIGHT + rng.normal(0.0, np.sqrt(VARIANCE + LIGHT / 4.0))).astype(np.float32)
FLAT = (100.0 + LIGHT + rng.normal(0.0, SIGMA, SHAPE)).astype(np.float32)

# image, weight, its variance relative to the truth's, words of the log
KINDS = {
    "inverse variance": (IMAGE, 1.0 / VARIANCE, VARIANCE, 1e-6, "is taken for 1/variance"),
    "inverse variance with light": (
        IMAGE,
        1.0 / (VARIANCE + LIGHT / 4.0),
        VARIANCE + LIGHT / 4.0,
        1e-6,
        "for 1/variance",
    ),
    "constant inverse variance": (FLAT, np.full(SHAPE, 0.04), np.full(SHAPE, 25.0), 1e-6, "is taken for 1/variance"),
    # 12 blocks of 4096 pixels: 1 % on the median of their variances, and as much by stars' wings; four times both.
    "relative": (IMAGE, 1.0 / STEP, VARIANCE, 0.08, "weights taken as relative"),
    "exposure time": (IMAGE, 1200.0 / STEP, VARIANCE, 0.08, "weights taken as relative"),
    "confidence": (IMAGE, np.rint(100.0 / STEP), VARIANCE, 0.08, "weights taken as relative"),
    "constant": (FLAT, np.full(SHAPE, 300.0), np.full(SHAPE, 25.0), 0.08, "only says where data are"),
    "zeros and ones": (FLAT, np.ones(SHAPE), np.full(SHAPE, 25.0), 0.08, "is 1 or no weight, and only says where data"),
    "zeros and 255": (FLAT, np.full(SHAPE, 255), np.full(SHAPE, 25.0), 0.08, "is 255 or no weight, and only says"),
    "booleans": (FLAT, np.ones(SHAPE, dtype=bool), np.full(SHAPE, 25.0), 0.08, "only says where data are"),
    "a variance": (
        IMAGE,
        VARIANCE + LIGHT / 4.0,
        VARIANCE + LIGHT / 4.0,
        1e-6,
        "is taken for a variance, not a weight",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nothing", [0, -1, np.nan])
def test_kindsOfArrays(kind, nothing, caplog):
    caplog.set_level("INFO", "psfmatch.io")
    image, weight, variance, tolerance, words = KINDS[kind]
    if nothing != 0:
        weight = weight.astype(np.float64)
    weight = np.where(NONE, weight.dtype.type(nothing), weight)
    before = weight.copy()
    exposure = Exposure.fromArray(image, weight=weight)
    np.testing.assert_array_equal(exposure.mask.hasAny("NO_DATA"), NONE)
    assert np.isinf(exposure.variance[NONE]).all()
    np.testing.assert_allclose(exposure.variance[~NONE], variance[~NONE], rtol=tolerance)
    assert words in caplog.text
    np.testing.assert_array_equal(weight, before)


def test_onesOfAnImageThatScattersByOne(caplog):
    exposure = Exposure.fromArray(FLAT / 4.0, weight=np.where(NONE, 0, 1))
    np.testing.assert_allclose(exposure.variance[~NONE], 25.0 / 16.0, rtol=0.08)
    assert "only says where data are" in caplog.text


def test_maskedWeights():
    for wrap in (np.ma.MaskedArray, Masked):
        exposure = Exposure.fromArray(IMAGE, weight=wrap(1.0 / VARIANCE, mask=NONE))
        np.testing.assert_array_equal(exposure.mask.hasAny("NO_DATA"), NONE)


@pytest.mark.parametrize("name", [None, "WHT", "IVAR"])
def test_files(tmp_path, name, caplog):
    caplog.set_level("INFO", "psfmatch.io")
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "image.fits")
    weight = np.where(NONE, 0.0, 1.0 / VARIANCE).astype(np.float32)
    hdus = [fits.PrimaryHDU(weight)] if name is None else [fits.PrimaryHDU(), fits.ImageHDU(weight, name=name)]
    fits.HDUList(hdus).writeto(tmp_path / "weight.fits")
    planes = readPlanes(tmp_path / "image.fits", weight=tmp_path / "weight.fits")
    np.testing.assert_allclose(planes.variance[~NONE], VARIANCE[~NONE], rtol=1e-6)
    np.testing.assert_array_equal(planes.mask != 0, NONE)
    assert planes.maskPlanes["NO_DATA"] == 8
    for path in (tmp_path / "weight.fits", str(tmp_path / "weight.fits")):
        other = toExposure(IMAGE, weight=path)
        np.testing.assert_array_equal(other.variance, planes.variance)
        np.testing.assert_array_equal(other.mask.hasAny("NO_DATA"), NONE)
    assert (
        toExposure(tmp_path / "image.fits", weight=tmp_path / "weight.fits")
        .metadata["VARSRC"]
        .startswith("weight file")
    )


@pytest.mark.parametrize("name", ["WHT", "WEIGHT", "WT", "WGT", "CONF", "wtmap"])
def test_weightsBesideTheImage(tmp_path, name):
    weight = np.where(NONE, 0.0, 100.0 / STEP).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(IMAGE), fits.ImageHDU(weight, name=name)]).writeto(tmp_path / "drz.fits")
    planes = readPlanes(tmp_path / "drz.fits")
    np.testing.assert_allclose(planes.variance[~NONE], VARIANCE[~NONE], rtol=0.08)
    np.testing.assert_array_equal(planes.mask == 1 << 8, NONE)


NOISES = {
    "ERR": SIGMA,
    "SIGMA": SIGMA,
    "STD": SIGMA,
    "STDDEV": SIGMA,
    "RMS": SIGMA,
    "UNCERT": SIGMA,
    "NOISE": SIGMA,
    "rms map": SIGMA,
    "VAR": SIGMA**2,
    "VARIANCE": SIGMA**2,
    "STAT": SIGMA**2,
    "IVAR": SIGMA**-2,
    "INVVAR": SIGMA**-2,
    "INVERSE_VARIANCE": SIGMA**-2,
}


@pytest.mark.parametrize("name", NOISES)
def test_planesOfNoiseByTheirNames(tmp_path, name):
    noise = np.full(SHAPE, NOISES[name], dtype=np.float32)
    fits.HDUList([fits.PrimaryHDU(FLAT), fits.ImageHDU(noise, name=name)]).writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(readPlanes(tmp_path / "a.fits").variance, SIGMA**2, rtol=1e-6)


@pytest.mark.parametrize(
    ("cards", "value"),
    [
        ({"UTYPE": "StdDevUncertainty"}, SIGMA),
        ({"UTYPE": "VarianceUncertainty"}, SIGMA**2),
        ({"UTYPE": "InverseVariance"}, SIGMA**-2),
        ({"HDUCLAS2": "ERROR", "HDUCLAS3": "MSE"}, SIGMA**2),
        ({"HDUCLAS2": "ERROR", "HDUCLAS3": "RMSE"}, SIGMA),
        ({"HDUCLAS2": "ERROR", "HDUCLAS3": "INVMSE"}, SIGMA**-2),
        ({"HDUCLAS2": "ERROR", "HDUCLAS3": "INVRMSE"}, 1.0 / SIGMA),
        ({"EXTTYPE": "VARIANCE"}, SIGMA**2),
    ],
)
def test_planesOfNoiseByTheirCards(tmp_path, cards, value):
    noise = fits.ImageHDU(np.full(SHAPE, value, dtype=np.float32), name="PLANE2")
    noise.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(FLAT), noise]).writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(readPlanes(tmp_path / "a.fits").variance, SIGMA**2, rtol=1e-6)


def test_partsOfAVarianceAreSummed(tmp_path):
    parts = {"VAR_POISSON": 16.0, "VAR_RNOISE": 8.0, "VAR_FLAT": 1.0}
    hdus = [fits.ImageHDU(np.full(SHAPE, value, np.float32), name=name) for name, value in parts.items()]
    image = fits.ImageHDU(FLAT, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image, *hdus]).writeto(tmp_path / "cal.fits")
    planes = readPlanes(tmp_path / "cal.fits")
    np.testing.assert_array_equal(planes.variance, 25.0)
    assert planes.varianceSource == "HDU VAR_POISSON + VAR_RNOISE + VAR_FLAT"
    # Where the whole is there, its parts are not asked.
    error = fits.ImageHDU(np.full(SHAPE, 6.0, np.float32), name="ERR")
    fits.HDUList([fits.PrimaryHDU(), image, *hdus, error]).writeto(tmp_path / "err.fits")
    np.testing.assert_array_equal(readPlanes(tmp_path / "err.fits").variance, 36.0)


def test_detectorsInTheNames(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for n, name in enumerate(("CCDID 1-1", "CCDID 1-2"), 1):
        for kind, value in (("SCI", 10 * n), ("RMS", n), ("FLG", n % 2)):
            hdus.append(
                fits.ImageHDU(np.full((5, 6), value, np.float32 if kind != "FLG" else np.int32), name=f"{name}.{kind}")
            )
    fits.HDUList(hdus).writeto(tmp_path / "vis.fits")
    planes = readPlanes(f"{tmp_path}/vis.fits[CCDID 1-2.SCI]")
    np.testing.assert_array_equal(planes.image, 20)
    np.testing.assert_array_equal(planes.variance, 4)
    assert not planes.mask.any()


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("SCI2", Role.IMAGE),
        ("ERR_2", Role.SIGMA),
        ("MASK N12", Role.MASK),
        ("COMPRESSED_IMAGE", Role.NONE),
        ("OBJECT MASK", Role.NONE),
        ("N12", Role.NONE),
        ("CTX", Role.NONE),
        ("AREA", Role.NONE),
    ],
)
def test_namesThatSayMore(name, role):
    assert roleOf(name, {})[0] is role


def test_productsOfTheCommunityPipeline(tmp_path):
    image, mask, weight = (fits.CompImageHDU(data, name="N12") for data in (FLAT, NONE * np.int32(3), 0.04 + 0 * FLAT))
    for name, hdu, product in (("ooi", image, "image"), ("ood", mask, "dqmask"), ("oow", weight, "wtmap")):
        hdu.header.update({"PRODTYPE": product, "INSTRUME": "DECam", "PLVER": "V4.8"})
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"{name}.fits.fz")
    assert [describe(tmp_path / f"{name}.fits.fz")[1].role for name in ("ood", "oow")] == [Role.MASK, Role.WEIGHT]
    planes = readPlanes(tmp_path / "ooi.fits.fz", mask=tmp_path / "ood.fits.fz")
    np.testing.assert_array_equal(planes.mask == 2, NONE)


@pytest.mark.parametrize("shape", [(3, 4), (256, 192), (192,)])
def test_weightsOfOtherShapes(shape):
    with pytest.raises(InputImagesError, match=r"the weight map has shape \("):
        Exposure.fromArray(IMAGE, weight=np.ones(shape))


@pytest.mark.parametrize("image", [np.full((1, 1), 3.0), np.full((4, 5), np.nan), np.zeros((70, 70))])
def test_imagesWithoutNoise(image):
    exposure = Exposure.fromArray(image, weight=np.linspace(0.0, 1.0, image.size).reshape(image.shape))
    assert exposure.mask.hasAny("NO_DATA").sum() == 1
    assert not np.isnan(exposure.variance[~exposure.mask.hasAny("NO_DATA")]).any()


# Doors


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with a pair as plain images, weight maps with holes, and the places of these."""
    folder = tmp_path_factory.mktemp("weights")
    pair = simulatePair(seed=3, size=256)
    hole = np.zeros((256, 256), dtype=bool)
    hole[100:120, 30:60] = True
    for name, exposure, scale in (("template", pair.template, 1.0), ("science", pair.science, 40.0)):
        bad = (np.asarray(exposure.mask) != 0) | ~np.isfinite(exposure.image) | (hole & (name == "science"))
        exposure.writeFits(folder / f"whole_{name}.fits")
        with fits.open(folder / f"whole_{name}.fits") as hdus:
            fits.PrimaryHDU(np.nan_to_num(exposure.image), hdus["IMAGE"].header).writeto(folder / f"{name}.fits")
        weight = np.where(bad, 0.0, scale / exposure.variance).astype(np.float32)
        fits.PrimaryHDU(weight).writeto(folder / f"{name}_w.fits")
    return folder, hole


def test_theCommandAndTheFrontDoor(files, capsys):
    folder, hole = files
    template, science, output = (str(folder / f"{name}.fits") for name in ("template", "science", "out"))
    weights = {which: str(folder / f"{which}_w.fits") for which in ("template", "science")}
    options = [part for which, path in weights.items() for part in (f"--{which}-weight", path)]
    assert main(["subtract", template, science, "-o", output, *options, "--threads", "1"]) == 0
    told = capsys.readouterr().err
    assert "weight file template_w.fits is taken for 1/variance" in told
    assert "weights taken as relative" in told
    written = Exposure.readFits(output)
    assert written.mask.hasAny("NO_DATA")[hole].all()
    named = {f"{which}Weight": path for which, path in weights.items()}
    result = subtract(template, science, threads=1, **named)
    np.testing.assert_array_equal(result.difference.image, written.image)
    arrays = {name: fits.getdata(path) for name, path in named.items()}
    again = subtract(Exposure.readFits(template), Exposure.readFits(science), threads=1, **arrays)
    np.testing.assert_array_equal(again.difference.image, written.image)


def test_oneKindOfNoiseAtATime(files, capsys):
    folder, _ = files
    weight = str(folder / "science_w.fits")
    arguments = [str(folder / "template.fits"), str(folder / "science.fits"), "-o", str(folder / "no.fits")]
    assert main(["subtract", *arguments, "--science-weight", weight, "--science-noise", weight]) != 0
    assert "give one of noise, variance and weight" in capsys.readouterr().err


def test_manifests(tmp_path):
    (tmp_path / "m.csv").write_text("template,science,science_weight\nt.fits,s.fits,w.fits\n")
    (pair,) = readManifest(tmp_path / "m.csv")
    assert pair.scienceWeight == str(tmp_path / "w.fits")
    assert pair.templateWeight is None
    assert pair.fingerprint() != Pair(pair.name, pair.template, pair.science).fingerprint()

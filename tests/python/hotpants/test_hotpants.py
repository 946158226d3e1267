"""Kernel tables of HOTPANTS: the basis in its normalisation, the sequence of its coefficients, the direction."""

import math

import numpy as np
import pytest
from astropy.io import fits

from psfmatch import Exposure, MaskedImage, PsfMatchConfigAL, applyKernel
from psfmatch.errors import ExposureReadError
from psfmatch.hotpants import hotpantsBasis, readHotpantsKernel
from psfmatch.hotpants.storedKernel import readStoredKernel
from psfmatch.kernels import makeKernelBasisList

# One star, one Gaussian of sigma 3 px and degree 3 on 19x19 px: ten coefficients and the background, as published with
# LSST's comparison. Their basis: ours in the sequence ORDER, divided by SCALE, times PARITY.
SINGLE = (
    *(0.959086, -0.000344, -0.197758, 0.000019, -0.000172, 0.000053, 0.000018, -0.192776, 0.000000, 0.000001),
    0.602642,
)
ORDER = [0, 2, 5, 9, 1, 4, 8, 3, 7, 6]
SCALE = np.array(
    [
        *(1.0, 8.866037e-02, 1.218095e01, 5.099318e-03, 8.866037e-02),
        *(4.179772e-02, 1.138120e-02, 1.218095e01, 1.138120e-02, 5.099318e-03),
    ]
)
PARITY = np.array([1, -1, 1, -1, -1, 1, -1, 1, -1, -1])
CARDS = {"NGAUSS": 1, "DGAUSS1": 3, "SGAUSS1": 3.0, "FWKERN": 19, "CKORDER": 0, "BGORDER": 0}


def powersOf(order):
    """Powers (of x, of y), that of y running fastest."""
    return [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]


def writeTable(path, coefficients, asCell=False, image=None, primary=None, **cards):
    values = np.asarray(coefficients, dtype=float)
    column = (
        fits.Column(name="REGION00", format=f"{values.size}D", array=values[np.newaxis])
        if asCell
        else fits.Column(name="REGION00", format="1D", array=values)
    )
    table = fits.BinTableHDU.from_columns([column])
    first = fits.PrimaryHDU(image)
    first.header.update(primary or {})
    table.header.update(CARDS | cards)
    fits.HDUList([first, table]).writeto(path)
    return path


def bruteForceKernel(coefficients, sigmas, degrees, side, kernelOrder, x, y):
    """The kernel (side, side) that is convolved with, from the definition; x and y are scaled to [-1, 1]."""
    half = side // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    rest, first, kernel = list(coefficients), None, np.zeros((side, side))
    for sigma, degree in zip(sigmas, degrees, strict=True):
        for i, j in powersOf(degree):
            image = u**i * v**j * np.exp(-(u**2 + v**2) / (2 * sigma**2))
            if i % 2 == j % 2 == 0:
                image /= image.sum()
            if first is None:
                first = image
                kernel += rest.pop(0) * image
                continue
            if i % 2 == j % 2 == 0:
                image = image - first
            kernel += sum(rest.pop(0) * x**p * y**q for p, q in powersOf(kernelOrder)) * image
    return kernel, rest


def test_basisOfThePublishedComparison():
    config = PsfMatchConfigAL()
    config.kernelSize, config.scaleByFwhm = 19, False
    config.alardNGauss, config.alardSigGauss, config.alardDegGauss = 1, [3.0], [3]
    ours = makeKernelBasisList(config)[ORDER] * (PARITY / SCALE)[:, np.newaxis, np.newaxis]
    theirs = hotpantsBasis(19, (3.0,), (3,))
    # The scales are published with seven digits.
    np.testing.assert_allclose(theirs, ours, atol=5e-7 * np.abs(theirs).max(axis=(1, 2), keepdims=True).max())
    for one, other in zip(theirs, ours, strict=True):
        assert np.abs(one - other).max() < 5e-7 * np.abs(one).max()


def test_singleStar(tmp_path):
    kernel, background = readHotpantsKernel(writeTable(tmp_path / "k.fits", SINGLE, REGION00="[1:193,1:193]"))
    # All basis functions but the first have the sum zero.
    assert kernel.kernelSum(10.0, 20.0) == pytest.approx(0.959086, abs=1e-12)
    assert background(100.0, 3.0) == 0.602642
    expected, _ = bruteForceKernel(SINGLE, (3.0,), (3,), 19, 0, 0.0, 0.0)
    np.testing.assert_allclose(kernel.computeImage(5.0, 5.0), expected[::-1, ::-1], atol=1e-15)


@pytest.mark.parametrize(("kernelOrder", "backgroundOrder"), [(1, 0), (0, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("asCell", [False, True])
def test_coefficientsOfPosition(tmp_path, kernelOrder, backgroundOrder, asCell):
    sigmas, degrees = (0.7, 1.5, 3.0), (3, 2, 1)
    nBasis = sum(math.comb(d + 2, 2) for d in degrees)
    nCoefficients = 1 + (nBasis - 1) * math.comb(kernelOrder + 2, 2) + math.comb(backgroundOrder + 2, 2)
    values = np.random.default_rng(1).normal(size=nCoefficients)
    cards = {f"DGAUSS{i + 1}": d for i, d in enumerate(degrees)} | {f"SGAUSS{i + 1}": s for i, s in enumerate(sigmas)}
    path = writeTable(
        tmp_path / "k.fits",
        values,
        asCell,
        NGAUSS=3,
        FWKERN=11,
        CKORDER=kernelOrder,
        BGORDER=backgroundOrder,
        REGION00="[11:90,21:60]",
        **cards,
    )
    kernel, background = readHotpantsKernel(path)
    for x, y in ((10.0, 20.0), (33.0, 59.0), (50.0, 40.0)):
        # The region's 80 x 40 pixels, 0-based from (10, 20): its middle and half sides.
        scaled = (x - 50.0) / 40.0, (y - 40.0) / 20.0
        expected, rest = bruteForceKernel(values, sigmas, degrees, 11, kernelOrder, *scaled)
        np.testing.assert_allclose(kernel.computeImage(x, y), expected[::-1, ::-1], atol=1e-11)
        expected = sum(
            c * scaled[0] ** p * scaled[1] ** q for c, (p, q) in zip(rest, powersOf(backgroundOrder), strict=True)
        )
        assert background(x, y) == pytest.approx(expected, abs=1e-12)


def test_vectorThatCountsFromOne(tmp_path):
    one = readHotpantsKernel(writeTable(tmp_path / "a.fits", SINGLE), shape=(193, 193))
    two = readHotpantsKernel(writeTable(tmp_path / "b.fits", (7.0, *SINGLE)), shape=(193, 193))
    assert one[0].scaledParameters.tobytes() == two[0].scaledParameters.tobytes()
    assert one[1](1.0, 1.0) == two[1](1.0, 1.0)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_applied(tmp_path, convolved):
    rng = np.random.default_rng(2)
    values = np.array(SINGLE)
    values[4] = 0.01  # an odd function, which tells the direction
    x0, y0 = 20, 25
    star = np.zeros((48, 50), dtype=np.float32)
    star[y0, x0] = 1000.0
    variance = np.ones_like(star)
    expected, _ = bruteForceKernel(values, (3.0,), (3,), 19, 0, 0.0, 0.0)
    blurred = rng.normal(0.0, 1.0, star.shape)
    blurred[y0 - 9 : y0 + 10, x0 - 9 : x0 + 10] += 1000.0 * expected
    sharp, wide = (Exposure(MaskedImage(image, variance=variance)) for image in (star, blurred + SINGLE[-1]))
    path = writeTable(
        tmp_path / "k.fits",
        values,
        image=star,
        primary={"CONVOL00": "TEMPLATE" if convolved == "template" else "IMAGE"},
    )
    pair = (sharp, wide) if convolved == "template" else (wide, sharp)
    applied = applyKernel(readStoredKernel(path), *pair)
    assert applied.stored.recipe.convolved == convolved
    inner = np.s_[9:-9, 9:-9]
    # (matched + background - template) / kernel sum has the noise with the other sign.
    divisor = 1.0 if convolved == "template" else -values[0]
    noise = blurred.copy()
    noise[y0 - 9 : y0 + 10, x0 - 9 : x0 + 10] -= 1000.0 * expected
    np.testing.assert_allclose(applied.difference.image[inner], (noise / divisor)[inner], atol=2e-3)


@pytest.mark.parametrize(
    ("coefficients", "cards", "message"),
    [
        (SINGLE[:-1], {}, "has 10 coefficients for region 0, .* have 11"),
        ((*SINGLE, 1.0, 2.0), {}, "has 13 coefficients"),
        ((math.nan, *SINGLE[1:]), {}, "1 of 11 coefficients are not finite"),
        (SINGLE, {"FWKERN": 18}, "which is no kernel"),
        (SINGLE, {"SGAUSS1": 0.0}, "which is no kernel"),
        (SINGLE, {"NGAUSS": 2}, "are incomplete"),
        (SINGLE, {"REGION00": "all"}, "is no section"),
    ],
)
def test_tablesThatDoNotFitTogether(tmp_path, coefficients, cards, message):
    path = writeTable(tmp_path / "k.fits", coefficients, **({"REGION00": "[1:193,1:193]"} | cards))
    with pytest.raises(ExposureReadError, match=message):
        readHotpantsKernel(path)


def test_filesWithoutATable(tmp_path):
    Exposure(MaskedImage(np.zeros((5, 5)))).writeFits(tmp_path / "image.fits")
    with pytest.raises(ExposureReadError, match="holds no kernel table of HOTPANTS"):
        readHotpantsKernel(tmp_path / "image.fits")
    path = writeTable(tmp_path / "k.fits", SINGLE)
    with pytest.raises(ExposureReadError, match=r"pass shape="):
        readHotpantsKernel(path)
    with pytest.raises(ExposureReadError, match="kernels of 1 regions, not one of number 1"):
        readHotpantsKernel(path, region=1)
    with pytest.raises(ExposureReadError, match=r"pass shape="):
        readStoredKernel(path)

"""Gaussians from two FWHMs, and the basis images made of them."""

import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.config import PsfMatchConfigAL
from psfmatch.errors import NumericalError
from psfmatch.kernels.alardLupton import GaussianSet, chooseGaussians
from psfmatch.kernels.basis import makeKernelBasisList, renormalizeBasis

quick = settings(max_examples=30, deadline=None, derandomize=True)

SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def makeConfig(**fields):
    config = PsfMatchConfigAL()
    for name, value in fields.items():
        setattr(config, name, value)
    return config


def gaussians(target, reference, **fields):
    return chooseGaussians(makeConfig(**fields), target, reference)


# FWHM pair; mode; classic sigmas, degrees, size; continuous sigmas, size. Sigmas are rounded to 4 decimals.
workedValues = [
    ((3.0, 4.0), "convolution", (1.1235, 2.2471, 4.4942), (4, 2, 2), 27, (0.7, 1.4, 2.8), 21),
    ((2.0, 3.0), "convolution", (0.9496, 1.8991, 3.7983), (4, 2, 2), 23, (0.7, 1.4, 2.8), 21),
    ((2.8, 5.6), "convolution", (1.0297, 2.0595, 4.1190), (4, 2, 2), 25, (1.0297, 2.0595, 4.1190), 25),
    ((3.0, 3.05), "convolution", (0.7, 1.4, 2.8), (4, 2, 2), 21, (0.7, 1.4, 2.8), 21),
    ((3.0, 7.0), "convolution", (1.3429, 2.6858, 5.3716), (4, 2, 2), 33, (1.3429, 2.6858, 5.3716), 33),
    ((4.0, 3.0), "deconvolution", (0.7945, 1.2562, 2.3163), (3, 3, 3), 21, (0.5618, 1.1235, 2.2471), 21),
    ((5.6, 2.8), "deconvolution", (1.4563, 2.3026, 4.2458), (3, 3, 3), 25, (1.0297, 2.0595, 4.1190), 25),
    ((3.05, 3.0), "deconvolution", (0.5657, 0.8944, 1.6492), (3, 3, 3), 21, (0.4, 0.8, 1.6), 21),
    ((3.0, 3.0), "config", (0.7, 1.5, 3.0), (4, 2, 2), 21, (0.7, 1.5, 3.0), 21),
]


@pytest.mark.parametrize(
    ("fwhms", "mode", "classicSigmas", "classicDegrees", "classicSize", "sigmas", "size"), workedValues
)
def test_workedValues(fwhms, mode, classicSigmas, classicDegrees, classicSize, sigmas, size):
    classic = gaussians(*fwhms, alardWidthRule="classic")
    assert (classic.mode, classic.degrees, classic.kernelSize) == (mode, classicDegrees, classicSize)
    # Half a unit of the last decimal of the table.
    assert classic.sigmas == pytest.approx(classicSigmas, abs=5.1e-5)
    continuous = gaussians(*fwhms)
    assert (continuous.mode, continuous.degrees, continuous.kernelSize) == (mode, (4, 2, 2), size)
    assert continuous.sigmas == pytest.approx(sigmas, abs=5.1e-5)


fwhmRange = st.floats(1.0, 12.0)


defaults = makeConfig()


@quick
@given(fwhmRange, fwhmRange)
def test_continuousRuleAgainstItsDefinition(target, reference):
    if target == reference:
        return
    width = math.sqrt(abs(reference**2 - target**2)) / SIGMA_TO_FWHM
    first = max(0.7 if reference > target else 0.4, width / 2.0)
    chosen = chooseGaussians(defaults, target, reference)
    assert chosen.mode == ("convolution" if reference > target else "deconvolution")
    assert chosen.sigmas == pytest.approx((first, 2.0 * first, 4.0 * first), rel=1e-12)
    odd = math.floor(24.0 * first) | 1
    assert chosen.kernelSize == min(max(odd, 21), 35)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("target", [2.0, 4.5])
def test_continuousRuleHasNoJump(target, count):
    config = makeConfig(alardNGauss=count, alardDegGauss=[2] * count, alardSigGauss=[1.0] * count)
    step = 1e-6
    # w^2 = (FWHM^2 - FWHM_T^2) / 2.35^2, so dw = FWHM dFWHM / (2.35^2 w) with w >= 0.4 where the sigmas follow it,
    # below 9 / (5.5 * 0.4) = 4.1 steps; the largest of four sigmas is 8 first ones, of which each is at most w.
    for reference in np.linspace(1.1, 9.0, 300):
        # Equal FWHMs take the configured widths; below and above lie the two directions' own minima.
        assert abs(reference - target) > step
        before, after = (
            np.array(chooseGaussians(config, target, fwhm).sigmas) for fwhm in (reference, reference + step)
        )
        assert np.abs(after - before).max() < 100.0 * step


def test_classicRuleJumpsWhereTheContinuousOneDoesNot():
    # w / beta passes alardMinSig = 0.7 at a FWHM of 3 -> sqrt(9 + (1.4 * 2.3548)^2) = 4.4625.
    below, above = (math.hypot(3.0, 1.4 * SIGMA_TO_FWHM) + step for step in (-1e-6, 1e-6))
    classic = [gaussians(3.0, fwhm, alardWidthRule="classic").sigmas[0] for fwhm in (below, above)]
    assert classic[0] == pytest.approx(1.4, abs=1e-5)
    assert classic[1] == pytest.approx(0.7, abs=1e-5)
    continuous = [gaussians(3.0, fwhm).sigmas[0] for fwhm in (below, above)]
    assert continuous == pytest.approx([0.7, 0.7], abs=1e-5)


@pytest.mark.parametrize("rule", ["continuous", "classic"])
def test_oneGaussianHasTheWidthOfTheKernel(rule):
    width = math.sqrt(5.0**2 - 3.0**2) / SIGMA_TO_FWHM
    fields = {"alardNGauss": 1, "alardDegGauss": [4], "alardSigGauss": [1.5]}
    chosen = gaussians(3.0, 5.0, alardWidthRule=rule, **fields)
    assert chosen.sigmas == pytest.approx((width,), rel=1e-12)
    assert chosen.degrees == (4,)
    # 6 * 1.6986 = 10.2: below kernelSizeMin.
    assert chosen.kernelSize == 21


def test_twoGaussiansOfTheClassicRule():
    fields = {"alardNGauss": 2, "alardDegGauss": [4, 2], "alardSigGauss": [1.0, 2.0], "alardWidthRule": "classic"}
    width = math.sqrt(7.0**2 - 3.0**2) / SIGMA_TO_FWHM
    assert gaussians(3.0, 7.0, **fields).sigmas == pytest.approx((width / 2.0, width))
    assert gaussians(3.0, 3.05, **fields).sigmas == pytest.approx((0.7, 1.4))


def test_classicDeconvolutionIsUlmersSet():
    # s0 = w / 2, s1 = w, s2 = 2 w: eq. 40 gives sqrt(2), sqrt(5), sqrt(17) times s0.
    s0 = math.sqrt(6.0**2 - 2.0**2) / SIGMA_TO_FWHM / 2.0
    expected = [s0 * math.sqrt(factor) for factor in (2.0, 5.0, 17.0)]
    chosen = gaussians(6.0, 2.0, alardWidthRule="classic", alardDegGaussDeconv=2)
    assert chosen.sigmas == pytest.approx(expected, rel=1e-12)
    assert chosen.degrees == (2, 2, 2)
    # Values beyond the third only enlarge the kernel: the last of four is 8 s0, side 48 s0 = 115, clipped.
    four = gaussians(6.0, 2.0, alardWidthRule="classic", alardNGaussDeconv=4)
    assert four.sigmas == pytest.approx(expected, rel=1e-12)
    assert four.kernelSize == 35


@pytest.mark.parametrize("rule", ["continuous", "classic"])
@pytest.mark.parametrize(
    ("target", "reference", "fields"),
    [
        (None, None, {}),
        (3.0, None, {}),
        (None, 4.0, {}),
        (3.0, 3.0, {}),
        (3.0, 5.0, {"scaleByFwhm": False}),
    ],
)
def test_configuredWidthsAreTakenAsTheyAre(rule, target, reference, fields):
    # The limits of the kernel's side do not apply either.
    chosen = gaussians(target, reference, alardWidthRule=rule, kernelSize=11, **fields)
    assert chosen == GaussianSet("config", (0.7, 1.5, 3.0), (4, 2, 2), 11)


def test_givenDegreesAndWidths():
    config = makeConfig()
    unknown = chooseGaussians(config, None, None, [1, 1, 0], [1.0, 2.0, 3.0])
    assert unknown == GaussianSet("config", (1.0, 2.0, 3.0), (1, 1, 0), 21)
    # With FWHMs the widths follow from them, the degrees stay.
    known = chooseGaussians(config, 3.0, 3.05, [1, 1, 0], [1.0, 2.0, 3.0])
    assert known.sigmas == pytest.approx((0.7, 1.4, 2.8))
    assert known.degrees == (1, 1, 0)


@pytest.mark.parametrize(
    ("scaling", "low", "high", "expected"),
    [(6.0, 21, 35, 33), (6.0, 21, 31, 31), (7.0, 21, 99, 37), (1.0, 5, 99, 5), (6.0, 37, 41, 37)],
)
def test_kernelSizeIsOddAndClipped(scaling, low, high, expected):
    # Largest sigma 5.3716: 32.2 -> 32 -> 33; 37.6 -> 37; 5.37 -> 5.
    fields = {"kernelSizeFwhmScaling": scaling, "kernelSizeMin": low, "kernelSizeMax": high}
    assert gaussians(3.0, 7.0, **fields).kernelSize == expected


def makeMonomialBasis(half, sigmas, degrees):
    """Raw Alard-Lupton images pixel by pixel."""
    v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    images = []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        gaussian = np.exp(-(u**2 + v**2) / (2.0 * sigma**2))
        gaussian /= gaussian.sum()
        for total in range(degree + 1):
            images += [gaussian * (u / half) ** (total - j) * (v / half) ** j for j in range(total + 1)]
    return images


def renormalized(images):
    first = images[0] / images[0].sum()
    result = [first]
    for image in images[1:]:
        if abs(image.sum()) > np.finfo(np.float32).eps:
            image = image / image.sum() - first
        result.append(image / math.sqrt((image**2).sum()))
    return np.array(result)


@pytest.mark.parametrize(("target", "reference"), [(None, None), (3.0, 4.0), (5.6, 2.8)])
def test_basisAgainstItsDefinition(target, reference):
    basis = makeKernelBasisList(makeConfig(), target, reference)
    chosen = gaussians(target, reference)
    expected = renormalized(makeMonomialBasis(chosen.kernelSize // 2, chosen.sigmas, chosen.degrees))
    # Degrees (4, 2, 2): 15 + 6 + 6 images. Each divides by its sum of 1e-6 or more, with its 1e-16 of rounding
    # relative to that; then 1e-12 is left after 1225 additions.
    assert basis.shape == expected.shape == (27, chosen.kernelSize, chosen.kernelSize)
    np.testing.assert_allclose(basis, expected, rtol=0, atol=1e-12)


@quick
@given(st.floats(1.5, 6.0), st.floats(1.5, 6.0), st.sampled_from(["continuous", "classic"]))
def test_basisSumsAndNorms(target, reference, rule):
    basis = makeKernelBasisList(makeConfig(alardWidthRule=rule), target, reference)
    sums = basis.sum(axis=(1, 2))
    # 441 to 1225 terms below 1 in float64, scaled up by 1 / norm, which is 1e3 at most.
    assert sums[0] == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(sums[1:], 0.0, atol=1e-10)
    np.testing.assert_allclose((basis[1:] ** 2).sum(axis=(1, 2)), 1.0, rtol=1e-12)


def test_metadata():
    metadata = {}
    makeKernelBasisList(makeConfig(), 3.0, 7.0, metadata=metadata)
    sigmas = metadata.pop("ALBasisSigGauss")
    assert metadata == {
        "ALBasisNGauss": 3,
        "ALBasisDegGauss": [4, 2, 2],
        "ALKernelSize": 33,
        "ALBasisMode": "convolution",
    }
    assert sigmas == pytest.approx([1.3429, 2.6858, 5.3716], abs=5.1e-5)
    for target, reference, mode in ((7.0, 3.0, "deconvolution"), (None, 3.0, "config"), (3.0, 3.0, "config")):
        makeKernelBasisList(makeConfig(), target, reference, metadata=metadata)
        assert metadata["ALBasisMode"] == mode
    assert metadata["ALBasisSigGauss"] == [0.7, 1.5, 3.0]
    assert metadata["ALKernelSize"] == 21


def test_metadataOfTheClassicDeconvolution():
    metadata = {}
    config = makeConfig(alardWidthRule="classic", alardNGauss=2, alardDegGauss=[4, 2], alardSigGauss=[1.0, 2.0])
    basis = makeKernelBasisList(config, 7.0, 3.0, metadata=metadata)
    assert metadata["ALBasisNGauss"] == 3
    assert metadata["ALBasisDegGauss"] == [3, 3, 3]
    assert len(basis) == 30


def test_logNamesModeWidthsAndSize(caplog):
    with caplog.at_level(logging.DEBUG, "psfmatch.kernels.basis"):
        makeKernelBasisList(makeConfig(), 3.0, 7.0)
    assert "convolution" in caplog.text
    assert "1.343 2.686 5.372" in caplog.text
    assert "33 px" in caplog.text


def test_renormalizeThreeGaussians():
    v, u = np.mgrid[-9:10, -9:10].astype(float)
    images = [np.exp(-0.5 * ((u / sx) ** 2 + (v / sy) ** 2)) for sx, sy in ((2.0, 2.0), (3.0, 4.0), (0.2, 0.25))]
    given = np.array(images)
    before = given.copy()
    basis = renormalizeBasis(given)
    np.testing.assert_array_equal(given, before)
    # 361 additions of numbers below 1.
    np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0, 0.0, 0.0], atol=1e-13)
    np.testing.assert_allclose((basis[1:] ** 2).sum(axis=(1, 2)), 1.0, rtol=1e-13)
    np.testing.assert_allclose(basis, renormalized(images), rtol=0, atol=1e-13)


def test_renormalizeKeepsSmallSums():
    # 1e-7 is below the float32 epsilon of 1.19e-7, 2e-7 above it.
    first, odd = np.zeros((3, 3)), np.zeros((3, 3))
    first[1, 1] = 2.0
    odd[1, 0], odd[1, 2] = -1.0, 1.0
    small, large = odd.copy(), odd.copy()
    small[0, 0], large[0, 0] = 1e-7, 2e-7
    basis = renormalizeBasis([first, small, large])
    assert basis[1, 1, 1] == 0.0
    assert basis[1].sum() == pytest.approx(1e-7 / math.sqrt(2.0), rel=1e-6)
    assert basis[2].sum() == pytest.approx(0.0, abs=1e-9)


@quick
@given(st.floats(0.1, 10.0), st.integers(0, 2**32 - 1))
def test_renormalizeDoesNotSeeTheScale(scale, seed):
    images = np.random.default_rng(seed).uniform(0.5, 1.0, (3, 3, 5))
    # Images between 0.5 and 1 sum to 7.5 to 15; the norm after taking off the first is at least 1e-3 of it.
    np.testing.assert_allclose(renormalizeBasis(scale * images), renormalizeBasis(images), rtol=0, atol=1e-10)


def test_degreeOfMinusOneLeavesAGaussianOut():
    """The images are those of the others, and their sums as ever; the first Gaussian cannot be left out."""
    fewer = makeKernelBasisList(makeConfig(alardDegGauss=[4, 2, -1]))
    two = makeKernelBasisList(makeConfig(alardNGauss=2, alardSigGauss=[0.7, 1.5], alardDegGauss=[4, 2]))
    np.testing.assert_array_equal(fewer, two)
    with pytest.raises(ValueError, match="degree -1; need sigma > 0 and degree >= 0"):
        makeKernelBasisList(makeConfig(alardDegGauss=[-1, 2, 2]))


def test_errorsOfTheArguments():
    config = makeConfig()
    with pytest.raises(ValueError, match=r"alardNGauss is 3 but there are 2 degrees and 3 sigmas; give one of each"):
        makeKernelBasisList(config, basisDegGauss=[1, 2])
    with pytest.raises(ValueError, match="3 degrees and 1 sigmas"):
        makeKernelBasisList(config, 3.0, 4.0, basisSigmaGauss=[1.0])
    with pytest.raises(ValueError, match=r"kernelSize is 20; it must be odd"):
        makeKernelBasisList(makeConfig(kernelSize=20), 3.0, 4.0)
    with pytest.raises(ValueError, match=r"Gaussian 0 has sigma 0\.0+ px and degree 1; need sigma > 0"):
        makeKernelBasisList(config, basisDegGauss=[1, 1, 1], basisSigmaGauss=[0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="half width of the kernel is 0 pixels"):
        makeKernelBasisList(makeConfig(kernelSize=1))


@pytest.mark.parametrize("value", [0.0, -2.0, math.nan, math.inf])
def test_errorsOfTheFwhms(value):
    with pytest.raises(ValueError, match=rf"targetFwhmPix is {value}; a FWHM must be a positive number of pixels"):
        gaussians(value, 4.0)
    with pytest.raises(ValueError, match=rf"referenceFwhmPix is {value}; a FWHM must be"):
        gaussians(3.0, value)


def test_errorsOfTheClassicDeconvolution():
    with pytest.raises(ValueError, match=r"alardNGaussDeconv is 2; the classic rule for deconvolution needs 3"):
        gaussians(5.0, 3.0, alardWidthRule="classic", alardNGaussDeconv=2)
    # s1^2 - 2 s0^2 = s0^2 (beta^2 - 2) < 0.
    with pytest.raises(ValueError, match=r"alardGaussBeta = 1\.2 is too small for the classic deconvolution set"):
        gaussians(5.0, 3.0, alardWidthRule="classic", alardGaussBeta=1.2)


@pytest.mark.parametrize("rule", ["continuous", "classic"])
def test_ratioOfZeroIsNamed(rule):
    # The configuration allows alardGaussBeta = 0, which leaves no second Gaussian.
    with pytest.raises(ValueError, match="alardGaussBeta"):
        gaussians(3.0, 7.0, alardWidthRule=rule, alardGaussBeta=0.0)


def test_renormalizeErrors():
    ones = np.ones((3, 3))
    odd = np.zeros((3, 3))
    odd[1, 0], odd[1, 2] = -1.0, 1.0
    with pytest.raises(NumericalError, match="first basis image sums to zero"):
        renormalizeBasis([odd, ones])
    with pytest.raises(NumericalError, match="basis image 1 is a multiple of the first one"):
        renormalizeBasis([ones, 2.0 * ones])
    with pytest.raises(ValueError, match=r"shape \(n, height, width\), not 1 dimensions"):
        renormalizeBasis(np.ones(9))

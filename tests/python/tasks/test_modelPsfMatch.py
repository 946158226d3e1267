"""An exposure is given the PSF of a model: sizes of the PSFs' images, sums of the kernel, and the PSF that results."""

import math

import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.pex.config import FieldValidationError

from psfmatch import (
    DoubleGaussianPsf,
    Exposure,
    GaussianPsf,
    GridPsf,
    InputImagesError,
    MaskedImage,
    ModelPsfMatchTask,
    getFwhmPix,
)
from psfmatch.tasks.modelPsfMatch import withShape

SIZE = (300, 260)  # height, width


def makeExposure(psf):
    """Return a noisy field with one star of 1e5 counts at (150, 120), array coordinates."""
    pixels = np.random.default_rng(5).normal(0.0, 1.0, SIZE)
    star = psf.computeKernelImage(150.0, 120.0)
    half = star.shape[0] // 2
    pixels[120 - half : 121 + half, 150 - half : 151 + half] += 1e5 * star
    variance = np.ones(SIZE, dtype=np.float32)
    return Exposure(
        MaskedImage(pixels.astype(np.float32), variance=variance, xy0=(1000, -500)),
        psf=psf,
        photoCalib=2.0,
        filter="r",
        metadata={"VISIT": 42, "AIRMASS": 1.2},
    )


@pytest.fixture(scope="module")
def exposure():
    return makeExposure(GaussianPsf(1.3, 25))


def makeTask(order=0, *, kernelSize=None, **changes):
    config = ModelPsfMatchTask.ConfigClass()
    config.kernel.active.spatialKernelOrder = order
    if kernelSize is not None:
        config.kernel.active.update(kernelSize=kernelSize, scaleByFwhm=False)
    config.update(**changes)
    return ModelPsfMatchTask(config=config, threads=1)


@pytest.fixture(scope="module")
def tasks():
    return {order: makeTask(order) for order in (0, 1)}


def stampShape(result):
    return next(iter(result.kernelCellSet)).templateMaskedImage.shape


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kernelSum", [0.5, 1.0, 2.7])
def test_kernelSumIsExact(exposure, tasks, order, kernelSum):
    result = tasks[order].run(exposure, GaussianPsf(2.0, 25), kernelSum=kernelSum)
    kernel = result.psfMatchingKernel
    assert kernel.order == order
    for x, y in ((1000, -500), (1259, -201), (1100, -400)):
        assert kernel.kernelSum(x, y) == pytest.approx(kernelSum, rel=1e-12)
    assert result.metadata["spatialKernelSum"] == kernelSum
    # The star keeps kernelSum of its counts within 20 px: 41 px squared of sky have noise of about 41, of 1e5.
    box = (slice(100, 141), slice(130, 171))
    counts = [e.image[box].astype(float).sum() for e in (exposure, result.psfMatchedExposure)]
    assert counts[1] / counts[0] == pytest.approx(kernelSum, rel=2e-3)


@pytest.mark.parametrize("reference", [GaussianPsf(2.0, 25), DoubleGaussianPsf(1.9, 3.5, 0.1, 31)])
def test_matchedPsfIsTheModel(exposure, tasks, reference):
    """A kernel of Gaussians makes a Gaussian from a Gaussian, and two from two, up to the cut wings."""
    result = tasks[0].run(exposure, reference)
    kernel = result.psfMatchingKernel.computeImage(1100.0, -400.0)
    psf = withShape(exposure.psf.computeKernelImage(0, 0), (71, 71))
    matched = np.fft.ifft2(np.fft.fft2(psf) * np.fft.fft2(withShape(kernel, (71, 71)))).real
    matched = np.roll(matched, (-35, -35), axis=(0, 1))
    expected = withShape(reference.computeKernelImage(0, 0), (71, 71))
    # Images cut at 12 px, 5 sigma: their light changes by 1e-4 where the kernel's sum is made exact (4e-3 with wings).
    np.testing.assert_allclose(matched, expected, atol=5e-3 * expected.max())
    assert result.metadata["psfModelResidual"] < 1e-4
    assert getFwhmPix(matched) == pytest.approx(getFwhmPix(reference), rel=2e-3)


def test_varyingPsfBecomesConstant():
    sigmas = np.array([[1.2, 1.4], [1.5, 1.7]])
    nodes = np.array([[GaussianPsf(s, 25).computeKernelImage(0, 0) for s in row] for row in sigmas])
    psf = GridPsf(nodes, [1000, 1259], [-500, -201])
    reference = GaussianPsf(2.3, 25)
    result = makeTask(2).run(makeExposure(psf), reference)
    assert result.metadata["psfModelResidual"] < 2e-3
    for x, y in ((1030.0, -470.0), (1230.0, -230.0), (1130.0, -350.0)):
        kernel = withShape(result.psfMatchingKernel.computeImage(x, y), (71, 71))
        star = withShape(psf.computeKernelImage(x, y), (71, 71))
        matched = np.roll(np.fft.ifft2(np.fft.fft2(star) * np.fft.fft2(kernel)).real, (-35, -35), axis=(0, 1))
        before = getFwhmPix(star)
        # Order 2 in place of the square root in sigma_K: the FWHM, which was off by up to 45 %, is right to 0.5 %.
        assert getFwhmPix(matched) == pytest.approx(getFwhmPix(reference), rel=5e-3)
        assert before < 0.8 * getFwhmPix(reference)


class SlopingGaussian:
    """A Gaussian whose width grows along x and y, each model by its own slopes."""

    def __init__(self, sigma, slopeX, slopeY, size):
        self.sigma, self.slopeX, self.slopeY, self.size = sigma, slopeX, slopeY, size

    def computeKernelImage(self, x, y):
        sigma = self.sigma + self.slopeX * (x - 1130.0) / 130.0 + self.slopeY * (y + 350.0) / 150.0
        return GaussianPsf(sigma, self.size).computeKernelImage(x, y)


def test_bothModelsVary():
    """Model to model, each of its own at each place: the exposure's stars become those of the reference model there."""
    psf, reference = SlopingGaussian(1.4, 0.12, -0.1, 25), SlopingGaussian(2.1, -0.1, 0.15, 31)
    places = [(1030.0, -470.0), (1230.0, -230.0), (1040.0, -240.0), (1225.0, -460.0), (1130.0, -350.0)]
    pixels = np.zeros(SIZE)
    for x, y in places:
        column, row = round(x) - 1000, round(y) + 500
        pixels[row - 12 : row + 13, column - 12 : column + 13] += 1e5 * psf.computeKernelImage(x, y)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [-5e-5, 5e-5]
    visit = {"VISIT": 42, "DATE-OBS": "2026-11-30T02:00:00", "EXPTIME": 30.0, "AIRMASS": 1.2}
    exposure = Exposure(
        MaskedImage(pixels.astype(np.float32), variance=np.ones(SIZE, dtype=np.float32), xy0=(1000, -500)),
        wcs=wcs,
        psf=psf,
        photoCalib=2.0,
        filter="r",
        metadata=visit,
    )
    result = makeTask(3).run(exposure, reference)
    matched = result.psfMatchedExposure
    assert result.metadata["psfModelResidual"] < 2e-3
    for x, y in places:
        column, row = round(x) - 1000, round(y) + 500
        star = matched.image[row - 15 : row + 16, column - 15 : column + 16] / 1e5
        expected = reference.computeKernelImage(x, y)
        np.testing.assert_allclose(star, expected, atol=5e-3 * expected.max())
        assert getFwhmPix(star) == pytest.approx(getFwhmPix(expected), rel=5e-3)
        assert getFwhmPix(matched.psf, (x, y)) == pytest.approx(getFwhmPix(expected), rel=1e-6)
    # The places differ by far more than they are missed.
    assert np.ptp([getFwhmPix(reference, place) for place in places]) > 0.8
    assert matched.metadata == visit
    assert (matched.filter, matched.photoCalib, matched.xy0) == ("r", 2.0, (1000, -500))
    assert matched.wcs.wcs.compare(wcs.wcs)


def test_everythingElseIsKept(exposure, tasks):
    image, mask = exposure.image.copy(), np.array(exposure.mask)
    reference = GaussianPsf(2.0, 25)
    result = tasks[0].run(exposure, reference)
    matched = result.psfMatchedExposure
    assert matched.metadata == {"VISIT": 42, "AIRMASS": 1.2}
    assert matched.metadata is not exposure.metadata
    assert (matched.filter, matched.photoCalib, matched.xy0, matched.wcs) == ("r", 2.0, (1000, -500), None)
    assert matched.psf is reference
    assert {"psfMatchedExposure", "psfMatchingKernel", "kernelCellSet", "metadata"} <= set(result.getDict())
    np.testing.assert_array_equal(exposure.image, image)
    np.testing.assert_array_equal(np.asarray(exposure.mask), mask)
    assert isinstance(exposure.psf, GaussianPsf)
    assert result.metadata["runEndUtc"]


# Sizes of the images of the PSFs


def test_kernelAsBigAsThePsf(exposure):
    for kernelSize in (25, 27):
        with pytest.raises(ValueError, match=f"kernel of {kernelSize}x{kernelSize} pixels must be smaller.*25x25"):
            makeTask(kernelSize=kernelSize, doAutoPadPsf=False).run(exposure, GaussianPsf(2.0, 25))
    result = makeTask(kernelSize=19, doAutoPadPsf=False).run(exposure, GaussianPsf(2.0, 25))
    assert stampShape(result) == (25, 25)


@pytest.mark.parametrize("size", [15, 25, 41])
def test_modelIsTrimmedOrPaddedToThePsf(exposure, size):
    reference = GaussianPsf(2.0, size)
    result = makeTask(kernelSize=17, doAutoPadPsf=False).run(exposure, reference)
    candidate = next(iter(result.kernelCellSet))
    assert candidate.scienceMaskedImage.shape == (25, 25)
    image = reference.computeKernelImage(0, 0)
    expected = np.pad(image, 5) if size == 15 else image[(size - 25) // 2 : (size + 25) // 2, :][:, (size - 25) // 2 :]
    np.testing.assert_allclose(candidate.scienceMaskedImage.image, expected[:25, :25], rtol=1e-6)


def test_automaticPadding(exposure):
    # 1.4 * 21 = 29.4: the next odd number is 31. A PSF that is large enough stays as it is.
    assert stampShape(makeTask(kernelSize=21).run(exposure, GaussianPsf(2.0, 25))) == (31, 31)
    assert stampShape(makeTask(kernelSize=15).run(exposure, GaussianPsf(2.0, 25))) == (25, 25)
    assert stampShape(makeTask(kernelSize=21, autoPadPsfTo=2.0).run(exposure, GaussianPsf(2.0, 25))) == (43, 43)


@pytest.mark.parametrize("pad", [0, 2, 10])
def test_evenPadding(exposure, pad):
    result = makeTask(kernelSize=19, doAutoPadPsf=False, padPsfBy=pad).run(exposure, GaussianPsf(2.0, 25))
    assert stampShape(result) == (25 + pad, 25 + pad)


@pytest.mark.parametrize("pad", [1, 9])
def test_oddPadding(exposure, pad):
    with pytest.raises(ValueError, match=f"padPsfBy is {pad}; it must be even"):
        makeTask(kernelSize=21, doAutoPadPsf=False, padPsfBy=pad).run(exposure, GaussianPsf(2.0, 25))
    # It is not looked at where padding is automatic.
    assert stampShape(makeTask(kernelSize=21, padPsfBy=pad).run(exposure, GaussianPsf(2.0, 25))) == (31, 31)


def test_defaults():
    config = ModelPsfMatchTask.ConfigClass()
    assert (config.doAutoPadPsf, config.autoPadPsfTo, config.padPsfBy) == (True, 1.4, None)
    for name, value in (("autoPadPsfTo", 1.0), ("padPsfBy", -2)):
        with pytest.raises(FieldValidationError, match=name):
            setattr(config, name, value)


def test_withShapeKeepsTheMiddle():
    image = np.arange(1.0, 26.0).reshape(5, 5)
    np.testing.assert_array_equal(withShape(image, (3, 3)), image[1:4, 1:4])
    np.testing.assert_array_equal(withShape(image, (5, 5)), image)
    np.testing.assert_array_equal(withShape(image, (9, 3)), np.pad(image[:, 1:4], ((2, 2), (0, 0))))


# Grids of candidates


def test_smallExposuresHaveEnoughCells():
    exposure = makeExposure(GaussianPsf(1.3, 25))
    small = Exposure(exposure.maskedImage.subset(exposure.getBBox().shrunk(100)), psf=exposure.psf)
    result = makeTask(2).run(small, GaussianPsf(2.0, 25))
    assert len(result.kernelCellSet) >= 16
    assert result.metadata["nBadCandidates"] == 0


def test_gapsOfThePsfAreLeftOut(exposure):
    nodes = np.tile(GaussianPsf(1.3, 25).computeKernelImage(0, 0), (3, 3, 1, 1))
    nodes[0, 0] = np.nan
    psf = GridPsf(nodes, [1000, 1130, 1259], [-500, -350, -201])
    result = makeTask(0).run(makeExposureLike(exposure, psf), GaussianPsf(2.0, 25))
    full = makeTask(0).run(exposure, GaussianPsf(2.0, 25))
    assert 0 < len(result.kernelCellSet) < len(full.kernelCellSet)
    np.testing.assert_allclose(
        result.psfMatchingKernel.computeImage(1100, -400), full.psfMatchingKernel.computeImage(1100, -400), atol=1e-6
    )


def makeExposureLike(exposure, psf):
    return Exposure(exposure.maskedImage, psf=psf)


def test_whatCannotBeDone(exposure, tasks):
    task, reference = tasks[0], GaussianPsf(2.0, 25)
    with pytest.raises(ValueError, match="the exposure has no PSF"):
        task.run(Exposure(exposure.maskedImage), reference)
    for kernelSum in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"kernelSum is {kernelSum}"):
            task.run(exposure, reference, kernelSum=kernelSum)
    with pytest.raises(TypeError, match=r"a PSF is an object with computeKernelImage"):
        task.run(exposure, "gaussian")
    tiny = Exposure(MaskedImage(np.zeros((15, 15)), variance=np.ones((15, 15))), psf=exposure.psf)
    with pytest.raises(InputImagesError, match="smaller than the kernel"):
        task.run(tiny, reference)

    class BrokenPsf:
        def computeKernelImage(self, x, y):
            raise RuntimeError("no PSF here")

    with pytest.raises(ValueError, match="no measurable width anywhere"):
        task.run(makeExposureLike(exposure, BrokenPsf()), reference)


def test_narrowerModelIsWarnedAbout(exposure, tasks, caplog):
    tasks[0].run(makeExposureLike(exposure, GaussianPsf(1.6, 25)), GaussianPsf(1.5, 25))
    assert "the kernel must sharpen" in caplog.text


def test_modelsHaveNoUncertainty():
    config = ModelPsfMatchTask.ConfigClass()
    config.kernel.active.calculateKernelUncertainty = True
    with pytest.raises(FieldValidationError, match="models have no noise"):
        ModelPsfMatchTask(config=config)


@pytest.mark.parametrize(
    "changes", [{}, {"doAutoPadPsf": False, "padPsfBy": 0}, {"doAutoPadPsf": False, "padPsfBy": 2}]
)
@pytest.mark.parametrize("order", [0, 1])
def test_smallKernelOfManyFunctions(order, changes):
    """The usual 27 functions on 9x9 pixels: small images of PSFs are padded until they tell so many."""
    exposure = makeExposure(GaussianPsf(1.3, 11))
    task = makeTask(order, kernelSize=9, **changes)
    result = task.run(exposure, GaussianPsf(1.6, 11))
    assert result.psfMatchingKernel.shape == (9, 9)
    assert len(result.psfMatchingKernel.basis) == 27
    side = stampShape(result)[0]
    assert (side - 8) ** 2 >= 27
    assert task.metadata["psfModelResidual"] < 0.005
    star = result.psfMatchedExposure.image[110:131, 140:161].astype(np.float64)
    seen = star / star.sum()
    wanted = GaussianPsf(1.6, 21).computeKernelImage(0.0, 0.0)
    assert np.abs(seen - wanted).max() < 0.01 * wanted.max()

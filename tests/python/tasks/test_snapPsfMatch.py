"""Two snaps of one visit: the small constant kernel of their task, in both bases."""

import numpy as np
import pytest

from psfmatch import (
    Exposure,
    GaussianPsf,
    InputImagesError,
    MaskedImage,
    SnapPsfMatchTask,
)

SHAPE = 220, 240


def snap(sigma, seed, shift=0.0, transient=0.0):
    """Thirty stars of a PSF on a sky without light."""
    random = np.random.default_rng(11)
    light = np.zeros(SHAPE)
    rows, columns = np.indices(SHAPE)
    for x, y in random.uniform(25, [SHAPE[1] - 25, SHAPE[0] - 25], size=(30, 2)):
        profile = np.exp(-0.5 * ((columns - x - shift) ** 2 + (rows - y) ** 2) / sigma**2)
        light += random.uniform(3e3, 3e4) * profile
    light += transient * np.exp(-0.5 * ((columns - 120) ** 2 + (rows - 101) ** 2) / sigma**2)
    variance = 25.0 + light
    pixels = light + np.sqrt(variance) * np.random.default_rng(seed).normal(size=SHAPE)
    return Exposure(
        MaskedImage(pixels.astype(np.float32), variance=variance.astype(np.float32)), psf=GaussianPsf(sigma, 21)
    )


@pytest.fixture(scope="module")
def snaps():
    return snap(1.8, 1), snap(1.9, 2, shift=0.1, transient=400.0)


def makeTask(basis, **changes):
    config = SnapPsfMatchTask.ConfigClass()
    config.kernel.name = basis
    config.kernel.active.update(**changes)
    return SnapPsfMatchTask(config=config, threads=1)


def test_configuration():
    config = SnapPsfMatchTask.ConfigClass()
    config.validate()
    assert config.doWarping is False
    for kernel in (config.kernel["AL"], config.kernel["DF"]):
        assert (kernel.spatialKernelOrder, kernel.kernelSize, kernel.scaleByFwhm) == (0, 7, False)
        assert (kernel.fitForBackground, kernel.spatialKernelClipping) == (False, False)
    gaussians, deltas = config.kernel["AL"], config.kernel["DF"]
    assert list(gaussians.alardSigGauss) == [1.0, 2.5]
    assert list(gaussians.alardDegGauss) == [4, 2]
    assert gaussians.alardNGauss == 2
    assert (deltas.useRegularization, deltas.usePcaForSpatialKernel) == (False, True)
    assert (deltas.subtractMeanForPca, deltas.numPrincipalComponents) == (True, 5)


@pytest.mark.parametrize(("basis", "changes"), [("AL", {}), ("DF", {}), ("DF", {"useRegularization": True})])
def test_subtractExposures(snaps, basis, changes):
    result = makeTask(basis, **changes).subtractExposures(*snaps)
    kernel, difference = result.psfMatchingKernel, result.subtractedExposure
    assert kernel.shape == (7, 7)
    assert not kernel.isVarying
    # The amplitudes are those of peaks: the wider PSF holds more light.
    assert kernel.kernelSum(120, 110) == pytest.approx((1.9 / 1.8) ** 2, rel=0.01)
    assert result.backgroundModel(120, 110) == 0.0
    pulls = difference.image / np.sqrt(difference.variance)
    inner = pulls[12:-12, 12:-12]
    # Of 42 336 pixels: 0.6 %; what the kernel leaves of the stars' wings adds up to 2 %.
    assert 1.4826 * np.median(np.abs(inner)) == pytest.approx(1.0, abs=0.03)
    # Stars of signal-to-noise 170 a pixel, too: a kernel of 7x7 pixels leaves them something.
    assert np.std(inner) < 1.2
    assert difference.image[101, 120] > 5.0 * np.sqrt(difference.variance[101, 120])


def test_maskedImages(snaps):
    result = makeTask("AL").subtractMaskedImages(snaps[0].maskedImage, snaps[1].maskedImage, None, 4.2, 4.5)
    assert result.psfMatchingKernel.shape == (7, 7)


def test_otherGrids(snaps):
    """Nothing is warped unless asked for."""
    first = Exposure(snaps[0].maskedImage.subset(snaps[0].getBBox()), psf=snaps[0].psf)
    small = Exposure(MaskedImage(first.image[:-10], variance=first.variance[:-10]), psf=first.psf)
    with pytest.raises(InputImagesError):
        makeTask("AL").subtractExposures(small, snaps[1])

"""PSFs in files: what comes back, where, and what other packages find."""

import numpy as np
import pytest
from astropy.io import fits

from psfmatch import Exposure, GaussianPsf, GridPsf, ImagePsf, MaskedImage
from psfmatch.images import psfFromNodes, samplePsf

IMAGE = np.random.default_rng(5).normal(100, 5, (40, 60)).astype(np.float32)


def image(sigma, size=11):
    return GaussianPsf(sigma, size).computeKernelImage(0.0, 0.0)


def thereAndBack(tmp_path, psf, xy0=(0, 0), **options):
    Exposure(MaskedImage(IMAGE, variance=np.ones(IMAGE.shape), xy0=xy0), psf=psf).writeFits(tmp_path / "a.fits")
    return Exposure.readFits(tmp_path / "a.fits", **options).psf


def test_withoutPsf(tmp_path):
    assert thereAndBack(tmp_path, None) is None
    with fits.open(tmp_path / "a.fits") as hdus:
        assert "PSFIMAGE" not in hdus


@pytest.mark.parametrize("psf", [ImagePsf(image(1.3)), image(1.3), GaussianPsf(1.3, 11)], ids=["image", "array", "own"])
def test_imageToTheBit(tmp_path, psf):
    back = thereAndBack(tmp_path, psf)
    assert isinstance(back, ImagePsf)
    np.testing.assert_array_equal(back.computeKernelImage(0, 0), ImagePsf(image(1.3)).computeKernelImage(0, 0))
    with fits.open(tmp_path / "a.fits") as hdus:
        assert "PSFNODES" not in hdus


def test_gridWithGap(tmp_path):
    nodes = np.array([[image(1.0), image(1.2), image(1.4)], [image(1.1), image(1.3), np.full((11, 11), np.nan)]])
    back = thereAndBack(tmp_path, GridPsf(nodes, [102.0, 120.5, 155.0], [-3.0, 17.0]), xy0=(100, -5))
    assert isinstance(back, GridPsf)
    assert back.x.tolist() == [102.0, 120.5, 155.0]
    assert back.y.tolist() == [-3.0, 17.0]
    # Each image is divided by its sum again, which is 1 to the last bits.
    np.testing.assert_allclose(back.images, nodes, rtol=1e-15, equal_nan=True)
    with pytest.raises(ValueError, match="the grid has a gap there"):
        back.computeKernelImage(150.0, 17.0)


def test_gridWherePixelsCountFromZero(tmp_path):
    psf = GridPsf([[image(1.0), image(2.0)]], [100.0, 150.0], [0.0])
    back = thereAndBack(tmp_path, psf, xy0=(100, -5), useXY0=False)
    np.testing.assert_allclose(back.computeKernelImage(0.0, 0.0), image(1.0), rtol=1e-14)
    np.testing.assert_allclose(back.computeKernelImage(50.0, 0.0), image(2.0), rtol=1e-14)


class Varying:
    """Wider to the right, in larger images, and not known beyond x = 50."""

    def computeKernelImage(self, x, y):
        if x > 50.0:
            raise LookupError("beyond the model")
        return image(1.0 + 0.01 * x, 11 if x < 20 else 13)


def test_otherPsfsAreDrawnOnAGrid(tmp_path):
    back = thereAndBack(tmp_path, Varying())
    np.testing.assert_allclose(back.x, [0, 14.75, 29.5, 44.25, 59])
    np.testing.assert_allclose(back.computeKernelImage(29.5, 3.0), image(1.295, 13), rtol=1e-14)
    np.testing.assert_allclose(back.computeKernelImage(0.0, 39.0)[1:-1, 1:-1], image(1.0), rtol=1e-14)
    with pytest.raises(ValueError, match="gap"):
        back.computeKernelImage(59.0, 0.0)


def test_whatIsTheSameEverywhereIsOneImage():
    class Constant:
        def computeKernelImage(self, x, y):
            return image(1.5)

    nodes = samplePsf(Constant(), 0, 0, 59, 39)
    assert nodes.images.shape == (1, 1, 11, 11)
    assert isinstance(psfFromNodes(nodes), ImagePsf)


def test_psfThatIsNowhere(tmp_path, caplog):
    class Nowhere:
        def computeKernelImage(self, x, y):
            raise ArithmeticError("no")

    assert thereAndBack(tmp_path, Nowhere()) is None
    assert "not defined anywhere on the image: it is not written" in caplog.text


def test_imageThatIsNone(tmp_path, caplog):
    hdus = [fits.PrimaryHDU(IMAGE), fits.ImageHDU(np.ones((4, 5)), name="PSFIMAGE")]
    fits.HDUList(hdus).writeto(tmp_path / "b.fits")
    assert Exposure.readFits(tmp_path / "b.fits", gain=1.0).psf is None
    assert "of odd sides; going on without it" in caplog.text


def test_matchedImageHasAnotherPsf(tmp_path):
    exposure = Exposure(MaskedImage(IMAGE, variance=np.ones(IMAGE.shape)), psf=image(1.0))
    exposure.writeFits(tmp_path / "a.fits", matched=IMAGE)
    assert Exposure.readFits(f"{tmp_path}/a.fits[MATCHED]", gain=1.0).psf is None
    assert Exposure.readFits(f"{tmp_path}/a.fits[IMAGE]").psf is not None

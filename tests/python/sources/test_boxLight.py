"""Light in boxes: what is put in comes out, whatever the sky, the edge and the bad pixels make of it."""

import numpy as np
import pytest

from psfmatch import MaskedImage
from psfmatch.sources import areOfOneImage, boxLight, lightRatios

HEIGHT, WIDTH = 60, 70
X0, Y0 = 100, -20


@pytest.fixture
def image():
    """A sky of 7 counts, variance 4, with one pixel of 900 counts at (130, 5) and one of 500 at the corner."""
    pixels = np.full((HEIGHT, WIDTH), 7.0, dtype=np.float32)
    pixels[5 - Y0, 130 - X0] += 900.0
    pixels[0, 0] += 500.0
    return MaskedImage(pixels, variance=np.full((HEIGHT, WIDTH), 4.0, dtype=np.float32), xy0=(X0, Y0))


def test_lightAboveTheSky(image):
    light, error = boxLight(image, [130.4, 122.6, 122.4], [4.6, 5.0, 5.0], ("BAD",))
    # The box about 122.6 is centred on 123, seven pixels from the source; that about 122.4 ends one column before it.
    np.testing.assert_allclose(light, [900.0, 900.0, 0.0])
    np.testing.assert_allclose(error, 2.0 * 15.0)


def test_beyondTheEdge(image):
    light, error = boxLight(image, [X0, X0 - 40.0], [Y0, Y0], ("BAD",))
    np.testing.assert_allclose(light, [500.0, np.nan])
    np.testing.assert_allclose(error, [2.0 * 8.0, np.nan])


def test_badPixelsCountNowhere(image):
    image.image[20, 25] = np.nan
    image.mask[22:24, 30] |= image.mask.getPlaneBitMask("BAD")
    image.image[22:24, 30] = 1e6
    light, error = boxLight(image, [130.0], [5.0], ("BAD",))
    np.testing.assert_allclose(light, [900.0])
    np.testing.assert_allclose(error, 2.0 * np.sqrt(225 - 3))


def test_tooFewGoodPixels(image):
    box = image.image[25 - 7 : 25 + 8, 30 - 7 : 30 + 8]
    box[:, :13] = np.nan
    assert np.isfinite(boxLight(image, [130.0], [5.0], ("BAD",))).all()  # two columns of 15 are left: thirty
    box[0, 13] = np.nan
    assert np.isnan(boxLight(image, [130.0], [5.0], ("BAD",))).all()


def test_lightRatios(image):
    """By position, of those that both images show: the source of 900, the corner's, and blank sky."""
    double = MaskedImage(2.0 * image.image, variance=image.variance, xy0=(X0, Y0))
    x, y = [130.0, X0, X0 - 40.0, 150.0], [5.0, Y0, Y0, 20.0]
    np.testing.assert_allclose(lightRatios(double, image, x, y, ("BAD",)), [2.0, 2.0])  # no light: no ratio
    np.testing.assert_allclose(lightRatios(double, image, x[:1], y[:1], ("BAD",), minSnr=29.9), [2.0])  # 900 / 30
    assert lightRatios(double, image, x[:1], y[:1], ("BAD",), minSnr=30.1).size == 0
    assert lightRatios(image, double, x[:1], y[:1], ("BAD",), minSnr=30.1).size == 0


def test_sourcesOfOneImage():
    """Of eight sources of 4000 counts one is not in the other image, one has 0.4 of its light, one 0.8."""
    x, y = (v.ravel().astype(float) for v in np.meshgrid([20, 60, 100, 140], [20, 60]))
    both = []
    for share in (np.ones(8), np.array([3, 3, 3, 0, 1.2, 2.4, 3, 3])):
        pixels = np.zeros((80, 160), dtype=np.float32)
        pixels[y.astype(int), x.astype(int)] = 4000.0 * share
        both.append(MaskedImage(pixels, variance=np.ones(pixels.shape, dtype=np.float32)))
    isAlone = areOfOneImage(*both, x, y, ("BAD",))
    np.testing.assert_array_equal(np.flatnonzero(isAlone), [3, 4])
    # Too few in both tell what to expect; what cannot be measured is not called changed.
    assert not areOfOneImage(*both, x[:5], y[:5], ("BAD",)).any()
    both[1].mask[:] |= both[1].mask.getPlaneBitMask("BAD")
    assert not areOfOneImage(*both, x, y, ("BAD",)).any()
    assert areOfOneImage(*both, [], [], ("BAD",)).shape == (0,)

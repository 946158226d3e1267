"""Sources that only the science image shows, as many as there are stars: the kernel is that of the stars."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage, _core, subtract
from psfmatch.io.sourceTable import SourceTable
from psfmatch.registration import pair

SIZE = 256


def exposed(stars, fwhm, seed):
    """Stars (n, 4) of `_core.drawStars`, Gaussians, on a sky of 100 counts with a gain of 1."""
    image = np.zeros((SIZE, SIZE), dtype=np.float32)
    shapes = np.tile([0.0, 0.0, 0.7, np.log(fwhm), 0.0, 0.0], (len(stars), 1))
    _core.drawStars(image, stars, shapes, np.full(len(stars), 30.0))
    variance = image + np.float32(100.0)
    noise = np.random.default_rng(seed).normal(size=image.shape) * np.sqrt(variance)
    return Exposure(MaskedImage((variance + noise).astype(np.float32), variance=variance))


@pytest.fixture(scope="module")
def sources():
    """Twenty-five stars and twenty-four that are new, between them."""
    rng = np.random.default_rng(3)
    places = np.stack(np.meshgrid(np.arange(20, 250, 34), np.arange(20, 250, 34)), -1).reshape(-1, 2)
    places = places + rng.uniform(-4, 4, places.shape)
    stars = np.column_stack([places, 10 ** rng.uniform(3.6, 4.6, 49), np.zeros(49)])
    isNew = np.arange(49) % 2 == 1
    return stars[~isNew], stars[isNew]


def changed(result):
    return [choice.sentence for choice in result.choices if choice.name == "changedSources"]


def kernelSum(result):
    return float(np.sum(result.kernel.computeImage(SIZE / 2, SIZE / 2)))


@pytest.mark.parametrize("fwhm", [4.8, 2.8])
def test_theyTakeNoPartInTheFit(sources, fwhm):
    stars, new = sources
    template, science = exposed(stars, fwhm, 1), exposed(np.concatenate([stars, new]), 3.5, 2)
    result = subtract(template, science, threads=1)
    assert len(changed(result)) == 1
    assert "have less than half of their light in the template" in changed(result)[0]
    # Sum S / N of the stars is above 300.
    assert kernelSum(result) == pytest.approx(1.0, abs=0.01)


def test_fewOfThemAreLeftToTheFit(sources):
    stars, new = sources
    template, science = exposed(stars, 4.8, 1), exposed(np.concatenate([stars, new[:2]]), 3.5, 2)
    result = subtract(template, science, threads=1)
    assert not changed(result)
    assert kernelSum(result) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("every", "looks", "nKept"), [(20, [2000], 6000), (6, [2000, 6000], 6000), (4, [2000, 6000], 4500)]
)
def test_ofManySourcesSomeAreLookedAtFirst(monkeypatch, every, looks, nKept):
    """Where one in twenty has changed, a third of them tells it; where one in six or four has, all are looked at."""
    asked = []

    def changed(science, template, x, y, planes, threads):
        asked.append(len(x))
        return np.asarray(x) % every == 0

    monkeypatch.setattr(pair, "areOfOneImage", changed)
    x = np.random.default_rng(1).permutation(6000).astype(float)
    sources = SourceTable({"x": x, "y": x, "snr": np.full(6000, 50.0)})
    kept, told = pair._inBothImages(None, None, sources, 1)
    assert asked == looks
    assert len(kept) == nKept
    assert len(told) == (nKept < 6000)
    assert every > 5 or not (np.asarray(kept["x"]) % every == 0).any()

"""The four-panel figure: what each panel shows and marks, odd inputs, files that are whole or not there."""

import warnings

import numpy as np
import pytest
from astropy.table import Table

from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, MaskedImage
from psfmatch.pictures import differenceFigure, savePicture


def noiseImage(shape=(90, 120), level=100.0, sigma=5.0, xy0=(0, 0), seed=1):
    pixels = np.random.default_rng(seed).normal(level, sigma, shape)
    return MaskedImage(pixels, variance=np.full(shape, sigma**2), xy0=xy0)


def fourImages(**options):
    levels = {"template": 100.0, "matched": 130.0, "science": 140.0, "difference": 0.0}
    return [noiseImage(level=level, seed=seed, **options) for seed, level in enumerate(levels.values())]


def panels(figure):
    """The four axes, without their colour bars."""
    return figure.axes[:4]


def pixelsOf(axis):
    return axis.images[0].get_array()


def legendOf(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def pngSize(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_fourPanels(tmp_path):
    figure = differenceFigure(*fourImages(xy0=(1000, -50)), title="A pair")
    titles = [axis.get_title() for axis in panels(figure)]
    assert titles == ["Template", "Matched template", "Science", "Difference"]
    assert figure.get_suptitle() == "A pair"
    for axis in panels(figure):
        assert axis.get_xlim() == (999.5, 1119.5)
        assert axis.get_ylim() == (-50.5, 39.5)
    for name in ("a.png", "b.png"):
        savePicture(figure, tmp_path / name)
    assert pngSize(tmp_path / "a.png")[0] == 1600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    # A figure drawn again is the same file.
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_scales():
    template, matched, science, difference = fourImages()
    science.image[40, 50] = 5140.0
    figure = differenceFigure(Exposure(template), matched, science, difference)
    images = [axis.images[0] for axis in panels(figure)]
    assert images[1].get_clim() == images[2].get_clim()
    assert images[0].get_clim() != images[1].get_clim()
    assert images[3].get_clim() == (-6.0, 6.0)
    # Each image has its own median sky taken off; the difference is in units of its noise.
    for image in images[:3]:
        assert np.ma.median(image.get_array()) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(pixelsOf(panels(figure)[3]), difference.image / 5, rtol=1e-5)


def test_binningKeepsTheNoise():
    figure = differenceFigure(*fourImages(shape=(1502, 1499)))
    shown = pixelsOf(panels(figure)[3])
    assert shown.shape == (501, 500)
    # The last row and column hold two pixels of three; five standard errors.
    assert shown.std() == pytest.approx(1, abs=5 / np.sqrt(2 * shown.size))
    assert panels(figure)[3].get_xlim() == (-0.5, 1498.5)
    assert any("binned 3 × 3" in text.get_text() for text in figure.texts)


def test_maskedPixelsAreColoured():
    images = fourImages()
    images[2].mask[10:20, 30] |= images[2].mask.getPlaneBitMask("SAT")
    images[2].mask[50, 60] |= images[2].mask.getPlaneBitMask("DETECTED")
    images[3].image[5, 6] = np.nan
    figure = differenceFigure(*images)
    science, difference = (np.ma.getmaskarray(np.ma.masked_invalid(pixelsOf(axis))) for axis in panels(figure)[2:])
    assert science.sum() == 10
    assert science[10:20, 30].all()
    assert difference.sum() == 1
    assert difference[5, 6]
    bad = [axis.images[0].get_cmap().get_bad() for axis in panels(figure)]
    assert not np.array_equal(bad[0], bad[0][[0, 0, 0, 3]])
    assert not np.array_equal(bad[2], bad[3])


def test_transientsAreMarked():
    table = Table({"x": [30.0, 60.0, 118.0], "y": [20.0, 88.0, 40.0], "flux": [500.0, -300.0, 100.0]})
    table["signalToNoise"] = [12.3, -7.9, 5.2]
    stars = np.array([[10.0, 10.0], [100.0, 30.0]])
    figure = differenceFigure(*fourImages(), transients=table, stars=stars)
    assert legendOf(figure)[:3] == ["brighter in science (2)", "fainter in science (1)", "kernel star (2)"]
    for axis, kinds in zip(panels(figure), (3, 2, 3, 2), strict=True):
        assert len(axis.lines) == kinds
        np.testing.assert_array_equal(axis.lines[0].get_xydata(), [[30, 20], [118, 40]])
    assert [text.get_text() for text in panels(figure)[3].texts] == ["+12σ", "\N{MINUS SIGN}8σ", "+5σ"]
    # Labels of places at the right edge go to the left of them, at the top below.
    assert [text.get_ha() for text in panels(figure)[3].texts] == ["left", "left", "right"]
    assert [text.get_va() for text in panels(figure)[3].texts] == ["bottom", "top", "bottom"]
    assert not panels(figure)[2].texts


def test_ownLabelsAndPlainPlaces():
    table = Table({"x": [30.0], "y": [20.0], "label": ["nova"]})
    figure = differenceFigure(*fourImages(), transients=table)
    assert [text.get_text() for text in panels(figure)[3].texts] == ["nova"]
    figure = differenceFigure(*fourImages(), transients=[(30, 20), (40, 50)])
    assert legendOf(figure)[0] == "transient (2)"
    for nothing in (None, [], Table(names=("x", "y", "flux", "signalToNoise"))):
        assert legendOf(differenceFigure(*fourImages(), transients=nothing)) == ["masked", "masked in the difference"]


def test_manyTransientsAreNotLabelled():
    places = np.random.default_rng(1).uniform(5, 85, (61, 2))
    table = Table({"x": places[:, 0], "y": places[:, 1], "signalToNoise": np.full(61, 9.0)})
    assert not panels(differenceFigure(*fourImages(), transients=table))[3].texts


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("plain", (40, 400)),
        ("plain", (400, 40)),
        ("all masked", (90, 120)),
        ("no variance", (90, 120)),
        ("constant", (90, 120)),
        ("infinite", (90, 120)),
    ],
)
def test_oddImages(kind, shape):
    images = fourImages(shape=shape)
    for image in images:
        if kind == "all masked":
            image.mask[...] |= image.mask.getPlaneBitMask("BAD")
        elif kind == "no variance":
            image.variance[...] = 0
        elif kind == "constant":
            image.image[...] = 7
        elif kind == "infinite":
            image.image[::2] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = differenceFigure(*images)
        figure.draw_without_rendering()
    assert figure.get_figwidth() == 16


def test_withoutVarianceInCounts():
    images = fourImages()
    images[3].variance[...] = 0
    axis = panels(differenceFigure(*images))[3]
    np.testing.assert_allclose(pixelsOf(axis), images[3].image, rtol=1e-6)
    low, high = axis.images[0].get_clim()
    # Six times the noise of 5 counts; the robust estimate from 10800 pixels is good to 6 %, five sigma.
    assert high == -low == pytest.approx(30, rel=0.06)


def test_badInput():
    images = fourImages()
    with pytest.raises(InputImagesError, match=r"differ in shape: Template \(90, 120\).*Science \(50, 60\)"):
        differenceFigure(images[0], images[1], noiseImage((50, 60)), images[3])
    with pytest.raises(ValueError, match=r"transients has shape \(3,\): give \(n, 2\)"):
        differenceFigure(*images, transients=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="the table of stars has columns ra, dec: it needs x and y"):
        differenceFigure(*images, stars=Table({"ra": [1.0], "dec": [2.0]}))


def test_failureLeavesTheOldFile(tmp_path, monkeypatch):
    figure = differenceFigure(*fourImages())
    target = tmp_path / "pair.png"
    target.write_bytes(b"old")

    def fail(stream, **options):
        stream.write(b"half a picture")
        raise MemoryError("no room")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(MemoryError, match="no room"):
        savePicture(figure, target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        savePicture(figure, tmp_path / "missing" / "pair.png")

"""Debug views: which switch draws what, what the pictures hold, and that they never disturb a subtraction."""

import importlib
import logging
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from psfmatch import Exposure, ImagePsfMatchTask, MaskedImage, NoKernelCandidatesError, writeKernelCandidates
from psfmatch.fit.candidates.cells import CandidateStatus
from psfmatch.kernels import LinearCombinationKernel, Polynomial2D
from psfmatch.kernels.solutions import KernelSolution, SolutionSlot
from psfmatch.pictures import candidates, drawing, kernels, lsstDebugViews, mosaic, panels
from psfmatch.pictures import lsstDebug as debugModule
from psfmatch.testing import makeFakeKernelSet

GOOD, BAD = (26, 150, 65), (215, 25, 28)  # of frames

PICTURES = {
    "psfMatch": {
        "displayCandidates": ["candidates-stamps", "candidates-kernels", "candidates-chi"],
        "displayKernelBasis": ["kernel-basis"],
        "displayKernelMosaic": ["kernel-over-the-field"],
        "plotKernelSpatialModel": ["coefficient-maps", "coefficient-residuals"],
        "plotKernelCoefficients": ["coefficients-and-histograms"],
        "showBadCandidates": [],
    },
    "imagePsfMatch": {
        "displayTemplate": ["Image-to-convolve"],
        "displaySciIm": ["Image-to-not-convolve"],
        "displaySpatialCells": ["spatial-cells"],
        "displayDiffIm": ["difference"],
        "showBadCandidates": [],
    },
    "diaCatalogSourceSelector": {"displayExposure": ["selection-of-candidates"], "pauseAtEnd": []},
}
SWITCHES = [(channel, switch) for channel, names in PICTURES.items() for switch in names]


@pytest.fixture(scope="module")
def task():
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(
        alardNGauss=1,
        alardSigGauss=[2.5],
        alardDegGauss=[2],
        scaleByFwhm=False,
        fitForBackground=True,
        spatialKernelOrder=1,
        spatialBgOrder=0,
        sizeCellX=64,
        sizeCellY=64,
    )
    return ImagePsfMatchTask(config=config)


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(sizeCell=64, nCell=3, tGaussianWidth=1.5)


@pytest.fixture(scope="module")
def solved(task, fakes):
    """A subtraction, one of whose candidates was turned bad."""
    result = task.subtractMaskedImages(fakes.template, fakes.science, fakes.starCentres)
    result.template, result.science, result.starCentres = fakes.template, fakes.science, fakes.starCentres
    list(result.kernelCellSet)[4].reject("spoiled")
    return result


@pytest.fixture
def lsstDebug(tmp_path, monkeypatch):
    """Our module, freshly imported, with small pictures in a folder of the test."""
    monkeypatch.delitem(sys.modules, "lsstDebug", raising=False)
    monkeypatch.delenv("PSFMATCH_DEBUG_DIR", raising=False)
    module = importlib.import_module("lsstDebug")
    module.directory = str(tmp_path / "pictures")
    module.dpi = 12.0
    monkeypatch.setattr(kernels, "GRID", 3)
    yield module
    sys.modules.pop("lsstDebug", None)


@pytest.fixture
def switchOn(lsstDebug):
    """Return a function that turns on switches of a channel, by its full name."""
    chosen = {}

    def info(name):
        result = lsstDebug.getInfo(name)
        for switch, value in chosen.get(name, {}).items():
            setattr(result, switch, value)
        return result

    def switch(name, *on, display=True, **values):
        chosen[name] = {"display": display, **dict.fromkeys(on, True), **values}
        lsstDebug.Info = info

    return switch


@pytest.fixture
def recorded(monkeypatch):
    """What would be drawn: (channel, title) in order."""
    drawn = []
    monkeypatch.setattr(
        lsstDebugViews, "_show", lambda channel, asked: drawn.extend((channel, title) for title in asked)
    )
    return drawn


def callHooks(solved):
    """Every hook once, in the order of a subtraction."""
    lsstDebugViews.showInputs(solved.template, solved.science)
    x, y = solved.starCentres.T.astype(float)
    fates = {"too close to the edge": x > 170, "bad pixels in the stamp": np.zeros(x.size, bool)}
    lsstDebugViews.showSelection(solved.science, x, y, fates)
    lsstDebugViews.showSolution(solved.kernelCellSet, solved.psfMatchingKernel, solved.backgroundModel)
    lsstDebugViews.showSpatialCells(solved.science, solved.kernelCellSet)
    lsstDebugViews.showDifference(solved.template, solved.matchedImage, solved.science, solved.subtractedMaskedImage)


def written(tmp_path):
    return sorted(path.name for path in (tmp_path / "pictures").glob("*"))


def coloursOf(path):
    """The colours of a picture, as a set of (r, g, b)."""
    from matplotlib.image import imread

    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    packed = np.unique(pixels @ np.array([65536, 256, 1]))
    return {(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in packed}


# Switches


@pytest.mark.parametrize(("channel", "switch"), SWITCHES)
def test_everySwitchAlone(channel, switch, solved, switchOn, tmp_path):
    switchOn(f"lsst.ip.diffim.{channel}", switch)
    callHooks(solved)
    expected = PICTURES[channel][switch]
    assert written(tmp_path) == [f"{i:03d}-{channel}-{title}.png" for i, title in enumerate(expected, 1)]


def test_displayIsTheMasterSwitch(solved, switchOn, recorded):
    for channel, names in PICTURES.items():
        switchOn(f"lsst.ip.diffim.{channel}", *names, display=False)
    callHooks(solved)
    assert recorded == []


@pytest.mark.parametrize("family", ["lsst.ip.diffim", "psfmatch"])
def test_bothNamesOfAChannel(family, solved, switchOn, recorded):
    switchOn(f"{family}.psfMatch", "displayKernelBasis")
    switchOn(f"{family}.imagePsfMatch", "displaySciIm")
    switchOn(f"{family}.diaCatalogSourceSelector", "displayExposure")
    callHooks(solved)
    assert [channel for channel, _ in recorded] == ["imagePsfMatch", "diaCatalogSourceSelector", "psfMatch"]


def test_switchesOfBothNamesAdd(switchOn):
    switchOn("lsst.ip.diffim.psfMatch", "displayKernelBasis", maskTransparency=80)
    switchOn("psfmatch.psfMatch", "displayCandidates")
    found = debugModule.switchesOf("psfMatch")
    assert found.isOn("displayKernelBasis")
    assert found.isOn("displayCandidates")
    assert not found.isOn("displayKernelMosaic")
    assert found.maskOpacity == pytest.approx(0.2)


@pytest.mark.parametrize(("value", "opacity"), [(False, 0.5), (None, 0.5), (0, 1.0), (30, 0.7), (100, 0.0), (130, 0.0)])
def test_maskTransparencyIsPercent(value, opacity):
    assert debugModule.Switches([SimpleNamespace(maskTransparency=value)]).maskOpacity == pytest.approx(opacity)


def test_infoAnswersFalse(lsstDebug):
    info = lsstDebug.getInfo("lsst.ip.diffim.psfMatch")
    assert info.whatever is False
    info.display = True
    assert info.display is True
    assert lsstDebug.Info("anything").display is False
    with pytest.raises(AttributeError):
        info.__deepcopy__  # noqa: B018 - copying must find that there is none
    assert debugModule.switchesOf("psfMatch") is None


def test_foreignInfo(lsstDebug, caplog):
    def unknown(name):
        raise KeyError(name)

    def broken(name):
        raise TypeError("no such thing")

    with caplog.at_level(logging.WARNING, "psfmatch.pictures"):
        lsstDebug.Info = unknown
        assert debugModule.switchesOf("psfMatch") is None
        assert not caplog.records
        lsstDebug.Info = broken
        assert debugModule.switchesOf("psfMatch") is None
    assert "TypeError('no such thing')" in caplog.text


# The task calls them


def test_taskCallsEveryHook(task, fakes, switchOn, recorded):
    for channel, names in PICTURES.items():
        switchOn(f"lsst.ip.diffim.{channel}", *names)
    before = [plane.copy() for image in (fakes.template, fakes.science) for plane in (image.image, image.variance)]
    task.subtractExposures(Exposure(fakes.template), Exposure(fakes.science), candidateList=fakes.starCentres)
    after = [plane for image in (fakes.template, fakes.science) for plane in (image.image, image.variance)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    expected = [title for names in PICTURES.values() for titles in names.values() for title in titles]
    assert sorted(title.replace(" ", "-") for _, title in recorded) == sorted(expected)
    titles = [title for _, title in recorded]
    assert titles[:3] == ["Image to convolve", "Image to not convolve", "selection of candidates"]
    assert titles[-2:] == ["spatial cells", "difference"]


def test_failedSolutionShowsCandidates(task, fakes, switchOn, recorded):
    switchOn("lsst.ip.diffim.psfMatch", *PICTURES["psfMatch"])
    science = MaskedImage(fakes.science.image, None, fakes.science.variance * 1e-6)
    with pytest.raises(NoKernelCandidatesError):
        task.matchMaskedImages(fakes.template, science, fakes.starCentres)
    assert [title for _, title in recorded] == ["candidates stamps", "candidates kernels", "candidates chi"]


def test_candidatesWithoutASolutionAreDrawn(solved):
    chosen, which = candidates.chosenCandidates(solved.kernelCellSet, True, most=2)
    stamps = [candidates.candidateStamps(candidate) for candidate in chosen]
    for draw, headings in (
        (candidates.stampsMosaic, ["science", "matched", "residual"]),
        (candidates.kernelsMosaic, ["own"]),
        (candidates.chiMosaic, ["own"]),
    ):
        axis = draw(stamps, which, 0.5).axes[0]
        told = [text.get_text() for text in axis.texts]
        assert [text for text in told if "χ²" in text] == [each.label for each in stamps]
        assert [text for text in told if "χ²" not in text][: len(headings)] == headings


def test_viewsThatFailOnlyWarn(solved, switchOn, lsstDebug, tmp_path, caplog, monkeypatch):
    switchOn("lsst.ip.diffim.psfMatch", "displayKernelBasis", "displayKernelMosaic")
    (tmp_path / "file").write_text("")
    lsstDebug.directory = str(tmp_path / "file" / "below")
    lsstDebugViews.showSolution(solved.kernelCellSet, solved.psfMatchingKernel, solved.backgroundModel)
    assert caplog.text.count("No debug views: ") == 1
    caplog.clear()
    lsstDebug.directory = str(tmp_path / "pictures")
    monkeypatch.setattr(kernels, "basisMosaic", lambda kernel: 1 / 0)
    lsstDebugViews.showSolution(solved.kernelCellSet, solved.psfMatchingKernel, solved.backgroundModel)
    assert "'kernel basis' failed: ZeroDivisionError" in caplog.text
    assert written(tmp_path) == ["001-psfMatch-kernel-over-the-field.png"]
    caplog.clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    lsstDebugViews.showSolution(solved.kernelCellSet, solved.psfMatchingKernel, solved.backgroundModel)
    assert caplog.text.count("No debug views: ") == 1
    assert "pip install 'psfmatch[plot]'" in caplog.text


# Pixels


def test_framesTellGoodFromBad(solved, switchOn, lsstDebug, tmp_path):
    lsstDebug.dpi = 40.0
    lsstDebug.frame = 5
    for showBad in (True, False):
        switchOn("lsst.ip.diffim.psfMatch", "displayCandidates", showBadCandidates=showBad)
        drawn = lsstDebugViews._candidateViews(debugModule.switchesOf("psfMatch"), solved.kernelCellSet, None, None)
        lsstDebugViews._show("psfMatch", {"candidates kernels": drawn["candidates kernels"]})
    first, second = (tmp_path / "pictures" / f"{i:03d}-psfMatch-candidates-kernels.png" for i in (5, 6))
    assert {GOOD, BAD} <= coloursOf(first)
    assert GOOD in coloursOf(second)
    assert BAD not in coloursOf(second)
    assert lsstDebug.frame == 7
    assert lsstDebug.pictures == [first, second]


def test_candidateStampsAgreeWithTheFit(solved):
    candidate = next(iter(solved.kernelCellSet))
    stamps = candidates.candidateStamps(candidate, solved.psfMatchingKernel, solved.backgroundModel)
    # The same sums as the fit's own statistics, in another order and partly in float32.
    for residual, summary in ((stamps.own, candidate.residual), (stamps.spatial, candidate.spatialResidual)):
        assert residual.image.size == summary.count
        chi = residual.image.astype(float) / np.sqrt(residual.variance.astype(float))
        assert chi.mean() == pytest.approx(summary.mean, abs=1e-4)
        assert chi.std(ddof=1) == pytest.approx(summary.rms, rel=1e-4)
    np.testing.assert_allclose(stamps.matched.image + stamps.own.image, stamps.science.image, rtol=1e-5)
    assert stamps.label.startswith(f"{candidate.id}  χ² {candidate.chi2:.2f}, model ")


def test_chosenCandidates(solved):
    chosen, which = candidates.chosenCandidates(solved.kernelCellSet, True)
    assert len(chosen) == 9
    assert chosen[-1].status is CandidateStatus.BAD
    assert which == "all 9 fitted candidates"
    few, which = candidates.chosenCandidates(solved.kernelCellSet, False, most=3)
    assert [few[0], few[-1]] == [chosen[0], chosen[-2]]
    assert which.startswith("3 of 8 candidates")


def test_mosaicStandsUpright():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    values = np.zeros((3, 5))
    values[2, 0] = 1.0
    values[0, 4] = np.nan
    bad = np.zeros((3, 5), dtype=bool)
    bad[0, 0] = True
    tile = mosaic.Tile("one", [(values, drawing.styleOf("gray", Normalize(0, 1)), bad)], "#ff0000")
    three = mosaic.Mosaic([tile] * 3, 10.0, 5.0)
    figure = Figure(figsize=(10, 5), dpi=100)
    axis = three.draw(figure, 0.0, 5.0)
    assert [text.get_text() for text in axis.texts] == ["one"] * 3
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    # Inches from the lower left corner of the first panel, which stands in the top row.
    left, bottom = three.edge, 5.0 - three.step[0] + three.edge

    def colour(x, y):
        return drawn[
            round(100 * (bottom + (y + 0.5) * three.pixel)), round(100 * (left + (x + 0.5) * three.pixel))
        ].tolist()

    assert colour(0, 2) == [255, 255, 255]
    assert colour(1, 2) == [0, 0, 0]
    assert colour(0, 0) == [0, 158, 115]
    assert colour(4, 0) == [228, 228, 228]
    assert drawn[round(100 * bottom), round(50 * three.edge)].tolist() == [255, 0, 0]
    assert three.columns * -(-3 // three.columns) >= 3
    assert three.height <= 5.0 + 1e-9


@pytest.mark.parametrize("size", [40, 720])
def test_maskOverlay(size):
    from matplotlib.figure import Figure

    image = MaskedImage(np.ones((size, size)))
    image.mask[4, 6] |= image.mask.getPlaneBitMask("CR")
    image.mask[0, :] |= 1 << image.mask.addPlane("MINE")
    plane = drawing.binned(image, ())
    axis = Figure().add_subplot()
    handles = drawing.overlayMask(axis, plane, image, 0.25)
    assert [handle.get_label() for handle in handles] == [
        "CR 0.06%" if size == 40 else "CR 1 px",
        f"MINE {1 / size:.2%}",
    ]
    layer = axis.images[0].get_array()[..., 3]
    # One pixel of bins^2: the root of its share.
    assert layer.max() == pytest.approx(0.25 / plane.bins)
    assert np.argwhere(layer).tolist() == [[4 // plane.bins, 6 // plane.bins]]
    assert not drawing.overlayMask(Figure().add_subplot(), plane, MaskedImage(np.ones((size, size))), 1.0)
    clear = Figure().add_subplot()
    assert len(drawing.overlayMask(clear, plane, image, 0.0)) == 2
    assert not clear.images


def test_dotsOfTheCells(solved):
    figure = lsstDebugViews.cellsFigure(solved.science, solved.kernelCellSet, 0.5, True)
    assert [text.get_text() for text in figure.legends[-1].get_texts()] == ["good (8)", "bad (1)"]
    axis = figure.axes[0]
    assert len(axis.patches) == len(solved.kernelCellSet.cells)
    assert [line.get_markeredgecolor() for line in axis.lines] == ["#00c8d7", "#e31a1c"]
    hidden = lsstDebugViews.cellsFigure(solved.science, solved.kernelCellSet, 0.5, False)
    assert [text.get_text() for text in hidden.legends[-1].get_texts()] == ["good (8)"]


def test_selectionTellsWhy(solved):
    x, y = solved.starCentres.T
    fates = {"too close to the edge": x > 150, "named twice": np.zeros(9, bool)}
    figure = lsstDebugViews.selectionFigure(solved.science, x, y, fates, 0.5)
    told = [text.get_text() for text in figure.legends[-1].get_texts()]
    assert told == ["selected (6)", "too close to the edge (3)"]


def test_coefficientsOnAnotherBasis(solved):
    kernel = solved.psfMatchingKernel
    table = kernels.tabulateCoefficients(solved.kernelCellSet, kernel, solved.backgroundModel, True)
    assert table.own.shape == table.model.shape == (9, 7)
    assert table.names == ["a0", "a1", "a2", "a3", "a4", "a5", "background"]
    assert np.count_nonzero(table.isGood) == 8
    first = next(iter(solved.kernelCellSet))
    np.testing.assert_array_equal(table.own[0, :6], first.kernelSolution.coefficients)
    assert table.note == "8 good, 1 bad candidates"
    # Principal components: another basis of the same space, and candidates that were solved on either.
    mixing = np.random.default_rng(2).normal(size=(6, 6))
    other = LinearCombinationKernel(np.tensordot(mixing, kernel.basis, axes=1), np.ones((6, 1)))
    constant = Polynomial2D([0.0])
    onOther = kernels.tabulateCoefficients(solved.kernelCellSet, other, constant, False)
    assert onOther.own.shape == (8, 6)
    # a mixing = coefficients; least squares loses some digits of a random 6x6 matrix.
    np.testing.assert_allclose(onOther.own[0] @ mixing, first.kernelSolution.coefficients, rtol=1e-7, atol=1e-9)


def test_largestOfManyCoefficients(solved, monkeypatch):
    monkeypatch.setattr(kernels, "MOST_COEFFICIENTS", 2)
    kernel = solved.psfMatchingKernel
    table = kernels.tabulateCoefficients(solved.kernelCellSet, kernel, solved.backgroundModel, False)
    typical = np.median(np.abs(kernel.coefficients(table.x, table.y)), axis=0)
    assert set(table.functions) == set(np.argsort(typical)[-2:])
    assert table.names == [f"a{i}" for i in sorted(table.functions)] + ["background"]
    assert table.note == "8 good, 0 bad candidates, the 2 largest of 6 coefficients"


def test_pcaSolutionIsShown(solved, fakes):
    candidate = next(iter(solved.kernelCellSet))
    solution = candidate.kernelSolution
    pca = KernelSolution(solution.basis[:1], np.array([2.0]), 0.0, 2.0, np.eye(1), np.ones(1))
    try:
        candidate.setKernelSolution(pca, SolutionSlot.PCA)
        np.testing.assert_allclose(candidates.candidateStamps(candidate).kernel, 2 * solution.basis[0])
    finally:
        candidate._pca = None


def test_writeKernelCandidates(solved, tmp_path):
    kernel = solved.psfMatchingKernel
    paths = writeKernelCandidates(solved.kernelCellSet, kernel, solved.backgroundModel, tmp_path / "out")
    good = [c for c in solved.kernelCellSet if c.status is CandidateStatus.GOOD]
    assert len(paths) == 3 * len(good) == 24
    name = f"c{good[0].id}_x{good[0].x:.0f}_y{good[0].y:.0f}.fits"
    assert [path.name for path in paths[:3]] == [f"diffim_{name}", f"kernel_{name}", f"sdiffim_{name}"]
    own, image, spatial = (Exposure.readFits(path) for path in paths[:3])
    np.testing.assert_allclose(image.image, good[0].kernelSolution.computeImage(), rtol=1e-6, atol=1e-9)
    stamps = candidates.candidateStamps(good[0], kernel, solved.backgroundModel)
    np.testing.assert_array_equal(own.image, stamps.own.image)
    np.testing.assert_array_equal(spatial.image, stamps.spatial.image)


# Where pictures go


def test_folder(monkeypatch):
    monkeypatch.delenv("PSFMATCH_DEBUG_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "lsstDebug", raising=False)
    assert str(debugModule.folderOf()) == "psfmatch-debug"
    monkeypatch.setenv("PSFMATCH_DEBUG_DIR", "elsewhere")
    assert str(debugModule.folderOf()) == "elsewhere"
    monkeypatch.setitem(sys.modules, "lsstDebug", SimpleNamespace(directory="here"))
    assert str(debugModule.folderOf()) == "here"


def test_withoutWindowsFilesAreWritten(lsstDebug, tmp_path, caplog, monkeypatch):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    lsstDebug.screen = True
    lsstDebugViews.showExposure(MaskedImage(np.ones((9, 9))), "A test")
    assert "opens no windows" in caplog.text
    assert written(tmp_path) == ["001-image-A-test.png"]
    assert not pyplot.get_fignums()


def test_pauseNeedsWindows(solved, switchOn, lsstDebug, monkeypatch):
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda block: shown.append(block))
    switchOn("psfmatch.diaCatalogSourceSelector", "pauseAtEnd")
    for screen, windows in ((False, [1]), (True, []), (True, [1])):
        lsstDebug.screen = screen
        monkeypatch.setattr(pyplot, "get_fignums", lambda numbers=windows: numbers)
        lsstDebugViews.showSelection(solved.science, np.zeros(1), np.zeros(1), {})
    assert shown == [True]


def test_windowsInsteadOfFiles(lsstDebug, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    done = []
    figure = Figure()
    figure.canvas.manager = SimpleNamespace(set_window_title=done.append, show=lambda: done.append("shown"))
    monkeypatch.setattr(debugModule, "_hasWindow", lambda figure: True)
    lsstDebug.frame = 4
    assert debugModule.publish(figure, "psfMatch", "kernel basis") is None
    assert done == ["4 psfMatch: kernel basis", "shown"]
    assert lsstDebug.frame == 5
    assert written(tmp_path) == []


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_oddImages(value):
    image = MaskedImage(np.full((30, 200), value), xy0=(-7, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panels.drawImage(image, "odd", 0.5)[0].draw_without_rendering()
        names = ("Template", "Matched", "Science", "Difference")
        lsstDebugViews.differencePanels(dict.fromkeys(names, image), 0.5).draw_without_rendering()

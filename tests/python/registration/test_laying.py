"""Templates without coordinates, however they lie: laid upon the science image, or a word that they cannot be."""

import json
import math

import numpy as np
import pytest
from starFields import drawPair, drawStars
from test_alignment import requireAligned, requireTruth, withWcs

import psfmatch
from psfmatch.cli import main
from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, ImagePsf, MaskedImage
from psfmatch.registration import Alignment, Warper, applyAlignment, measureAlignment
from psfmatch.registration.alignment import AlignedTransform
from psfmatch.registration.asterisms import Match
from psfmatch.registration.centroids import StarPositions
from psfmatch.registration.laying import _isNoChance
from psfmatch.registration.turns import TURNS, UNTURNED, turnBack, turned


def linear(degrees, scale=1.0, isMirrored=False):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return scale * np.array([[c, -s], [s, c]]) @ np.diag([1.0, -1.0 if isMirrored else 1.0])


def requirePlaces(template, science, alignment, truth, atol=0.1):
    """Places of the science image lie in the template where they should."""
    axis = np.linspace(0.0, science.width - 1.0, 9)
    x, y = np.meshgrid(axis, axis)
    centre = 0.5 * (science.width - 1.0)
    expected = np.tensordot(truth[:, :2], np.stack([x, y]) - centre, 1) + truth[:, 2:, None] + centre
    inside = ((expected >= 0) & (expected < science.width)).all(axis=0)
    found = np.stack(AlignedTransform(template, science, alignment)(x, y))
    assert np.abs(found - expected)[:, inside].max() < atol


@pytest.mark.parametrize("turn", TURNS[1:])
def test_rightAngledTurnsMovePixels(turn):
    """No pixel is resampled: image, variance and mask are those of the template, and the PSF turns with them."""
    template, science, _ = drawPair(1, shift=(7.0, -4.0))
    template.mask[5:9, 100:120] |= template.mask.getPlaneBitMask("CR")
    back = (turn[0][0], turn[1][0]), (turn[0][1], turn[1][1])
    template.psf = ImagePsf(np.pad(np.arange(1.0, 10.0).reshape(3, 3), 1))
    lying = turned(template, back)
    assert lying.shape == template.shape
    before = lying.copy()
    alignment = measureAlignment(lying, science)
    assert (alignment.foundBy, alignment.turn, alignment.method) == ("patterns", turn, "pixels")
    assert alignment.pixelShift == (7, -4)
    assert not alignment.hasCoordinates
    registered = applyAlignment(lying, science, alignment)
    assert lying == before
    for name in ("image", "variance", "mask"):
        there, here = (np.asarray(getattr(e, name)) for e in (template, registered))
        np.testing.assert_array_equal(here[4:, :-7], there[:-4, 7:])
    np.testing.assert_allclose(
        registered.psf.computeKernelImage(50.0, 60.0), template.psf.computeKernelImage(57.0, 56.0), rtol=1e-12
    )
    again = Alignment.fromDict(json.loads(json.dumps(alignment.toDict())))
    assert again == alignment
    x, y = np.array([30.0, 200.0]), np.array([111.0, 7.0])
    expected = turnBack(turn, lying.shape, x + alignment.shift[0], y + alignment.shift[1])
    np.testing.assert_allclose(AlignedTransform(lying, science, again)(x, y), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("degrees", "scale", "isMirrored", "shift"),
    [
        (0.0, 1.0, False, (200.0, -130.0)),
        (180.2, 1.0, False, (-10.4, 8.2)),
        (37.3, 1.0, False, (12.0, 3.0)),
        (141.0, 1.0, True, (60.0, -45.0)),
        (200.0, 0.5, False, (3.3, 1.0)),
        (-70.0, 1.4, True, (0.0, 20.0)),
        (10.0, 2.0, False, (0.0, 0.0)),
    ],
)
def test_anyTransform(degrees, scale, isMirrored, shift):
    # A template of twice the scale shows a quarter of the field.
    template, science, truth = drawPair(2, 150, shift=shift, linear=linear(degrees, scale, isMirrored))
    alignment = measureAlignment(template, science)
    assert alignment.foundBy == "patterns"
    requirePlaces(template, science, alignment, truth, 0.15)
    assert f"{'mirrored' if isMirrored else ''}" in alignment.reason
    if abs(scale - 1.0) < 0.3 and max(map(abs, shift)) < 50.0:
        requireAligned(applyAlignment(template, science, alignment, Warper()), science)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 7, "margin": 0},  # six or seven stars in each
        {"n": 20, "strangers": 60},
        {"n": 2000},
        {"n": 150, "ratio": 0.03},
        {"n": 60, "fwhm": (5.5, 2.4)},
    ],
)
def test_hardFields(fields):
    template, science, truth = drawPair(3, linear=linear(75.0), shift=(5.0, 5.0), **fields)
    alignment = measureAlignment(template, science)
    assert alignment.foundBy == "patterns"
    requirePlaces(template, science, alignment, truth)


def test_errorsOfATurnWithAScale():
    pulls = []
    for seed in range(6):
        template, science, truth = drawPair(seed, 60, (256, 256), (2.3, 1.1), linear(30.0, 1.1))
        alignment = measureAlignment(template, science)
        assert alignment.model in ("similarity", "affine")
        assert alignment.turn == UNTURNED
        pulls.append(((np.array(alignment.affine) - truth) / alignment.errors).ravel())
    # 36 pulls, four of each fit independent: rms good to 14 %.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.4)


def test_clusterThatLiesTurned():
    """Stars crowd about the middle in either position: what agrees by accident is not taken for the place."""
    rng = np.random.default_rng(4)
    radius, angle = 40.0 * np.abs(rng.standard_cauchy(300)), rng.uniform(0.0, 2.0 * np.pi, 300)
    places, fluxes = (
        np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]),
        3e3 * 100 ** rng.uniform(size=300),
    )
    science = drawStars(*(places + 191.5).T, fluxes, (384, 384), 3.4, rng)
    template = drawStars(*(np.array([193.5, 192.5]) - places).T, fluxes, (384, 384), 2.6, rng)
    alignment = measureAlignment(template, science)
    assert alignment.turn == TURNS[2]
    np.testing.assert_allclose(AlignedTransform(template, science, alignment)(191.5, 91.5), (193.5, 292.5), atol=0.05)


@pytest.mark.parametrize("turn", [UNTURNED, TURNS[3]])
def test_fewSourcesByTheirLight(turn):
    """Four stars on so many pixels tell no pattern that would be believed."""
    places = np.array([[160.0, 60.0], [270.0, 170.0], [190.0, 220.0], [230.0, 104.0]])
    fluxes = [5e4, 2e4, 8e4, 3e4]
    rng = np.random.default_rng(5)
    science = drawStars(*places.T, fluxes, (300, 300), 3.5, rng)
    other = drawStars(*(places - [129.7, 24.0]).T, fluxes, (300, 300), 2.8, rng)
    back = (turn[0][0], turn[1][0]), (turn[0][1], turn[1][1])
    template = turned(other, back)
    alignment = measureAlignment(template, science)
    assert (alignment.foundBy, alignment.turn, alignment.nUsed) == ("correlation", turn, 4)
    np.testing.assert_allclose(alignment.shift, (-129.7, -24.0), atol=0.05)
    assert alignment.reason.startswith("found by the light, which correlates by 0.")


@pytest.mark.parametrize(("n", "isTold"), [(5, True), (4, True), (2, False), (1, False)])
def test_placesBeyondChance(n, isTold):
    """So many of ten and twenty sources at one shift, to a third of a pixel, in 400x400 px; others are none."""
    generator = np.random.default_rng(n)
    science, template = generator.uniform(0.0, 400.0, (20, 2)), generator.uniform(0.0, 400.0, (10, 2))
    template[:n] = science[:n] + np.array([130.2, -75.4]) + generator.uniform(-0.3, 0.3, (n, 2))
    pairs = Match(np.arange(n), np.arange(n), math.inf)
    stars = [StarPositions(*xy.T.copy(), *np.full((2, len(xy)), 0.1), 4.0) for xy in (science, template)]
    assert _isNoChance(pairs, *stars, 400.0**2) is isTold
    stars[1].x[: n // 2 + 1] += 2.5 * np.arange(n // 2 + 1)
    assert not _isNoChance(pairs, *stars, 400.0**2)


def test_lightThatIsNotShared():
    """One star in each image, elsewhere: not enough to refute that the pixels lie alike, but no kernel is to blame."""
    rng = np.random.default_rng(4)
    template, science = (drawStars([x], [y], [9e4], rng=rng) for x, y in ((60.0, 70.0), (190.0, 150.0)))
    assert not measureAlignment(template, science).isRefuted
    with pytest.raises(InputImagesError, match="could not be laid upon each other"):
        psfmatch.subtract(template, science, threads=1)


def test_oneStarMovesNothing():
    science, template = (drawStars([x], [90.0], [9e4], rng=np.random.default_rng(1)) for x in (60.0, 190.0))
    alignment = measureAlignment(template, science)
    assert (alignment.isFound, alignment.isRefuted, alignment.method) == (False, False, "nominal")
    alignment.requireLaid(template, science)


def test_oneStarMovesImagesOfOtherShapes():
    """Where else there is nothing but an error; the grade says on what it hangs."""
    science = drawStars([60.0], [90.0], [9e4], (200, 230), 3.4, np.random.default_rng(1))
    template = drawStars([110.0], [70.0], [9e4], (180, 200), 2.6, np.random.default_rng(2))
    alignment = measureAlignment(template, science)
    assert (alignment.foundBy, alignment.turn, alignment.pixelShift) == ("correlation", UNTURNED, (50, -20))
    result = psfmatch.subtract(template, science)
    assert result.grade in "DF"
    assert "D: where the template lies hangs on a single source" in result.quality.reasons


def test_stampsOfOneShapeKeepTheirPlace():
    """Cut-outs about an alert: two sources in each, of which the middle one is new."""
    rng = np.random.default_rng(6)
    science = drawStars([31.0, 50.0], [31.0, 12.0], [5e4, 2e4], (63, 63), rng=rng)
    template = drawStars([12.0, 31.0], [40.0, 21.0], [5e4, 2e4], (63, 63), rng=rng)
    alignment = measureAlignment(template, science)
    assert alignment.method == "nominal"
    assert not alignment.isRefuted


@pytest.mark.parametrize("n", [8, 60])
def test_anotherSky(n):
    template, science = drawPair(7, n, margin=0)[0], drawPair(8, n, margin=0)[1]
    alignment = measureAlignment(template, science)
    assert not alignment.isFound
    assert alignment.isRefuted
    with pytest.raises(
        InputImagesError, match=r"could not be laid upon each other: of \d+ stars of the template"
    ) as caught:
        alignment.requireLaid(template, science)
    assert caught.value.nTemplateStars == alignment.nTemplateStars
    with pytest.raises(InputImagesError, match="could not be laid upon each other"):
        psfmatch.subtract(template, science)


def test_otherShapesOfAnotherSky():
    template, science = drawPair(7, 20, (200, 240))[0], drawPair(8, 20)[1]
    with pytest.raises(InputImagesError, match="could not be laid upon each other: they have different sizes"):
        psfmatch.subtract(template, science)


def test_commandSaysIt(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("template.fits", "science.fits", "difference.fits")]
    for path, exposure in zip(paths, (drawPair(7, 60)[0], drawPair(8, 60)[1]), strict=False):
        exposure.writeFits(path)
    assert main(["subtract", *paths[:2], "-o", paths[2]]) == 3
    assert "error: The images could not be laid upon each other: " in capsys.readouterr().err


def test_limitedSearch():
    template, science, _ = drawPair(9, linear=linear(180.0))
    assert not measureAlignment(template, science, maxOffsetPix=100.0).isFound
    assert measureAlignment(template, science).isFound


def test_wrongCoordinates():
    """Stars against coordinates: the template was turned, its WCS was not. The grade tells."""
    template, science, _ = drawPair(10, 150, shift=(12.0, 5.0))
    lying, science = withWcs(turned(template, TURNS[2])), withWcs(science)
    alignment = measureAlignment(lying, science)
    assert (alignment.foundBy, alignment.turn, alignment.hasCoordinates) == ("patterns", TURNS[2], True)
    registered = applyAlignment(lying, science, alignment)
    np.testing.assert_array_equal(registered.image[:-5, :-12], template.image[5:, 12:])
    assert registered.wcs is science.wcs
    result = psfmatch.subtract(lying, science)
    assert any(reason.startswith("D: the coordinates are wrong") for reason in result.quality.reasons)


def test_farWrongCoordinates():
    """A WCS that is off by more than is searched near it, with a third of the field in common."""
    template, science, _ = drawPair(11, 200, shift=(180.0, 20.0))
    wrong, science = withWcs(template), withWcs(science)
    alignment = measureAlignment(wrong, science)
    assert (alignment.foundBy, alignment.turn) == ("patterns", UNTURNED)
    np.testing.assert_allclose(alignment.shift, (180.0, 20.0), atol=0.05)
    assert (alignment.method, alignment.pixelShift) == ("pixels", (180, 20))


@pytest.mark.parametrize("n", [6, 0])
def test_coordinatesAreBelievedWhereStarsAreFew(n):
    template, science, _ = drawPair(12, n, shift=(150.0, 20.0), margin=-40)
    assert not measureAlignment(withWcs(template), withWcs(science)).isFound


def test_noGradeForAnOffset():
    template, science, _ = drawPair(13, 150, shift=(40.0, -25.0))
    result = psfmatch.subtract(template, science)
    assert result.alignment.pixelShift == (40, -25)
    assert result.quality.appliedShiftPix is None
    assert not any("coordinates" in reason for reason in result.quality.reasons)


def test_kernelOfATurnedTemplateIsAppliedAgain(tmp_path):
    """The turn is part of the recipe that lies beside the difference."""
    template, science, _ = drawPair(14, 150, shift=(5.3, -2.6), linear=linear(90.0))
    result = psfmatch.subtract(template, science)
    assert result.alignment.turn == TURNS[1]
    plain = psfmatch.subtract(turned(template, TURNS[1]), science)
    np.testing.assert_allclose(result.difference.image, plain.difference.image, atol=0.5)
    assert result.grade == plain.grade
    result.writeFits(tmp_path / "difference.fits")
    applied = psfmatch.applyKernel(tmp_path / "difference.fits", template, science)
    np.testing.assert_array_equal(applied.difference.image, result.difference.image)


def test_recordsOfEarlierVersions():
    template, science, truth = drawPair(15, shift=(3.7, -2.2))
    alignment = measureAlignment(template, science)
    fields = alignment.toDict()
    for name in ("turn", "foundBy", "hasCoordinates", "isRefuted"):
        del fields[name]
    again = Alignment.fromDict(fields)
    assert again.turn == UNTURNED
    requireTruth(again, truth)
    with pytest.raises(ValueError, match="not by right angles"):
        Alignment.fromDict({**fields, "turn": [[1, 1], [0, 1]]})
    with pytest.raises(ValueError, match="not the fields of an Alignment: spin"):
        Alignment.fromDict({**fields, "spin": 1})


def test_threadsDoNotMatter():
    for transform in (linear(180.0), linear(33.0, 0.8)):
        template, science, _ = drawPair(16, linear=transform)
        one, three = (measureAlignment(template, science, threads=threads) for threads in (1, 3))
        assert one == three


def test_originsAreParentPixels():
    template, science, _ = drawPair(17, linear=linear(270.0, 1.0, True), shift=(11.0, 3.0))
    moved = [
        Exposure(MaskedImage(e.image, None, e.variance, xy0=xy0))
        for e, xy0 in ((template, (1000, -500)), (science, (-70, 3000)))
    ]
    plain, alignment = measureAlignment(template, science), measureAlignment(*moved)
    assert (alignment.turn, alignment.pixelShift) == (plain.turn, plain.pixelShift)
    np.testing.assert_array_equal(
        applyAlignment(*moved, alignment).image, applyAlignment(template, science, plain).image
    )
    x, y = AlignedTransform(template, science, plain)(100.0, 60.0)
    np.testing.assert_allclose(AlignedTransform(*moved, alignment)(30.0, 3060.0), (x + 1000.0, y - 500.0), atol=1e-6)

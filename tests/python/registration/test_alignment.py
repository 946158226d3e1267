"""How a template lies on a science image: measured to its errors, by pixels or resampled, replayed, never guessed."""

import json
import math

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from starFields import SKY, drawPair, drawStars

import psfmatch
from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, GaussianPsf, MaskedImage
from psfmatch.registration import Warper, measureCoverage, measureShiftField, registerTemplate
from psfmatch.registration.alignment import AlignedTransform, Alignment, applyAlignment, measureAlignment
from psfmatch.registration.centroids import findStars

WARPER = Warper()
TURN = math.radians(0.2)
ROTATION = [[math.cos(TURN), -math.sin(TURN)], [math.sin(TURN), math.cos(TURN)]]
GENERAL = [[1.001, 0.003], [-0.002, 0.998]]


def withWcs(exposure, move=(0.0, 0.0), angle=0.0, psf=None):
    """The exposure with a TAN projection whose reference pixel is moved from the middle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = (215.0, 53.0)
    wcs.wcs.crpix = [0.5 * exposure.width + 0.5 + move[0], 0.5 * exposure.height + 0.5 + move[1]]
    c, s = math.cos(angle), math.sin(angle)
    wcs.wcs.cd = 0.2 / 3600.0 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return Exposure(exposure.maskedImage, wcs, psf)


def requireTruth(alignment, truth, sigmas=5.0):
    """Every term within its errors of the truth; terms that are not fitted have none."""
    left, errors = np.array(alignment.affine) - truth, np.array(alignment.errors)
    assert (np.abs(left) <= sigmas * errors + 1e-9).all()
    assert errors[:, 2].max() < 0.05


def requireAligned(registered, science):
    """The brightest stars lie in the same places, but for what the kernel takes."""
    assert registered.shape == science.shape
    assert registered.xy0 == science.xy0
    left = measureAlignment(Exposure(registered.maskedImage), Exposure(science.maskedImage))
    assert left.isFound
    assert left.method == "nominal"
    return left


@pytest.mark.parametrize("shift", [(0.3, 0.0), (3.7, -2.2), (60.0, -31.4)])
def test_shiftWithoutWcs(shift):
    template, science, truth = drawPair(1, shift=shift)
    before = template.image.copy(), science.image.copy()
    alignment = measureAlignment(template, science)
    assert alignment.model == "shift"
    requireTruth(alignment, truth)
    assert max(alignment.rms) < 0.1
    whole = round(shift[0]), round(shift[1])
    assert alignment.pixelShift == whole
    assert alignment.method == ("nominal" if whole == (0, 0) else "pixels")
    assert alignment.remainingPix == pytest.approx(np.abs(np.subtract(shift, whole)).max(), abs=0.02)
    assert (alignment.significance[0][2] > 10.0) == (alignment.shift[0] != 0.0)
    registered = applyAlignment(template, science, alignment, WARPER)
    requireAligned(registered, science)
    for exposure, image in zip((template, science), before, strict=True):
        np.testing.assert_array_equal(exposure.image, image)
    if alignment.method == "pixels":
        # Copied, not resampled.
        dx, dy = whole
        y, x = (200, 200)
        assert registered.image[y, x] == template.image[y + dy, x + dx]


@pytest.mark.parametrize("linear", [ROTATION, np.diag([1.002, 1.002]), GENERAL])
def test_affineWithoutWcs(linear):
    template, science, truth = drawPair(2, shift=(7.2, 2.1), linear=linear)
    alignment = measureAlignment(template, science)
    assert (alignment.model, alignment.method) == ("affine", "resampling")
    requireTruth(alignment, truth)
    assert alignment.modelRms["affine"] < 0.1 < alignment.modelRms["shift"]
    assert f"shift: {alignment.modelRms['shift']:.3f}" in alignment.reason
    left = requireAligned(applyAlignment(template, science, alignment, WARPER), science)
    # Plain Lanczos weights move centroids by up to 0.02 px.
    assert left.remainingPix < 0.05


@pytest.mark.parametrize("angle", [-1.0, 1.0])
def test_largeRotationScaleAndShift(angle):
    turn = math.radians(angle)
    linear = 1.01 * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    template, science, truth = drawPair(3, shift=(40.0, -25.0), linear=linear)
    requireTruth(measureAlignment(template, science), truth)


def test_errorsAreRight():
    pulls = []
    for seed in range(6):
        template, science, truth = drawPair(seed, 40, (256, 256), (2.3, 1.1), ROTATION)
        alignment = measureAlignment(template, science)
        pulls.append(((np.array(alignment.affine) - truth) / alignment.errors).ravel())
    # 36 pulls, six of each fit: rms good to 12 %, and more as they share stars.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 30, "strangers": 100, "shift": (12.3, -7.0)},  # four of five stars of either image are its own
        {"n": 2000, "shift": (5.3, -70.0)},  # crowded: blends
        {"ratio": 0.03, "shift": (-33.3, 8.0)},  # another depth
        {"fwhm": (5.5, 2.4), "shift": (4.2, 4.2)},  # the template's PSF is the wide one
    ],
)
def test_hardFields(fields):
    template, science, truth = drawPair(5, **fields)
    alignment = measureAlignment(template, science)
    assert alignment.model == "shift"
    requireTruth(alignment, truth)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewStars(n):
    x, y = np.array([60.0, 150.2, 100.4, 40.0, 190.0])[:n], np.array([70.0, 180.3, 30.6, 200.0, 110.0])[:n]
    rng = np.random.default_rng(n)
    science = drawStars(x, y, np.full(n, 1e5), fwhm=3.5, rng=rng)
    template = drawStars(x + 20.25, y + 3.0, np.full(n, 1e5), rng=rng)
    alignment = measureAlignment(template, science)
    assert alignment.model == "shift"
    assert alignment.nUsed == n
    assert alignment.pixelShift == (20, 3)
    np.testing.assert_allclose(alignment.shift, (20.25, 3.0), atol=0.05)


def test_badPixelsAndVariablesAreNoHindrance():
    template, science, truth = drawPair(6, shift=(3.7, 1.2))
    rng = np.random.default_rng(0)
    for exposure, plane in ((template, "CR"), (science, "BAD")):
        bad = rng.random(exposure.shape) < 0.01
        exposure.image[bad] = rng.choice([np.nan, 6e4, -300.0], bad.sum())
        exposure.mask[bad] |= exposure.mask.getPlaneBitMask(plane)
    requireTruth(measureAlignment(template, science), truth)


def test_hotPixelsInBothImagesDoNotAlignThem():
    template, science, truth = drawPair(7, shift=(8.4, 0.0))
    rng = np.random.default_rng(1)
    hot = rng.integers(10, 370, (2, 150))
    for exposure in (template, science):
        exposure.image[tuple(hot)] += 3e4
    requireTruth(measureAlignment(template, science), truth)


@pytest.mark.parametrize(("n", "strangers"), [(0, 0), (0, 1), (0, 60), (1, 0)])
def test_noMatchIsSaid(n, strangers):
    template, science, _ = drawPair(8, n, strangers=strangers, margin=-60)
    alignment = measureAlignment(template, science)
    assert not alignment.isFound
    assert (alignment.model, alignment.method) == ("none", "nominal")
    assert alignment.affine == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    assert alignment.reason.startswith("not measured; ")
    assert applyAlignment(template, science, alignment) is template
    assert Alignment.fromDict(json.loads(json.dumps(alignment.toDict()))) == alignment


def test_imagesWithoutPixels():
    nothing = Exposure(MaskedImage(np.full((60, 70), np.nan, dtype=np.float32)))
    assert not measureAlignment(nothing, nothing).isFound
    tiny = Exposure(MaskedImage(np.zeros((1, 1), dtype=np.float32)))
    assert not measureAlignment(tiny, tiny).isFound


def test_otherShapeWithoutWcs():
    template, science, _ = drawPair(9)
    # The template is a part of the field, and starts elsewhere.
    part = Exposure(
        MaskedImage(template.image[40:300, 100:].copy(), None, template.variance[40:300, 100:].copy(), xy0=(7, 9))
    )
    with pytest.raises(InputImagesError, match="different size"):
        registerTemplate(part, science, WARPER)
    alignment = measureAlignment(part, science)
    assert (alignment.method, alignment.pixelShift) == ("pixels", (-100, -40))
    registered = applyAlignment(part, science, alignment)
    requireAligned(registered, science)
    coverage = measureCoverage(registered, science)
    assert coverage.nBoth == part.image.size
    assert (coverage.bbox.x0, coverage.bbox.y0) == (100, 40)
    np.testing.assert_array_equal(registered.image[40:300, 100:], part.image)


def test_wrongWcsOfOnePixelGrid():
    """The WCS asks for a warp by 5 pixels, the stars say that the pixels correspond."""
    template, science, _ = drawPair(10)
    template, science = withWcs(template, (5.4, -3.3), psf=GaussianPsf(1.1)), withWcs(science)
    alignment = measureAlignment(template, science)
    np.testing.assert_allclose(alignment.shift, (-5.4, 3.3), atol=0.02)
    assert (alignment.method, alignment.pixelShift) == ("pixels", (0, 0))
    registered = applyAlignment(template, science, alignment)
    np.testing.assert_array_equal(registered.image, template.image)
    assert registered.wcs is science.wcs
    assert registerTemplate(registered, science, WARPER, doWarping=False) is registered
    centre = registered.psf.computeKernelImage(100.0, 100.0)
    expected = GaussianPsf(1.1).computeKernelImage(100.0, 100.0)
    half = expected.shape[0] // 2
    middle = centre.shape[0] // 2
    np.testing.assert_allclose(
        centre[middle - half : middle + half + 1, middle - half : middle + half + 1], expected, atol=1e-4
    )


def test_wrongWcsOfAnotherGrid():
    """The WCS has the rotation right and the shift wrong: one warp with the correction."""
    template, science, _ = drawPair(11, linear=ROTATION, shift=(12.0, 4.0))
    right = withWcs(template, (12.0, 4.0), -TURN)
    wrong, science = withWcs(template, (9.5, 8.0), -TURN), withWcs(science)
    assert measureAlignment(right, science).model == "none"
    alignment = measureAlignment(wrong, science)
    assert (alignment.model, alignment.method) == ("shift", "resampling")
    registered = applyAlignment(wrong, science, alignment, WARPER)
    requireAligned(registered, science)
    expected = registerTemplate(right, science, WARPER)
    both = np.isfinite(registered.image) & np.isfinite(expected.image)
    # The correction is good to 0.01 px, the steepest slope of the brightest star is 1.5e4 counts per pixel.
    assert np.abs(registered.image - expected.image)[both].max() < 300.0
    transform = AlignedTransform(wrong, science, alignment)
    np.testing.assert_allclose(transform(191.5, 191.5), (203.5, 195.5), atol=0.03)
    np.testing.assert_allclose(AlignedTransform(wrong, science)(191.5, 191.5), (201.0, 199.5), atol=1e-6)


def test_agreeingWcsIsFollowed():
    template, science, _ = drawPair(12, linear=ROTATION)
    template, science = withWcs(template, angle=-TURN), withWcs(science)
    alignment = measureAlignment(template, science)
    assert (alignment.model, alignment.method) == ("none", "nominal")
    np.testing.assert_array_equal(
        applyAlignment(template, science, alignment).image, registerTemplate(template, science, Warper()).image
    )


def test_rightWcsNearWholePixelsSparesTheWarp():
    template, science, _ = drawPair(12, shift=(20.3, -7.2))
    template, science = withWcs(template, (20.3, -7.2)), withWcs(science)
    alignment = measureAlignment(template, science)
    assert (alignment.model, alignment.method, alignment.pixelShift) == ("none", "pixels", (20, -7))
    assert alignment.remainingPix == pytest.approx(0.3, abs=1e-3)
    registered = applyAlignment(template, science, alignment)
    np.testing.assert_array_equal(registered.image[7:, :-20], template.image[:-7, 20:])


def test_toleranceDecides():
    template, science, _ = drawPair(13, shift=(0.3, 0.0))
    assert measureAlignment(template, science).method == "nominal"
    strict = measureAlignment(template, science, tolerancePix=0.1)
    assert strict.method == "resampling"
    assert "more than 0.1 px" in strict.reason
    # Undersampled stars: a kernel of Gaussians cannot move them.
    template, science, _ = drawPair(13, shift=(0.3, 0.0), fwhm=(2.0, 2.1))
    assert measureAlignment(template, science).method == "resampling"


def test_replay():
    template, science, _ = drawPair(14, shift=(7.2, 2.1), linear=GENERAL)
    alignment = measureAlignment(template, science)
    again = Alignment.fromDict(json.loads(json.dumps(alignment.toDict())))
    assert again == alignment
    first, second = (applyAlignment(template, science, one) for one in (alignment, again))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.variance, second.variance)
    fields = alignment.toDict()
    with pytest.raises(ValueError, match="not the fields of an Alignment: method"):
        Alignment.fromDict({name: value for name, value in fields.items() if name != "method"})
    with pytest.raises(ValueError, match="not those of an Alignment"):
        Alignment.fromDict({**fields, "method": "guess"})


def test_originsAreParentPixels():
    template, science, _ = drawPair(15, shift=(3.7, -2.2), linear=GENERAL)
    moved = [
        Exposure(MaskedImage(e.image, None, e.variance, xy0=xy0))
        for e, xy0 in ((template, (1000, -500)), (science, (-70, 3000)))
    ]
    alignment = measureAlignment(*moved)
    np.testing.assert_allclose(alignment.affine, measureAlignment(template, science).affine, atol=1e-6)
    plain = measureAlignment(template, science)
    np.testing.assert_allclose(
        applyAlignment(*moved, alignment).image, applyAlignment(template, science, plain).image, atol=0.5
    )


def test_threadsDoNotMatter():
    template, science, _ = drawPair(16, shift=(3.7, -2.2))
    assert measureAlignment(template, science, threads=1) == measureAlignment(template, science, threads=3)


def test_knownSources():
    template, science, truth = drawPair(17, shift=(3.7, -2.2))
    tables = []
    for exposure in (template, science):
        stars = findStars(exposure.maskedImage)
        tables.append(Table({"x": np.round(stars.x), "y": np.round(stars.y)}))
    alignment = measureAlignment(template, science, templateSources=tables[0], scienceSources=tables[1])
    requireTruth(alignment, truth)


@pytest.mark.parametrize("options", [{"tolerancePix": -1.0}, {"tolerancePix": math.nan}, {"maxOffsetPix": 0.0}])
def test_callersSlips(options):
    blank = Exposure(MaskedImage(np.full((64, 64), SKY, dtype=np.float32)))
    with pytest.raises(ValueError, match="must not be negative"):
        measureAlignment(blank, blank, **options)


def test_wcsThatCannotBeUsed():
    blank = Exposure(MaskedImage(np.full((64, 64), SKY, dtype=np.float32)))
    broken = withWcs(blank)
    broken.wcs.wcs.cd = np.zeros((2, 2))
    with pytest.raises(InputImagesError, match="cannot be used"):
        measureAlignment(broken, withWcs(blank))


def test_alignedPairSubtracts():
    """What it is for: a pair without coordinates, apart by a shift and a rotation, leaves noise."""
    template, science, _ = drawPair(18, 80, shift=(7.2, 2.1), linear=ROTATION)
    registered = applyAlignment(template, science, measureAlignment(template, science))
    result = psfmatch.subtract(registered, science)
    found = findStars(science.maskedImage)
    stars = Table({"x": found.x, "y": found.y})
    field = measureShiftField(result.difference.maskedImage, result.matched.maskedImage, stars)
    assert field.nUsed > 20
    assert field.meanSize < 0.01
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.05)

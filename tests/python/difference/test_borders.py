"""The border of a difference: against the convolution of a larger image, its flags, and sources that lie in it."""

import numpy as np
import pytest

from psfmatch import (
    Box,
    Exposure,
    GaussianPsf,
    ImagePsfMatchTask,
    LinearCombinationKernel,
    MaskedImage,
    StoredKernel,
    applyKernel,
    detectOnDifference,
    frontDoorConfig,
    subtract,
)
from psfmatch.difference.borders import EDGE_FRACTION, USABLE_FRACTION, completeBorder, frameOf
from psfmatch.difference.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.images import BORDER, withUsableBorder
from psfmatch.kernels import EdgeHandling, SpatialFunction2D, makeSpatialFunction
from psfmatch.registration import Warper, surroundingsOf
from psfmatch.testing import simulatePair

KEEP = EdgeHandling(copyEdge=True)
WIDE = Box(-7, 5, 120, 100)
BOX = WIDE.shrunk(20)
PLANES = ("image", "variance", "mask")


@pytest.fixture(scope="module")
def kernel():
    """A kernel that varies, of 13 x 11 pixels."""
    y, x = np.arange(-6, 7)[:, None], np.arange(-5, 6)
    images = [np.exp(-0.5 * (y**2 + x**2) / s**2) for s in (1.2, 2.0)]
    basis = np.array([images[0] / images[0].sum(), images[1] / images[1].sum() - images[0] / images[0].sum()])
    return LinearCombinationKernel(basis, [[1.1, 0.02, -0.03], [0.3, 0.1, 0.05]], bbox=BOX)


def noise(seed, box, level=30.0):
    generator = np.random.default_rng(seed)
    variance = generator.uniform(3.0, 5.0, box.shape).astype(np.float32)
    image = (level + np.sqrt(variance) * generator.standard_normal(box.shape)).astype(np.float32)
    image += np.float32(500.0) * (generator.random(box.shape) > 0.995)
    return MaskedImage(image, None, variance, (box.x0, box.y0))


BACKGROUND: SpatialFunction2D = makeSpatialFunction("polynomial", [2.5], (0.0, 0.0, 1.0, 1.0))


def plain(kernel, convolved, other, isScience=False, kernelSum=1.0):
    matched = kernel.convolve(convolved, KEEP, threads=1)
    if isScience:
        return subtractMatchedScience(matched, other, BACKGROUND, kernelSum), matched
    return subtractMatchedTemplate(other, matched, BACKGROUND), matched


def completed(kernel, convolved, other, beyond=None, fraction=EDGE_FRACTION, edges=KEEP, threads=1):
    difference, matched = plain(kernel, convolved, other)
    told = completeBorder(
        difference, matched, convolved, other, kernel, BACKGROUND,
        edges=edges, fraction=fraction, beyond=beyond, threads=threads,
    )  # fmt: skip
    return difference, matched, told


def inner(kernel, box=BOX):
    half = kernel.shape[0] // 2, kernel.shape[1] // 2
    return Box(box.x0 + half[1], box.y0 + half[0], box.width - 2 * half[1], box.height - 2 * half[0])


def isSame(one, other):
    return all(np.array_equal(*(np.asarray(getattr(x, name)) for x in (one, other)), equal_nan=True) for name in PLANES)


# Parts


def test_frame():
    """The parts cover the border once, and nothing else."""
    count = np.zeros(BOX.shape, dtype=int)
    for part in frameOf(BOX, 6, 5):
        count[part.y0 - BOX.y0 : part.y1 - BOX.y0, part.x0 - BOX.x0 : part.x1 - BOX.x0] += 1
    expected = np.ones_like(count)
    expected[6:-6, 5:-5] = 0
    np.testing.assert_array_equal(count, expected)
    assert sum(part.width * part.height for part in frameOf(Box(0, 0, 5, 3), 4, 4)) == 14  # of 15, the middle is none


def test_reachAndTrimming():
    """Of a Gaussian: the square within r holds erf((r + 1/2) / (sqrt 2 sigma))^2 of it, where that exceeds 1 - f."""
    half, sigma = 12, 2.0
    offset = np.arange(-half, half + 1)
    image = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2)
    one = LinearCombinationKernel(3.0 * image[None] / image.sum(), [[1.0]])
    for fraction in (0.2, 0.05, 1e-3):
        reach = one.reach(BOX, fraction)
        held = [image[half - r : half + r + 1, half - r : half + r + 1].sum() / image.sum() for r in (reach - 1, reach)]
        assert held[0] < 1.0 - fraction <= held[1]
        cut = one.trimmed(reach)
        assert cut.shape == (2 * reach + 1, 2 * reach + 1)
        np.testing.assert_array_equal(
            cut.computeImage(0, 0),
            one.computeImage(0, 0)[half - reach : half + reach + 1, half - reach : half + reach + 1],
        )
    assert one.trimmed(half) is one
    assert one.reach(BOX, 0.0) == half


def test_reachIsThatOfTheWidestPlace(kernel):
    places = [(BOX.x0, BOX.y0), (BOX.x1 - 1, BOX.y1 - 1), (BOX.x0, BOX.y1 - 1), (BOX.x1 - 1, BOX.y0)]
    alone = [LinearCombinationKernel(kernel.computeImage(*place)[None], [[1.0]]).reach(BOX, 0.01) for place in places]
    assert kernel.reach(BOX, 0.01) >= max(alone)


# The border against other ways to it


def test_whatATemplateHasBeyond(kernel):
    """The border is that of the convolution of the larger template, to the rounding of float32, and nothing is EDGE."""
    large, science = noise(1, WIDE), noise(2, BOX)
    difference, matched, told = completed(kernel, large.subset(BOX).copy(), science, beyond=large.subset)
    expected = kernel.convolve(large, KEEP).subset(BOX)
    np.testing.assert_allclose(matched.image, expected.image, rtol=2e-5, atol=2e-5 * 530.0)
    # K squared is summed to 1e-3.
    np.testing.assert_allclose(matched.variance, expected.variance, rtol=2e-3)
    assert not np.asarray(matched.mask).any()
    assert not np.asarray(difference.mask).any()
    np.testing.assert_allclose(
        difference.image, science.image - matched.image - np.float32(2.5), rtol=1e-6, atol=1e-6 * 530.0
    )
    assert told.hasMore
    assert told.hasAll
    assert told.edgeFraction == 0.0
    assert told.fullFraction == pytest.approx(1.0 - (80 - 10) * (60 - 12) / (80 * 60))


def test_outermostPixelsGoOn(kernel):
    """Without anything beyond, the border is that of the image with its outermost pixels repeated."""
    template, science = noise(1, BOX), noise(2, BOX)
    difference, matched, told = completed(kernel, template, science)
    half = kernel.shape[0] // 2, kernel.shape[1] // 2
    pads = [(h, h) for h in half]
    planes = (np.pad(np.asarray(getattr(template, name)), pads, mode="edge") for name in ("image", "mask", "variance"))
    wide = MaskedImage(*planes, xy0=(BOX.x0 - half[1], BOX.y0 - half[0]))
    expected = kernel.convolve(wide, KEEP).subset(BOX)
    np.testing.assert_allclose(matched.image, expected.image, rtol=2e-5, atol=2e-5 * 530.0)
    y, x = np.indices(BOX.shape)
    distance = np.minimum.reduce([x, y, BOX.width - 1 - x, BOX.height - 1 - y])
    reach, lost = kernel.reach(BOX, EDGE_FRACTION), kernel.reach(BOX, USABLE_FRACTION)
    assert 0 < lost < reach < min(half)
    for image in (difference, matched):
        np.testing.assert_array_equal(image.mask.hasAny("EDGE"), distance < reach)
        np.testing.assert_array_equal(image.mask.hasAny(BORDER), (distance < reach) & (distance >= lost))
    assert told.edgeFraction == pytest.approx(float((distance < reach).mean()))
    assert not told.hasMore
    assert not told.hasAll


def test_innerPixelsStay(kernel):
    """Bit for bit, and with a fraction of 0 or a kernel of one pixel everything does."""
    template, science = noise(1, BOX), noise(2, BOX)
    before = plain(kernel, template, science)
    after = completed(kernel, template, science)
    for one, other in zip(before, after[:2], strict=True):
        assert isSame(one.subset(inner(kernel)), other.subset(inner(kernel)))
        assert not isSame(one, other)
    same = completed(kernel, template, science, fraction=0.0)
    assert same[2] is None
    assert all(isSame(one, other) for one, other in zip(before, same[:2], strict=True))
    assert completed(LinearCombinationKernel(np.ones((1, 1, 1)), [[1.0]]), template, science)[2] is None


def test_threadsChangeNothing(kernel):
    large, science = noise(1, WIDE), noise(2, BOX)
    results = [
        completed(kernel, large.subset(BOX).copy(), science, large.subset, threads=threads) for threads in (1, 2, 7)
    ]
    for result in results[1:]:
        assert all(isSame(one, other) for one, other in zip(results[0][:2], result[:2], strict=True))


def test_partOfASide(kernel):
    """Where the template ends within half a kernel, EDGE is on what lacks it and nowhere else."""
    large, science = noise(1, WIDE), noise(2, BOX)
    end = BOX.y0 + 20  # rows of the left side that the template has
    data = large.copy()
    y, x = np.mgrid[WIDE.y0 : WIDE.y1, WIDE.x0 : WIDE.x1]
    outside = (x < BOX.x0) & (y >= end)
    data.image[outside] = np.nan
    data.mask[outside] |= data.mask.getPlaneBitMask("NO_DATA")
    difference, matched, told = completed(kernel, data.subset(BOX).copy(), science, data.subset)
    assert told.hasMore
    assert not told.hasAll
    reach = kernel.reach(BOX, EDGE_FRACTION)
    y, x = np.mgrid[BOX.y0 : BOX.y1, BOX.x0 : BOX.x1]
    np.testing.assert_array_equal(difference.mask.hasAny("EDGE"), (x < BOX.x0 + reach) & (y >= end - reach))
    assert not difference.mask.hasAny("NO_DATA").any()
    expected = kernel.convolve(large, KEEP).subset(BOX)
    isKnown = (y < end - 6) | (x >= BOX.x0 + 5)
    np.testing.assert_allclose(matched.image[isKnown], expected.image[isKnown], rtol=2e-5, atol=2e-5 * 530.0)


def test_convolvedScience(kernel):
    """There is nothing beyond a science image, and the difference is divided by the kernel's sum."""
    template, science = noise(1, BOX), noise(2, BOX)
    difference, matched = plain(kernel, science, template, True, 1.2)
    completeBorder(
        difference, matched, science, template, kernel, BACKGROUND,
        edges=KEEP, fraction=EDGE_FRACTION, isScienceConvolved=True, kernelSum=1.2,
    )  # fmt: skip
    np.testing.assert_allclose(
        difference.image, (matched.image + 2.5 - template.image) / 1.2, rtol=1e-6, atol=1e-6 * 530.0
    )


def test_nanBorders(kernel):
    """With copyEdge off pixels with too little of their kernel stay NaN, the others are computed."""
    template, science = noise(1, BOX), noise(2, BOX)
    edges = EdgeHandling(copyEdge=False)
    matched = kernel.convolve(template, edges)
    difference = subtractMatchedTemplate(science, matched, BACKGROUND)
    completeBorder(difference, matched, template, science, kernel, BACKGROUND, edges=edges, fraction=EDGE_FRACTION)
    reach = kernel.reach(BOX, EDGE_FRACTION)
    expected = np.ones(BOX.shape, dtype=bool)
    expected[reach:-reach, reach:-reach] = False
    np.testing.assert_array_equal(np.isnan(difference.image), expected)
    np.testing.assert_array_equal(difference.mask.hasAny("NO_DATA"), expected)
    assert not difference.mask.hasAny("EDGE").any()


def test_badPixelsAtTheBorder(kernel):
    """They are filled as elsewhere; what an image calls its edge gets no BORDER, and a mask may be full of planes."""
    template, science = noise(1, BOX), noise(2, BOX)
    template.mask[20, :3] |= template.mask.getPlaneBitMask("BAD")
    template.image[20, :3] = np.nan
    science.mask[:, :2] |= science.mask.getPlaneBitMask("EDGE")
    difference, matched, _ = completed(kernel, template, science)
    assert np.isfinite(difference.image).all()
    assert difference.mask.hasAny("BAD")[20, 0]
    assert matched.mask.hasAny("INTRP")[20, 0]
    assert not difference.mask.hasAny(BORDER)[:, :2].any()
    assert difference.mask.hasAny("EDGE")[:, :2].all()
    full = noise(2, BOX)
    for bit in range(31):
        if bit not in full.mask.planes.values():
            full.mask.addPlane(f"P{bit}")
    difference, _, _ = completed(kernel, template, full)
    assert difference.mask.hasAny("EDGE").any()
    assert BORDER not in difference.mask.planes


def test_smallestImage(kernel):
    """Of the kernel's size: all but one pixel are border."""
    box = Box(0, 0, 11, 13)
    difference, matched, told = completed(kernel, noise(1, box), noise(2, box))
    assert np.isfinite(difference.image).all()
    assert np.isfinite(matched.variance).all()
    assert told.fullFraction == pytest.approx(1.0 - 1.0 / 143.0)


# What a template has beyond


def test_surroundings():
    """Whole pixels are copied, others resampled as in one go; a template that ends with the science image has none."""
    pair = simulatePair(3, 192, transients=0)
    box = pair.science.getBBox().shrunk(30)
    science = Exposure(pair.science.maskedImage.subset(box).copy(), wcs=pair.science.wcs)
    warper = Warper(threads=1)
    around = surroundingsOf(pair.template, science, None, warper)
    strip = Box(box.x0 - 8, box.y0 - 8, box.width + 16, 8)
    assert isSame(around.on(strip), pair.template.maskedImage.subset(strip))
    ended = around.on(Box(-5, 0, 10, 4))
    np.testing.assert_array_equal(ended.mask.hasAny("NO_DATA"), [[True] * 5 + [False] * 5] * 4)
    assert surroundingsOf(science, science, None, warper) is None
    assert surroundingsOf(science, pair.template, None, warper) is None
    turned = pair.science.wcs.deepcopy()
    turned.wcs.pc = [[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]]
    turned.wcs.set()
    other = Exposure(pair.template.maskedImage, wcs=turned)
    around = surroundingsOf(other, science, None, warper)
    wide = warper.warpExposure(science.coordinates, other, box.grown(8)).maskedImage.subset(strip)
    # Positions are interpolated between lattices with different origins, to 1e-4 px; stars change by their height.
    np.testing.assert_allclose(around.on(strip).image, wide.image, atol=1e-3 * float(np.nanmax(wide.image)))
    small = Exposure(science.maskedImage.subset(box.shrunk(20)).copy(), wcs=turned)
    assert surroundingsOf(small, science, None, warper) is None


# The front door


@pytest.fixture(scope="module")
def field():
    """A field of 256 px, and the template 40 px larger on all sides; the sources near the border, S/N 40."""
    large = simulatePair(4, 336, transients=0, brightStars=120)
    box = large.science.getBBox().shrunk(40)
    science = Exposure(large.science.maskedImage.subset(box).copy(), wcs=large.science.wcs)
    generator, places = np.random.default_rng(1), []
    stars = np.column_stack([large.truth.stars["x"], large.truth.stars["y"]])
    while len(places) < 8:
        along, distance, side = generator.uniform(20, 236), generator.uniform(6, 12), len(places) % 4
        at = [(along, distance), (along, 255 - distance), (distance, along), (255 - distance, along)][side]
        at = at[0] + box.x0, at[1] + box.y0
        isFree = np.hypot(*(stars - at).T).min() > 12
        if isFree and all(np.hypot(at[0] - x, at[1] - y) > 25 for x, y in places):
            places.append(at)
    y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    fluxes = []
    for px, py in places:
        sigma = 3.8 / 2.3548
        flux = 40.0 * np.sqrt(4 * np.pi * sigma**2 * 330.0) * 1.15
        fluxes.append(flux)
        science.image[...] += (
            flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2)
        ).astype(np.float32)
    return large.template, science, np.array(places), np.array(fluxes)


def found(result, places):
    table = result.detect()
    near = [np.hypot(table["x"] - x, table["y"] - y) for x, y in places]
    return table[[int(distance.argmin()) for distance in near if distance.min() < 1.5]]


def test_largerTemplateLosesNothing(field):
    """No pixel has EDGE, all sources are found without a flag of the border; and all that is made again."""
    template, science, places, fluxes = field
    result = subtract(template, science)
    assert result.convolved == "template"
    assert not result.difference.mask.hasAny("EDGE").any()
    table = found(result, places)
    assert len(table) == len(places)
    assert not np.asarray(table["flagEdge"]).any()
    # The PSF varies over the field by 15 %, and the sources do not.
    np.testing.assert_allclose(table["psfFlux"], fluxes, rtol=0.25)
    again = applyKernel(result.storedKernel(), template, science)
    for name in ("difference", "matched"):
        assert isSame(getattr(again, name).maskedImage, getattr(result, name).maskedImage)
    assert isSame(
        subtract(template, science, config=result.config).difference.maskedImage, result.difference.maskedImage
    )
    (told,) = [choice for choice in result.choices if choice.name == "border"]
    assert told.sentence.endswith(
        "computed of what the template has beyond; no pixel lacks more than 0.05 of its kernel."
    )
    assert told.figure == 0.0


def test_templateOfTheSamePixels(field, tmp_path):
    """A few pixels have EDGE, and sources are found there all the same; from a file too."""
    template, science, places, _ = field
    same = Exposure(template.maskedImage.subset(science.getBBox()).copy(), wcs=template.wcs)
    result = subtract(same, science)
    mask, reach = result.difference.mask, result.kernel.reach(science.getBBox(), 0.05)
    expected = np.ones(science.shape, dtype=bool)
    expected[reach:-reach, reach:-reach] = False
    np.testing.assert_array_equal(mask.hasAny("EDGE"), expected)
    assert len(found(result, places)) == len(places)
    (told,) = [choice.sentence for choice in result.choices if choice.name == "border"]
    assert "computed of the outermost pixels, which are taken to go on" in told
    assert f"{expected.mean():.1%} lack more than 0.05 of their kernel, within {reach} px" in told
    larger = subtract(template, science)
    inside = science.getBBox().shrunk(result.kernel.shape[0] // 2)
    assert isSame(*(r.difference.maskedImage.subset(inside) for r in (result, larger)))
    result.writeFits(tmp_path / "difference.fits")
    stored = Exposure.readFits(tmp_path / "difference.fits")
    np.testing.assert_array_equal(stored.mask.hasAny(BORDER), mask.hasAny(BORDER))
    again = applyKernel(StoredKernel.readFits(tmp_path / "difference.fits"), same, science)
    assert isSame(again.difference.maskedImage, result.difference.maskedImage)


def test_edgeFractionOfTheFrontDoor(field):
    """With 0 the border is as the task leaves it; as it is of recipes from before and the task's own configuration."""
    template, science, _, _ = field
    config = frontDoorConfig()
    config.edgeFraction = 0.0
    result = subtract(template, science, config=config)
    half = result.kernel.shape[0] // 2
    expected = np.ones(science.shape, dtype=bool)
    expected[half:-half, half:-half] = False
    assert result.difference.mask.hasAny("EDGE")[expected].all()
    assert BORDER not in result.difference.mask.planes
    assert not any(choice.name == "border" for choice in result.choices)
    with pytest.raises(ValueError, match="edgeFraction"):
        config.edgeFraction = 1.5
    data = result.storedKernel().recipe.toDict()
    assert data.pop("edgeFraction") == 0.0
    assert type(result.storedKernel().recipe).fromDict(data).edgeFraction == 0.0
    plainly = subtract(template, science, config=ImagePsfMatchTask.ConfigClass())
    assert np.isnan(plainly.difference.image[expected]).mean() > 0.5


# Detection


def test_borderIsUsed():
    """EDGE counts as not measured unless BORDER says otherwise, and then the source is flagged."""
    image = np.random.default_rng(3).normal(0.0, 1.0, (64, 64)).astype(np.float32)
    y, x = np.indices(image.shape)
    image += (60.0 * np.exp(-0.5 * ((x - 7) ** 2 + (y - 30) ** 2) / 2.25)).astype(np.float32)
    for planes, count in ((("EDGE",), 0), (("EDGE", BORDER), 1)):
        difference = MaskedImage(image, None, np.ones_like(image))
        for name in planes:
            difference.mask[:, :14] |= 1 << difference.mask.addPlane(name)
        table = detectOnDifference(Exposure(difference), GaussianPsf(1.5), threshold=8.0)
        assert len(table) == count
        assert np.asarray(table["flagEdge"]).all()
        assert not np.asarray(table["flagMasked"]).any()
        usable = withUsableBorder(difference)
        assert (usable is difference) == (BORDER not in planes)
        assert usable.mask.hasAny("EDGE").any() == (BORDER not in planes)
        assert difference.mask.hasAny("EDGE").any()

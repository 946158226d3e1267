"""The simulator of image pairs: exact where it promises to be, repeatable, each option as described."""

import math

import numpy as np
import pytest

from psfmatch.testing import DENSE_FIELD, FieldOptions, simulatePair, transientFluxes
from psfmatch.testing.mixtures import circularFwhm

EMPTY = {"brightStars": 0, "faintStars": 0, "galaxies": 0, "transients": 0, "badFraction": 0}


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=1, size=512, transients=20)


@pytest.fixture(scope="module")
def oneStar():
    """One star of S/N several hundred, exact pixels."""
    options = {**EMPTY, "brightStars": 16, "brightFlux": (2e5, 2e5), "noise": False, "variableFraction": 0}
    pair = simulatePair(seed=7, size=256, **options)
    star = pair.truth.stars[0]
    assert 60 < star["x"] < 196
    assert 60 < star["y"] < 196
    return pair


def clean(exposure):
    return (np.asarray(exposure.mask) == 0) & np.isfinite(exposure.image)


def planesOf(pair):
    return [plane for image in (pair.template, pair.science) for plane in (image.image, image.variance, image.mask)]


def test_sameSeedSamePair(pair):
    again, other = (simulatePair(seed=seed, size=512, transients=20) for seed in (1, 2))
    for first, second, third in zip(planesOf(pair), planesOf(again), planesOf(other), strict=True):
        assert np.asarray(first).tobytes() == np.asarray(second).tobytes()
        assert np.asarray(first).shape == np.asarray(third).shape
    assert not np.array_equal(pair.template.image, other.template.image)


def test_transientsLeaveTheRestAlone(pair):
    fewer = simulatePair(seed=1, size=512, transients=6)
    for name in ("stars", "galaxies"):
        assert pair.truth.__dict__[name].as_array().tolist() == fewer.truth.__dict__[name].as_array().tolist()
    assert fewer.truth.transients.as_array().tolist() == pair.truth.transients[:6].as_array().tolist()
    y, x = np.indices((512, 512))
    far = np.ones((512, 512), dtype=bool)
    for row in pair.truth.transients[6:]:
        # The widest of the science function's Gaussians has sigma below 5 px, rendered to six sigma.
        far &= (abs(x - row["x"]) > 30) | (abs(y - row["y"]) > 30)
    assert far.mean() > 0.5
    for many, few in zip(planesOf(pair), planesOf(fewer), strict=True):
        np.testing.assert_array_equal(np.asarray(many)[far], np.asarray(few)[far])


def test_moreStarsKeepTheFirst():
    few, many = (simulatePair(seed=5, size=256, brightStars=n, transients=0).truth.stars for n in (100, 200))
    few, many = few[few["isBright"]], many[many["isBright"]]
    assert (len(few), len(many)) == (7, 13)
    np.testing.assert_array_equal(few["x"], many["x"][:7])
    np.testing.assert_array_equal(few["flux"], many["flux"][:7])


def test_numbersOfSources():
    truth = simulatePair(seed=1, size=512, options=DENSE_FIELD, transients=0).truth
    megapixels = 512**2 / 1e6
    assert np.count_nonzero(truth.stars["isBright"]) == round(300 * megapixels)
    assert len(truth.stars) == round(300 * megapixels) + round(1200 * megapixels)
    assert len(truth.galaxies) == round(150 * megapixels)


def test_fluxRatioOnThePixelGrid(oneStar):
    truth = oneStar.truth
    template = (truth.template - np.float32(300)).sum(dtype=np.float64)
    y, x = np.indices(truth.box.shape)
    science = (truth.science - truth.scienceSky(x, y)).sum(dtype=np.float64)
    # float32 pixels of 300 to 400 counts are off by 1.5e-5 each, 256^2 of them at random: 4e-3 in 2e5.
    assert science == pytest.approx(2e5, rel=2e-5)
    assert science / template == pytest.approx(1.25, rel=1e-4)


def test_scienceIsTemplateThroughKernel(oneStar):
    truth = oneStar.truth
    x, y = round(float(truth.stars["x"][0])), round(float(truth.stars["y"][0]))
    stamp = np.empty((15, 15))
    side = 41
    for row in range(15):
        for column in range(15):
            px, py = x - 7 + column, y - 7 + row
            # The star's own kernel: light goes through the optics of the place where it is.
            kernel = truth.kernelImage(float(truth.stars["x"][0]), float(truth.stars["y"][0]), side)
            around = truth.template[py - 20 : py + 21, px - 20 : px + 21].astype(np.float64)
            # The sky of the background goes through the kernel at the pixel, whose sum is the same here.
            stamp[row, column] = np.sum(kernel * around) + truth.background(px, py)
    exact = truth.science[y - 7 : y + 8, x - 7 : x + 8]
    peak = float(exact.max()) - 400
    # Aliasing of the two cores, see the module of mixtures; the wider components add little.
    optics, place = truth.optics, (float(truth.stars["x"][0]), float(truth.stars["y"][0]))
    narrowest = optics.templatePsf(*place).narrowestSigma, optics.kernel(*place).narrowestSigma
    harmonic = 1 / (1 / narrowest[0] ** 2 + 1 / narrowest[1] ** 2)
    assert np.abs(stamp - exact).max() < 4 * math.exp(-2 * math.pi**2 * harmonic) * peak < 2e-3 * peak


def test_kernelImage(pair):
    truth = pair.truth
    for x, y in ((0, 0), (511, 0), (255.5, 300.0)):
        kernel = truth.kernelImage(x, y, 41)
        assert kernel.shape == (41, 41)
        assert kernel.sum() == pytest.approx(1.25, rel=1e-4)
        assert truth.kernelSum(x, y) == pytest.approx(1.25, rel=1e-12)
        # A correlation kernel reaches for the star where the template has it: at + offset.
        row, column = np.indices(kernel.shape) - 20
        assert np.sum(column * kernel) / kernel.sum() == pytest.approx(0.15, abs=1e-3)
        assert np.sum(row * kernel) / kernel.sum() == pytest.approx(-0.10, abs=1e-3)


def test_kernelSumVaries():
    truth = simulatePair(seed=1, size=256, fluxRatioVariation=0.1, transients=0).truth
    y, x = np.mgrid[0:256:15, 0:256:15]
    ratios = truth.optics.kernelSum(x, y)
    # The extremes are found on a grid of 33 points a side: they may lie a little beyond.
    assert np.ptp(ratios) == pytest.approx(0.125, rel=0.02)
    star = truth.stars[10]
    assert star["constantFlux"] == pytest.approx(
        star["templateFlux"] * truth.kernelSum(star["x"], star["y"]), rel=1e-12
    )


def test_widthsOfThePointSpreadFunctions():
    pair = simulatePair(seed=7, size=256, transients=0, ellipticity=0, scienceVariation=0.1, templateVariation=0)

    optics = pair.truth.optics
    assert circularFwhm(optics.templatePsf(100, 100)) == pytest.approx(2.6, rel=1e-4)
    widths = [circularFwhm(optics.sciencePsf(x, y)) for x in range(0, 256, 5) for y in range(0, 256, 5)]
    # The extremes are those of a grid of 33 x 33 points.
    assert min(widths) == pytest.approx(3.8 * 0.95, rel=1e-3)
    assert max(widths) == pytest.approx(3.8 * 1.05, rel=1e-3)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_background(order):
    pair = simulatePair(seed=4, size=128, noise=False, backgroundOrder=order, xy0=(300, 40), **EMPTY)
    x, y = np.arange(300, 428), np.arange(40, 168)[:, None]
    background = pair.truth.background(x, y)
    # float32 keeps 400 counts to 1.5e-5, the template's 300 times 1.25 likewise.
    np.testing.assert_allclose(pair.science.image - 1.25 * pair.template.image, background, atol=1e-4)
    assert np.ptp(background) == pytest.approx(20.0 if order else 0.0, rel=0.01)
    differences = np.diff(background, order + 1, axis=0), np.diff(background, order + 1, axis=1)
    assert all(np.abs(difference).max() < 1e-9 for difference in differences)
    if order:
        assert np.abs(np.diff(background, order, axis=1)).max() > 1e-6


def test_noiseFollowsTheVariancePlane(pair):
    expected = {
        "template": pair.truth.template + pair.truth.templateTransientImage(),
        "science": pair.truth.science + np.maximum(pair.truth.transientImage(), 0),
    }
    for name, scene in expected.items():
        exposure = getattr(pair, name)
        good = clean(exposure)
        chi = ((exposure.image - scene) / np.sqrt(exposure.variance))[good].astype(np.float64)
        # Five standard errors of mean and of standard deviation.
        assert abs(chi.mean()) < 5 / math.sqrt(chi.size)
        assert abs(chi.std() - 1) < 5 / math.sqrt(2 * chi.size)
        # Not correlated between neighbours.
        assert abs(np.mean(chi[1:] * chi[:-1])) < 5 / math.sqrt(chi.size)


def test_variancePlanes(pair):
    truth, readNoise = pair.truth, (6.0 / 1.5) ** 2
    place = np.unravel_index(np.argmin(truth.science), truth.science.shape)
    assert pair.science.variance[place] == pytest.approx(truth.science[place] / 1.5 + readNoise, rel=1e-5)
    place = np.unravel_index(np.argmin(truth.template), truth.template.shape)
    assert pair.template.variance[place] == pytest.approx((truth.template[place] / 1.5 + readNoise) / 16, rel=1e-5)
    estimated = simulatePair(seed=1, size=512, transients=20, estimateVariance=True)
    np.testing.assert_array_equal(estimated.science.image, pair.science.image)
    good = clean(estimated.science)
    np.testing.assert_allclose(
        estimated.science.variance[good], estimated.science.image[good] / 1.5 + readNoise, rtol=1e-5
    )


def test_withoutNoise():
    pair = simulatePair(seed=1, size=256, noise=False, badFraction=0, saturation=math.inf, transients=0)
    np.testing.assert_array_equal(pair.science.image, pair.truth.science)
    np.testing.assert_array_equal(pair.template.image, pair.truth.template)
    assert pair.science.variance.min() > 0
    assert not np.asarray(pair.science.mask).any()


def test_defects(pair):
    bad = (np.asarray(pair.science.mask) & pair.science.mask.getPlaneBitMask("BAD")) != 0
    total = round(0.01 * bad.size)
    # The last cluster may run over by at most its own area.
    assert total <= np.count_nonzero(bad) < total + 50
    padded = np.pad(bad, 1).astype(int)
    neighbours = sum(padded[1 + dy : 513 + dy, 1 + dx : 513 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy)
    # Half are drawn single; of these about 8 % have a neighbour by chance at this density.
    assert 0.40 < np.count_nonzero(bad & (neighbours == 0)) / np.count_nonzero(bad) < 0.52
    column = np.sort(bad.sum(axis=0))[::-1]
    assert column[0] > 512 // 16
    assert not np.asarray(pair.template.mask & pair.template.mask.getPlaneBitMask("BAD")).any()
    values = pair.science.image[bad]
    # 5 % are not a number: binomial, five standard deviations.
    assert abs(np.isnan(values).mean() - 0.05) < 5 * math.sqrt(0.05 * 0.95 / values.size)
    assert np.isfinite(pair.science.image[~bad]).all()
    scene = pair.truth.science[bad]
    noise = np.sqrt(pair.science.variance[bad])
    assert np.mean(np.abs(values - scene)[~np.isnan(values)] > 5 * noise[~np.isnan(values)]) > 0.95


def test_templateDefects():
    pair = simulatePair(seed=1, size=256, templateBadFraction=0.03, badFraction=0, transients=0)
    bit = pair.template.mask.getPlaneBitMask("BAD")
    assert np.count_nonzero(np.asarray(pair.template.mask) & bit) / 256**2 == pytest.approx(0.03, abs=1e-3)
    assert not (np.asarray(pair.science.mask) & bit).any()


def test_saturationBleeds():
    options = {**EMPTY, "brightStars": 16, "brightFlux": (3e6, 3e6), "variableFraction": 0}
    pair = simulatePair(seed=3, size=256, **options)
    for exposure, scene in ((pair.science, pair.truth.science), (pair.template, pair.truth.template)):
        saturated = (np.asarray(exposure.mask) & exposure.mask.getPlaneBitMask("SAT")) != 0
        above = scene > 5e4
        assert above.any()
        assert saturated[above].all()
        assert np.count_nonzero(saturated) > np.count_nonzero(above)
        assert (exposure.image[saturated] == 5e4).all()
        assert exposure.image.max() == 5e4
        # The excess fills as many full wells, plus at most two pixels of rounding, in each column.
        for x in np.flatnonzero(above.any(axis=0)):
            wells = (scene[above[:, x], x].astype(np.float64) - 5e4).sum() / 5e4
            grown = np.count_nonzero(saturated[:, x]) - np.count_nonzero(above[:, x])
            assert wells <= grown <= wells + 2
    assert pair.truth.stars["isSaturated"].all()


def test_variableStars():
    truth = simulatePair(seed=1, size=256, variableFraction=0.5, transients=0).truth
    ratio = np.asarray(truth.stars["flux"] / truth.stars["constantFlux"])
    change = np.abs(ratio - 1)
    variable = np.asarray(truth.stars["isVariable"])
    assert 0.2 < variable.mean() < 0.8
    assert (change[~variable] == 0).all()
    assert change[variable].min() >= 0.1
    assert change[variable].max() <= 0.5 + 1e-9
    # What a perfect subtraction leaves of them is their change of flux. The stamps end at six sigma.
    assert (truth.science - truth.matched).sum(dtype=np.float64) == pytest.approx(
        inside(truth, truth.stars["flux"] - truth.stars["constantFlux"]), rel=1e-3
    )


def inside(truth, flux):
    """Light of the stars that falls on the image, by the point-spread function at each."""
    total = 0.0
    for row, light in zip(truth.stars, flux, strict=True):
        x, y = math.floor(row["x"] + 0.5), math.floor(row["y"] + 0.5)
        psf = truth.sciencePsfImage(row["x"], row["y"], 61)
        columns, rows = np.arange(x - 30, x + 31), np.arange(y - 30, y + 31)
        within = np.ix_((rows >= 0) & (rows < truth.box.height), (columns >= 0) & (columns < truth.box.width))
        total += light * psf[within].sum()
    return total


@pytest.mark.parametrize("wanted", [{"transients": (8.0, -12.0, 30.0)}, {"transientFluxes": (1000.0, -2500.0)}])
def test_transientsAsAsked(wanted):
    pair = simulatePair(seed=6, size=512, noise=False, badFraction=0, variableFraction=0, **wanted)
    table = transientFluxes(pair.idealDifference(), pair.truth)
    if "transientFluxes" in wanted:
        assert list(table["trueFlux"]) == [1000.0, -2500.0]
    else:
        # The fixed point of flux and its own noise is iterated to 1e-4.
        np.testing.assert_allclose(table["predictedSignalToNoise"], [8.0, -12.0, 30.0], rtol=1e-3)
    # Noiseless pixels in float32: 3e-5 counts each.
    np.testing.assert_allclose(table["flux"], table["trueFlux"], rtol=2e-5, atol=0.01)
    # The predicted ratio takes var_T sum K^2 for the template's correlated variance, nearly the same here.
    np.testing.assert_allclose(table["trueFlux"] / table["error"], table["predictedSignalToNoise"], rtol=0.01)


def test_transientsInNoise(pair):
    table = transientFluxes(pair.idealDifference(), pair.truth)
    assert len(table) == 20
    pulls = np.asarray((table["flux"] - table["trueFlux"]) / table["error"])
    # Twenty pulls: chi squared of 20 degrees of freedom lies within 6 to 46 except once in a thousand.
    assert 6 < np.sum(pulls**2) < 46
    ratios = np.abs(np.asarray(pair.truth.transients["signalToNoise"]))
    assert ratios.min() > 6 * 0.999
    assert ratios.max() < 40 * 1.001
    assert 0 < np.count_nonzero(pair.truth.transients["flux"] < 0) < 20


@pytest.mark.parametrize(("size", "number"), [(64, 1), (256, 1), ((500, 700), 7)])
def test_transientsByDefault(size, number):
    assert len(simulatePair(seed=1, size=size).truth.transients) == number


def test_negativeTransientIsInTheTemplate():
    pair = simulatePair(seed=2, size=256, noise=False, transientFluxes=(-5000.0,), badFraction=0)
    light = pair.template.image - pair.truth.template
    assert light.sum(dtype=np.float64) == pytest.approx(5000 / 1.25, rel=1e-3)
    np.testing.assert_array_equal(pair.science.image, pair.truth.science)
    y, x = np.indices(light.shape)
    place = pair.truth.transients[0]
    # At + offset; rounding of 300 counts in float32 over the whole image limits the sums.
    assert (x * light).sum(dtype=np.float64) / light.sum(dtype=np.float64) == pytest.approx(place["x"] + 0.15, abs=0.05)
    assert (y * light).sum(dtype=np.float64) / light.sum(dtype=np.float64) == pytest.approx(place["y"] - 0.10, abs=0.05)


def test_transientsKeepAway(pair):
    spoiled = (np.asarray(pair.science.mask) | np.asarray(pair.template.mask)) != 0
    transients, stars = pair.truth.transients, pair.truth.stars
    avoided = stars[stars["isBright"] | stars["isVariable"]]
    for row in transients:
        x, y = round(row["x"]), round(row["y"])
        assert 39.5 <= row["x"] <= 471.5
        assert 39.5 <= row["y"] <= 471.5
        assert not spoiled[y - 5 : y + 6, x - 5 : x + 6].any()
        assert np.hypot(avoided["x"] - row["x"], avoided["y"] - row["y"]).min() >= 10
        apart = np.hypot(transients["x"] - row["x"], transients["y"] - row["y"])
        assert np.sort(apart)[1] >= 20


def test_parentCoordinates():
    here, there = (simulatePair(seed=8, size=(128, 160), transients=2, xy0=xy0) for xy0 in ((0, 0), (1000, -300)))
    # Adding 1000 to a position costs 1e-13 of it, so pixels agree to the rounding of float32.
    np.testing.assert_allclose(there.science.image, here.science.image, rtol=1e-5)
    assert there.science.xy0 == (1000, -300)
    assert (there.truth.box.width, there.truth.box.height) == (160, 128)
    np.testing.assert_allclose(there.truth.stars["x"], np.asarray(here.truth.stars["x"]) + 1000)
    np.testing.assert_allclose(there.truth.transients["y"], np.asarray(here.truth.transients["y"]) - 300)
    np.testing.assert_allclose(there.truth.kernelImage(1050, -250), here.truth.kernelImage(50, 50), atol=1e-12)
    sky = there.science.wcs.pixel_to_world_values(1079.5, -236.5)
    np.testing.assert_allclose(sky, (215.604, 53.1595), atol=1e-9)


def test_skySubtracted(pair):
    flat = simulatePair(seed=1, size=512, transients=20, skySubtracted=True)
    np.testing.assert_allclose(flat.science.image, pair.science.image - 400, atol=1e-4)
    np.testing.assert_array_equal(flat.science.variance, pair.science.variance)
    np.testing.assert_allclose(flat.truth.template, pair.truth.template - 300, atol=1e-4)
    # 400 - 1.25 * 300 = 25 counts of the differential background were the two levels.
    assert flat.truth.background(100, 200) == pytest.approx(pair.truth.background(100, 200) - 25, abs=1e-9)


def test_whatTheExposuresCarry(pair):
    assert pair.science.hasWcs
    assert pair.science.psf is None
    bare = simulatePair(seed=1, size=64, transients=0, withWcs=False, withPsf=True)
    assert bare.science.wcs is None
    for exposure, psfImage in (
        (bare.science, bare.truth.sciencePsfImage),
        (bare.template, bare.truth.templatePsfImage),
    ):
        image = exposure.psf.computeKernelImage(20, 30)
        assert image.sum() == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(image, psfImage(20, 30, 41), rtol=1e-4)


def test_ofTheDifference(pair):
    difference = pair.idealDifference()
    assert difference.xy0 == pair.science.xy0
    np.testing.assert_array_equal(difference.variance, pair.differenceVariance())
    either = np.asarray(pair.science.mask) | np.asarray(pair.template.mask)
    np.testing.assert_array_equal(np.asarray(difference.mask), either)
    y, x = 300, 200
    kernel = pair.truth.kernelImage(x, y) ** 2
    around = pair.template.variance[y - 15 : y + 16, x - 15 : x + 16]
    # The tile's kernel stands for the pixel's: sum K^2 varies by 40 % over four tiles a side, but the part of
    # the template is a tenth of the variance.
    expected = pair.science.variance[y, x] + np.sum(kernel * around)
    assert difference.variance[y, x] == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": 0}, "gain is 0: it must be positive"),
        ({"faintStars": -1}, "faintStars is -1: it must be finite and not negative"),
        ({"badFraction": 1.5}, "badFraction is 1.5: it must lie between 0 and 1"),
        ({"faintFlux": (8e3, 4e2)}, "faintFlux is .*the lower end first"),
        ({"backgroundOrder": 3}, "backgroundOrder is 3: it must be 0, 1 or 2"),
        ({"transients": -2}, "transients is -2"),
        ({"size": (200, 40)}, "200 rows? and 40 columns: give at least 64"),
        ({"templateFwhm": 1.5}, "the template has sigma .* raise templateFwhm"),
        ({"scienceFwhm": 2.8}, "the kernel has sigma .* raise scienceFwhm"),
        ({"transients": 500, "size": 128}, r"of 500 transients found room on 128 x 128 px"),
    ],
)
def test_badRequests(changes, message):
    with pytest.raises(ValueError, match=message):
        simulatePair(**{"size": 128, "transients": 0, **changes})


def test_unknownOption():
    with pytest.raises(TypeError, match="unexpected keyword argument 'numberOfStars'"):
        simulatePair(size=128, numberOfStars=3)
    assert FieldOptions().brightStars == 40


def test_wingsOfAMoffatProfile():
    optics = simulatePair(0, 64, transients=0, moffatWings=True, templateVariation=0, ellipticity=0).truth.optics
    radius = np.array([0.0, 1.3, 2.6, 5.2, 10.4, 20.8, 31.0])  # px, to 12 widths
    alpha = 2.6 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    moffat = 2.5 / (np.pi * alpha**2) * (1 + (radius / alpha) ** 2) ** -3.5  # unit integral
    profile = optics.templatePsf(32, 32).evaluate(radius, np.zeros(1))[0]
    # The fit is good to 3 %.
    np.testing.assert_allclose(profile / moffat, 1.0, atol=0.03)

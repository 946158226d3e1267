"""What must not change a difference: threads, types, memory layout, garbage under masks, direction, order, mirrors."""

import functools
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import (
    Box,
    Exposure,
    GaussianPsf,
    ImagePsfMatchTask,
    InputImagesError,
    Mask,
    MaskedImage,
    NoKernelCandidatesError,
    frontDoorConfig,
    subtract,
)
from psfmatch.testing import simulatePair

DIRECTIONS = ("convolveTemplate", "convolveScience")
METHODS = ("subtractExposures", "matchExposures", "subtractMaskedImages", "matchMaskedImages")


@functools.cache
def chosenConfig():
    """All is chosen as in a run without parameters; the steps after the difference, which is compared, are left out."""
    config = frontDoorConfig()
    config.update(doDecorrelate=False, doAssessQuality=False)
    config.freeze()
    return config


def run(template, science, like=None, **settings):
    """Subtract; ``like`` a result, with what was chosen there instead of choosing again, which is half of the time."""
    return subtract(template, science, config=chosenConfig() if like is None else like.config, **settings)


def images(pair, mode):
    """Template and science image: the sharper of the pair is the one to be convolved."""
    return (pair.template, pair.science) if mode == "convolveTemplate" else (pair.science, pair.template)


@pytest.fixture(scope="module")
def pair():
    """Not square, so that mixed-up axes show; defects in both images; enough stars for order 2."""
    return simulatePair(
        seed=5, size=(168, 192), brightStars=700, faintStars=50, badFraction=0.003, templateBadFraction=0.001
    )


@pytest.fixture(scope="module")
def clean():
    """Without defects: bare arrays cannot mark them, and the front door would look at each as at a source."""
    return simulatePair(seed=5, size=(168, 192), brightStars=700, faintStars=50, badFraction=0)


@pytest.fixture(scope="module")
def positions(pair):
    stars = pair.truth.stars[pair.truth.stars["isBright"] & ~pair.truth.stars["isSaturated"]]
    return np.column_stack([stars["x"], stars["y"]])


@pytest.fixture(scope="module")
def differences(pair):
    """The result in either direction, to compare with."""
    return {mode: run(*images(pair, mode), mode=mode) for mode in DIRECTIONS}


def bits(array):
    """Bytes of an array, so that NaN equals NaN and 0.0 is not -0.0."""
    array = np.asarray(array)
    return array.dtype.str, array.shape, array.tobytes()


def stateOf(image):
    maskedImage = getattr(image, "maskedImage", image)
    state = [bits(maskedImage.image), bits(maskedImage.variance), bits(maskedImage.mask)]
    state += [dict(maskedImage.mask.planes), maskedImage.xy0]
    if isinstance(image, Exposure):
        state += [image.photoCalib, image.filter, dict(image.metadata), image.psf]
        state += [None if image.wcs is None else image.wcs.to_header_string()]
    return state


def assertSameResult(first, second):
    assert stateOf(first.difference) == stateOf(second.difference)
    assert stateOf(first.matched) == stateOf(second.matched)
    assert bits(first.kernel.scaledParameters) == bits(second.kernel.scaledParameters)
    assert bits(first.background.scaledParameters) == bits(second.background.scaledParameters)
    assert first.convolved == second.convolved
    for name in ("x", "y", "rating", "status", "reason", "kernelSum", "residualRms", "spatialRms"):
        assert bits(first.candidates[name]) == bits(second.candidates[name])


@pytest.mark.parametrize(("mode", "numbers"), [("convolveTemplate", (1, 2, 7)), ("convolveScience", (1, 7))])
def test_threads(pair, mode, numbers):
    results = [subtract(*images(pair, mode), mode=mode, threads=n) for n in numbers]
    for result in results[1:]:
        assertSameResult(results[0], result)
        assert stateOf(results[0].decorrelation.exposure)[:3] == stateOf(result.decorrelation.exposure)[:3]
        assert repr(results[0].quality) == repr(result.quality)
    assert len(np.unique(results[0].candidates["status"])) > 1


def test_threadsFromTheEnvironment(pair, differences, monkeypatch):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "3")
    assertSameResult(differences["convolveTemplate"], run(pair.template, pair.science))
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="PSFMATCH_NUM_THREADS='many'"):
        run(pair.template, pair.science)


def test_again(pair):
    """A task keeps nothing from one pair to the next."""
    task = ImagePsfMatchTask(config=frontDoorConfig())
    first = task.subtractExposures(pair.template, pair.science)
    with pytest.raises(InputImagesError):
        task.subtractExposures(pair.template, Exposure(pair.science.maskedImage.subset(Box(0, 0, 100, 100))))
    second = task.subtractExposures(pair.template, pair.science)
    assert stateOf(first.subtractedExposure) == stateOf(second.subtractedExposure)


def test_manyAtATime(pair, differences):
    """Python threads do not disturb one another, whether they choose a model or are given one."""
    expected = differences["convolveTemplate"]
    with ThreadPoolExecutor(4) as pool:
        likes = (None, expected, None, expected)
        results = list(pool.map(lambda like: run(pair.template, pair.science, like=like, threads=2), likes))
    for result in results:
        assertSameResult(expected, result)


def _subtractInChild(pair, connection):
    connection.send(stateOf(run(pair.template, pair.science, threads=2).difference)[:3])
    connection.close()


def test_forkAfterThreads(pair, differences):
    """Survey pipelines fork after work has been done; a pool of threads left behind would hang the child."""
    expected = stateOf(differences["convolveTemplate"].difference)[:3]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_subtractInChild, args=(pair, sender))
    child.start()
    try:
        assert receiver.poll(60), "the forked child hangs"
        assert receiver.recv() == expected
    finally:
        child.join(10)
        child.kill()


# Inputs


def callMethod(method, template, science, candidates, convolveTemplate):
    task = ImagePsfMatchTask(config=frontDoorConfig())
    if method.endswith("Exposures"):
        return getattr(task, method)(template, science, candidateList=candidates, convolveTemplate=convolveTemplate)
    pixels = template.maskedImage, science.maskedImage
    return getattr(task, method)(*(pixels if convolveTemplate else pixels[::-1]), candidateList=candidates)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("convolveTemplate", [True, False])
def test_inputsStayAsTheyAre(pair, positions, method, convolveTemplate):
    detect = method in ("subtractExposures", "matchMaskedImages")
    template, science = pair.template.copy(), pair.science.copy()
    template.mask.addPlane("TEMPLATE_ONLY")
    science.metadata["NIGHT"] = 3
    science.filter, template.filter, science.photoCalib = "r", "R", 2.5
    template.psf = GaussianPsf(1.2)
    candidates = None if detect else Table({"x": positions[:, 0], "y": positions[:, 1]})
    before = stateOf(template), stateOf(science)
    listBefore = None if detect else candidates.as_array().tobytes()
    result = callMethod(method, template, science, candidates, convolveTemplate)
    assert (stateOf(template), stateOf(science)) == before
    if not detect:
        assert candidates.as_array().tobytes() == listBefore
        assert candidates.colnames == ["x", "y"]
    # What is returned is new memory: writing to it does not reach the inputs either.
    for name in ("matchedImage", "subtractedExposure", "subtractedMaskedImage"):
        if name in result:
            output = getattr(result, name)
            output.image[...] = -1
            output.variance[...] = -1
            output.mask[...] = 1
    assert (stateOf(template), stateOf(science)) == before


@pytest.mark.parametrize("method", METHODS)
def test_inputsStayAsTheyAreOnFailure(pair, method):
    template, science = pair.template.copy(), pair.science.copy()
    template.image[...] = np.nan
    before = stateOf(template), stateOf(science)
    with pytest.raises(NoKernelCandidatesError):
        callMethod(method, template, science, None, True)
    assert (stateOf(template), stateOf(science)) == before


def test_readOnlyInputs(pair, differences):
    """Arrays mapped from a file may not be writeable."""
    template, science = (image.copy() for image in images(pair, "convolveScience"))
    for exposure in (template, science):
        for plane in (exposure.image, exposure.variance, exposure.mask):
            plane.flags.writeable = False
    assertSameResult(differences["convolveScience"], run(template, science, mode="convolveScience"))


def test_frontDoorLeavesArraysAlone():
    clean = simulatePair(seed=5, size=128, brightStars=700, faintStars=50, badFraction=0)
    template, science = clean.template.image.copy(), clean.science.image.copy()
    before = bits(template), bits(science)
    subtract(template, science)
    assert (bits(template), bits(science)) == before


# Types and layout


@pytest.fixture(scope="module")
def chosen(clean):
    """A result that holds a model for `clean`, chosen with its noise planes: without them that takes ten times as long.

    Arrays of any type are taken over as float32 before anything looks at them.
    """
    return run(clean.template, clean.science)


def test_floatingTypes(clean, chosen):
    template, science = clean.template.image, clean.science.image
    expected = run(template, science, like=chosen)
    for dtype in ("f8", ">f8", ">f4"):
        assertSameResult(expected, run(template.astype(dtype), science.astype(dtype), like=chosen))


def test_integerTypes(clean, chosen):
    # Whole counts that 16 bits hold.
    template, science = (np.rint(np.clip(np.nan_to_num(e.image), 0, 32000)) for e in (clean.template, clean.science))
    expected = run(template.astype("f4"), science.astype("f4"), like=chosen)
    for dtype in ("i2", ">i2", "u2", ">i4"):
        assertSameResult(expected, run(template.astype(dtype), science.astype(dtype), like=chosen))


def test_typesOfPlanes(pair, differences):
    """Variance and mask may come in other types too."""

    def converted(exposure):
        planes = np.asarray(exposure.mask).astype(">i2"), exposure.variance.astype(">f8")
        maskedImage = MaskedImage(exposure.image.astype("f8"), Mask(planes[0], exposure.mask.planes), planes[1])
        return Exposure(maskedImage, wcs=exposure.wcs)

    result = run(converted(pair.template), converted(pair.science))
    assertSameResult(differences["convolveTemplate"], result)


def layouts(array):
    wide = np.zeros((array.shape[0], array.shape[1] + 13), dtype=array.dtype)
    wide[:, 5:-8] = array
    everySecond = np.zeros((array.shape[0], 2 * array.shape[1]), dtype=array.dtype)
    everySecond[:, ::2] = array
    return {
        "rows apart": wide[:, 5:-8],
        "every second": everySecond[:, ::2],
        "Fortran": np.asfortranarray(array),
        "unaligned": np.frombuffer(b"x" + array.tobytes(), dtype=np.uint8)[1:].view(array.dtype).reshape(array.shape),
    }


@pytest.mark.parametrize("layout", ["rows apart", "every second", "Fortran", "unaligned"])
def test_memoryLayouts(pair, differences, layout):
    def laidOut(exposure):
        image, variance, mask = (
            layouts(np.asarray(plane))[layout] for plane in (exposure.image, exposure.variance, exposure.mask)
        )
        return Exposure(MaskedImage(image, Mask(mask, exposure.mask.planes), variance), wcs=exposure.wcs)

    expected = differences["convolveTemplate"]
    # Choosing reads the pixels through the same views as fitting: one layout stands for all there.
    like = None if layout == "Fortran" else expected
    assertSameResult(expected, run(laidOut(pair.template), laidOut(pair.science), like=like))


def test_cutOut(pair):
    """A view into a larger image is as good as a copy of it, at its own xy0."""
    box = Box(20, 10, 165, 150)
    views = pair.template.subset(box), pair.science.subset(box)
    first, second = run(*views), run(*(view.copy() for view in views))
    assertSameResult(first, second)
    assert first.difference.xy0 == (20, 10)


def test_maskPlanesByName(pair, differences):
    """Planes count by name, not by number."""
    template = pair.template.copy()
    swapped = {**template.mask.planes, "BAD": 20, "SAT": 0}
    numbers = np.zeros(template.shape, dtype=np.int32)
    for name, bit in swapped.items():
        numbers[template.mask.hasAny(name)] |= 1 << bit
    renamed = Exposure(MaskedImage(template.image, Mask(numbers, swapped), template.variance), wcs=template.wcs)
    for mode in DIRECTIONS:
        expected = differences[mode].difference
        result = run(*(renamed if image is pair.template else image for image in images(pair, mode)), mode=mode)
        result = result.difference
        assert bits(result.image) == bits(expected.image)
        assert bits(result.variance) == bits(expected.variance)
        for name in ("BAD", "SAT", "INTRP", "EDGE", "NO_DATA"):
            np.testing.assert_array_equal(result.mask.hasAny(name), expected.mask.hasAny(name))


# Bad pixels


def withGarbage(exposure, value, plane):
    result = exposure.copy()
    bad = result.mask.hasAny("BAD")
    getattr(result, plane)[bad] = value
    return result, bad


@pytest.mark.parametrize("mode", DIRECTIONS)
@pytest.mark.parametrize("plane", ["image", "variance"])
@pytest.mark.parametrize("value", [0.0, 1e30, np.nan])
def test_garbageUnderTheMask(pair, differences, mode, plane, value):
    """A masked pixel does not exist: whatever is in it, all other pixels come out the same, bit for bit."""
    expected = differences[mode]
    (template, templateBad), (science, scienceBad) = (
        withGarbage(exposure, value, plane) for exposure in images(pair, mode)
    )
    # What is chosen must not see the garbage either: the worst in each plane shows it.
    isChosen = mode == "convolveTemplate" and (plane, value) in (("image", 1e30), ("variance", 0.0))
    result = run(template, science, like=None if isChosen else expected, mode=mode)
    assert bits(result.kernel.scaledParameters) == bits(expected.kernel.scaledParameters)
    assert bits(result.background.scaledParameters) == bits(expected.background.scaledParameters)
    # Garbage stays in place, under its mask, in the image that is not convolved and in copied borders.
    convolved, other = (templateBad, scienceBad) if mode == "convolveTemplate" else (scienceBad, templateBad)
    inPlace = other | (convolved & result.difference.mask.hasAny("EDGE"))
    assert result.difference.mask.hasAny("BAD")[inPlace].all()
    for name in ("image", "variance"):
        ours, theirs = getattr(result.difference, name), getattr(expected.difference, name)
        assert bits(ours[~inPlace]) == bits(theirs[~inPlace])
    masks = np.asarray(result.difference.mask), np.asarray(expected.difference.mask)
    np.testing.assert_array_equal(masks[0][~inPlace], masks[1][~inPlace])


@pytest.mark.parametrize("mode", DIRECTIONS)
@pytest.mark.parametrize("marker", ["NaN", "infinity", "variance NaN", "variance negative", "variance infinite"])
def test_badByValueIsBadByMask(pair, differences, mode, marker):
    """Pixels may be marked by a plane or by their value; the result knows which pixels are lost either way."""

    def marked(exposure):
        result = exposure.copy()
        bad = result.mask.hasAny("BAD")
        result.mask[bad] = 0
        result.image[bad] = {"NaN": np.nan, "infinity": np.inf}.get(marker, 100.0)
        if marker.startswith("variance"):
            result.variance[bad] = {"NaN": np.nan, "negative": -1.0, "infinite": np.inf}[marker.split()[1]]
        return result

    expected = differences[mode]
    # All is chosen again for a value in each plane.
    like = None if mode == "convolveTemplate" and marker in ("NaN", "variance negative") else expected
    result = run(*map(marked, images(pair, mode)), like=like, mode=mode)
    difference = result.difference
    assert bits(result.kernel.scaledParameters) == bits(expected.kernel.scaledParameters)
    planes = ("BAD", "SAT", "EDGE", "NO_DATA")
    flagged = difference.mask.hasAny(planes)
    assert np.isfinite(difference.image[~flagged]).all()
    assert np.isfinite(difference.variance[~flagged]).all()
    assert (difference.variance[~flagged] > 0).all()
    np.testing.assert_array_equal(flagged, expected.difference.mask.hasAny(planes))
    assert bits(difference.image[~flagged]) == bits(expected.difference.image[~flagged])


# Symmetries


def test_swappedRoles(pair, positions):
    """Template and science exchanged, the same image is convolved: D' = -D / kernel sum, pixel by pixel."""
    fwhms = {"templateFwhmPix": 2.7, "scienceFwhmPix": 3.9}
    forward = run(pair.template, pair.science, candidateList=positions, **fwhms)
    backward = run(pair.science, pair.template, candidateList=positions, templateFwhmPix=3.9, scienceFwhmPix=2.7)
    assert (forward.convolved, backward.convolved) == ("template", "science")
    assert bits(forward.kernel.scaledParameters) == bits(backward.kernel.scaledParameters)
    kernelSum = forward.kernel.kernelSum(*forward.difference.getBBox().centre)
    good = ~forward.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA"))
    np.testing.assert_array_equal(good, ~backward.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA")))
    # float32 rounds images of up to 5e4 counts by 0.004, in three steps.
    np.testing.assert_allclose(
        -backward.difference.image[good] * kernelSum, forward.difference.image[good], rtol=0, atol=0.02
    )
    np.testing.assert_allclose(
        backward.difference.variance[good] * kernelSum**2, forward.difference.variance[good], rtol=1e-5
    )


def flipped(exposure, how):
    planes = (how(np.asarray(plane)).copy() for plane in (exposure.image, exposure.mask, exposure.variance))
    image, mask, variance = planes
    return Exposure(MaskedImage(image, Mask(mask, exposure.mask.planes), variance))


@pytest.mark.parametrize("mode", DIRECTIONS)
def test_mirrors(pair, positions, mode):
    """A mirrored sky gives the mirrored difference. Cells are as large as the image, or mirrors would move them."""
    height, width = pair.template.shape
    mirrors = (
        (lambda a: a[:, ::-1], positions * (-1, 1) + (width - 1, 0)),
        (lambda a: a[::-1], positions * (1, -1) + (0, height - 1)),
        (lambda a: a.T, positions[:, ::-1]),
    )
    config = frontDoorConfig()
    config.kernel.active.update(sizeCellX=512, sizeCellY=512, nStarPerCell=-1, spatialKernelOrder=1)
    # The noise of the sky is sampled on a grid that begins in one corner.
    config.update(chooseKernel=False, doScaleVariance=False, doDecorrelate=False, doAssessQuality=False)
    settings = {"config": config, "mode": mode, "templateFwhmPix": 2.7, "scienceFwhmPix": 3.9}
    expected = subtract(pair.template, pair.science, candidateList=positions, **settings).difference
    for how, moved in mirrors:
        images = flipped(pair.template, how), flipped(pair.science, how)
        result = subtract(*images, candidateList=moved, **settings).difference
        np.testing.assert_array_equal(np.asarray(result.mask), how(np.asarray(expected.mask)))
        good = ~result.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA"))
        # Sums in another sequence, systems of condition number up to 1e10 (1e-6 of the kernel), stars of 5e4 counts.
        deviation = (result.image - how(expected.image)) / np.sqrt(result.variance)
        assert abs(deviation[good]).max() < 0.02
        np.testing.assert_allclose(result.variance[good], how(expected.variance)[good], rtol=2e-3)


@pytest.mark.parametrize("mode", DIRECTIONS)
@pytest.mark.parametrize("exponent", [20, -30])
def test_unitsOfTheImages(pair, differences, mode, exponent):
    """Counts or janskys: a power of two in front of both images is a power of two in front of the difference."""

    def scaled(exposure):
        result = exposure.copy()
        result.image *= np.float32(2.0**exponent)
        result.variance *= np.float32(4.0**exponent)
        return result

    expected = differences[mode]
    result = run(*map(scaled, images(pair, mode)), mode=mode)
    np.testing.assert_array_equal(result.candidates["status"], expected.candidates["status"])
    centre = expected.difference.getBBox().centre
    assert result.kernel.kernelSum(*centre) == pytest.approx(expected.kernel.kernelSum(*centre), rel=1e-6)
    good = ~expected.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA"))
    np.testing.assert_array_equal(np.asarray(result.difference.mask), np.asarray(expected.difference.mask))
    deviation = result.difference.image * np.float32(2.0**-exponent) - expected.difference.image
    assert abs(deviation[good] / np.sqrt(expected.difference.variance[good])).max() < 0.01


def test_orderOfCandidates(pair, positions):
    expected = run(pair.template, pair.science, candidateList=positions)
    shuffled = positions[np.random.default_rng(0).permutation(len(positions))]
    result = run(pair.template, pair.science, candidateList=shuffled)
    assert stateOf(result.difference) == stateOf(expected.difference)
    assert bits(result.kernel.scaledParameters) == bits(expected.kernel.scaledParameters)


def test_formsOfCandidates(pair, positions):
    """Pixels as array, list or table, and sky positions, are the same stars."""
    expected = run(pair.template, pair.science, candidateList=positions)
    ra, dec = pair.science.wcs.all_pix2world(*positions.T, 0)
    for form in (
        [tuple(p) for p in positions],
        Table({"x": positions[:, 0], "y": positions[:, 1], "flux": np.ones(len(positions))}),
    ):
        assertSameResult(expected, run(pair.template, pair.science, like=expected, candidateList=form))
    sky = run(pair.template, pair.science, like=expected, candidateList=Table({"ra": ra, "dec": dec}))
    # Positions agree to 1e-9 px, which moves no stamp.
    deviation = sky.difference.image - expected.difference.image
    assert np.nanmax(abs(deviation)) < 0.01

"""Images that hold little or nothing for a kernel, against every family of kernels and every way to choose one.

Each run ends in a `PsfMatchError`, or in a difference whose unusable pixels are all flagged and whose noise is that of
the images.
"""

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask, MaskedImage, PsfMatchError

SHAPE = (112, 112)
FAMILIES = {
    "AL by BIC": ("AL", {"useBicForKernelBasis": True, "alardDegGauss": [2, 1, 0]}),
    "AL with errors": ("AL", {"calculateKernelUncertainty": True, "fitForBackground": True}),
    "AL with components": ("AL", {"usePcaForSpatialKernel": True}),
    "DF": ("DF", {"usePcaForSpatialKernel": False, "calculateKernelUncertainty": True}),
    "DF without penalty": ("DF", {"usePcaForSpatialKernel": False, "useRegularization": False}),
    "DF with components": ("DF", {"calculateKernelUncertainty": True}),
    "DF with plain components": ("DF", {"subtractMeanForPca": False, "fitForBackground": True}),
    "DF of least risk": ("DF", {"lambdaType": "minimizeBiasedRisk", "usePcaForSpatialKernel": False}),
}


@pytest.fixture(scope="module")
def configs():
    made = {}
    for family, (name, changes) in FAMILIES.items():
        made[family] = ImagePsfMatchTask.ConfigClass()
        made[family].kernel.name = name
        made[family].kernel.active.update(
            kernelSize=9, scaleByFwhm=False, sizeCellX=64, spatialKernelOrder=0, spatialBgOrder=0, minKernelSources=2
        )
        made[family].kernel.active.update(**changes)
    return made


def skies(nStars, noise=1.0):
    """The same stars through a narrow and a wide PSF."""
    random = np.random.default_rng(31)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    places = random.uniform(24, 88, (nStars, 2))
    images = []
    for sigma in (1.5, 2.0):
        image = random.normal(0.0, noise, SHAPE) if noise else np.zeros(SHAPE)
        for starX, starY in places:
            image += 2e4 / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((x - starX) ** 2 + (y - starY) ** 2) / sigma**2)
        images.append(image)
    return *images, places


def holed(image, places, size):
    image = image.copy()
    for x, y in places.round().astype(int):
        image[y - size : y + size + 1, x - size : x + size + 1] = np.nan
    return image


def scenes():
    template, science, places = skies(6)
    ones = np.ones(SHAPE)
    noise = np.random.default_rng(1).normal(size=SHAPE)
    return {
        "as it should be": (template, science, ones, places),
        "one star, where two are needed": (template, science, ones, places[:1]),
        "two stars": (template, science, ones, places[:2]),
        "itself": (template, template, ones, places),
        "holes in the stars": (holed(template, places, 0), science, ones, places),
        "no star whole": (holed(template, places, 6), science, ones, places),
        "no variance": (template, science, 0.0 * ones, places),
        "infinite variance": (template, science, np.inf * ones, places),
        "a template without light": (0.0 * ones, science, ones, places),
        "a flat template": (5.0 * ones, science, ones, places),
        "a template of noise": (noise, science, ones, places),
        "a science image without light": (template, 0.0 * ones, ones, places),
        "a negative science image": (template, -science, ones, places),
        "near the end of float32": (1e33 * template, 1e33 * science, ones, places),
        "far too little variance": (template, science, 1e-30 * ones, places),
    }


SCENES = scenes()
SOUND = ("as it should be", "two stars", "itself")


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("family", FAMILIES)
def test_errorOrSoundDifference(configs, family, name):
    template, science, variance, places = SCENES[name]
    images = [MaskedImage(image, variance=variance) for image in (template, science)]
    before = [image.copy() for image in images]
    try:
        result = ImagePsfMatchTask(config=configs[family], threads=1).subtractMaskedImages(*images, places, 3.5, 4.7)
    except PsfMatchError:
        assert name not in SOUND
    else:
        difference = result.subtractedMaskedImage
        flagged = difference.mask.hasAny(("NO_DATA", "EDGE"))
        assert np.isfinite(difference.image[~flagged]).all()
        assert np.isfinite(difference.variance[~flagged]).all()
        assert 0.5 < result.psfMatchingKernel.kernelSum(56, 56) < 2.0
        # Holes at the peaks leave the kernel the freedom of its noise.
        limit = 1.6 if name in SOUND else 10.0
        assert np.std(difference.image[~flagged]) < limit * np.sqrt(2.0)
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.image, kept.image)
        np.testing.assert_array_equal(image.variance, kept.variance)
        np.testing.assert_array_equal(np.asarray(image.mask), np.asarray(kept.mask))


@pytest.mark.parametrize("family", FAMILIES)
def test_threads(configs, family):
    template, science, variance, places = SCENES["as it should be"]
    images = [MaskedImage(image, variance=variance) for image in (template, science)]
    one, three = (
        ImagePsfMatchTask(config=configs[family], threads=threads).subtractMaskedImages(*images, places, 3.5, 4.7)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one.subtractedMaskedImage.image, three.subtractedMaskedImage.image)
    np.testing.assert_array_equal(one.psfMatchingKernel.spatialParameters, three.psfMatchingKernel.spatialParameters)
    if one.psfMatchingKernel.covariance is not None:
        np.testing.assert_array_equal(one.psfMatchingKernel.covariance, three.psfMatchingKernel.covariance)

"""Which functions make the kernel between PSFs of equal width: one pixel, four Gaussians, or many terms.

PSFs with spikes that are turned against each other are matched by no four Gaussians of low degree.
"""

from dataclasses import replace

import numpy as np
import pytest

from psfmatch import MaskedImage, frontDoorConfig, subtract
from psfmatch.kernels.gaussians import familyOf

SIDE, COUNT = 256, 34
NOISE = 3.0


def spiked(dx, dy, angle):
    """Return a core of sigma 1.1 px with four spots of 3 % of its light, 4.5 px away."""
    light = 0.88 * np.exp(-0.5 * (dx**2 + dy**2) / 1.21) / (2 * np.pi * 1.21)
    for k in range(4):
        direction = angle + 0.5 * np.pi * k
        x, y = dx - 4.5 * np.cos(direction), dy - 4.5 * np.sin(direction)
        light += 0.03 * np.exp(-0.5 * (x**2 + y**2) / 1.21) / (2 * np.pi * 1.21)
    return light


@pytest.fixture(scope="module")
def images():
    """Return template and science image of stars between 2e3 and 2e5 counts, the spots turned by 45 degrees."""
    generator = np.random.default_rng(11)
    per = 6
    grid = (np.arange(per) + 0.5) * SIDE / per
    places = [(x, y) for y in grid for x in grid][:COUNT] + generator.uniform(-5, 5, (COUNT, 2))
    fluxes = 10 ** generator.uniform(3.3, 5.3, COUNT)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    made = []
    for angle, level in ((0.0, 20.0), (0.25 * np.pi, 50.0)):
        light = np.full((SIDE, SIDE), level)
        for (x, y), flux in zip(places, fluxes, strict=True):
            light += flux * spiked(columns - x, rows - y, angle)
        variance = NOISE**2 + light
        pixels = light + generator.normal(size=light.shape) * np.sqrt(variance)
        made.append(MaskedImage(pixels.astype(np.float32), None, variance.astype(np.float32)))
    return made


def test_manyTermsAreTaken(images):
    """They are chosen, told, and leave stars nearer to the noise than the usual ones."""
    config = frontDoorConfig()
    config.doDecorrelate = config.doAssessQuality = False
    result = subtract(*images, config=config)
    chosen = {choice.name: choice for choice in result.choices}["functions"]
    assert chosen.chosen == "many"
    assert chosen.figure < 0.8 * chosen.alternativeFigure
    assert f"{chosen.figure:.3f}" in chosen.sentence
    assert list(result.config.kernel.active.alardDegGauss) == [2, 12, 6]
    bright = images[0].image > 300
    pull = result.difference.image / np.sqrt(result.difference.variance)
    good = bright & np.isfinite(pull) & ~result.difference.maskedImage.badPixels(("NO_DATA", "EDGE"))
    assert good.sum() > 500
    assert np.std(pull[good]) < 1.6


@pytest.mark.parametrize("isTemplateDeeper", [True, False])
def test_equalPsfs(isTemplateDeeper):
    """One pixel is enough, and the image with less noise is the one convolved: the difference stays white."""
    generator = np.random.default_rng(12)
    x, y = generator.uniform(20, SIDE - 20, (2, 30))
    fluxes = 10 ** generator.uniform(3.3, 4.5, 30)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    light = sum(
        flux * np.exp(-0.5 * ((columns - at) ** 2 + (rows - to) ** 2) / 2.25) / (2 * np.pi * 2.25)
        for at, to, flux in zip(x, y, fluxes, strict=True)
    )
    noises = (2.0, 6.0) if isTemplateDeeper else (6.0, 2.0)
    images = [
        MaskedImage(
            (light + generator.normal(0.0, noise, light.shape)).astype(np.float32),
            None,
            np.full(light.shape, noise**2, np.float32),
        )
        for noise in noises
    ]
    config = frontDoorConfig()
    config.doDecorrelate = config.doAssessQuality = False
    result = subtract(*images, config=config)
    assert result.convolved == ("template" if isTemplateDeeper else "science")
    direction, functions = (
        next(choice for choice in result.choices if choice.name == name) for name in ("direction", "equalPsfs")
    )
    assert "equal within 3%" in direction.sentence
    assert functions.chosen == "one pixel", functions.sentence
    # Thirty stars of a signal-to-noise of 100 to 1500: a thousandth of the light.
    assert result.kernel.kernelSum(128, 128) == pytest.approx(1.0, abs=0.004)
    pull = (result.difference.image / np.sqrt(result.difference.variance))[light > 30]
    assert np.std(pull[np.isfinite(pull)]) == pytest.approx(1.0, abs=0.08)


def test_richFamily():
    """The narrowest Gaussian stays, the second is a pixel or more wide, and the kernel is as large."""
    for fwhms in ((2.6, 2.6), (2.6, 3.8), (3.7, 4.3)):
        usual = familyOf(*fwhms, (500, 500), 15)
        rich = usual.rich()
        assert rich.kernelSize == usual.kernelSize
        assert rich.sigmas[0] == usual.sigmas[0]
        assert rich.sigmas[1] >= 1.0
        assert list(rich.sigmas) == sorted(rich.sigmas)
        basis = rich.basis()
        assert len(basis) == len(rich.images(rich.degrees[-1])) == 6 + 91 + 28
        sums = basis.sum(axis=(1, 2))
        assert sums[0] == pytest.approx(1.0, abs=1e-12)
        assert np.abs(sums[1:]).max() < 1e-9
    # Between broad PSFs of one width: 0.7 of the wider one's sigma.
    assert familyOf(5.3, 5.5, (500, 500), 15).rich().sigmas[1] == pytest.approx(0.7 * 5.5 / 2.3548, abs=2e-3)


def test_richestOfSeveral():
    """Whether still more terms may be asked for: with or without the widest Gaussian, never where there is one set."""
    family = familyOf(5.3, 5.5, (500, 500), 15)

    richest = family.degrees[-1]
    assert family.isRichest(family.images(richest))
    assert family.isRichest(family.images(family.narrower(richest)))
    assert not any(family.isRichest(family.images(degrees)) for degrees in family.degrees[:-1])
    one = replace(family, degrees=family.degrees[-1:])
    assert not one.isRichest(one.images(richest))

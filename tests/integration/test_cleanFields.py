"""Fields with nothing wrong: all finders together take at most one good pixel in ten thousand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from psfmatch import Exposure, frontDoorConfig, subtract

SIZE = 256
PLANES = ("BAD", "CR", "NO_DATA", "SAT", "STREAK")
FINDERS = ("doFindDefects", "doFindSaturation", "doFindStreaks", "doFindTraces")
KINDS = {
    "undersampled": ((1.5, 1.9), 2.5, 80),
    "wings": ((3.0, 4.0), 2.5, 80),
    "broad": ((6.0, 8.0), 4.0, 80),
    "crowd": ((2.5, 3.5), 3.0, 700),
}
"""FWHMs of template and science image (px), beta of the Moffat profile, number of stars."""


def drawn(generator, catalog, fwhm, beta, change, gain):
    """Return an image of stars of an axis ratio of 0.8 on a sky of 300 counts."""
    alpha = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    reach = int(8.0 * fwhm) + 6
    light = np.zeros((SIZE, SIZE))
    for x, y, flux in catalog:
        left, low = max(0, int(x) - reach), max(0, int(y) - reach)
        part = light[low : int(y) + reach + 1, left : int(x) + reach + 1]
        rows, columns = np.ogrid[low : low + part.shape[0], left : left + part.shape[1]]
        for dy in (-1.0 / 3.0, 0.0, 1.0 / 3.0):
            for dx in (-1.0 / 3.0, 0.0, 1.0 / 3.0):
                r2 = 0.8 * (columns + dx - x) ** 2 + (rows + dy - y) ** 2 / 0.8
                part += flux * (beta - 1.0) / (9.0 * np.pi * alpha**2) * (1.0 + r2 / alpha**2) ** -beta
    noise = generator.normal(size=light.shape)
    if change == "correlated":
        noise = gaussian_filter(noise, 0.7)
        noise /= noise.std()
    image = light + 300.0 + noise * np.sqrt((light + 325.0) / gain)
    return Exposure.fromArray((np.rint(image) if change == "integers" else image).astype(np.float32))


def nFlagged(pair, config):
    result = subtract(*pair, config=config, threads=1)
    masks = [each.mask for each in (result.template, result.science, result.difference)]
    return sum(np.count_nonzero(mask.hasAny([each for each in PLANES if each in mask.planes])) for mask in masks)


@pytest.mark.parametrize("change", ["none", "integers", "correlated"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothingIsLost(kind, change):
    fwhms, beta, nStars = KINDS[kind]
    generator = np.random.default_rng(3)
    places = generator.uniform(0.0, SIZE, (nStars, 2))
    fluxes = np.minimum(500.0 / (1.0 - generator.uniform(0.0, 0.9999, nStars)), 2e5)
    catalog = np.column_stack([places, fluxes])
    pair = [drawn(generator, catalog, fwhm, beta, change, gain) for fwhm, gain in zip(fwhms, (8.0, 1.5), strict=True)]
    without = frontDoorConfig()
    for name in FINDERS:
        setattr(without, name, False)
    assert nFlagged(pair, None) - nFlagged(pair, without) <= 1e-4 * 3 * SIZE**2

"""`simulatePair`: a template and a science image of the same made-up sky, and the truth about them.

Light is rendered source by source as Gaussian mixtures with the optics at the source's own place, so the
science image is the template through the matching kernel exactly, registration and background included. Noise
is normal with the expected variance; cosmic rays, ghosts, brighter-fatter and the correlated noise of a
resampled coadd are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from psfmatch.config.equality import ByValue
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.testing.catalogs import drawGalaxies, drawStars, galaxyProfile, makeStreams
from psfmatch.testing.convolving import correlateVarying
from psfmatch.testing.defects import drawDefects, garbage, saturatedPixels
from psfmatch.testing.mixtures import GaussianMixture, addSource
from psfmatch.testing.optics import FieldPsf, Optics, makeOptics, randomField
from psfmatch.testing.options import FieldOptions
from psfmatch.testing.transients import NoiseModel, drawTransients
from psfmatch.testing.truth import Truth

__all__ = ["SimulatedPair", "simulatePair"]

FloatImage = NDArray[np.float32]
SIMULATED_POSITION = (215.604, 53.1595)  # degrees, of the image centre


@dataclass(frozen=True, eq=False)
class SimulatedPair(ByValue):
    """A simulated template and science exposure, and the truth about them."""

    template: Exposure
    science: Exposure
    truth: Truth = field(repr=False)
    options: FieldOptions
    seed: int

    def differenceVariance(self) -> FloatImage:
        """Variance (ny, nx) of a perfect difference: var_S + var_T correlated with the kernel squared."""
        truth = self.truth
        finite = np.where(np.isfinite(self.template.variance), self.template.variance, np.float32(0))
        matched = correlateVarying(finite, truth.box, lambda x, y: truth.kernelImage(x, y) ** 2)
        return self.science.variance + matched

    def idealDifference(self) -> MaskedImage:
        """Return the difference that nothing can beat.

        The exact noiseless sources and the template's noise through the true kernel are taken off.
        Pixels that are masked in either image keep those planes; a template pixel that is masked lends no
        noise.
        """
        truth = self.truth
        expected = truth.template + truth.templateTransientImage()
        isGood = np.isfinite(self.template.image) & (np.asarray(self.template.mask) == 0)
        noise = np.where(isGood, self.template.image - expected, np.float32(0))
        image = self.science.image - truth.matched - correlateVarying(noise, truth.box, truth.kernelImage)
        for x, y, flux in truth.transients.iterrows("x", "y", "flux"):
            if flux < 0:
                addSource(image, self.science.xy0, x, y, truth.optics.sciencePsf(x, y).scaled(flux))
        difference = MaskedImage(image, self.science.mask.copy(), self.differenceVariance(), self.science.xy0)
        difference.mergeMask(self.template.mask)
        return difference


def simulatePair(
    seed: int = 0, size: int | tuple[int, int] = 1024, options: FieldOptions | None = None, **changes: Any
) -> SimulatedPair:
    """Simulate a template and a science image of the same sky.

    Parameters
    ----------
    seed : int
        The same seed, size and options give the same pair, bit for bit. Each kind of thing has its own random
        stream.
    size : int or (int, int)
        Side of square images, or rows and columns, pixels.
    options : FieldOptions, optional
        What the images hold; by default the sparse field of the comparisons.
    **changes
        Fields of `FieldOptions` that differ from `options`, for example ``transients=(8.0, -12.0),
        noise=False``.

    Returns
    -------
    pair : SimulatedPair

    Raises
    ------
    ValueError
        When an option is out of range, the optics are too sharp for the pixels, or the transients find no
        room.
    TypeError
        When `changes` names no field of `FieldOptions`.

    Examples
    --------
    >>> pair = simulatePair(seed=1, size=256, transients=(8.0, -12.0))
    >>> pair.science.image.shape, len(pair.truth.transients)
    ((256, 256), 2)
    """
    options = replace(options or FieldOptions(), **changes)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 64:
        raise ValueError(f"the images would have {height} rows and {width} columns: give at least 64 of each")
    box = Box(*options.xy0, width, height)
    streams = makeStreams(seed)
    optics = makeOptics(options, box, streams["optics"])
    variation = options.backgroundVariation if options.backgroundOrder > 0 else 0.0
    sky = randomField(streams["background"], box, options.scienceSky, variation, options.backgroundOrder)
    stars = drawStars(options, box, optics, streams)
    galaxies = drawGalaxies(options, box, optics, streams)

    template, matched = _renderScenes(box, optics, stars, galaxies)
    template += np.float32(options.templateSky)
    matched += sky(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1)[:, None]).astype(np.float32)
    science = matched.copy()
    for x, y, flux, constantFlux in stars[stars["isVariable"]].iterrows("x", "y", "flux", "constantFlux"):
        addSource(science, options.xy0, x, y, optics.sciencePsf(x, y).scaled(flux - constantFlux))

    saturated = saturatedPixels(template, options.saturation), saturatedPixels(science, options.saturation)
    defects = (
        drawDefects(streams["templateDefects"], box.shape, options.templateBadFraction),
        drawDefects(streams["scienceDefects"], box.shape, options.badFraction),
    )
    stars["isSaturated"] = _anyNear(saturated[0] | saturated[1], stars, box)
    spoiled = saturated[0] | saturated[1] | defects[0] | defects[1]
    transients = drawTransients(options, box, optics, streams, (template, science), spoiled, stars, galaxies)

    truth = Truth(box, stars, galaxies, transients, template, science, matched, optics, sky, options.templateSky)
    expected = template + truth.templateTransientImage(), science.copy()
    for x, y, flux in transients[transients["flux"] > 0].iterrows("x", "y", "flux"):
        addSource(expected[1], options.xy0, x, y, optics.sciencePsf(x, y).scaled(flux))
    exposures = [
        _expose(options, box, scene, isSaturated, isBad, streams, name, optics)
        for scene, isSaturated, isBad, name in zip(expected, saturated, defects, ("template", "science"), strict=True)
    ]
    if options.skySubtracted:
        truth = _takeSkyOff(options, truth, exposures)
    return SimulatedPair(exposures[0], exposures[1], truth, options, seed)


def _renderScenes(box: Box, optics: Optics, stars: Table, galaxies: Table) -> tuple[FloatImage, FloatImage]:
    """Images (ny, nx) of the constant sources without sky: the template, and it through the kernel."""
    template, matched = np.zeros((2, *box.shape), dtype=np.float32)
    xy0 = (box.x0, box.y0)
    dx, dy = optics.offset

    def add(x: float, y: float, templateFlux: float, profile: GaussianMixture | None) -> None:
        narrow, wide = optics.templatePsf(x, y), optics.sciencePsf(x, y)
        if profile is not None:
            narrow, wide = narrow.convolved(profile), wide.convolved(profile)
        addSource(template, xy0, x + dx, y + dy, narrow.scaled(templateFlux))
        addSource(matched, xy0, x, y, wide.scaled(templateFlux * float(optics.kernelSum(x, y))))

    for x, y, flux in stars.iterrows("x", "y", "templateFlux"):
        add(x, y, flux, None)
    for x, y, flux, *shape in galaxies.iterrows("x", "y", "templateFlux", "size", "e1", "e2"):
        add(x, y, flux, galaxyProfile(*shape))
    return template, matched


def _anyNear(pixels: NDArray[np.bool_], table: Table, box: Box) -> NDArray[np.bool_]:
    """Whether one of the 3 x 3 pixels around each position is set."""
    columns = np.floor(np.asarray(table["x"]) + 0.5).astype(int) - box.x0
    rows = np.floor(np.asarray(table["y"]) + 0.5).astype(int) - box.y0
    near = np.zeros(len(table), dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= pixels[np.clip(rows + dy, 0, box.height - 1), np.clip(columns + dx, 0, box.width - 1)]
    return near


def _expose(
    options: FieldOptions,
    box: Box,
    scene: FloatImage,  # expected counts, sky included
    isSaturated: NDArray[np.bool_],
    isBad: NDArray[np.bool_],
    streams: dict[str, np.random.Generator],
    name: str,
    optics: Optics,
) -> Exposure:
    """Add noise, full wells and defects to a scene."""
    depth = options.templateDepth if name == "template" else 1
    model = NoiseModel(options.gain, options.readNoise, depth)
    variance = model.variance(np.minimum(scene, np.float32(options.saturation)))
    image = scene.copy()
    if options.noise:
        noise = streams[f"{name}Noise"].standard_normal(box.shape, dtype=np.float32)
        image += noise * np.sqrt(variance)
    np.minimum(image, np.float32(options.saturation), out=image)
    image[isSaturated] = options.saturation
    fullWell = options.saturation if np.isfinite(options.saturation) else 6e4
    image[isBad] = garbage(streams[f"{name}Defects"], int(np.count_nonzero(isBad)), fullWell)
    if options.estimateVariance:
        variance = model.variance(image)
    maskedImage = MaskedImage(image, variance=variance, xy0=options.xy0)
    maskedImage.mask[isSaturated] |= maskedImage.mask.getPlaneBitMask("SAT")
    maskedImage.mask[isBad] |= maskedImage.mask.getPlaneBitMask("BAD")
    psf = FieldPsf(optics, isScience=name == "science") if options.withPsf else None
    return Exposure(maskedImage, wcs=_makeWcs(box, options.pixelScale) if options.withWcs else None, psf=psf)


def _makeWcs(box: Box, pixelScale: float) -> WCS:
    """TAN projection centred on the box, north up, for 0-based parent pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = SIMULATED_POSITION
    wcs.wcs.crpix = [position + 1 for position in box.centre]
    wcs.wcs.cdelt = [-pixelScale / 3600, pixelScale / 3600]
    wcs.wcs.set()
    return wcs


def _takeSkyOff(options: FieldOptions, truth: Truth, exposures: list[Exposure]) -> Truth:
    """Subtract the constant sky levels from the exposures and the truth alike."""
    for exposure, level in zip(exposures, (options.templateSky, options.scienceSky), strict=True):
        exposure.image[...] -= np.float32(level)
    coefficients = truth.scienceSky.coefficients - np.array([options.scienceSky, 0, 0, 0, 0, 0])
    for scene, level in (
        (truth.template, options.templateSky),
        (truth.science, options.scienceSky),
        (truth.matched, options.scienceSky),
    ):
        scene -= np.float32(level)
    return replace(truth, scienceSky=replace(truth.scienceSky, coefficients=coefficients), templateSky=0.0)

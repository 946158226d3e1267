"""Transients of a simulated pair: where they may lie and which flux gives the wanted signal-to-noise ratio.

The ratio is that of a matched filter with the true point-spread function on the difference image, its
variance taken as var_S + var_T sum K^2 in the neighbourhood, the transient's own light included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from psfmatch.errors import advice
from psfmatch.images import Box
from psfmatch.testing.mixtures import FloatArray, nearestPixel
from psfmatch.testing.optics import Optics
from psfmatch.testing.options import FieldOptions

__all__ = ["NoiseModel", "drawTransients"]

STAMP_SIDE = 31
SEPARATION = 20.0  # px, between transients
CLEARANCE = 5  # px, from defects and saturation
STAR_CLEARANCE = 10.0  # px, from bright and variable stars
TRIES = 500  # places tried per transient; after a tenth of them a galaxy is given up


@dataclass(frozen=True)
class NoiseModel:
    """Variance of an average of `depth` exposures: (max(counts, 0) / gain + (readNoise / gain)^2) / depth."""

    gain: float  # e-/count
    readNoise: float  # e-
    depth: int = 1

    def variance(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Expected variance in square counts of pixels with the expected `counts`, sky included."""
        constant = np.float32((self.readNoise / self.gain) ** 2 / self.depth)
        return np.maximum(counts, np.float32(0)) * np.float32(1 / (self.gain * self.depth)) + constant


def drawTransients(
    options: FieldOptions,
    box: Box,
    optics: Optics,
    streams: dict[str, np.random.Generator],
    scenes: tuple[NDArray[np.float32], NDArray[np.float32]],  # template, science: expected counts, sky included
    spoiled: NDArray[np.bool_],  # defects and saturation of either image
    stars: Table,
    galaxies: Table,
) -> Table:
    """Draw the transients.

    Returns
    -------
    transients : astropy.table.Table
        x, y (parent pixels), flux (science counts, negative when only the template shows it), signalToNoise
        (signed, predicted).

    Raises
    ------
    ValueError
        When the image has no room for them.
    """
    fluxes, ratios = options.transientFluxes, options.transients
    if ratios is None:
        ratios = max(round(20 * box.width * box.height / 1e6), 1)
    number = len(fluxes) if fluxes is not None else ratios if isinstance(ratios, int) else len(ratios)
    draws = streams["transients"].random((number, 3))
    places = _drawPlaces(options, box, streams["places"], draws[:, 2], spoiled, stars, galaxies)
    if isinstance(ratios, int):
        low, high = options.transientSignalToNoise
        signs = np.where(draws[:, 1] < options.negativeFraction, -1, 1)
        wanted = signs * low * (high / low) ** draws[:, 0]
    else:
        wanted = np.array(ratios, dtype=np.float64)
    models = (
        NoiseModel(options.gain, options.readNoise, options.templateDepth),
        NoiseModel(options.gain, options.readNoise),
    )
    rows = []
    for index, (x, y) in enumerate(places):
        flux = fluxes[index] if fluxes is not None else None
        rows.append(
            (
                x,
                y,
                *_fluxAndRatio(x, y, wanted[index] if flux is None else None, flux, box, optics, scenes, models),
            )
        )
    return Table(rows=rows or None, names=("x", "y", "flux", "signalToNoise"), dtype=(float,) * 4)


def _drawPlaces(
    options: FieldOptions,
    box: Box,
    generator: np.random.Generator,
    hostDraws: FloatArray,
    spoiled: NDArray[np.bool_],
    stars: Table,
    galaxies: Table,
) -> list[tuple[float, float]]:
    margin = min(options.transientMargin, min(box.width, box.height) / 4)
    low = np.array([box.x0, box.y0]) - 0.5 + margin
    high = np.array([box.x1, box.y1]) - 0.5 - margin
    avoided = stars[stars["isBright"] | stars["isVariable"]]
    starPlaces = np.column_stack([avoided["x"], avoided["y"]])
    hosts = np.column_stack([galaxies["x"], galaxies["y"], galaxies["size"]])
    places: list[tuple[float, float]] = []

    def isFree(place: FloatArray) -> bool:
        if not np.all((place >= low) & (place <= high)):
            return False
        if places and np.min(np.hypot(*(np.array(places) - place).T)) < SEPARATION:
            return False
        if not options.avoidBad:
            return True
        if len(starPlaces) and np.min(np.hypot(*(starPlaces - place).T)) < STAR_CLEARANCE:
            return False
        x, y = nearestPixel(place[0]) - box.x0, nearestPixel(place[1]) - box.y0
        window = spoiled[max(y - CLEARANCE, 0) : y + CLEARANCE + 1, max(x - CLEARANCE, 0) : x + CLEARANCE + 1]
        return not window.any()

    for hostDraw in hostDraws:
        inGalaxy = hostDraw < options.hostFraction and len(hosts) > 0
        for attempt in range(TRIES):
            if inGalaxy and attempt < TRIES // 10:
                host = hosts[generator.integers(len(hosts))]
                place = host[:2] + host[2] * generator.normal(size=2)
            else:
                place = low + (high - low) * generator.random(2)
            if isFree(place):
                places.append((float(place[0]), float(place[1])))
                break
        else:
            raise ValueError(
                f"only {len(places)} of {len(hostDraws)} transients found room on {box.width} x {box.height} "
                "px: ask for a larger image"
                + advice(", for fewer, a smaller transientMargin, or avoidBad=False", " (--size)")
            )
    return places


def _fluxAndRatio(
    x: float,
    y: float,
    wanted: float | None,  # signed signal-to-noise ratio, or None when the flux is given
    flux: float | None,
    box: Box,
    optics: Optics,
    scenes: tuple[NDArray[np.float32], NDArray[np.float32]],
    models: tuple[NoiseModel, NoiseModel],
) -> tuple[float, float]:
    half = STAMP_SIDE // 2
    column, row = nearestPixel(x), nearestPixel(y)
    columns = np.clip(np.arange(column - half, column + half + 1), box.x0, box.x1 - 1)
    rows = np.clip(np.arange(row - half, row + half + 1), box.y0, box.y1 - 1)
    where = np.ix_(rows - box.y0, columns - box.x0)
    kernel = optics.kernel(x, y)
    kernelSquared = float(np.sum(kernel.image(STAMP_SIDE) ** 2))
    dx, dy = optics.offset
    psfs = (
        optics.templatePsf(x, y).image(STAMP_SIDE, x - column + dx, y - row + dy) / kernel.total,
        optics.sciencePsf(x, y).image(STAMP_SIDE, x - column, y - row),
    )

    def error(light: float) -> float:
        added = (max(-light, 0.0), max(light, 0.0))
        template, science = (
            model.variance(scene[where] + np.float32(counts) * psf.astype(np.float32))
            for model, scene, counts, psf in zip(models, scenes, added, psfs, strict=True)
        )
        return float(1 / np.sqrt(np.sum(psfs[1] ** 2 / (science + template * kernelSquared))))

    if flux is None:
        assert wanted is not None
        flux = 0.0
        for _ in range(6):  # its own noise changes the error by little: converges to 1e-4 for ratios up to some hundred
            flux = wanted * error(flux)
    return flux, flux / error(flux)

"""Stars and galaxies of a simulated pair, and the random streams behind everything that is drawn.

Every kind of thing has its own stream and every source its own row of random numbers, so that asking for more
transients leaves the stars alone, and asking for more stars keeps the first ones.
"""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from psfmatch.images import Box
from psfmatch.testing.mixtures import FloatArray, GaussianMixture, ellipse
from psfmatch.testing.optics import Optics
from psfmatch.testing.options import FieldOptions

__all__ = ["drawGalaxies", "drawStars", "galaxyProfile", "makeStreams"]

# New names go to the end: the position is what a stream is derived from.
STREAMS = (
    *("optics", "background", "brightStars", "faintStars", "galaxies", "transients", "places"),
    *("scienceDefects", "templateDefects", "scienceNoise", "templateNoise"),
)
COUNT_SLOPE = 0.5
GALAXY_WEIGHTS = np.array([0.6, 0.4])
GALAXY_VARIANCES = np.array([0.4, 1.9])  # mean 1; falls off much like an exponential disc


def makeStreams(seed: int) -> dict[str, np.random.Generator]:
    """Return one independent generator per kind of thing."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    return {name: np.random.default_rng(child) for name, child in zip(STREAMS, children, strict=True)}


def drawStars(options: FieldOptions, box: Box, optics: Optics, streams: dict[str, np.random.Generator]) -> Table:
    """Draw the stars.

    Returns
    -------
    stars : astropy.table.Table
        x, y (parent pixels in the science image), flux (science counts), templateFlux (template counts),
        constantFlux (science counts if it did not vary), isBright, isVariable.
    """
    parts = []
    for name, density, fluxRange in (
        ("brightStars", options.brightStars, options.brightFlux),
        ("faintStars", options.faintStars, options.faintFlux),
    ):
        draws = streams[name].random((_count(density, box), 6))
        change = (0.1 + 0.4 * draws[:, 4]) * np.where(draws[:, 5] < 0.5, -1, 1)
        isVariable = draws[:, 3] < options.variableFraction
        constantFlux = _powerLaw(draws[:, 2], fluxRange)
        flux = constantFlux * np.where(isVariable, 1 + change, 1.0)
        isBright = np.full(len(draws), name == "brightStars")
        parts.append((*_positions(draws, box), flux, constantFlux, isBright, isVariable))
    x, y, flux, constantFlux, isBright, isVariable = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Table(
        {
            "x": x,
            "y": y,
            "flux": flux,
            "templateFlux": constantFlux / optics.kernelSum(x, y),
            "constantFlux": constantFlux,
            "isBright": isBright,
            "isVariable": isVariable,
        }
    )


def drawGalaxies(options: FieldOptions, box: Box, optics: Optics, streams: dict[str, np.random.Generator]) -> Table:
    """Draw the galaxies.

    Returns
    -------
    galaxies : astropy.table.Table
        x, y (parent pixels in the science image), flux (science counts), templateFlux (template counts), size
        (px), e1, e2.
    """
    draws = streams["galaxies"].random((_count(options.galaxies, box), 6))
    x, y = _positions(draws, box)
    flux = _powerLaw(draws[:, 2], options.galaxyFlux)
    low, high = options.galaxySize
    ellipticity, angle = 0.6 * draws[:, 4], 2 * np.pi * draws[:, 5]
    return Table(
        {
            "x": x,
            "y": y,
            "flux": flux,
            "templateFlux": flux / optics.kernelSum(x, y),
            "size": low * (high / low) ** draws[:, 3],
            "e1": ellipticity * np.cos(angle),
            "e2": ellipticity * np.sin(angle),
        }
    )


def galaxyProfile(size: float, e1: float, e2: float) -> GaussianMixture:
    """Light of a galaxy before the optics: unit integral, rms radius `size` (px) along an axis."""
    variances = (GALAXY_VARIANCES * size**2)[:, None]
    return GaussianMixture(GALAXY_WEIGHTS, np.zeros((2, 2)), variances * ellipse(1.0, e1, e2))


def _count(density: float, box: Box) -> int:
    return round(density * box.width * box.height / 1e6)


def _positions(draws: FloatArray, box: Box) -> tuple[FloatArray, FloatArray]:
    return box.x0 - 0.5 + box.width * draws[:, 0], box.y0 - 0.5 + box.height * draws[:, 1]


def _powerLaw(uniform: FloatArray, fluxRange: tuple[float, float]) -> FloatArray:
    low, high = (flux**-COUNT_SLOPE for flux in fluxRange)
    flux: FloatArray = (low + uniform * (high - low)) ** (-1 / COUNT_SLOPE)
    return flux

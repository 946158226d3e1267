"""How much of what is there does a subtraction find, and does it measure it right: sources injected and recovered.

Point sources with the local PSF of the science image are added to it at empty places; the pair is subtracted once, the
difference searched; every injected source is looked for, and measured where it was put.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch.config.equality import ByValue
from psfmatch.difference import smoothedPsf
from psfmatch.errors import InputImagesError
from psfmatch.frontdoor.subtracting import subtract
from psfmatch.images import Exposure, ImageLike, toExposure
from psfmatch.kernels import PsfField, shiftedImages
from psfmatch.sources import psfFromStars
from psfmatch.transients import DEFAULT_THRESHOLD, detectOnDifference, forcedPhotometry

__all__ = ["Efficiency", "injectSources", "measureEfficiency"]

log = logging.getLogger("psfmatch.frontdoor.injection")

FloatArray = npt.NDArray[np.float64]

DEFAULT_RATIOS = (4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0)
MAX_LIGHT = 10.0
"""Significance of the science image's own light at a place that counts as empty. A tight limit would choose places by
their noise, which the difference shows too, and all fluxes would come out low."""
SEPARATION_FWHM = 6.0
TRIES = 30
"""Places drawn for each source that is wanted."""


@dataclass(frozen=True, eq=False)
class Efficiency(ByValue):
    """What was injected and what came back.

    sources : Table, one row per injected source: x, y (parent pixels), flux, signalToNoise (flux over the error that
    the difference claims at that place, signed), isDetected (above the threshold, right sign, within half a FWHM),
    measuredFlux, measuredFluxErr (forced, at the true place), detectedFlux (NaN unless detected);
    bins : Table, one row per bin of signalToNoise: low, high, n, completeness, completenessErr (binomial), fluxRatio,
    fluxRatioErr (weighted mean of measured over true), pullMean, pullWidth ((measured - true) / error);
    result : of the subtraction; detections : on its difference.
    """

    sources: Table
    bins: Table
    result: Any
    detections: Table


def injectSources(
    exposure: Exposure,
    psf: Any,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    flux: npt.ArrayLike,
    *,
    gain: float | None = None,
    seed: int = 0,
) -> Exposure:
    """Add point sources to an image.

    Parameters
    ----------
    exposure
        Not changed.
    psf
        Of the sources: whatever `psfmatch.images.asPsf` takes.
    x, y, flux : (n,)
        Parent pixels; fluxes in image units, negative ones take light away. Light beyond the image is lost.
    gain
        Electrons per unit of the image: adds the photon noise of the sources, and its variance. None: neither.
    seed
        Of that noise.

    Returns
    -------
    injected : Exposure
        A copy with the sources; the pixels that received light carry the mask plane INJECTED.

    Raises
    ------
    ValueError
        If the arrays differ in length, a number is not finite, or the gain is not positive.
    """
    xs, ys, fluxes = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y, flux))
    if not (xs.shape == ys.shape == fluxes.shape and xs.ndim == 1):
        raise ValueError(
            f"x, y and flux have shapes {xs.shape}, {ys.shape} and {fluxes.shape}; they must be one length"
        )
    if not all(np.isfinite(values).all() for values in (xs, ys, fluxes)):
        raise ValueError("positions and fluxes of injected sources must be finite")
    if gain is not None and not (math.isfinite(gain) and gain > 0.0):
        raise ValueError(f"gain is {gain}; it must be a positive number of electrons per unit, or None")
    injected = exposure.copy()
    field = PsfField.of(psf, exposure.getBBox())
    light = np.zeros(exposure.shape)
    u, v = xs - exposure.xy0[0], ys - exposure.xy0[1]
    columns, rows = (np.floor(values + 0.5).astype(np.int64) for values in (u, v))
    images = shiftedImages(field.images(xs, ys), u - columns, v - rows)[0] * fluxes[:, None, None]
    half, bit = field.half, np.int32(1 << injected.mask.addPlane("INJECTED"))
    mask = np.asarray(injected.mask)
    for image, column, row in zip(images, columns.tolist(), rows.tolist(), strict=True):
        y0, y1 = max(row - half, 0), min(row + half + 1, exposure.height)
        x0, x1 = max(column - half, 0), min(column + half + 1, exposure.width)
        if y0 < y1 and x0 < x1:
            light[y0:y1, x0:x1] += image[y0 - row + half : y1 - row + half, x0 - column + half : x1 - column + half]
            mask[y0:y1, x0:x1] |= bit
    if gain is not None:
        variance = np.maximum(light, 0.0) / gain
        light += np.random.default_rng(seed).standard_normal(light.shape) * np.sqrt(variance)
        injected.variance += variance.astype(np.float32)
    injected.image += light.astype(np.float32)
    return injected


def measureEfficiency(
    template: ImageLike,
    science: ImageLike,
    *,
    signalToNoise: Sequence[float] = DEFAULT_RATIOS,
    fluxes: npt.ArrayLike | None = None,
    n: int = 100,
    seed: int = 0,
    psf: Any = None,
    gain: float | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    subtraction: Callable[..., Any] = subtract,
    threads: int | None = None,
    **options: Any,
) -> Efficiency:
    """Inject sources into the science image, subtract once, detect, and count.

    Parameters
    ----------
    template, science
        As for `psfmatch.subtract`; not changed.
    signalToNoise
        Edges of the bins of the report; fluxes are drawn evenly in the logarithm between the outermost, by the noise
        of both images.
    fluxes
        Fluxes (science image units) to draw from, in place of that; negative ones fade.
    n
        Number of sources; fewer where the image has no room.
    seed
        Of places, fluxes and noise.
    psf
        Of the science image; by default its own, else measured from its stars.
    gain
        Adds the photon noise of the injected sources, see `injectSources`.
    threshold
        Of the detection, standard deviations.
    subtraction
        What subtracts: called with template, science, threads and the options; its result has ``difference``.
    threads
        Number of threads; the result does not depend on it.
    **options
        For the subtraction.

    Returns
    -------
    efficiency : Efficiency

    Raises
    ------
    InputImagesError
        If the science image has no empty place.
    PsfMatchError
        What the subtraction raises.
    """
    edges = np.asarray(signalToNoise, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not (edges > 0.0).all() or not (np.diff(edges) > 0.0).all():
        raise ValueError(f"signalToNoise is {signalToNoise}: give at least two positive edges of bins, increasing")
    if n < 1:
        raise ValueError(f"n is {n}; give a positive number of sources")
    templateExposure, scienceExposure = toExposure(template), toExposure(science)
    psf = psf or scienceExposure.psf or psfFromStars(scienceExposure, threads=threads)
    # The same field serves injection and measurement: a PSF may be slow to draw.
    field = PsfField.of(psf, scienceExposure.getBBox())
    generator = np.random.default_rng(seed)
    x, y, noise = _emptyPlaces(scienceExposure, field, n, generator)
    if fluxes is None:
        # The template's noise shrinks as it is smoothed; bins are made of what the difference says in the end.
        flux = noise * edges[0] * (edges[-1] / edges[0]) ** generator.random(x.size)
    else:
        flux = generator.choice(np.atleast_1d(np.asarray(fluxes, dtype=np.float64)), x.size)
    injected = injectSources(scienceExposure, field, x, y, flux, gain=gain, seed=seed)
    result = subtraction(templateExposure, injected, threads=threads, **options)
    # Convolving the science image gives its sources another PSF, which the difference then carries.
    own = result.difference.psf if getattr(result, "convolved", "template") == "science" else None
    if own is None and (smoothing := getattr(result, "smoothing", 0.0)):
        own = smoothedPsf(psf, smoothing, result.difference.getBBox())
    detections = detectOnDifference(result.difference, own or field, threshold=threshold, threads=threads)
    differenceField = field if own is None else PsfField.of(own, result.difference.getBBox())
    # The rings' sky is noise of their own, but they see no background that is left.
    forced = forcedPhotometry(result.difference, differenceField, x, y)
    scale = float(detections.meta["NOISESCL"])
    error = np.asarray(forced["fluxErr"]) * scale
    sources = Table({"x": x, "y": y, "flux": flux, "signalToNoise": flux / error})
    match = _nearest(detections, x, y, np.sign(flux), 0.5 * field.fwhm)
    sources["isDetected"] = match >= 0
    sources["measuredFlux"], sources["measuredFluxErr"] = np.asarray(forced["flux"]), error
    detected = np.asarray(detections["psfFlux"])
    sources["detectedFlux"] = np.where(match >= 0, detected[match] if len(detections) else np.nan, np.nan)
    return Efficiency(sources, _binned(sources, edges), result, detections)


def _emptyPlaces(
    exposure: Exposure, field: PsfField, n: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return x, y (parent pixels) of at most n places without light or defects, and the error of a flux there."""
    margin = min(2.0 * field.size, min(exposure.shape) / 4.0)
    box = exposure.getBBox()
    x = box.x0 + margin + (box.width - 1 - 2 * margin) * generator.random(TRIES * n)
    y = box.y0 + margin + (box.height - 1 - 2 * margin) * generator.random(TRIES * n)
    isFree = _apart(x, y, SEPARATION_FWHM * field.fwhm, 4 * n)
    x, y = x[isFree], y[isFree]
    forced = forcedPhotometry(exposure, field, x, y)
    flux, error = np.asarray(forced["flux"]), np.asarray(forced["fluxErr"])
    with np.errstate(invalid="ignore"):
        isEmpty = (np.abs(flux) < MAX_LIGHT * error) & (np.asarray(forced["coverage"]) > 0.999)
    chosen = np.flatnonzero(isEmpty)[:n]
    if not chosen.size:
        raise InputImagesError(
            f"none of {x.size} places of {box} is empty and free of defects; nothing can be injected",
            nPlaces=int(x.size),
        )
    if chosen.size < n:
        log.warning("Only %d of %d sources find an empty place", chosen.size, n)
    return x[chosen], y[chosen], error[chosen]


def _apart(x: FloatArray, y: FloatArray, distance: float, most: int) -> npt.NDArray[np.bool_]:
    """Return which of n places lie apart from all that were chosen before them, at most so many."""
    isChosen = np.zeros(x.size, dtype=bool)
    cells: dict[tuple[int, int], list[int]] = {}
    count = 0
    cellOf = list(zip((x // distance).astype(int).tolist(), (y // distance).astype(int).tolist(), strict=True))
    for i, cell in enumerate(cellOf):
        near = (j for dx in (-1, 0, 1) for dy in (-1, 0, 1) for j in cells.get((cell[0] + dx, cell[1] + dy), ()))
        if all(math.hypot(x[i] - x[j], y[i] - y[j]) >= distance for j in near):
            cells.setdefault(cell, []).append(i)
            isChosen[i] = True
            count += 1
            if count == most:
                break
    return isChosen


def _nearest(detections: Table, x: FloatArray, y: FloatArray, sign: FloatArray, radius: float) -> npt.NDArray[np.int64]:
    """Return the row of the nearest detection of the right sign within a radius of each place; -1: none."""
    match = np.full(x.size, -1)
    dx, dy = np.asarray(detections["x"]), np.asarray(detections["y"])
    polarity = np.asarray(detections["polarity"])
    for i in range(x.size):
        distance = np.where(polarity == sign[i], np.hypot(dx - x[i], dy - y[i]), np.inf)
        if distance.size and distance.min() <= radius:
            match[i] = int(np.argmin(distance))
    return match


def _binned(sources: Table, edges: FloatArray) -> Table:
    """Return the report, one row per bin of the absolute signal-to-noise ratio."""
    ratio = np.abs(np.asarray(sources["signalToNoise"]))
    flux, measured, error = (np.asarray(sources[name]) for name in ("flux", "measuredFlux", "measuredFluxErr"))
    rows = []
    for low, high in pairwise(edges.tolist()):
        isHere = (ratio >= low) & (ratio < high)
        count = int(np.count_nonzero(isHere))
        if count == 0:
            rows.append((low, high, 0, *([math.nan] * 6)))
            continue
        share = float(np.mean(np.asarray(sources["isDetected"])[isHere]))
        weight = (flux[isHere] / error[isHere]) ** 2
        fluxRatio = float((weight * measured[isHere] / flux[isHere]).sum() / weight.sum())
        pull = (measured - flux)[isHere] / error[isHere]
        width = float(pull.std(ddof=1)) if count > 1 else math.nan
        # Binomial, with half a source more of each kind so that 0 and 1 have an error too.
        guess = (share * count + 0.5) / (count + 1.0)
        shareErr = math.sqrt(guess * (1.0 - guess) / count)
        rows.append((low, high, count, share, shareErr, fluxRatio, weight.sum() ** -0.5, float(pull.mean()), width))
    names = (
        "low", "high", "n", "completeness", "completenessErr", "fluxRatio", "fluxRatioErr", "pullMean", "pullWidth",
    )  # fmt: skip
    return Table(rows=rows, names=names)

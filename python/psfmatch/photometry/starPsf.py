"""The PSF of an image from its stars, as a function of position, where nothing else tells it.

Isolated stars are shifted to their centres, their local sky is taken off, and every pixel of the stamps, in units of
the star's flux, is fitted by a polynomial of the position, stars that do not agree rejected. Positions and fluxes come
from the PSF of the pass before; the first is a Gaussian of the stars' width.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import usualOptions
from psfmatch.detection import SourceDetectionTask
from psfmatch.errors import InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.exposure import Box, Exposure
from psfmatch.kernels import LinearCombinationKernel, frameOf, makeSpatialFunction
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.medians import medianAndSigma
from psfmatch.photometry.pointSources import cutStamps, fitPointSources, skyLevels
from psfmatch.photometry.psfField import PsfField, shiftedImages
from psfmatch.photometry.significance import UNUSABLE_PLANES, weightImage
from psfmatch.psf import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, GaussianPsf, measureWidths, selectStarWidths
from psfmatch.selection import getSelectSources
from psfmatch.sourceTable import AnyTable
from psfmatch.threads import resolveThreads

__all__ = ["StarPsf", "psfFromStars", "psfOrStars"]

log = logging.getLogger("psfmatch.starPsf")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MIN_STARS = 3
STARS_PER_TERM = 3
"""Each term of the polynomials needs so many stars for the noise in the wings to stay below that of one of them."""
MAX_ORDER = 2
MAX_STARS = 400
MIN_SNR = 50.0
NEIGHBOUR_FWHM = 5.0
MAX_NEIGHBOUR_FLUX = 0.05
PASSES = 3
REJECTED_CHI = 4.0
WIDTH_TOLERANCE = 0.07
"""Logarithm of a width over that of stars nearby; galaxies are farther off."""


class StarPsf:
    """A PSF whose pixels are polynomials of the position; images have sum 1.

    Parameters
    ----------
    kernel
        Image of a star of flux 1 at every position, centred on its middle pixel.
    nStars
        From how many it was made.
    """

    def __init__(self, kernel: LinearCombinationKernel, nStars: int) -> None:
        self.kernel = kernel
        self.nStars = nStars

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels."""
        image: FloatArray = self.kernel.computeImage(x, y)
        return image / float(image.sum())


def psfOrStars(exposure: Exposure, fwhmPix: float | None, name: str, threads: int | None = None) -> tuple[Any, str]:
    """Return the PSF of an image and where it comes from, in words.

    Parameters
    ----------
    exposure
        Its own PSF, else that of its stars, else, where too few stand alone, a Gaussian.
    fwhmPix
        FWHM of that Gaussian; the error that says why there are too few stars is raised where it is None.
    name
        What the image is called.
    threads
        Number of threads; the result does not depend on it.
    """
    if exposure.psf is not None:
        return exposure.psf, f"that of the {name}"
    try:
        return psfFromStars(exposure, threads=threads), f"from the stars of the {name}"
    except (InsufficientKernelSourcesError, NoKernelCandidatesError) as error:
        if fwhmPix is None:
            raise
        log.warning("A Gaussian PSF of FWHM %.2f px serves the %s: %s", fwhmPix, name, error)
        reason = " ".join(str(error).split()).rstrip(".")  # one line, as headers take it
        return GaussianPsf(fwhmPix / SIGMA_TO_FWHM), f"a Gaussian of FWHM {fwhmPix:.2f} px, for {reason}"


def psfFromStars(exposure: Exposure, stars: AnyTable | None = None, threads: int | None = None) -> StarPsf:
    """Measure the PSF of an image.

    Parameters
    ----------
    exposure
        Not changed. Its own PSF is not asked.
    stars
        Positions x and y (parent pixels) of isolated stars; by default they are found and chosen.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    psf : StarPsf
        Of spatial order 2, 1 or 0, as the number of stars allows.

    Raises
    ------
    InsufficientKernelSourcesError
        If fewer than three stars can be used.
    """
    if stars is None:
        stars = _chooseStars(exposure, resolveThreads(threads))
    x, y = (np.asarray(stars[name], dtype=np.float64) for name in ("x", "y"))
    maskedImage = exposure.maskedImage
    columns, rows = (np.floor(v + 0.5).astype(np.int64) - o for v, o in zip((x, y), maskedImage.xy0, strict=True))
    isInside = (columns >= 0) & (columns < exposure.width) & (rows >= 0) & (rows < exposure.height)
    columns, rows = columns[isInside], rows[isInside]
    widths = measureWidths(maskedImage, UNUSABLE_PLANES, columns, rows)
    isStar = np.isfinite(widths)
    _require(int(np.count_nonzero(isStar)), len(stars))
    columns, rows = columns[isStar], rows[isStar]
    fwhm = float(np.median(widths[isStar]))
    half = math.ceil(4.0 * fwhm)
    weight = weightImage(maskedImage, UNUSABLE_PLANES)
    sky, _ = skyLevels(maskedImage, weight, fwhm, columns, rows)
    psf: StarPsf | None = None
    levelled = maskedImage.copy()
    levelled.image -= np.float32(np.nanmedian(sky)) if np.isfinite(sky).any() else np.float32(0)
    for _ in range(PASSES):
        field = PsfField(psf or GaussianPsf(fwhm / SIGMA_TO_FWHM, 2 * half + 1), exposure.getBBox())
        fits = fitPointSources(levelled, weight, field, columns, rows)
        stamps = cutStamps(maskedImage, weight, columns, rows, half)
        isUsed = fits.isFitted & (fits.flux > MIN_SNR * fits.fluxErr) & np.isfinite(sky) & (fits.coverage > 0.99)
        _require(int(np.count_nonzero(isUsed)), len(stars))
        drawn = field.images(columns + maskedImage.xy0[0], rows + maskedImage.xy0[1])
        pad = half - field.half
        model = np.pad(drawn, ((0, 0), (pad, pad), (pad, pad))) if pad >= 0 else drawn[:, -pad:pad, -pad:pad]
        dx, dy = fits.x - columns, fits.y - rows
        moved = shiftedImages(model, dx, dy)[0]
        isGood = stamps.weights > 0.0
        values = np.where(isGood, stamps.values - sky[:, None, None], fits.flux[:, None, None] * moved)
        with np.errstate(all="ignore"):
            profiles = shiftedImages(values, -dx, -dy)[0] / fits.flux[:, None, None]
            weights = fits.flux**2 / np.median(stamps.variances, axis=(1, 2))
        isUsed &= np.isfinite(profiles).all(axis=(1, 2)) & np.isfinite(weights)
        _require(int(np.count_nonzero(isUsed)), len(stars))
        x, y = (fits.x + maskedImage.xy0[0])[isUsed], (fits.y + maskedImage.xy0[1])[isUsed]
        psf = StarPsf(*_fitted(profiles[isUsed], weights[isUsed], x, y, exposure.getBBox()))
    assert psf is not None
    log.info("PSF from %d stars: FWHM %.2f px, spatial order %d", psf.nStars, fwhm, psf.kernel.order)
    return psf


def _require(n: int, nGiven: int) -> None:
    if n < MIN_STARS:
        raise InsufficientKernelSourcesError(
            f"{n} of {nGiven} sources are isolated, unsaturated stars above {MIN_SNR:.0f} sigma, {MIN_STARS} are "
            "needed to measure the PSF; give a PSF or its FWHM",
            nSources=n,
            nRequired=MIN_STARS,
        )


def _fitted(
    profiles: FloatArray, weights: FloatArray, x: FloatArray, y: FloatArray, box: Box
) -> tuple[LinearCombinationKernel, int]:
    """Fit polynomials through profiles (n, k, k) of sum about 1 at positions (n,); stars that stand out are dropped."""
    frame = frameOf(box)
    isUsed = np.ones(len(profiles), dtype=bool)
    pixels = profiles.reshape(len(profiles), -1)
    # No star shall count more than a few others: bright ones may saturate softly, or blend.
    root = np.sqrt(np.minimum(weights, 4.0 * np.median(weights)))
    while True:
        order = MAX_ORDER
        while order > 0 and STARS_PER_TERM * (order + 1) * (order + 2) // 2 > np.count_nonzero(isUsed):
            order -= 1
        p = (order + 1) * (order + 2) // 2
        terms = makeSpatialFunction("chebyshev1", np.zeros(p), frame).coreFunction.evaluate(x, y)
        solved = np.linalg.lstsq(terms[isUsed] * root[isUsed, None], pixels[isUsed] * root[isUsed, None], rcond=1e-6)[0]
        residual = np.abs(pixels - terms @ solved).sum(axis=1)
        usual, spread = medianAndSigma(residual, isUsed)
        limit = usual + REJECTED_CHI * spread
        # Noise is a larger part of fainter stars: they are judged by what noise alone may leave.
        isBad = isUsed & (residual * root / np.median(root) > limit) & (residual > limit)
        if not isBad.any() or np.count_nonzero(isUsed & ~isBad) < MIN_STARS:
            break
        isUsed &= ~isBad
    side = profiles.shape[1]
    # One basis image for each term of the polynomial, which alone it multiplies.
    return LinearCombinationKernel(solved.reshape(p, side, side), np.eye(p), frame=frame), int(np.count_nonzero(isUsed))


def _isStar(widths: FloatArray, x: FloatArray, y: FloatArray, box: Box) -> BoolArray:
    """Return which sources have the width of the stars at their place: a smooth function of the position."""
    isStar = selectStarWidths(widths)
    logs = np.where(np.isfinite(widths), np.log(np.where(np.isfinite(widths), widths, 1.0)), np.inf)
    for order in (1, 1, 2, 2):
        p = (order + 1) * (order + 2) // 2
        if np.count_nonzero(isStar) < STARS_PER_TERM * p:
            break
        terms = makeSpatialFunction("chebyshev1", np.zeros(p), frameOf(box)).coreFunction.evaluate(x, y)
        model = terms @ np.linalg.lstsq(terms[isStar], logs[isStar], rcond=None)[0]
        isStar = np.asarray(np.abs(logs - model) <= WIDTH_TOLERANCE)
    return isStar


def _chooseStars(exposure: Exposure, threads: int) -> AnyTable:
    """Detect sources, and return the brightest that are isolated and touch no unusable pixel."""
    usual = usualOptions()
    tasks = SourceDetectionTask(usual.selectDetection), SourceMeasurementTask(usual.selectMeasurement)
    sigma = DEFAULT_FWHM_PIX / SIGMA_TO_FWHM
    sources = getSelectSources(exposure, *tasks, usual.kernel.background, sigma, threads=threads)
    x, y, flux = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y", "flux"))
    isGood = ~np.asarray(sources["isNegative"]) & ~np.asarray(sources["badCentre"])
    for name in ("flagBad", "flagEdge", "flagNoData", "flagSaturated", "flagCosmicRay"):
        isGood &= ~np.asarray(sources[name])
    isGood &= np.asarray(sources["snr"]) > MIN_SNR
    widths = measureWidths(
        exposure.maskedImage, UNUSABLE_PLANES,
        np.where(isGood, x - exposure.xy0[0], np.nan), np.where(isGood, y - exposure.xy0[1], np.nan),
    )  # fmt: skip
    isStar = _isStar(widths, x, y, exposure.getBBox())
    fwhm = float(np.median(widths[isStar])) if isStar.any() else DEFAULT_FWHM_PIX
    chosen = []
    for i in np.flatnonzero(isStar):
        distance = np.hypot(x - x[i], y - y[i])
        isNear = (distance < NEIGHBOUR_FWHM * fwhm) & (distance > 0.0)
        if not (flux[isNear] > MAX_NEIGHBOUR_FLUX * flux[i]).any():
            chosen.append(i)
    return sources[np.array(chosen[:MAX_STARS], dtype=int)]

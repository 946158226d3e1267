"""The PSF of an image from its stars, as a function of position, where nothing else tells it.

An analytic profile, integrated over pixels, is fitted to all stars at once (`psfmatch.sources.starFit`), with
the flux, place and sky of each; its light is known to infinity, so that noise, neighbours and the sky's level do not
enter the sum of the PSF. What it leaves of the stars in the mean is added as far as it is more than noise.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import usualOptions
from psfmatch.errors import InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.images import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, Box, Exposure, GaussianPsf, MaskedImage
from psfmatch.images.weightImage import UNUSABLE_PLANES, weightImage
from psfmatch.io.sourceTable import AnyTable
from psfmatch.kernels import frameOf
from psfmatch.sources.background import subtractBackground
from psfmatch.sources.detection import SourceDetectionTask
from psfmatch.sources.finding import getSelectSources
from psfmatch.sources.measurement import TRUNCATED, SourceMeasurementTask
from psfmatch.sources.starFit import fitProfile, meanResidual
from psfmatch.sources.starProfile import (
    BETA,
    RATIO,
    SHARE,
    WIDTH,
    ProfileField,
    SourceField,
    lightRadius,
    termsAt,
)
from psfmatch.sources.starWidths import measureWidths, selectStarWidths
from psfmatch.threads import resolveThreads

__all__ = ["StarPsf", "psfFromStars", "psfOrStars"]

log = logging.getLogger("psfmatch.starPsf")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MIN_STARS = 3
MAX_STARS = 400
MIN_SNR = 20.0
FEWEST_STARS, ENOUGH_STARS, FAINT_SNR = 15, 60, 10.0
"""Where fewer stars than enough are above `MIN_SNR`, fainter ones take part down to this: they stand where no bright
one does. With less than the fewest, nothing tells faint stars from blends and galaxies."""
THRESHOLD = 5.0
"""Standard deviations above which sources are found."""
MODEL_ERROR = 0.05
"""Of the light of known sources, where others are looked for below it."""
NEIGHBOUR_FWHM = 2.5
MAX_NEIGHBOUR_FLUX = 0.2
"""No star has a neighbour of more than this share of its light within so many FWHM."""
NEAR_FWHM, FAR_FWHM, BRIGHT_NEIGHBOUR = 8.0, 15.0, 0.3
"""Sources farther off leave a star alone; those of more than this share of its light have wide wings."""
WIDTH_TOLERANCE = 0.07
"""Logarithm of a width over that of stars nearby; galaxies are farther off."""
WIDTH_ERROR = 2.0
"""Of that of a star, over its noise by its light: what a faint one may be off beside."""
STARS_PER_TERM = 3.0
"""Of the polynomials that widths follow."""
LIGHT = 0.9995
"""Share of the light out to which the PSF is drawn."""
MIN_HALF_FWHM, MAX_HALF_PIX = 2.5, 60


class StarPsf:
    """A PSF fitted to the stars of an image; its images have sum 1.

    Parameters
    ----------
    field
        The profile as a function of position.
    residual : (k, k)
        What it leaves of a star of flux 1, everywhere, in the middle of the PSF's images.
    half
        Half width of the images, pixels.
    position
        Mean of the stars' places, parent pixels.
    nStars
        From how many it was made.
    """

    def __init__(
        self, field: ProfileField, residual: FloatArray, half: int, position: tuple[float, float], nStars: int
    ) -> None:
        self._field, self._residual, self._half, self._position = field, residual, half, position
        self.nStars = nStars

    @property
    def order(self) -> int:
        """Order of the polynomials of position that the width follows."""
        return self._field.order

    @property
    def fwhm(self) -> float:
        """FWHM of the profile in the middle of the image, pixels."""
        return float(np.exp(self._middle()[WIDTH]))

    @property
    def beta(self) -> float:
        """Exponent of the Moffat profile; infinite for a Gaussian."""
        inverse = self._middle()[BETA]
        return math.inf if inverse < 1e-3 else float(1.0 / inverse)

    def getAveragePosition(self) -> tuple[float, float]:
        """Return the mean place of the stars, x and y in parent pixels."""
        return self._position

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels, centred on the middle pixel."""
        half, side = self._half, 2 * self._half + 1
        drawn = np.zeros((side, side), dtype=np.float32)
        shapes = self._field.shapes(np.array([x], dtype=np.float64), np.array([y], dtype=np.float64))
        _core.drawStars(drawn, [[half, half, 1.0, 0.0]], shapes, [1.5 * half])
        image = drawn.astype(np.float64)
        inner = min(half, self._residual.shape[0] // 2)
        rim = self._residual.shape[0] // 2 - inner
        image[half - inner : half + inner + 1, half - inner : half + inner + 1] += self._residual[
            rim : rim + 2 * inner + 1, rim : rim + 2 * inner + 1
        ]
        # What the profile lacks may be less than nothing, light is not.
        image = np.maximum(image, 0.0)
        return image / float(image.sum())

    def _middle(self) -> FloatArray:
        x, y = self._field.frame[:2]
        shape: FloatArray = self._field.shapes(np.array([x]), np.array([y]))[0]
        return shape


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
        # The width is that of stars on the image, to which the pixel has added its own variance.
        sigma = math.sqrt(max((fwhmPix / SIGMA_TO_FWHM) ** 2 - 1.0 / 12.0, 0.01))
        return GaussianPsf(sigma), f"a Gaussian of FWHM {fwhmPix:.2f} px, for {reason}"


def psfFromStars(exposure: Exposure, stars: AnyTable | None = None, threads: int | None = None) -> StarPsf:
    """Measure the PSF of an image.

    Parameters
    ----------
    exposure
        Not changed. Its own PSF is not asked.
    stars
        Positions x and y (parent pixels) of stars; by default they are found and chosen.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    psf : StarPsf
        It varies with the position as much as makes the stars most likely.

    Raises
    ------
    InsufficientKernelSourcesError
        If fewer than three stars can be used.
    """
    nThreads = resolveThreads(threads)
    found = _detected(exposure, nThreads)
    maskedImage = exposure.maskedImage
    sources, isStar, fwhm = _chosen(exposure, found, nThreads) if stars is None else _given(exposure, found, stars)
    nGiven = int(np.count_nonzero(isStar)) if stars is None else len(stars)
    _require(int(np.count_nonzero(isStar)), nGiven)
    weight = weightImage(maskedImage, UNUSABLE_PLANES, nThreads)
    isGood = weight > 0.0
    isNear = _areNear(sources, sources[isStar], fwhm)
    sources, isStar = sources[isNear], isStar[isNear]
    field = SourceField(_skyless(maskedImage, isGood, nThreads), weight, sources, isStar, nThreads)
    x0, y0 = maskedImage.xy0
    frame = frameOf(Box(0, 0, exposure.width, exposure.height))
    profile, isUsed = fitProfile(field, fwhm, frame, FAINT_SNR, partial(_hidden, maskedImage))
    nUsed = int(np.count_nonzero(isUsed))
    _require(nUsed, nGiven)
    x, y = field.stars[isUsed, :2].mean(axis=0).tolist()
    shape = profile.shapes(field.stars[isUsed, 0], field.stars[isUsed, 1])
    widest = shape[np.argmax(shape[:, WIDTH])]
    half = math.ceil(max(lightRadius(widest, LIGHT), MIN_HALF_FWHM * float(np.exp(widest[WIDTH]))))
    residual = meanResidual(field, profile, isUsed)
    inParent = ProfileField(profile.coefficients, frameOf(exposure.getBBox()), profile.second)
    psf = StarPsf(inParent, residual, min(half, MAX_HALF_PIX), (x + x0, y + y0), nUsed)
    wings = (
        f", {100 * shape[0, SHARE]:.1f} % of the light {np.exp(shape[0, RATIO]):.2f} times as wide"
        if profile.second
        else ""
    )
    log.info(
        "PSF from %d stars: FWHM %.2f px, beta %.1f%s, spatial order %d", nUsed, psf.fwhm, psf.beta, wings, psf.order
    )
    return psf


def _require(n: int, nGiven: int) -> None:
    if n < MIN_STARS:
        raise InsufficientKernelSourcesError(
            f"{n} of {nGiven} sources are isolated, unsaturated stars above {MIN_SNR:.0f} sigma, {MIN_STARS} are "
            "needed to measure the PSF; give a PSF or its FWHM",
            nSources=n,
            nRequired=MIN_STARS,
        )


def _isStar(widths: FloatArray, snr: FloatArray, x: FloatArray, y: FloatArray, box: Box) -> BoolArray:
    """Return which sources have the width of the stars at their place: a smooth function of the position.

    Bright ones tell it, and of faint ones their noise is borne with.
    """
    isBright = snr > MIN_SNR
    bright = np.where(isBright, widths, np.nan)
    isStar = selectStarWidths(bright)
    logs = np.where(np.isfinite(widths), np.log(np.where(np.isfinite(widths), widths, 1.0)), np.inf)
    model = np.full(x.size, np.median(logs[isStar]) if isStar.any() else np.nan)
    for order in (1, 1, 2, 2):
        terms = termsAt(x, y, frameOf(box), order)
        if np.count_nonzero(isStar) < STARS_PER_TERM * terms.shape[1]:
            break
        model = terms @ np.linalg.lstsq(terms[isStar], logs[isStar], rcond=None)[0]
        isStar = np.asarray(isBright & (np.abs(logs - model) <= WIDTH_TOLERANCE))
    tolerance = np.hypot(WIDTH_TOLERANCE, WIDTH_ERROR / np.maximum(snr, 1.0))
    return np.asarray(isStar | (~isBright & (np.abs(logs - model) <= tolerance)))


def _detected(exposure: Exposure, threads: int) -> AnyTable:
    """Return the sources of an image, brightest first."""
    usual = usualOptions()
    detection = SourceDetectionTask(replace(usual.selectDetection, thresholdValue=THRESHOLD))
    tasks = detection, SourceMeasurementTask(usual.selectMeasurement)
    sigma = DEFAULT_FWHM_PIX / SIGMA_TO_FWHM
    return getSelectSources(exposure, *tasks, usual.kernel.background, sigma, threads=threads)


def _skyless(maskedImage: MaskedImage, isGood: BoolArray, threads: int) -> npt.NDArray[np.float32]:
    """Return the image (h, w) without its sky, 0 where it is not good."""
    usual = usualOptions()
    try:
        image, _ = subtractBackground(maskedImage, usual.kernel.background, UNUSABLE_PLANES, threads)
    except ValueError:
        image = maskedImage.image - np.float32(np.median(maskedImage.image[isGood]))
    return np.where(isGood, image, np.float32(0))


def _hidden(maskedImage: MaskedImage, sources: SourceField, profile: ProfileField) -> FloatArray:
    """Return sources (n, 4) that show only without the light of those that are known."""
    residual = sources.residual(profile)
    light = np.float32(MODEL_ERROR) * (sources.image - residual)
    variance = np.where(sources.weight > 0.0, 1.0 / np.maximum(sources.weight, 1e-30), np.float32(0)) + light**2
    seen = MaskedImage(residual, maskedImage.mask, variance.astype(np.float32))
    options = replace(
        usualOptions().selectDetection,
        thresholdValue=THRESHOLD,
        thresholdType="pixel_stdev",
        reEstimateBackground=False,
        doTempLocalBackground=False,
    )
    sigma = float(np.exp(profile.coefficients[WIDTH, 0])) / SIGMA_TO_FWHM
    found = SourceDetectionTask(options).search(seen, sigma, threads=sources.threads).sources
    x, y, flux = (np.asarray(found[name], dtype=np.float64) for name in ("x", "y", "flux"))
    hidden = np.column_stack([x, y, np.maximum(flux, 0.0), np.zeros(x.size)])
    return hidden[_areNear(hidden, sources.stars[sources.isStar], sigma * SIGMA_TO_FWHM)]


def _areNear(sources: FloatArray, stars: FloatArray, fwhm: float) -> BoolArray:
    """Return which sources (n, 4) may have light on the pixels of any of the stars (m, 4)."""
    isNear = np.zeros(len(sources), dtype=bool)
    for star in stars:
        reach = fwhm * np.where(sources[:, 2] > BRIGHT_NEIGHBOUR * star[2], FAR_FWHM, NEAR_FWHM)
        isNear |= np.hypot(sources[:, 0] - star[0], sources[:, 1] - star[1]) < reach
    return isNear


def _states(exposure: Exposure, x: FloatArray, y: FloatArray, flux: FloatArray) -> FloatArray:
    """Return the state (n, 4) of sources at parent pixels x, y, from which the fit begins."""
    isFinite = np.isfinite(x) & np.isfinite(y) & np.isfinite(flux)
    x0, y0 = exposure.xy0
    states = np.column_stack([x - x0, y - y0, np.maximum(flux, 0.0), np.zeros(x.size)])
    states[~isFinite] = (-1e6, -1e6, 0.0, 0.0)
    return states


def _chosen(exposure: Exposure, sources: AnyTable, threads: int) -> tuple[FloatArray, BoolArray, float]:
    """Return all sources (n, 4), which of them are isolated stars without unusable pixels, and these' FWHM."""
    x, y, flux = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y", "flux"))
    isPositive = ~np.asarray(sources["isNegative"])
    isGood = isPositive & ~np.asarray(sources["badCentre"])
    for name in ("flagBad", "flagNoData", "flagSaturated", "flagCosmicRay"):
        isGood &= ~np.asarray(sources[name])
    # Where the border of the search cuts a source, the image goes on: near corners such stars alone tell the PSF.
    isGood &= ~np.asarray(sources["flagEdge"]) | ((np.asarray(sources["flags"]) & TRUNCATED) != 0)
    snr = np.asarray(sources["snr"], dtype=np.float64)
    isGood &= snr > FAINT_SNR
    widths = measureWidths(
        exposure.maskedImage, UNUSABLE_PLANES,
        np.where(isGood, x - exposure.xy0[0], np.nan), np.where(isGood, y - exposure.xy0[1], np.nan), threads=threads,
    )  # fmt: skip
    isStar = _isStar(widths, snr, x, y, exposure.getBBox())
    isBright = isStar & (snr > MIN_SNR)
    if np.count_nonzero(isBright) < FEWEST_STARS:
        isStar = isBright
    fwhm = float(np.median(widths[isBright])) if isBright.any() else DEFAULT_FWHM_PIX
    chosen: list[int] = []
    # Brightest first.
    for i in [*np.flatnonzero(isBright).tolist(), *np.flatnonzero(isStar & ~isBright).tolist()]:
        if len(chosen) == (MAX_STARS if isBright[i] else ENOUGH_STARS):
            break
        distance = np.hypot(x - x[i], y - y[i])
        isNear = (distance < NEIGHBOUR_FWHM * fwhm) & (distance > 0.0)
        if not (flux[isNear] > MAX_NEIGHBOUR_FLUX * flux[i]).any():
            chosen.append(i)
    isChosen = np.zeros(x.size, dtype=bool)
    isChosen[chosen] = True
    return _states(exposure, x, y, flux)[isPositive], isChosen[isPositive], fwhm


def _given(exposure: Exposure, sources: AnyTable, stars: AnyTable) -> tuple[FloatArray, BoolArray, float]:
    """Return the stars of a list, and behind them the other sources, (n, 4), which are which, and the stars' FWHM."""
    x, y = (np.asarray(stars[name], dtype=np.float64) for name in ("x", "y"))
    x0, y0 = exposure.xy0
    widths = measureWidths(exposure.maskedImage, UNUSABLE_PLANES, x - x0, y - y0)
    isStar = np.isfinite(widths)
    fwhm = float(np.median(widths[isStar])) if isStar.any() else DEFAULT_FWHM_PIX
    others = [np.asarray(sources[name], dtype=np.float64) for name in ("x", "y", "flux")]
    isOther = ~np.asarray(sources["isNegative"])
    for a, b in zip(x, y, strict=True):
        isOther &= np.hypot(others[0] - a, others[1] - b) > fwhm
    states = _states(exposure, x, y, np.zeros(x.size)), _states(exposure, *(values[isOther] for values in others))
    return np.concatenate(states), np.concatenate([isStar, np.zeros(len(states[1]), dtype=bool)]), fwhm

"""Errors of fluxes on a decorrelated difference, where it is not the sky that makes the noise.

Noise of the sky is white there. That of a source's own photons came with one of the two images alone, whose noise the
kernels have correlated, and the variance plane tells of single pixels only: a fit over the PSF sees less of what the
image that was not convolved brought, and much more of the other's (`psfmatch.difference.CorrectedPsf.photonNoise`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from psfmatch.images import MaskedImage
from psfmatch.kernels import PsfField
from psfmatch.kernels.psfField import shiftedImages
from psfmatch.transients.pointSources import PointSources, cutStamps

__all__ = ["withPhotonNoise"]

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]

RING_FWHM = (1.5, 2.5)
"""Radii of the ring whose variance is that of the surroundings: sky, or the light of a galaxy."""


def withPhotonNoise(
    sources: PointSources,
    difference: MaskedImage,
    weight: FloatImage,
    psf: PsfField,
    images: tuple[MaskedImage, MaskedImage],
    seen: tuple[float, float],
) -> PointSources:
    """Return sources with the errors that their own photons make.

    Parameters
    ----------
    sources
        Fitted on the difference.
    difference, weight, psf
        Decorrelated, with its weights (h, w) and its PSF.
    images
        Science image and template, one of them matched, on the difference's pixels and flux scale.
    seen : (science, template)
        `CorrectedPsf.photonNoise`: what the fit sees of the photon noise of either.
    """
    if not sources.x.size:
        return sources
    x, y = np.floor(sources.x + 0.5).astype(np.int64), np.floor(sources.y + 0.5).astype(np.int64)
    drawn = psf.images(sources.x + difference.xy0[0], sources.y + difference.xy0[1])
    shape = shiftedImages(drawn, sources.x - x, sources.y - y)[0]
    stamps = cutStamps(difference, weight, x, y, psf.half)
    weighted = shape * stamps.weights
    with np.errstate(all="ignore"):
        squares = weighted**2 / (weighted * shape).sum(axis=(1, 2))[:, None, None] ** 2
        told = _excess(squares, stamps.variances, stamps.weights > 0.0, psf)
        science, template = (
            _excess(squares, cut.variances, cut.weights > 0.0, psf)
            for cut in (cutStamps(image, weight, x, y, psf.half) for image in images)
        )
        variance = sources.fluxErr**2 - told
        return replace(sources, fluxErr=np.sqrt(np.maximum(variance, 0.0) + seen[0] * science + seen[1] * template))


def _excess(squares: FloatArray, variances: FloatArray, isGood: npt.NDArray[np.bool_], psf: PsfField) -> FloatArray:
    """Return what the variance (n, k, k) above that of the ring adds to that of a flux, (n,)."""
    offset = np.arange(-psf.half, psf.half + 1)
    distance = np.hypot(offset[:, np.newaxis], offset)
    ring = (distance >= RING_FWHM[0] * psf.fwhm) & (distance <= RING_FWHM[1] * psf.fwhm)
    around = np.where(isGood & ring, variances, np.nan)
    isKnown = np.isfinite(around).any(axis=(1, 2))
    level = np.zeros(len(variances))
    level[isKnown] = np.nanmedian(around[isKnown], axis=(1, 2))
    excess = np.maximum(variances - level[:, None, None], 0.0) * (distance < RING_FWHM[0] * psf.fwhm)
    return np.where(isKnown, (squares * excess).sum(axis=(1, 2)), 0.0)

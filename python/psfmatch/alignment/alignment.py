"""How a template lies on a science image, measured from the stars of both; and the template laid upon it so.

The WCSs, or equal array indices without them, say where a pixel p of the science image should lie in the template:
N(p). Stars say that it lies at N(A(p)), with a shift or an affine transform A in science pixels. Where that
is within half a pixel of a shift by whole pixels, pixels are copied and the matching kernel takes up the rest, for
resampling correlates the noise; otherwise the template is resampled once, by N and A together.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from psfmatch.alignment.asterisms import MAX_CHANCE, Match, matchStars
from psfmatch.alignment.centroids import StarPositions, findStars
from psfmatch.alignment.offsets import IDENTITY, Model, OffsetFits, Rows, asRows, displaced
from psfmatch.astrometry import PixelTransform, hasUsableWcs
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.sourceTable import AnyTable
from psfmatch.threads import mapThreads, resolveThreads
from psfmatch.warping import WarpedPsf, Warper, compareGrids, movedPsf, registerTemplate

__all__ = ["AlignedTransform", "Alignment", "applyAlignment", "measureAlignment"]

log = logging.getLogger("psfmatch.alignment")

FloatArray = npt.NDArray[np.float64]
Transform = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[FloatArray, FloatArray]]
Method = Literal["nominal", "pixels", "resampling"]

NO_ERRORS: Rows = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
TOLERANCE_PIX, SHARP_TOLERANCE_PIX = 0.5, 0.2
"""What a kernel moves stars by without leaving more residuals than resampling does: measured with stars of one width in
both images, and a kernel of Gaussians of 0.7, 1.5 and 3 pixels. From 2.5 px FWHM on half a pixel costs nothing, at
2.0 px already 0.3 px does."""
SHARP_FWHM_PIX = 2.3
MAX_OFFSET_PIX = 100.0
MAX_OFFSET_FRACTION = 0.1
"""The larger of both, the fraction of the longer side, is how far a WCS may be wrong."""
MODEL_NAMES: Mapping[Model, str] = {"none": "no correction", "shift": "a shift", "affine": "a shift and linear terms"}
GRID_SIDE = 9
"""Positions along each axis, borders included, at which offsets over the image are looked at."""


@dataclass(frozen=True)
class Alignment:
    """How a template lies on a science image beyond what the WCSs say.

    model : what the stars ask for: nothing, a shift, or an affine transform;
    method : what is done: "nominal", what the WCSs say and no more; "pixels", a shift by whole pixels; "resampling";
    reason : why, with the numbers compared;
    isFound : whether enough stars were recognised to tell; centre : (x, y) of the science image, parent pixels;
    affine : (2, 3), with p' - centre = affine (p - centre, 1), pixels of the science image: what lies at p there lies
        in the template where the WCSs put p';
    errors : (2, 3), one sigma of each term; pixelShift : whole pixels (x, y) from array indices of the science image to
        those of the template, for the method "pixels"; remainingPix : largest offset over the image, per axis, that is
        left to the kernel;
    nTemplateStars, nScienceStars, nMatched, nUsed : stars measured, recognised, and kept by the fit;
    rms : (x, y) scatter of the used stars about the model, pixels; modelRms : that per axis about each model.
    """

    model: Model
    method: Method
    reason: str
    isFound: bool
    centre: tuple[float, float]
    affine: Rows
    errors: Rows
    pixelShift: tuple[int, int]
    remainingPix: float | None
    nTemplateStars: int
    nScienceStars: int
    nMatched: int
    nUsed: int
    rms: tuple[float, float]
    modelRms: Mapping[str, float]

    @property
    def shift(self) -> tuple[float, float]:
        """Shift (x, y) at the centre of the image, pixels."""
        return self.affine[0][2], self.affine[1][2]

    @property
    def significance(self) -> Rows:
        """How many of its sigmas each term differs from that of no change; 0 for terms that are not fitted."""
        excess, errors = np.array(self.affine) - np.array(IDENTITY), np.array(self.errors)
        return asRows(np.divide(np.abs(excess), errors, out=np.zeros((2, 3)), where=errors > 0.0))

    def toDict(self) -> dict[str, Any]:
        """Return all fields as numbers, strings and lists, ready for JSON."""
        fields = asdict(self)
        fields["modelRms"] = dict(self.modelRms)
        return cast("dict[str, Any]", _listed(fields))

    @classmethod
    def fromDict(cls, fields: Mapping[str, Any]) -> Alignment:
        """Return the Alignment whose `toDict` gave the fields; ValueError for others."""
        names = set(cls.__dataclass_fields__)
        if set(fields) != names:
            raise ValueError(f"not the fields of an Alignment: {', '.join(sorted(set(fields) ^ names))}")
        values = {name: _tupled(value) for name, value in fields.items()}
        alignment = cls(**values)
        if alignment.method not in ("nominal", "pixels", "resampling") or np.shape(alignment.affine) != (2, 3):
            raise ValueError(f"method {alignment.method!r}, affine {alignment.affine!r} are not those of an Alignment")
        return alignment


class AlignedTransform:
    """Positions in parent pixels of the science image as those of the template: by the stars, then as without them.

    Parameters
    ----------
    template, science
        Exposures; their WCSs, or without both their xy0, give the nominal positions.
    alignment
        The correction; None for none.
    """

    def __init__(self, template: Exposure, science: Exposure, alignment: Alignment | None = None) -> None:
        self._nominal = _nominal(science, template)
        self._matrix = np.array(IDENTITY if alignment is None else alignment.affine)
        self._centre = (0.0, 0.0) if alignment is None else alignment.centre

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the positions (x, y) in pixels, arrays of the shape of the arguments; NaN where there is none."""
        return self._nominal(*displaced(self._matrix, self._centre, x, y))


def measureAlignment(
    template: Exposure,
    science: Exposure,
    *,
    tolerancePix: float | None = None,
    maxOffsetPix: float | None = None,
    templateSources: AnyTable | None = None,
    scienceSources: AnyTable | None = None,
    threads: int | None = None,
) -> Alignment:
    """Measure how a template lies on a science image.

    Parameters
    ----------
    template, science
        Not changed. Without a WCS on both, of any two shapes, equal array indices are the first guess.
    tolerancePix
        Offset (pixels, per axis) that is left to the matching kernel rather than resampling the template; by default
        0.5, or 0.2 where the stars of an image are narrower than 2.3 pixels.
    maxOffsetPix
        Largest offset searched, per axis; by default 100 pixels, or a tenth of the longer side if that is
        more, and without a WCS the difference of the shapes besides.
    templateSources, scienceSources
        Sources of the images if known: Tables with x and y in parent pixels, brightest first.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    alignment : Alignment
        With ``isFound`` False and the method "nominal" where too few stars are recognised.

    Raises
    ------
    InputImagesError
        If a WCS cannot be used.
    ValueError
        If a limit is negative.
    """
    if (tolerancePix is not None and not tolerancePix >= 0.0) or (maxOffsetPix is not None and not maxOffsetPix > 0.0):
        raise ValueError(f"tolerancePix is {tolerancePix}, maxOffsetPix {maxOffsetPix}: they must not be negative")
    onSky = all([hasUsableWcs(template), hasUsableWcs(science)])
    if maxOffsetPix is None:
        maxOffsetPix = max(MAX_OFFSET_PIX, MAX_OFFSET_FRACTION * max(science.shape))
        if not onSky:
            maxOffsetPix += max(abs(a - b) for a, b in zip(template.shape, science.shape, strict=True))
    scienceStars, templateStars = mapThreads(
        lambda given: findStars(given[0].maskedImage, given[1], threads=resolveThreads(None)),
        ((science, scienceSources), (template, templateSources)),
        threads,
    )
    if tolerancePix is None:
        isSharp = min(scienceStars.fwhm, templateStars.fwhm) < SHARP_FWHM_PIX
        tolerancePix = SHARP_TOLERANCE_PIX if isSharp else TOLERANCE_PIX
    onScience = _onScience(templateStars, template, science, maxOffsetPix)
    match = matchStars(scienceStars.positions, onScience.positions, float(science.image.size), maxOffsetPix)
    fits = OffsetFits(scienceStars, onScience, match, science.getBBox().centre) if match.isFound else None
    alignment = _chosen(template, science, fits, (len(onScience), len(scienceStars), match), tolerancePix)
    log.info("Alignment: %s", alignment.reason)
    return alignment


def applyAlignment(
    template: Exposure, science: Exposure, alignment: Alignment, warper: Warper | None = None
) -> Exposure:
    """Return the template on the science image's pixels, as the alignment says.

    Parameters
    ----------
    template, science
        Those that were measured; not changed.
    alignment
        From `measureAlignment` or `Alignment.fromDict`.
    warper
        Resamples the template where needed.

    Returns
    -------
    registered : Exposure
        With the science image's WCS, if any. With "nominal" what `psfmatch.warping.registerTemplate` returns.

    Raises
    ------
    InputImagesError
        With "nominal", as `registerTemplate`: without overlap, or if shapes differ without a WCS.
    """
    warper = Warper() if warper is None else warper
    if alignment.method == "nominal":
        return registerTemplate(template, science, warper)
    box = science.getBBox()
    if alignment.method == "resampling":
        transform = AlignedTransform(template, science, alignment)
        pixels = warper.warpMaskedImage(template.maskedImage, transform, box)
        psf = None if template.psf is None else WarpedPsf(template.psf, transform, warper)
    else:
        dx, dy = alignment.pixelShift
        psf = movedPsf(template.psf, (template.xy0[0] + dx - box.x0, template.xy0[1] + dy - box.y0))
        bare = Exposure(template.maskedImage)
        if (dx, dy) == (0, 0) and template.shape == science.shape:
            pixels = MaskedImage(template.image, template.mask, template.variance, xy0=science.xy0)
        else:
            pixels = warper.cropExposure(science.coordinates, bare, box, (dx, dy)).maskedImage
    return Exposure(pixels, science.coordinates, psf, template.photoCalib, template.filter, dict(template.metadata))


class _Indices:
    """Equal array indices of two images as positions in parent pixels."""

    def __init__(self, fromXY0: tuple[int, int], toXY0: tuple[int, int]) -> None:
        self._move = toXY0[0] - fromXY0[0], toXY0[1] - fromXY0[1]

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        return np.asarray(x, dtype=np.float64) + self._move[0], np.asarray(y, dtype=np.float64) + self._move[1]


def _chosen(
    template: Exposure,
    science: Exposure,
    fits: OffsetFits | None,
    stars: tuple[int, int, Match],
    tolerancePix: float,
) -> Alignment:
    """Return the alignment with what is to be done, and why."""
    nTemplate, nScience, match = stars
    box = science.getBBox()
    model: Model = "none" if fits is None else fits.best
    matrix = np.array(IDENTITY) if fits is None else fits.matrices[model]
    pixelShift, remaining = _leftOver(template, science, matrix)
    nominalShift, _ = _leftOver(template, science, np.array(IDENTITY))
    method: Method = "nominal"
    if fits is not None and remaining <= tolerancePix:
        comparison = compareGrids(template, science)
        isNominal = (comparison.shift if comparison is not None else (0, 0)) == pixelShift
        if not (isNominal and template.shape == science.shape):
            method = "pixels"
    elif fits is not None and model != "none":
        method = "resampling"
    if method == "nominal":
        pixelShift = nominalShift
    said = _why(fits, method, pixelShift, remaining, stars, tolerancePix)
    squares = np.full((0, 2), np.nan) if fits is None else fits.squares[model]
    rms = tuple(float(value) for value in np.sqrt(squares.mean(axis=0))) if len(squares) else (0.0, 0.0)
    return Alignment(
        model=model,
        method=method,
        reason=said,
        isFound=fits is not None,
        centre=(float(box.centre[0]), float(box.centre[1])),
        affine=asRows(matrix),
        errors=NO_ERRORS if fits is None else asRows(fits.errors[model]),
        pixelShift=pixelShift,
        remainingPix=remaining if fits is not None and math.isfinite(remaining) else None,
        nTemplateStars=nTemplate,
        nScienceStars=nScience,
        nMatched=len(match) if fits is not None else 0,
        nUsed=len(squares),
        rms=(rms[0], rms[1]),
        modelRms={} if fits is None else {name: fits.rms(name) for name in fits.merit},
    )


def _why(
    fits: OffsetFits | None,
    method: Method,
    pixelShift: tuple[int, int],
    remaining: float,
    stars: tuple[int, int, Match],
    tolerancePix: float,
) -> str:
    """Return the sentence that tells what was chosen, by which numbers, and what the others would have left."""
    nTemplate, nScience, match = stars
    if fits is None:
        isKnown = len(match) > 0 and match.chance < 1e3
        chance = f"where so many do {match.chance:.2g} times by accident, and less than {MAX_CHANCE:g} is believed"
        return (
            f"not measured; of {nTemplate} stars of the template and {nScience} of the science image {len(match)} "
            f"pairs agree, {chance if isKnown else 'no more than by accident'}: the template goes where its "
            "coordinates say."
        )
    model = fits.best
    matrix = fits.matrices[model]
    others = "; ".join(
        f"{MODEL_NAMES[name]}: {fits.rms(name):.3f} px, {fits.merit[name]:.0f}" for name in fits.merit if name != model
    )
    told = f"{int(fits.used.sum())} of {len(match)} matched stars ask for "
    if model == "none":
        told += "no correction of the coordinates"
    else:
        told += f"a shift of ({matrix[0, 2]:+.3f}, {matrix[1, 2]:+.3f}) px"
    if model == "affine":
        told += f" and linear terms of up to {np.abs(matrix - np.array(IDENTITY))[:, :2].max():.2e}"
    told += f": rms {fits.rms(model):.3f} px per axis, BIC {fits.merit[model]:.0f} ({others})"
    if method == "resampling":
        return (
            f"{told}; whole pixels would leave {remaining:.2f} px to the kernel, more than {tolerancePix:g} px: the "
            "template is resampled with the correction."
        )
    limit = f"whole pixels leave {remaining:.2f} px to the kernel, not more than {tolerancePix:g} px"
    if method == "pixels":
        return f"{told}; {limit}: the template is moved by ({pixelShift[0]}, {pixelShift[1]}) px, not resampled."
    if remaining <= tolerancePix:
        return f"{told}; {limit}: the template is left where it is."
    return f"{told}; the template goes where its coordinates say."


def _leftOver(template: Exposure, science: Exposure, matrix: FloatArray) -> tuple[tuple[int, int], float]:
    """Return the whole pixels between array indices of the images, and the largest offset (pixels) beyond them."""
    box = science.getBBox()
    x, y = np.meshgrid(
        np.linspace(box.x0 - 0.5, box.x1 - 0.5, GRID_SIDE), np.linspace(box.y0 - 0.5, box.y1 - 0.5, GRID_SIDE)
    )
    columns, rows = _nominal(science, template)(*displaced(matrix, box.centre, x, y))
    dx = (columns - template.xy0[0]) - (x - science.xy0[0])
    dy = (rows - template.xy0[1]) - (y - science.xy0[1])
    if not (np.isfinite(dx).all() and np.isfinite(dy).all()):
        return (0, 0), math.inf
    whole = round(float(dx.mean())), round(float(dy.mean()))
    return whole, float(max(np.abs(dx - whole[0]).max(), np.abs(dy - whole[1]).max()))


def _nominal(source: Exposure, target: Exposure) -> Transform:
    """Return where parent pixels of one image lie in another by the WCSs, or by array indices without both."""
    if hasUsableWcs(source) and hasUsableWcs(target):
        return PixelTransform(source.coordinates, target.coordinates)
    return _Indices(source.xy0, target.xy0)


def _onScience(stars: StarPositions, template: Exposure, science: Exposure, margin: float) -> StarPositions:
    """Return the stars of the template where the science image should have them, those within a margin (pixels)."""
    transform = _nominal(template, science)
    x, y = transform(stars.x, stars.y)
    right, above = transform(stars.x + 1.0, stars.y), transform(stars.x, stars.y + 1.0)
    # Errors in pixels of the template in those of the science image.
    scale = np.sqrt(np.abs((right[0] - x) * (above[1] - y) - (right[1] - y) * (above[0] - x)))
    box = science.getBBox()
    with np.errstate(invalid="ignore"):
        isNear = (x >= box.x0 - margin) & (x <= box.x1 + margin) & (y >= box.y0 - margin) & (y <= box.y1 + margin)
    isNear &= np.isfinite(scale)
    return StarPositions(x, y, stars.xErr * scale, stars.yErr * scale, stars.fwhm).select(isNear)


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(item) for item in value]
    return value


def _tupled(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_tupled(item) for item in value)
    return value

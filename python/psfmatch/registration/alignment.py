"""How a template lies on a science image, measured from the stars of both; and the template laid upon it so.

The WCSs, or equal array indices without them, say where a pixel p of the science image should lie in the template:
N(p). Stars say that it lies at N(A(p)), with a shift or an affine transform A in science pixels. Where that
is within half a pixel of a shift by whole pixels, pixels are copied and the matching kernel takes up the rest, for
resampling correlates the noise; otherwise the template is resampled once, by N and A together. A template without
coordinates that lies turned is first turned by right angles, or mirrored, which moves pixels and resamples nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from psfmatch.config.brief import Brief
from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, MaskedImage, hasUsableWcs
from psfmatch.io.sourceTable import AnyTable
from psfmatch.registration.centroids import findStars
from psfmatch.registration.grids import compareGrids, registerTemplate
from psfmatch.registration.laying import Found, Laid, layAnywhere, layNear, nominalTransform
from psfmatch.registration.offsets import IDENTITY, Model, OffsetFits, Rows, asRows, displaced
from psfmatch.registration.reasons import NOT_MEASURED, reasonOf
from psfmatch.registration.turns import TURNS, UNTURNED, Turn, turnBack, turned
from psfmatch.registration.warper import WarpedPsf, Warper, movedPsf
from psfmatch.threads import mapThreads, resolveThreads

__all__ = ["AlignedTransform", "Alignment", "applyAlignment", "measureAlignment"]

log = logging.getLogger("psfmatch.registration")

FloatArray = npt.NDArray[np.float64]
Method = Literal["nominal", "pixels", "resampling"]

TOLERANCE_PIX, SHARP_TOLERANCE_PIX = 0.5, 0.2
"""What a kernel moves stars by without leaving more residuals than resampling does: measured with stars of one width in
both images, and a kernel of Gaussians of 0.7, 1.5 and 3 pixels. From 2.5 px FWHM on half a pixel costs nothing, at
2.0 px already 0.3 px does."""
SHARP_FWHM_PIX = 2.3
MAX_OFFSET_PIX = 100.0
MAX_OFFSET_FRACTION = 0.1
"""The larger of both, the fraction of the longer side, is how far a WCS may be wrong."""
WHOLE_PIXEL_ERROR = 0.3
"""Of a shift that is known to a pixel, evenly spread."""
GRID_SIDE = 9
"""Positions along each axis, borders included, at which offsets over the image are looked at."""


@dataclass(frozen=True)
class Alignment(Brief):
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
    rms : (x, y) scatter of the used stars about the model, pixels; modelRms : that per axis about each model;
    turn : (2, 2) whole numbers: the template is turned by right angles, or mirrored, before all this, so that pixel q
        of the turned one is pixel turn q of the template, counted from the corner where q = (0, 0) lies; "the template"
        is the turned one above;
    foundBy : "near" the places that coordinates or array indices give, "patterns" of stars anywhere, or "correlation"
        of the light; hasCoordinates : whether both images have a WCS;
    isRefuted : whether the images demonstrably lie otherwise than array indices say, and nobody knows how.
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
    turn: Turn = UNTURNED
    foundBy: Found = "near"
    hasCoordinates: bool = True
    isRefuted: bool = False

    @property
    def shift(self) -> tuple[float, float]:
        """Shift (x, y) at the centre of the image, pixels."""
        return self.affine[0][2], self.affine[1][2]

    @property
    def isTurned(self) -> bool:
        """Whether the template was turned by right angles or mirrored."""
        return self.turn != UNTURNED

    @property
    def significance(self) -> Rows:
        """How many of its sigmas each term differs from that of no change; 0 for terms that are not fitted."""
        excess, errors = np.array(self.affine) - np.array(IDENTITY), np.array(self.errors)
        return asRows(np.divide(np.abs(excess), errors, out=np.zeros((2, 3)), where=errors > 0.0))

    def turnedFirst(self, template: Exposure) -> tuple[Exposure, Alignment]:
        """Return a template turned as this says, and how the turned one lies."""
        return turned(template, self.turn), replace(self, turn=UNTURNED)

    def requireLaid(self, template: Exposure, science: Exposure) -> None:
        """Raise InputImagesError if the images could not be laid upon each other: no kernel is to blame for the rest.

        Parameters
        ----------
        template, science
            Those that were measured.

        Raises
        ------
        InputImagesError
            Without coordinates on both, if nothing tells how images of different sizes lie, or if sources that are
            many enough in both agree neither in their places nor in any pattern.
        """
        isOtherShape = template.shape != science.shape and not self.hasCoordinates
        if not self.isFound and (self.isRefuted or isOtherShape):
            raise self.notLaid(template, science)

    def notLaid(self, template: Exposure, science: Exposure) -> InputImagesError:
        """Return the error that says that the images could not be laid upon each other."""
        isOtherShape = template.shape != science.shape and not self.hasCoordinates
        sizes = (
            f"they have different sizes, template {template.width}x{template.height}, science "
            f"{science.width}x{science.height} pixels, and no coordinates on both; "
            if isOtherShape
            else ""
        )
        return InputImagesError(
            f"The images could not be laid upon each other: {sizes}{self.reason.removeprefix(NOT_MEASURED)} Check that "
            "both show the same sky, or give both a WCS",
            templateShape=template.shape,
            scienceShape=science.shape,
            nTemplateStars=self.nTemplateStars,
            nScienceStars=self.nScienceStars,
        )

    def toDict(self) -> dict[str, Any]:
        """Return all fields as numbers, strings and lists, ready for JSON."""
        fields = asdict(self)
        fields["modelRms"] = dict(self.modelRms)
        return cast("dict[str, Any]", _listed(fields))

    @classmethod
    def fromDict(cls, fields: Mapping[str, Any]) -> Alignment:
        """Return the Alignment whose `toDict` gave the fields; ValueError for others. Missing ones have defaults."""
        names = set(cls.__dataclass_fields__)
        needed = {name for name, field in cls.__dataclass_fields__.items() if field.default is MISSING}
        if not needed <= set(fields) <= names:
            wrong = (needed - set(fields)) | (set(fields) - names)
            raise ValueError(f"not the fields of an Alignment: {', '.join(sorted(wrong))}")
        values = {name: _tupled(value) for name, value in fields.items()}
        alignment = cls(**values)
        if alignment.method not in ("nominal", "pixels", "resampling") or np.shape(alignment.affine) != (2, 3):
            raise ValueError(f"method {alignment.method!r}, affine {alignment.affine!r} are not those of an Alignment")
        if alignment.turn not in TURNS:
            raise ValueError(f"turn {alignment.turn!r} is not by right angles")
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
        self._turn = UNTURNED if alignment is None else alignment.turn
        self._nominal = nominalTransform(science, template, self._turn)
        self._matrix = np.array(IDENTITY if alignment is None else alignment.affine)
        self._centre = (0.0, 0.0) if alignment is None else alignment.centre
        self._shape, self._xy0 = template.shape, template.xy0

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the positions (x, y) in pixels, arrays of the shape of the arguments; NaN where there is none."""
        columns, rows = self._nominal(*displaced(self._matrix, self._centre, x, y))
        if self._turn == UNTURNED:
            return columns, rows
        columns, rows = turnBack(self._turn, self._shape, columns - self._xy0[0], rows - self._xy0[1])
        return columns + self._xy0[0], rows + self._xy0[1]


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
        more, and without a WCS the difference of the shapes besides; and where nothing is found so, any offset, turn
        and scale from 0.5 to 2, mirrored or not.
    templateSources, scienceSources
        Sources of the images if known: Tables with x and y in parent pixels, brightest first.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    alignment : Alignment
        With ``isFound`` False and the method "nominal" where too few stars are recognised; see `Alignment.requireLaid`.

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
    isAnywhere = maxOffsetPix is None
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
    laid = layNear(template, science, templateStars, scienceStars, maxOffsetPix)
    if isAnywhere:
        laid = layAnywhere(template, science, templateStars, scienceStars, laid, onSky, resolveThreads(threads))
    fits = None
    if laid.isFound and len(laid.match):
        centre, isTurned = science.getBBox().centre, laid.foundBy == "patterns"
        fits = OffsetFits(scienceStars, laid.onScience, laid.match, centre, isTurned)
    stars = len(laid.onScience), len(scienceStars)
    alignment = _chosen(template, science, fits, laid, stars, tolerancePix, onSky)
    log.info("Alignment: %s", alignment.reason, extra={"isDecision": True})
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
        With the science image's WCS, if any. With "nominal" what `psfmatch.registration.registerTemplate` returns.

    Raises
    ------
    InputImagesError
        With "nominal", as `registerTemplate`: without overlap, or if shapes differ without a WCS.
    """
    warper = Warper() if warper is None else warper
    if alignment.method == "nominal":
        return registerTemplate(template, science, warper)
    box = science.getBBox()
    template, alignment = alignment.turnedFirst(template)
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


def _chosen(
    template: Exposure,
    science: Exposure,
    fits: OffsetFits | None,
    laid: Laid,
    stars: tuple[int, int],
    tolerancePix: float,
    onSky: bool,
) -> Alignment:
    """Return the alignment with what is to be done, and why."""
    box = science.getBBox()
    model: Model = "none" if fits is None else fits.best
    matrix = np.array(IDENTITY) if fits is None else fits.matrices[model]
    errors = np.zeros((2, 3)) if fits is None else fits.errors[model]
    if fits is None and laid.isFound and laid.correlation is not None:
        # No source that could tell more than the correlation.
        model = "shift"
        matrix[:, 2], errors[:, 2] = laid.correlation.shift, WHOLE_PIXEL_ERROR
    pixelShift, remaining = _leftOver(template, science, matrix, laid.turn)
    nominalShift, _ = _leftOver(template, science, np.array(IDENTITY), laid.turn)
    shape = template.shape if laid.turn[0][0] else template.shape[::-1]
    method: Method = "nominal"
    if laid.isFound and remaining <= tolerancePix:
        comparison = compareGrids(template, science)
        isNominal = (comparison.shift if comparison is not None else (0, 0)) == pixelShift
        if not (isNominal and shape == science.shape and laid.turn == UNTURNED):
            method = "pixels"
    elif laid.isFound and (model != "none" or laid.turn != UNTURNED):
        method = "resampling"
    if method == "nominal":
        pixelShift = nominalShift
    squares = np.full((0, 2), np.nan) if fits is None else fits.squares[model]
    rms = tuple(float(value) for value in np.sqrt(squares.mean(axis=0))) if len(squares) else (0.0, 0.0)
    alignment = Alignment(
        model=model,
        method=method,
        reason="",
        isFound=laid.isFound,
        centre=(float(box.centre[0]), float(box.centre[1])),
        affine=asRows(matrix),
        errors=asRows(errors),
        pixelShift=pixelShift,
        remainingPix=remaining if laid.isFound and math.isfinite(remaining) else None,
        nTemplateStars=stars[0],
        nScienceStars=stars[1],
        nMatched=len(laid.match) if fits is not None else 0,
        nUsed=len(squares),
        rms=(rms[0], rms[1]),
        modelRms={} if fits is None else {name: fits.rms(name) for name in fits.merit},
        turn=laid.turn,
        foundBy=laid.foundBy,
        hasCoordinates=onSky,
        isRefuted=laid.isRefuted,
    )
    return replace(alignment, reason=reasonOf(alignment, fits, laid, remaining, tolerancePix))


def _leftOver(template: Exposure, science: Exposure, matrix: FloatArray, turn: Turn) -> tuple[tuple[int, int], float]:
    """Return the whole pixels between array indices of the images, and the largest offset (pixels) beyond them."""
    box = science.getBBox()
    x, y = np.meshgrid(
        np.linspace(box.x0 - 0.5, box.x1 - 0.5, GRID_SIDE), np.linspace(box.y0 - 0.5, box.y1 - 0.5, GRID_SIDE)
    )
    columns, rows = nominalTransform(science, template, turn)(*displaced(matrix, box.centre, x, y))
    dx = (columns - template.xy0[0]) - (x - science.xy0[0])
    dy = (rows - template.xy0[1]) - (y - science.xy0[1])
    if not (np.isfinite(dx).all() and np.isfinite(dy).all()):
        return (0, 0), math.inf
    whole = round(float(dx.mean())), round(float(dy.mean()))
    return whole, float(max(np.abs(dx - whole[0]).max(), np.abs(dy - whole[1]).max()))


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(item) for item in value]
    return value


def _tupled(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_tupled(item) for item in value)
    return value

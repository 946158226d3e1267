"""astropy's CCDData in and out, as plain arrays.

CCDData turns an integer mask into booleans and drops flags in arithmetic, so bit planes travel in ``flags``
with their names in ``meta``.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, FlagCollection, NDUncertainty, VarianceUncertainty
from astropy.wcs import WCS
from numpy.typing import NDArray

from psfmatch.errors import InputImagesError
from psfmatch.images.arrays import estimatedVariance
from psfmatch.images.mask import DEFAULT_BAD_PLANES, Mask
from psfmatch.io import (
    DEFAULT_MASK_PLANES,
    PHOTOCALIB_CARD,
    ImagePlanes,
    appendMetadata,
    asWcs,
    decodeMask,
    exactCard,
    fitsWcs,
    maskCards,
    photoCalibFromCards,
    planeOfName,
    readableHeader,
    readMetadata,
    shiftWcs,
    unitOf,
    xy0FromCards,
)

__all__ = ["ccdFromPlanes", "planesFromCcd"]

log = logging.getLogger("psfmatch.images")


def planesFromCcd(
    ccd: CCDData, gain: float | None = None, readNoise: float | None = None, useXY0: bool = False
) -> ImagePlanes:
    """Copy a CCDData into plain arrays.

    Parameters
    ----------
    ccd : `astropy.nddata.CCDData`
        The data; not changed.
    gain, readNoise : `float`, optional
        Used where there is no uncertainty, e-/count and e-.
    useXY0 : `bool`, optional
        Whether LTV1 and LTV2 of ``meta`` give the parent coordinates.

    Returns
    -------
    planes : `ImagePlanes`
        New arrays.

    Raises
    ------
    TypeError
        If the uncertainty is of an unknown kind.
    ValueError
        If its unit does not fit that of the data.
    InputImagesError
        If mask or flags have another shape than the data.
    """
    _requireShapes(ccd)
    with np.errstate(over="ignore"):
        image = np.array(ccd.data, dtype=np.float32, order="C")
    meta = readableHeader(ccd.meta)
    metadata = readMetadata(meta)
    if ccd.unit is not None and unitOf(metadata.get("BUNIT")) != ccd.unit:
        metadata["BUNIT"] = ccd.unit.to_string()
    if ccd.uncertainty is None:
        masked = None if ccd.mask is None else np.broadcast_to(np.asarray(ccd.mask, dtype=bool), image.shape)
        variance, source = estimatedVariance(image, masked, gain, readNoise, "CCDData")
        metadata["VARSRC"] = source
    else:
        variance, source = _variance(ccd.uncertainty, ccd.unit), type(ccd.uncertainty).__name__
    mask = _mask(ccd, image, variance)
    xy0 = xy0FromCards(meta) if useXY0 else (0, 0)
    filterName = metadata.pop("FILTER", None)
    return ImagePlanes(
        image=image,
        mask=None if mask is None else np.asarray(mask),
        maskPlanes=None if mask is None else mask.planes,
        variance=variance,
        xy0=xy0,
        wcs=_wcs(ccd, xy0),
        metadata=metadata,
        filter=None if filterName is None else str(filterName),
        photoCalib=photoCalibFromCards({**meta, "BUNIT": metadata.get("BUNIT", "")}),
        varianceSource=source,
    )


def ccdFromPlanes(planes: ImagePlanes, bad: NDArray[np.bool_], psf: NDArray[Any] | None) -> CCDData:
    """Copy plain arrays into a CCDData.

    Parameters
    ----------
    planes : `ImagePlanes`
        The arrays; not changed.
    bad : `numpy.ndarray` of `bool`
        Its mask, (h, w).
    psf : `numpy.ndarray` or None
        Image of the PSF.

    Returns
    -------
    ccd : `astropy.nddata.CCDData`
        New arrays.
    """
    # A FITS header: of a dict astropy cannot write long keywords that hold numbers.
    meta = fits.Header()
    appendMetadata(meta, {key: value for key, value in planes.metadata.items() if key != "BUNIT"})
    meta.extend(maskCards(planes.maskPlanes or {}))
    if planes.filter is not None:
        meta["FILTER"] = planes.filter
    if planes.photoCalib is not None:
        meta.append(exactCard(PHOTOCALIB_CARD, planes.photoCalib, "[nJy] flux of one count"), end=True)
    if planes.xy0 != (0, 0):
        meta["LTV1"], meta["LTV2"] = -planes.xy0[0], -planes.xy0[1]
    wcs = asWcs(planes.wcs)
    return CCDData(
        planes.image.copy(),
        unit=_unit(planes.metadata.get("BUNIT")),
        uncertainty=None if planes.variance is None else VarianceUncertainty(planes.variance.copy()),
        mask=bad,
        flags=None if planes.mask is None else planes.mask.copy(),
        wcs=None if wcs is None else shiftWcs(wcs, -planes.xy0[0], -planes.xy0[1]),
        meta=meta,
        psf=psf,
    )


def _requireShapes(ccd: CCDData) -> None:
    for name in ("mask", "flags"):
        plane = getattr(ccd, name, None)
        if plane is not None and np.ndim(plane) and np.shape(plane) != ccd.data.shape:
            raise InputImagesError(
                f"the {name} of the CCDData has shape {np.shape(plane)}, but its data {ccd.data.shape}",
                shape=ccd.data.shape,
                otherShape=np.shape(plane),
            )


def _variance(uncertainty: NDUncertainty, unit: units.UnitBase | None) -> NDArray[np.float32]:
    try:
        with np.errstate(divide="ignore"):
            # An inverse variance of 0 becomes an infinite, that is bad, variance.
            represented = uncertainty.represent_as(VarianceUncertainty)
    except TypeError as error:
        kind = type(uncertainty).__name__
        raise TypeError(
            f"an uncertainty of kind {kind} has no variance; use StdDevUncertainty, VarianceUncertainty "
            "or InverseVariance"
        ) from error
    values = represented.array
    if represented.unit is not None and unit is not None and represented.unit != unit**2:
        try:
            values = (values * represented.unit).to_value(unit**2)
        except units.UnitConversionError:
            raise ValueError(
                f"the variance of the uncertainty is in {represented.unit}, but the data are in {unit}; one of them is "
                "wrong"
            ) from None
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32, order="C")


def _mask(ccd: CCDData, image: NDArray[np.float32], variance: NDArray[np.float32]) -> Mask | None:
    masks = []
    # A plain NDData has no flags.
    flags = getattr(ccd, "flags", None)
    if isinstance(flags, FlagCollection):
        for name, flag in flags.items():
            plane = Mask(np.zeros(ccd.data.shape, dtype=np.int32))
            isSet = np.asarray(flag) != 0
            for one in filter(None, (str(name), planeOfName(str(name)))):
                plane[isSet] |= np.int32(1 << plane.addPlane(one))
            masks.append(plane)
    elif flags is not None:
        bits, planes = decodeMask(np.asarray(flags), ccd.meta, str(ccd.meta.get("TELESCOP", "")), "CCDData")
        masks.append(Mask(bits, planes))
    if ccd.mask is None and not masks:
        return None
    merged = Mask(
        np.zeros(ccd.data.shape, dtype=np.int32), {**DEFAULT_MASK_PLANES, **(masks[-1].planes if masks else {})}
    )
    for mask in masks:
        merged.merge(mask)
    if ccd.mask is not None and not _isOfAnyFlag(ccd.mask, flags):
        # What flags, values or variances say already is not said again as BAD: our own CCDData come back as they were.
        isFlagged = merged.hasAny([plane for plane in DEFAULT_BAD_PLANES if plane in merged.planes])
        known = isFlagged | ~np.isfinite(image) | ~(variance >= 0) | np.isinf(variance)
        bad = np.broadcast_to(np.asarray(ccd.mask, dtype=bool), ccd.data.shape)
        merged[bad & ~known] |= merged.getPlaneBitMask("BAD")
    return merged


def _isOfAnyFlag(mask: Any, flags: Any) -> bool:
    """Return whether a mask only repeats where flags are set, as in what CCDData.read makes of one HDU."""
    return isinstance(flags, np.ndarray) and np.array_equal(np.asarray(mask, dtype=bool), flags != 0)


def _wcs(ccd: CCDData, xy0: tuple[int, int]) -> WCS | None:
    wcs = None if ccd.wcs is None else fitsWcs(ccd.wcs, ccd.data.shape)
    return None if wcs is None else shiftWcs(wcs, *xy0)


def _unit(text: str | None) -> units.UnitBase:
    unit = unitOf(text)
    if unit is None and text is not None:
        log.warning("unit %r is not known to astropy; adu is used instead", text)
    return units.adu if unit is None else unit

"""Columns of the table of sources that a difference shows: its dipoles."""

from __future__ import annotations

import math

import numpy as np
from astropy.table import Table

from psfmatch.transients.dipoles import Dipole, DipoleControl, DipoleImage, fitDipole, pairPeaks
from psfmatch.transients.pointSources import PointSources

__all__ = ["addDipoles"]

_DIPOLE_COLUMNS = (
    "dipoleX", "dipoleY", "dipoleFlux", "dipoleFluxErr", "dipoleSeparation", "dipoleOrientation", "dipoleSnr",
    "dipoleChi2",
)  # fmt: skip


def addDipoles(
    table: Table,
    difference: DipoleImage,
    lobes: tuple[DipoleImage | None, DipoleImage | None],
    sources: PointSources,
    control: DipoleControl,
) -> None:
    """Add the columns of dipoles, for both lobes of every fitted pair."""
    significance, area = np.asarray(table["significance"]), np.asarray(table["area"])
    pairs = pairPeaks(sources.x, sources.y, significance, control.maxSeparation * difference.psf.fwhm)
    fits: dict[tuple[int, int], Dipole] = {}
    isTooLarge = np.zeros(len(table), dtype=bool)
    for positive, negative in pairs:
        if area[positive] + area[negative] > control.maxFootprintArea:
            isTooLarge[[positive, negative]] = True
            continue
        places = tuple((float(sources.x[i]), float(sources.y[i])) for i in (positive, negative))
        dipole = fitDipole(difference, *lobes, peaks=(places[0], places[1]), control=control)
        if dipole is not None:
            fits[positive, negative] = dipole
    number = np.zeros(len(table), dtype=np.int64)
    flag = np.zeros(len(table), dtype=bool)
    columns = {name: np.full(len(table), np.nan) for name in _DIPOLE_COLUMNS}
    x0, y0 = difference.maskedImage.xy0
    for i, (pair, fit) in enumerate(fits.items(), start=1):
        rows = list(pair)
        number[rows], flag[rows] = i, fit.isDipole
        flux = 0.5 * (fit.fluxPositive + fit.fluxNegative)
        error = 0.5 * math.hypot(fit.fluxPositiveErr, fit.fluxNegativeErr)
        values = (fit.x + x0, fit.y + y0, flux, error, fit.separation, fit.orientation, fit.signalToNoise, fit.chi2)
        for name, value in zip(_DIPOLE_COLUMNS, values, strict=True):
            columns[name][rows] = value
    table["dipoleId"] = number
    for name, numbers in columns.items():
        table[name] = numbers
    table["flagDipole"] = flag
    table["flagDipoleTooLarge"] = isTooLarge
    table.meta["NDIPOLE"] = int(np.count_nonzero(flag)) // 2

"""Measurements on detected sources that the choice of kernel stars needs."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from psfmatch.config import SourceMeasurementConfig
from psfmatch.exposure import Exposure
from psfmatch.task import Task, timeMethod

__all__ = ["SourceMeasurementTask"]

UNITS = {"x": "pix", "y": "pix", "a": "pix", "b": "pix", "ra": "deg", "dec": "deg"}
"""Units of the columns that have one; fluxes are in the unit of the image, which may have no name."""


class SourceMeasurementTask(Task):
    """Adds sky positions and a flag for sources whose centre is bad."""

    ConfigClass = SourceMeasurementConfig
    _DefaultName = "sourceMeasurement"

    @timeMethod
    def run(self, sources: Table, exposure: Exposure) -> Table:
        """Return the catalogue with ``ra``, ``dec`` (degrees; NaN without a WCS) and ``badCentre`` added.

        Parameters
        ----------
        sources
            Table with x and y in parent pixels.
        exposure
            The image they were found on.
        """
        measured = sources.copy()
        x, y = np.asarray(sources["x"], dtype=np.float64), np.asarray(sources["y"], dtype=np.float64)
        ra, dec = np.full(x.size, np.nan), np.full(x.size, np.nan)
        if exposure.wcs is not None and exposure.wcs.has_celestial and x.size:
            ra, dec = exposure.wcs.celestial.all_pix2world(x, y, 0)
        measured["ra"] = ra
        measured["dec"] = dec
        column = np.clip(np.floor(x + 0.5).astype(int) - exposure.xy0[0], 0, exposure.maskedImage.width - 1)
        row = np.clip(np.floor(y + 0.5).astype(int) - exposure.xy0[1], 0, exposure.maskedImage.height - 1)
        bits = exposure.mask.getPlaneBitMask(self.config.badMaskPlanes, ignoreMissing=True)
        measured["badCentre"] = (np.asarray(exposure.mask)[row, column] & bits) != 0
        for name in UNITS.keys() & set(measured.colnames):
            measured[name].unit = UNITS[name]
        return measured

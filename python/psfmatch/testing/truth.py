"""What is known about a simulated pair: sources, optics, kernel, background, noiseless images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from psfmatch.config.brief import Brief
from psfmatch.images import Box
from psfmatch.testing.mixtures import FloatArray, addSource, nearestPixel
from psfmatch.testing.optics import Optics, SmoothField

__all__ = ["Truth"]


@dataclass(frozen=True, eq=False)
class Truth(Brief):
    """The exact contents of a simulated pair. Positions are parent pixel coordinates of the science image.

    Parameters
    ----------
    box : Box
        Pixels of both images.
    stars, galaxies : astropy.table.Table
        x, y, flux (science counts), templateFlux (template counts), and more; see
        `psfmatch.testing.catalogs`.
    transients : astropy.table.Table
        x, y, flux (science counts, negative when only the template shows it), signalToNoise (signed).
    template, science : array, shape (ny, nx)
        Noiseless images without transients, not clipped at the full well.
    matched : array, shape (ny, nx)
        What a perfect subtraction takes off the science image: `science` without variability, background
        included.
    optics : Optics
        Point-spread functions and kernel as Gaussian mixtures.
    """

    box: Box
    stars: Table
    galaxies: Table
    transients: Table
    template: NDArray[np.float32]
    science: NDArray[np.float32]
    matched: NDArray[np.float32]
    optics: Optics
    scienceSky: SmoothField
    templateSky: float

    def kernelImage(self, x: float, y: float, side: int = 31) -> FloatArray:
        """Matching kernel (side, side) at (x, y) as a correlation kernel, registration included.

        Its pixels sum to the flux ratio, up to the light beyond the stamp.
        """
        return self.optics.kernel(x, y).reflected().image(side)

    def kernelSum(self, x: float, y: float) -> float:
        """Science counts per template count at (x, y)."""
        return float(self.optics.kernelSum(x, y))

    def background(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Differential background in counts, science minus convolved template; x and y broadcast."""
        return self.scienceSky(x, y) - self.optics.kernelSum(x, y) * self.templateSky

    def templatePsfImage(self, x: float, y: float, side: int = 31) -> FloatArray:
        """Template star of unit flux at (x, y) on the side x side pixels around the one that holds (x, y).

        The position is the star's own in the template: the registration offset is not applied.
        """
        return self.optics.templatePsf(x, y).image(side, x - nearestPixel(x), y - nearestPixel(y))

    def sciencePsfImage(self, x: float, y: float, side: int = 31) -> FloatArray:
        """Science star of unit flux at (x, y) on the side x side pixels around the one that holds (x, y)."""
        return self.optics.sciencePsf(x, y).image(side, x - nearestPixel(x), y - nearestPixel(y))

    def transientImage(self) -> NDArray[np.float32]:
        """Noiseless image (ny, nx) of the transients alone as a perfect difference shows them, both signs."""
        image = np.zeros(self.box.shape, dtype=np.float32)
        for x, y, flux in self.transients.iterrows("x", "y", "flux"):
            addSource(image, (self.box.x0, self.box.y0), x, y, self.optics.sciencePsf(x, y).scaled(flux))
        return image

    def templateTransientImage(self) -> NDArray[np.float32]:
        """Noiseless image (ny, nx) of the transients that the template shows, template counts, positive."""
        image = np.zeros(self.box.shape, dtype=np.float32)
        dx, dy = self.optics.offset
        for x, y, flux in self.transients.iterrows("x", "y", "flux"):
            if flux < 0:
                psf = self.optics.templatePsf(x, y).scaled(-flux / self.kernelSum(x, y))
                addSource(image, (self.box.x0, self.box.y0), x + dx, y + dy, psf)
        return image

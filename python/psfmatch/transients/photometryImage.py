"""Images of before the subtraction, on the difference's pixels and flux scale: forced fluxes, and dipoles' lobes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from psfmatch.config.brief import Brief
from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, MaskedImage, atOrigin, weightImage, withUsableBorder
from psfmatch.kernels import PsfField
from psfmatch.transients.dipoles import DipoleImage
from psfmatch.transients.pointSources import forcedPhotometry

__all__ = ["PhotometryImage", "addForced", "lobeImage"]


@dataclass(frozen=True)
class PhotometryImage(Brief):
    """An image of before the subtraction, on the difference's pixels.

    psf : its own, None if it has that of the difference; scale : factor that brings its fluxes to the difference's.
    """

    exposure: Exposure | MaskedImage
    psf: Any = None
    scale: float = 1.0


def lobeImage(
    image: PhotometryImage | Exposure | MaskedImage | None,
    own: PsfField,
    difference: MaskedImage,
    planes: tuple[str, ...],
    threads: int | None,
) -> DipoleImage | None:
    """Return an image of before the subtraction on the difference's flux scale, with its PSF."""
    if image is None:
        return None
    given = image if isinstance(image, PhotometryImage) else PhotometryImage(image)
    maskedImage = given.exposure.maskedImage if isinstance(given.exposure, Exposure) else given.exposure
    if maskedImage.shape != difference.shape:
        raise InputImagesError(
            f"an image of {maskedImage.width}x{maskedImage.height} pixels is given with a difference of "
            f"{difference.width}x{difference.height}; it must lie on the difference's pixels (warp it first)",
            shape=maskedImage.shape,
            otherShape=difference.shape,
        )
    maskedImage = withUsableBorder(atOrigin(maskedImage, difference))
    if given.scale != 1.0:
        maskedImage = maskedImage.copy()
        maskedImage *= given.scale
    psf = own if given.psf is None else PsfField.of(given.psf, difference.getBBox())
    return DipoleImage(maskedImage, weightImage(maskedImage, planes, threads), psf)


def addForced(table: Table, name: str, image: DipoleImage | None) -> None:
    """Add flux and error on an image of before the subtraction."""
    flux, error = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if image is not None:
        forced = forcedPhotometry(image.maskedImage, image.psf, table["x"], table["y"], weight=image.weight)
        flux, error = np.asarray(forced["flux"]), np.asarray(forced["fluxErr"])
    table[f"{name}Flux"], table[f"{name}FluxErr"] = flux, error

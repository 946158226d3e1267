"""A masked image with what is known about it: sky coordinates, PSF, flux scale, filter and header cards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.config.equality import ByValue
from psfmatch.images.arrays import estimatedVariance, pixelsOf
from psfmatch.images.box import Box
from psfmatch.images.mask import DEFAULT_BAD_PLANES, Mask
from psfmatch.images.maskedImage import MaskedImage
from psfmatch.images.sampledPsfs import psfFromNodes, psfImageAt, psfOrNone, samplePsf
from psfmatch.images.weighting import weighted
from psfmatch.io import (
    Coordinates,
    DetectionPlanes,
    ImagePlanes,
    KernelTables,
    ReadOptions,
    Source,
    TangentPlane,
    asWcs,
    photoCalibFromCards,
    readPlanes,
    writePlanes,
)
from psfmatch.io.sourceTable import AnyTable

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

__all__ = ["Exposure"]


class Exposure(ByValue):
    """Masked image, coordinates, PSF and metadata.

    Parameters
    ----------
    maskedImage : `MaskedImage`
        The pixels; not copied.
    wcs : `astropy.wcs.WCS` or `psfmatch.io.TangentPlane`, optional
        Coordinates; its pixel (0, 0) is parent pixel (0, 0), so it holds for every `subset` too.
    psf : object, optional
        Anything with ``computeKernelImage(x, y)``, parent coordinates.
    photoCalib : `float`, optional
        Flux of one count, nJy.
    filter : `str`, optional
        Name of the filter.
    metadata : `dict`, optional
        Header cards and the like.

    Raises
    ------
    TypeError
        If ``maskedImage`` is not a `MaskedImage`, or ``wcs`` is not an astropy WCS.
    """

    def __init__(
        self,
        maskedImage: MaskedImage,
        wcs: Coordinates | None = None,
        psf: Any = None,
        photoCalib: float | None = None,
        filter: str | None = None,  # noqa: A002 - the name that users of LSST know
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(maskedImage, MaskedImage):
            raise TypeError(
                f"an Exposure is made from a MaskedImage, not from {type(maskedImage).__name__}; "
                "write Exposure(MaskedImage(array))"
            )
        if wcs is not None and not isinstance(wcs, TangentPlane):
            from astropy.wcs import WCS

            if not isinstance(wcs, WCS):
                raise TypeError(f"wcs is an astropy.wcs.WCS or None, not {type(wcs).__name__}")
        self.maskedImage = maskedImage
        self._coordinates = wcs
        self.psf = psf
        self.photoCalib = photoCalib
        self.filter = filter
        self.metadata: dict[str, Any] = {} if metadata is None else metadata
        self.source = ""
        """Name of the file it was read from; empty for what was made in memory."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickles of earlier versions hold a WCS under its own name.
        held = dict(state)
        held["_coordinates"] = held.pop("wcs", held.get("_coordinates"))
        vars(self).update(held)

    @property
    def image(self) -> NDArray[np.float32]:
        """Pixel values, (h, w); assignment copies into the existing array."""
        return self.maskedImage.image

    @image.setter
    def image(self, values: NDArray[Any]) -> None:
        self.maskedImage.image = values

    @property
    def mask(self) -> Mask:
        """Bit planes, (h, w); assignment copies into the existing array, planes matched by name."""
        return self.maskedImage.mask

    @mask.setter
    def mask(self, values: NDArray[Any]) -> None:
        self.maskedImage.mask = values

    @property
    def variance(self) -> NDArray[np.float32]:
        """Variance, (h, w); assignment copies into the existing array."""
        return self.maskedImage.variance

    @variance.setter
    def variance(self, values: NDArray[Any]) -> None:
        self.maskedImage.variance = values

    @property
    def xy0(self) -> tuple[int, int]:
        """Parent coordinates of the first pixel."""
        return self.maskedImage.xy0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (h, w)."""
        return self.maskedImage.shape

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.maskedImage.width

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.maskedImage.height

    @property
    def wcs(self) -> WCS | None:
        """Coordinates as astropy's WCS, made when they are first asked for."""
        self._coordinates = asWcs(self._coordinates)
        return self._coordinates

    @wcs.setter
    def wcs(self, wcs: Coordinates | None) -> None:
        self._coordinates = wcs

    @property
    def coordinates(self) -> Coordinates | None:
        """Coordinates as they are: a plain tangent plane, which needs no ``astropy.wcs``, or a WCS."""
        return self._coordinates

    @property
    def hasWcs(self) -> bool:
        """Whether there are celestial coordinates."""
        held = self._coordinates
        return held is not None and bool(held.has_celestial)

    def getBBox(self) -> Box:
        """Box of the pixels, parent coordinates."""
        return self.maskedImage.getBBox()

    def subset(self, box: Box) -> Exposure:
        """View of a part: shares the pixels, the WCS and the PSF, and copies the metadata.

        Parameters
        ----------
        box : `Box`
            The part, parent coordinates.

        Returns
        -------
        part : `Exposure`
            With ``xy0`` set to the corner of the box.

        Raises
        ------
        InputImagesError
            If the box is empty or reaches beyond the image.
        """
        return self._with(self.maskedImage.subset(box), self.coordinates)

    def withPixels(self, maskedImage: MaskedImage) -> Exposure:
        """Return other pixels with this exposure's WCS, PSF and calibration, and a copy of its metadata."""
        return self._with(maskedImage, self.coordinates)

    def copy(self) -> Exposure:
        """Copy everything but the PSF, which is never changed."""
        held = self._coordinates
        if held is not None and not isinstance(held, TangentPlane):
            held = held.deepcopy()
        return self._with(self.maskedImage.copy(), held)

    @classmethod
    def readFits(cls, path: Source, **options: Unpack[ReadOptions]) -> Exposure:
        """Read a FITS file of any of the layouts that `psfmatch.io.readPlanes` knows.

        Parameters
        ----------
        path : `str`, `os.PathLike`, `astropy.io.fits.HDUList` or binary file
            The file or its URL; brackets choose an HDU, as in ``file.fits[SCI]``.
        **options
            ``noise variance weight mask gain readNoise useXY0`` of `psfmatch.io.readPlanes`.

        Returns
        -------
        exposure : `Exposure`
            New arrays.

        Raises
        ------
        FileNotFoundError
            If a file does not exist.
        ExposureReadError
            If a file cannot be read.
        """
        return cls._fromPlanes(readPlanes(path, **options))

    def writeFits(
        self,
        path: str | os.PathLike[str],
        overwrite: bool = True,
        *,
        matched: NDArray[np.float32] | None = None,
        floor: NDArray[np.float32] | None = None,
        kernel: KernelTables | None = None,
        stamps: AnyTable | None = None,
        detection: DetectionPlanes | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Write image, mask, variance, coordinates, PSF and metadata.

        Images and grids of images come back as they were; a PSF of another kind is drawn at 5x5 positions.

        Parameters
        ----------
        path : `str` or `os.PathLike`
            Destination.
        overwrite : `bool`, optional
            Whether an existing file may be replaced.
        matched, floor, kernel, stamps, detection, config : optional
            What else goes into the file, see `psfmatch.io.writePlanes`.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is false.
        """
        writePlanes(
            path,
            self.toPlanes(withPsf=True),
            matched=matched,
            floor=floor,
            kernel=kernel,
            stamps=stamps,
            detection=detection,
            config=config,
            overwrite=overwrite,
        )

    @classmethod
    def fromArray(
        cls,
        image: ArrayLike,
        gain: float | None = None,
        readNoise: float | None = None,
        *,
        mask: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> Exposure:
        """Make an exposure from pixel values, with a variance as the file readers make it where none is given.

        Parameters
        ----------
        image : array_like
            Pixel values, (h, w); native float32 is kept, not copied. The unit of a `~astropy.units.Quantity` becomes
            BUNIT; what an array of numpy.ma or `astropy.utils.masked` masks becomes BAD.
        gain, readNoise : `float`, optional
            Gain, e-/count, and read noise, e-; without them the variance is estimated from the sky.
        mask, variance : array_like, optional
            As of `MaskedImage`.
        weight : array_like, optional
            A weight map, (h, w), in place of the variance: see `weightedBy`.

        Returns
        -------
        exposure : `Exposure`
            Without coordinates.

        Raises
        ------
        ValueError
            If variance and weight are both given.
        """
        if variance is not None and weight is not None:
            raise ValueError("give one of variance and weight, not both")
        pixels = pixelsOf(image)
        maskedImage = MaskedImage(image, mask, variance)
        metadata: dict[str, Any] = {}
        if variance is None and weight is None:
            bad = np.asarray(maskedImage.mask.hasAny("BAD"))
            maskedImage.variance, source = estimatedVariance(maskedImage.image, bad, gain, readNoise, "array")
            metadata["VARSRC"] = source
        if pixels.unit is not None:
            metadata["BUNIT"] = pixels.unit.to_string()
        exposure = cls(maskedImage, photoCalib=photoCalibFromCards(metadata), metadata=metadata)
        return exposure if weight is None else exposure.weightedBy(weight, gain, readNoise)

    def weightedBy(
        self, weight: ArrayLike | str | os.PathLike[str], gain: float | None = None, readNoise: float | None = None
    ) -> Exposure:
        """Return this exposure with the variance that a weight map tells, and NO_DATA where it is not positive.

        Parameters
        ----------
        weight : array_like, `str` or `os.PathLike`
            The map, (h, w), or its file: 1/variance, relative, or 0/1. Its pixels and the scatter of the image tell
            which, and the log says it.
        gain, readNoise : `float`, optional
            Gain, e-/count, and read noise, e-; with them the map says only where data are.

        Returns
        -------
        exposure : `Exposure`
            Shares the pixel values, coordinates and PSF; mask and variance are new.

        Raises
        ------
        InputImagesError
            If the map has another shape than the image.
        ExposureReadError
            If its file cannot be read.
        """
        return weighted(self, weight, gain, readNoise)

    @classmethod
    def fromCCDData(
        cls, ccd: CCDData, gain: float | None = None, readNoise: float | None = None, useXY0: bool = False
    ) -> Exposure:
        """Make an exposure from astropy's `~astropy.nddata.CCDData`.

        Parameters
        ----------
        ccd : `astropy.nddata.CCDData`
            Data; uncertainty of any kind; a mask, which becomes BAD unless something says why; flags, whose planes
            ``MP_name`` or ``MSKN`` cards of ``meta`` may name; coordinates of any kind (others than FITS's, such as
            gwcs, are written as TAN-SIP); an image or model as PSF; the unit. Never changed.
        gain, readNoise : `float`, optional
            Used where there is no uncertainty; without them the variance is estimated from the sky.
        useXY0 : `bool`, optional
            Whether LTV1 and LTV2 of ``meta`` give the parent coordinates.

        Returns
        -------
        exposure : `Exposure`
            New arrays.

        Raises
        ------
        TypeError
            If the uncertainty is of an unknown kind.
        """
        from psfmatch.images.ccd import planesFromCcd  # astropy.nddata takes a quarter of a second to import

        exposure = cls._fromPlanes(planesFromCcd(ccd, gain, readNoise, useXY0))
        exposure.psf = psfOrNone(getattr(ccd, "psf", None))
        return exposure

    def toCCDData(self, badPlanes: tuple[str, ...] = DEFAULT_BAD_PLANES) -> CCDData:
        """Make an astropy `~astropy.nddata.CCDData`.

        Parameters
        ----------
        badPlanes : `tuple` of `str`, optional
            Mask planes that make a pixel masked, besides values that are not finite and negative variances.

        Returns
        -------
        ccd : `astropy.nddata.CCDData`
            Copies of the data, with `~astropy.nddata.VarianceUncertainty`, boolean mask, the bit planes as
            ``flags`` (named in ``meta``, which is a FITS header), coordinates of the array itself, the image of the
            PSF at the centre, and the unit BUNIT, else adu.
        """
        from psfmatch.images.ccd import ccdFromPlanes

        psf = None if self.psf is None else psfImageAt(self.psf, *self.getBBox().centre)
        return ccdFromPlanes(self.toPlanes(), np.asarray(self.maskedImage.badPixels(badPlanes)), psf)

    def toPlanes(self, withPsf: bool = False) -> ImagePlanes:
        """Plain arrays and values for the writers; arrays are shared. The PSF is drawn only if asked for."""
        psf = None
        if withPsf and self.psf is not None:
            box = self.getBBox()
            psf = samplePsf(self.psf, box.x0, box.y0, box.x1 - 1, box.y1 - 1)
        return ImagePlanes(
            image=self.image,
            mask=np.asarray(self.mask),
            maskPlanes=dict(self.mask.planes),
            variance=self.variance,
            xy0=self.xy0,
            wcs=self.coordinates,
            metadata=self.metadata,
            filter=self.filter,
            photoCalib=self.photoCalib,
            psf=psf,
            source=self.source,
        )

    def __repr__(self) -> str:
        name = "" if self.filter is None else f", filter {self.filter}"
        return f"Exposure({self.getBBox()}{name}, {'with' if self.hasWcs else 'without'} WCS)"

    @classmethod
    def _fromPlanes(cls, planes: ImagePlanes) -> Exposure:
        mask = None if planes.mask is None else Mask(planes.mask, planes.maskPlanes)
        exposure = cls(
            MaskedImage(planes.image, mask, planes.variance, planes.xy0),
            planes.wcs,
            None if planes.psf is None else psfFromNodes(planes.psf),
            planes.photoCalib,
            planes.filter,
            planes.metadata,
        )
        exposure.source = planes.source
        return exposure

    def _with(self, maskedImage: MaskedImage, wcs: Coordinates | None) -> Exposure:
        other = type(self)(maskedImage, wcs, self.psf, self.photoCalib, self.filter, dict(self.metadata))
        other.source = self.source
        return other

"""Families of basis kernels: what a fit must know of the images that a kernel is made of.

A family is a subclass of `KernelBasis` that is registered under a name, by which a configuration chooses it. Our own
are `psfmatch.kernels.alardLupton` and `psfmatch.kernels.deltaFunctions`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch import config as configuration
from psfmatch.config import KernelOptions
from psfmatch.config.equality import ByValue

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = [
    "KERNEL_BASES",
    "KernelBasis",
    "kernelBasisClass",
    "makeKernelBasis",
    "makeKernelBasisList",
    "makeRegularizationMatrix",
    "registerKernelBasis",
    "renormalizeBasis",
    "requireOdd",
]

FloatArray = npt.NDArray[np.float64]
log = logging.getLogger("psfmatch.kernels.basis")


class KernelBasis(ByValue):
    """Basis images of a kernel and what a fit must know of them; a sequence of images, and an array where one is asked.

    Parameters
    ----------
    images : (n, h, w)
        Of odd sides.
    penalty : (n, n), optional
        H of the penalty lambda a^T H a on the coefficients a of a star's own kernel, whose strength is found by
        ``lambdaType``.

    Attributes
    ----------
    firstCarriesSum : `bool`
        The first image alone has a sum, so that a coefficient that does not vary keeps the flux scale of the whole
        field; False: the coefficients of all images vary.
    widthsFollowFwhm : `bool`
        The size of the kernel follows from the FWHMs of the PSFs, with ``scaleByFwhm``; False: it is ``kernelSize``.
    kind : `str`
        What the images are, in the plural.

    Examples
    --------
    A family of one's own, see `registerKernelBasis`:

    >>> class Boxes(KernelBasis):
    ...     @classmethod
    ...     def make(cls, options, targetFwhmPix=None, referenceFwhmPix=None):
    ...         sides = range(1, options.kernelSize + 1, 2)
    ...         return cls(renormalizeBasis([np.pad(np.ones((n, n)), (options.kernelSize - n) // 2) for n in sides]))
    """

    firstCarriesSum: ClassVar[bool] = True
    widthsFollowFwhm: ClassVar[bool] = False
    kind: ClassVar[str] = "functions"

    def __init__(self, images: npt.ArrayLike, penalty: npt.ArrayLike | None = None) -> None:
        self.images = np.ascontiguousarray(images, dtype=np.float64)
        if self.images.ndim != 3 or 0 in self.images.shape:
            raise ValueError(
                f"a basis is (n, height, width), at least one image; this has the shape {self.images.shape}"
            )
        self.penalty = None if penalty is None else np.ascontiguousarray(penalty, dtype=np.float64)

    @classmethod
    def make(
        cls, options: KernelOptions, targetFwhmPix: float | None = None, referenceFwhmPix: float | None = None
    ) -> Self:
        """Make the basis of a kernel's options.

        Parameters
        ----------
        options
            Of the kernel; `psfmatch.config.KernelOptions.own` gives the fields that this family alone has.
        targetFwhmPix, referenceFwhmPix
            FWHM in pixels of the image to convolve and of the image to match, None where unknown.
        """
        raise NotImplementedError(f"{cls.__name__} has no method make, which makes its images")

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a task keeps of the choice of the images."""
        return {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, height and width in pixels."""
        n, height, width = self.images.shape
        return n, height, width

    @property
    def sides(self) -> str:
        """Width and height of the kernel in words."""
        return f"{self.shape[2]}x{self.shape[1]}"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> FloatArray:
        image: FloatArray = self.images[index]
        return image

    def __iter__(self) -> Iterator[FloatArray]:
        return iter(self.images)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.images, dtype=dtype, copy=copy)

    def __str__(self) -> str:
        return f"Basis of {len(self)} {self.kind}: kernel {self.sides} px"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} {self.kind}, {self.sides} px)"


KERNEL_BASES: dict[str, type[KernelBasis]] = {}
"""Families by the name that a configuration's ``kernelBasisSet`` has."""


def registerKernelBasis(name: str, BasisClass: type[KernelBasis], **fields: Any) -> None:
    """Let configurations choose a family of basis kernels: ``config.kernel.name = name``.

    Parameters
    ----------
    name
        Of the family, a word.
    BasisClass
        Its class, whose `KernelBasis.make` is called with the options of the kernel. For configurations to pass to
        other processes it must be importable; importing its module must register it.
    **fields
        Of the configuration that this family alone has, of `lsst.pex.config`, by name. It has all fields of
        `psfmatch.PsfMatchConfig` besides; of the strength of a penalty those that it names (``lambdaValue`` and the
        like), with the defaults of `psfmatch.PsfMatchConfigDF` for the others.

    Raises
    ------
    ValueError
        If the name is no word, or another family has it.

    Examples
    --------
    >>> registerKernelBasis("boxes", Boxes)  # doctest: +SKIP
    >>> config = ImagePsfMatchTask.ConfigClass()  # doctest: +SKIP
    >>> config.kernel.name = "boxes"  # doctest: +SKIP
    """
    known = KERNEL_BASES.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (BasisClass.__module__, BasisClass.__qualname__):
        raise ValueError(f"the kernel basis {name!r} is {known.__qualname__} already; choose another name")
    configuration.addKernelConfig(name, BasisClass, fields)
    KERNEL_BASES[name] = BasisClass


def kernelBasisClass(options: KernelOptions) -> type[KernelBasis]:
    """Return the family that a kernel's options name; ValueError if nobody has registered it."""
    try:
        return KERNEL_BASES[options.kernelBasisSet]
    except KeyError:
        raise ValueError(
            f"the kernel basis {options.kernelBasisSet!r} is not registered here, only {', '.join(KERNEL_BASES)}; "
            "import the module that calls registerKernelBasis"
        ) from None


def makeKernelBasisList(
    config: PsfMatchConfig | KernelOptions,
    targetFwhmPix: float | None = None,
    referenceFwhmPix: float | None = None,
    basisDegGauss: Sequence[int] | None = None,
    basisSigmaGauss: Sequence[float] | None = None,
    metadata: MutableMapping[str, Any] | None = None,
) -> FloatArray:
    """Return the basis images (n, h, w) of `makeKernelBasis`, which has the same parameters."""
    return makeKernelBasis(config, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata).images


def makeKernelBasis(
    config: PsfMatchConfig | KernelOptions,
    targetFwhmPix: float | None = None,
    referenceFwhmPix: float | None = None,
    basisDegGauss: Sequence[int] | None = None,
    basisSigmaGauss: Sequence[float] | None = None,
    metadata: MutableMapping[str, Any] | None = None,
) -> KernelBasis:
    """Return the basis of the matching kernel.

    Parameters
    ----------
    config
        Active kernel configuration, such as a `PsfMatchConfigAL` or `PsfMatchConfigDF`, or the options read from it.
    targetFwhmPix, referenceFwhmPix
        FWHM in pixels of the image to convolve and of the image to match; without either, or with
        ``scaleByFwhm`` off, or if they are equal, the configured widths and kernel size are used as they are.
        Delta functions do not depend on them: their kernel has the configured size.
    basisDegGauss, basisSigmaGauss
        Degrees and widths (pixels) instead of the configured ones; for Gaussians only.
    metadata
        Receives ALBasisNGauss, ALBasisDegGauss, ALBasisSigGauss, ALKernelSize and ALBasisMode from Gaussians.

    Returns
    -------
    basis : KernelBasis
        Of (n, h, w) images. Gaussians: the first image sums to 1; all others sum to 0 and have a sum of squares of 1.
        Delta functions: image k has its one at column k % side of row k // side.

    Raises
    ------
    ValueError
        If the numbers of Gaussians, degrees and widths differ, or the kernel size is even.
    """
    options = KernelOptions.fromConfig(config)
    if basisDegGauss is not None:
        options = replace(options, alardDegGauss=tuple(basisDegGauss))
    if basisSigmaGauss is not None:
        options = replace(options, alardSigGauss=tuple(basisSigmaGauss))
    basis = kernelBasisClass(options).make(options, targetFwhmPix, referenceFwhmPix)
    log.debug("%s", basis)
    if metadata is not None:
        # One by one: the metadata of other frameworks know no update().
        for name, value in basis.metadata.items():
            metadata[name] = value
    return basis


def makeRegularizationMatrix(config: PsfMatchConfig | KernelOptions) -> FloatArray | None:
    """Return the penalty of a basis on the coefficients of a kernel, or None where there is none.

    Parameters
    ----------
    config
        Active kernel configuration. Of ours only a `PsfMatchConfigDF` with ``useRegularization`` has a penalty, H =
        B^T B on the roughness of the kernel: the differences of neighbouring pixels that ``regularizationType`` names,
        and ``regularizationBorderPenalty``.

    Returns
    -------
    hMat : (m, m) float64 or None
        Of the coefficients, and of the differential background, whose last row and column are zero, if
        ``fitForBackground`` is set.
    """
    options = KernelOptions.fromConfig(config)
    penalty = kernelBasisClass(options).make(options).penalty
    if penalty is None:
        return None
    return np.pad(penalty, (0, 1)) if options.fitForBackground else penalty


def renormalizeBasis(basis: npt.ArrayLike) -> FloatArray:
    """Give the first of (n, h, w) kernel images the sum 1, every other the sum 0 and a sum of squares of 1."""
    return _core.renormalizeBasis(np.asarray(basis, dtype=np.float64))


def requireOdd(kernelSize: int) -> None:
    """Raise ValueError unless a kernel of this size has a middle pixel."""
    if kernelSize % 2 == 0:
        raise ValueError(f"kernelSize is {kernelSize}; it must be odd so that the kernel has a middle pixel")

"""PSFs of other packages: photutils' models, and anything that is an image, as PSFs of ours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.images.psfModels import ImagePsf, Psf, normalizedImage

__all__ = ["ModelPsf", "asPsf", "averagePosition"]

FloatArray = npt.NDArray[np.float64]


class ModelPsf:
    """A PSF given by a 2-D model of astropy or photutils (``ImagePSF``, ``GriddedPSFModel``, ``MoffatPSF``, ...).

    Parameters
    ----------
    model
        Callable with x and y, with parameters ``x_0``, ``y_0`` and ``flux`` or ``amplitude``. Not changed.
    size
        Side of the PSF's image in pixels, odd; by default that of the model's data or bounding box.

    Raises
    ------
    TypeError
        If the model lacks these parameters.
    ValueError
        If the size is even, or has to be given.
    """

    def __init__(self, model: Any, size: int | None = None) -> None:
        if not _isModel(model):
            raise TypeError(
                f"{type(model).__name__} is no PSF model: it needs the parameters x_0, y_0 and flux or amplitude"
            )
        self._model = model.copy()
        setattr(self._model, "flux" if "flux" in model.param_names else "amplitude", 1.0)
        self._half = _halfSize(model) if size is None else size // 2
        if size is not None and size % 2 == 0:
            raise ValueError(f"a PSF image must have an odd size, not {size} pixels")

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the model at (x, y), sampled at the pixels about it, with sum 1."""
        model = self._model.copy()
        model.x_0, model.y_0 = x, y
        offset = np.arange(-self._half, self._half + 1)
        gridX, gridY = np.meshgrid(x + offset, y + offset)
        return normalizedImage(model(gridX, gridY))

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return the mean position of the stars or grid that the model was made from; None if it does not say."""
        positions = getattr(self._model, "grid_xypos", None)
        if positions is None:
            return None
        x, y = np.mean(np.asarray(positions, dtype=np.float64), axis=0)
        return float(x), float(y)


def asPsf(psf: Any) -> Psf:
    """Return a PSF: the argument, or a wrapper around an image or a model of another package.

    What ``photutils.psf.EPSFBuilder`` returns is taken for the model in it.

    Raises
    ------
    TypeError
        If nothing says how the PSF looks.
    """
    if isinstance(psf, Psf):
        return psf
    psf = getattr(psf, "epsf", psf)
    if _isModel(psf):
        return ModelPsf(psf)
    if isinstance(psf, np.ndarray):
        return ImagePsf(psf)
    raise TypeError(
        f"a PSF is an object with computeKernelImage(x, y), a photutils model or a 2-D array, not {type(psf).__name__}"
    )


def averagePosition(psf: Psf) -> tuple[float, float] | None:
    """Return the position at which a PSF calls itself typical (x, y), parent pixels; None if it does not say."""
    getter = getattr(psf, "getAveragePosition", None)
    position = None if getter is None else getter()
    return None if position is None else (float(position[0]), float(position[1]))


def _isModel(psf: Any) -> bool:
    names = set(getattr(psf, "param_names", ()))
    return callable(psf) and {"x_0", "y_0"} <= names and bool({"flux", "amplitude"} & names)


def _halfSize(model: Any) -> int:
    """Return half the side, in pixels, of the square on which a model is known."""
    data = getattr(model, "data", None)
    if data is not None:
        oversampling = np.broadcast_to(np.asarray(getattr(model, "oversampling", 1), dtype=np.float64), 2)
        return int(min((side - 1) / 2 // step for side, step in zip(np.shape(data)[-2:], oversampling, strict=True)))
    try:
        (yLow, yHigh), (xLow, xHigh) = model.bounding_box.bounding_box()
    except NotImplementedError:
        raise ValueError(
            f"{type(model).__name__} does not say how large it is; use ModelPsf(model, size=...)"
        ) from None
    return math.ceil(float(max(yHigh - yLow, xHigh - xLow)) / 2)

"""The usual kernel of a field, fitted once: for what must be known of the images before a kernel is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.errors import NumericalError
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.kernels.spatialFunction import makeSpatialFunction
from psfmatch.modelChoice.family import Fwhms, familyOf, kernelNorm
from psfmatch.modelChoice.layouts import ENOUGH_STARS, beginFit
from psfmatch.regions import makeRegions, usualModel
from psfmatch.regions.layout import unsolved

__all__ = ["fitUsualKernel"]


def fitUsualKernel(
    convolved: MaskedImage,
    other: MaskedImage,
    sources: Any,
    fwhms: Fwhms,
    options: KernelOptions,
    threads: int,
    noiseCorrelation: npt.NDArray[np.float64] | None = None,
) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
    """Return kernel and background of the model that serves most fields, chosen by nothing.

    Parameters are those of `chooseKernel`.

    Raises
    ------
    NoKernelCandidatesError
        If the images have no room for a region.
    KernelSolutionError
        If the model has no solution.
    """
    family = familyOf(*fwhms, other.shape, options.regions.halfWidth)
    family = family.upTo(family.usualDegrees)
    norm = kernelNorm(convolved, other, sources, family, options.badPlanes(), threads)
    layout = "stars" if len(sources) >= ENOUGH_STARS else "tiles"
    regions = replace(options.regions, kernelNorm=norm, layout=layout)
    own = replace(options, regions=regions)
    cells = makeRegions(convolved, other, own, family.kernelSize, sources, threads, noiseCorrelation)
    state = beginFit(cells, family)
    model = usualModel(family.images(family.usualDegrees), len(state))
    try:
        solution = state.system(model.highestOrder).solve(model)
    except NumericalError as error:
        raise unsolved(error) from error
    kernel = LinearCombinationKernel(
        state.basisList[list(model.images)], solution.kernel[list(model.images)], options.spatialModelType,
        frame=state.frame,
    )  # fmt: skip
    return kernel, makeSpatialFunction(options.spatialModelType, solution.background, state.frame)

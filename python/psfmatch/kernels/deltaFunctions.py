"""Delta functions: one free value for each pixel of the kernel, with a penalty on its roughness.

Becker et al. 2012, MNRAS 425, 1341.
"""

from __future__ import annotations

from typing import Self

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.kernels.basis import KERNEL_BASES, KernelBasis, requireOdd

__all__ = ["DeltaFunctionBasis"]


class DeltaFunctionBasis(KernelBasis):
    """Image k has its one at column k % side of row k // side; the kernel has the configured size."""

    firstCarriesSum = False
    kind = "delta functions"

    @classmethod
    def make(
        cls, options: KernelOptions, targetFwhmPix: float | None = None, referenceFwhmPix: float | None = None
    ) -> Self:
        """Make them, with the penalty that ``useRegularization`` asks for; the FWHMs say nothing of them."""
        size = options.kernelSize
        requireOdd(size)
        penalty = None
        if options.useRegularization:
            penalty = _core.makeRegularizationMatrix(
                size,
                size,
                kind=_core.RegularizationKind[options.regularizationType],
                stencil=options.centralRegularizationStencil,
                orders=list(options.forwardRegularizationOrders),
                borderPenalty=options.regularizationBorderPenalty,
            )
        return cls(_core.makeDeltaFunctionBasis(size, size), penalty)


KERNEL_BASES["delta-function"] = DeltaFunctionBasis

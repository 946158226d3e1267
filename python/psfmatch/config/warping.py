"""Configuration of the warp that brings the template onto the science image's pixel grid.

The choices are those of the resampling kernels of `psfmatch.registration`; nothing is computed here.
"""

from __future__ import annotations

from lsst.pex.config import ChoiceField, Config, Field, FieldValidationError

__all__ = ["WarperConfig"]

# Side of each resampling kernel (px): lanczosN reaches over 2N pixels, bilinear over 2.
_kernelSides = {"bilinear": 2, "lanczos3": 6, "lanczos4": 8, "lanczos5": 10}
_kernelDocs = {
    "bilinear": "bilinear interpolation, 2 px wide",
    "lanczos3": "Lanczos kernel of order 3, 6 px wide",
    "lanczos4": "Lanczos kernel of order 4, 8 px wide",
    "lanczos5": "Lanczos kernel of order 5, 10 px wide",
}


class WarperConfig(Config):
    """How the template is resampled."""

    warpingKernelName = ChoiceField[str](
        doc="Kernel that interpolates image and variance.",
        allowed=_kernelDocs,
        default="lanczos3",
        optional=False,
    )
    maskWarpingKernelName = ChoiceField[str](
        doc="Kernel over whose footprint mask planes are collected; not wider than the image kernel.",
        allowed={"": "the same kernel as for the image", **_kernelDocs},
        default="bilinear",
        optional=False,
    )
    interpLength = Field[int](
        doc=(
            "Spacing (px) of the lattice on which the coordinate transform is exact; in between it is "
            "interpolated linearly. 0 or less: exact at every pixel."
        ),
        default=10,
    )
    cacheSize = Field[int](
        doc=(
            "Number of sub-pixel positions for which the kernel's weights are tabulated; 0: weights are "
            "computed for each pixel."
        ),
        default=1000000,
        check=lambda size: size >= 0,
    )
    growFullMask = Field[int](
        doc=(
            "Mask bits that are collected over the footprint of the image kernel although the mask kernel is "
            "smaller; the default is the EDGE plane, bit 4."
        ),
        default=1 << 4,
        check=lambda bits: bits >= 0,
    )
    keepCentroids = Field[bool](
        doc=(
            "Change Lanczos weights so that their first four moments vanish, which keeps the centroids of stars to "
            "0.005 px and their fluxes to 1e-3; plain weights (False, as in the reference) move centroids by up to "
            "0.02 px. Without effect on bilinear interpolation."
        ),
        default=False,
    )

    def validate(self) -> None:
        """Check the fields, and that the mask kernel fits inside the image kernel."""
        super().validate()
        maskName = self.maskWarpingKernelName or self.warpingKernelName
        maskSide, imageSide = _kernelSides[maskName], _kernelSides[self.warpingKernelName]
        if maskSide > imageSide:
            raise FieldValidationError(
                type(self).maskWarpingKernelName,
                self,
                f"the mask kernel {maskName} ({maskSide} px) is wider than the image kernel "
                f"{self.warpingKernelName} ({imageSide} px); use a smaller one, or '' for the image kernel",
            )

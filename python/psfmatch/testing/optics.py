"""Point-spread functions and matching kernel of a simulated pair, varying smoothly over the field.

The template's function is a three-Gaussian fit to a Moffat profile of beta 3.5 (of the same width, within 3 %
of it out to twice that), or a sum of Gaussians that keeps its wings; the kernel has a core and a wing; the science
function is their convolution. Size and ellipticity of each are polynomials of order 2 in position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from psfmatch.config.brief import Brief
from psfmatch.images import Box
from psfmatch.testing.mixtures import FloatArray, GaussianMixture, circularFwhm, ellipse
from psfmatch.testing.options import FieldOptions

__all__ = ["FieldPsf", "Optics", "SmoothField", "makeOptics", "randomField"]

MOFFAT_WEIGHTS = np.array([0.3963, 0.4999, 0.1038])
MOFFAT_SIGMAS = np.array([0.365, 0.61, 1.09])  # in units of the full width at half maximum
WING_WEIGHTS = np.array([0.332580, 0.506814, 0.139806, 0.018703, 0.001935, 0.000162])
WING_SIGMAS = np.array([0.355, 0.5685, 0.9178, 1.4963, 2.4495, 4.3131])  # within 3 % out to 12 widths
KERNEL_WEIGHTS = np.array([0.92, 0.08])
KERNEL_VARIANCES = np.array([1.0, 4.0])  # relative to the core
LEAST_SIGMA = 0.8  # px; below it the pixel grid no longer holds a Gaussian's integral to 2e-5


@dataclass(frozen=True, eq=False)
class SmoothField:
    """Polynomial c . (1, u, v, u^2, u v, v^2) of positions u and v that run from -1 to 1 across a box."""

    coefficients: FloatArray  # (6,)
    box: Box

    def __call__(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Value at parent pixel coordinates; x and y broadcast."""
        centreX, centreY = self.box.centre
        u = (np.asarray(x, dtype=np.float64) - centreX) / (self.box.width / 2)
        v = (np.asarray(y, dtype=np.float64) - centreY) / (self.box.height / 2)
        c = self.coefficients
        value: FloatArray = c[0] + u * (c[1] + c[3] * u + c[4] * v) + v * (c[2] + c[5] * v)
        return value


def randomField(
    generator: np.random.Generator, box: Box, mean: float, peakToPeak: float, order: int = 2
) -> SmoothField:
    """Draw a field whose extremes over the box lie `peakToPeak` apart and centre on `mean`."""
    coefficients = generator.normal(size=6) * np.array([0.0, 1.0, 1.0, 0.5, 0.5, 0.5])
    coefficients[(order + 1) * (order + 2) // 2 :] = 0.0
    field = SmoothField(coefficients, box)
    x = box.x0 - 0.5 + np.linspace(0, box.width, 33)
    y = box.y0 - 0.5 + np.linspace(0, box.height, 33)
    values = field(x, y[:, None])
    spread = np.ptp(values)
    scale = peakToPeak / spread if spread > 0 else 0.0
    coefficients = coefficients * scale
    coefficients[0] = mean - scale * (values.max() + values.min()) / 2
    return SmoothField(coefficients, box)


@dataclass(frozen=True)
class FieldPsf:
    """A true point-spread function as an exposure carries it."""

    optics: Optics
    isScience: bool
    side: int = 41

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Image (side, side) of unit sum of a star at (x, y), centred on the middle pixel."""
        psf = self.optics.sciencePsf(x, y) if self.isScience else self.optics.templatePsf(x, y)
        image = psf.image(self.side)
        return image / float(image.sum())


@dataclass(frozen=True)
class Optics(Brief):
    """Template function, kernel and their product as functions of parent position; sizes in square pixels."""

    templateSize: SmoothField
    templateE1: SmoothField
    templateE2: SmoothField
    kernelSize: SmoothField
    kernelE1: SmoothField
    kernelE2: SmoothField
    kernelSum: SmoothField
    offset: tuple[float, float]
    moffatWings: bool = False

    def templatePsf(self, x: float, y: float) -> GaussianMixture:
        """Point-spread function of the template, unit integral."""
        size = float(self.templateSize(x, y))
        unit = ellipse(1.0, float(self.templateE1(x, y)), float(self.templateE2(x, y)))
        return _template(size, unit, self.moffatWings)

    def kernel(self, x: float, y: float) -> GaussianMixture:
        """Matching kernel as a convolution, registration included; its integral is the flux ratio."""
        size = float(self.kernelSize(x, y))
        unit = ellipse(1.0, float(self.kernelE1(x, y)), float(self.kernelE2(x, y)))
        dx, dy = self.offset
        return _kernel(size, unit).scaled(float(self.kernelSum(x, y))).shifted(-dx, -dy)

    def sciencePsf(self, x: float, y: float) -> GaussianMixture:
        """Point-spread function of the science image, unit integral, centred."""
        dx, dy = self.offset
        kernel = self.kernel(x, y).shifted(dx, dy)
        return self.templatePsf(x, y).convolved(kernel.scaled(1 / kernel.total))


def _template(size: float, unit: FloatArray, moffatWings: bool = False) -> GaussianMixture:
    weights, sigmas = (WING_WEIGHTS, WING_SIGMAS) if moffatWings else (MOFFAT_WEIGHTS, MOFFAT_SIGMAS)
    return GaussianMixture(weights, np.zeros((len(weights), 2)), (sigmas**2 * size)[:, None] * unit)


def _kernel(size: float, unit: FloatArray) -> GaussianMixture:
    return GaussianMixture(KERNEL_WEIGHTS, np.zeros((2, 2)), (KERNEL_VARIANCES * size)[:, None] * unit)


def _kernelSizeFor(templateFwhm: float, scienceFwhm: float, moffatWings: bool) -> float:
    """Core variance in px^2 of the kernel that widens a round template to the science width."""
    template = _template(templateFwhm**2, ellipse(1.0), moffatWings)
    low, high = 0.0, scienceFwhm**2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        wide = template.convolved(_kernel(middle, ellipse(1.0)))
        low, high = (middle, high) if circularFwhm(wide) < scienceFwhm else (low, middle)
    return (low + high) / 2


def makeOptics(options: FieldOptions, box: Box, generator: np.random.Generator) -> Optics:
    """Draw the optics of a pair.

    Raises
    ------
    ValueError
        When a component would be too narrow for the pixel grid somewhere in the field.
    """
    narrow, wide = (options.scienceFwhm * (1 + sign * options.scienceVariation / 2) for sign in (-1, 1))
    sizes = [_kernelSizeFor(options.templateFwhm, fwhm, options.moffatWings) for fwhm in (narrow, wide)]
    # The square of a width varies, to first order, by twice the relative variation of the width.
    templateSize = randomField(
        generator, box, options.templateFwhm**2, 2 * options.templateVariation * options.templateFwhm**2
    )
    e1, e2, kernelE1, kernelE2 = (randomField(generator, box, 0.0, np.sqrt(2) * options.ellipticity) for _ in range(4))
    kernelSize = randomField(generator, box, sum(sizes) / 2, sizes[1] - sizes[0])
    kernelSum = randomField(generator, box, options.fluxRatio, options.fluxRatio * options.fluxRatioVariation)
    optics = Optics(
        *(templateSize, e1, e2, kernelSize, kernelE1, kernelE2, kernelSum), options.offset, options.moffatWings
    )
    for x in box.x0 + np.linspace(0, box.width - 1, 9):
        for y in box.y0 + np.linspace(0, box.height - 1, 9):
            for what, mixture in (("template", optics.templatePsf(x, y)), ("kernel", optics.kernel(x, y))):
                if mixture.narrowestSigma < LEAST_SIGMA:
                    raise ValueError(
                        f"the narrowest Gaussian of the {what} has sigma {mixture.narrowestSigma:.2f} px at "
                        f"({x:.0f}, {y:.0f}), below the {LEAST_SIGMA} px that the pixel grid holds: "
                        f"{'raise templateFwhm' if what == 'template' else 'raise scienceFwhm'} "
                        "or lower its variation or the ellipticity"
                    )
    return optics

"""Use kernel basis functions of your own: shapelets of one width in place of three Gaussians times polynomials.

    python examples/customBasis.py [--size PIX] [--degree N]

Gauss-Hermite functions (shapelets; Refregier 2003, MNRAS 338, 35) are orthogonal and have one width, so that they
need fewer functions than the usual basis and reach less far into the kernel's wings. They are one class and one
registration; configurations then choose them by name, those of `psfmatch.subtract` too. Both bases subtract the same
simulated pair; the table says how well. Any (n, height, width) array can take the place of the shapelets.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from lsst.pex.config import RangeField
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray

from psfmatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.images import SIGMA_TO_FWHM
from psfmatch.kernels import KernelBasis, registerKernelBasis, renormalizeBasis
from psfmatch.testing import SimulatedPair, backgroundPull, simulatePair, starPull


def makeShapelets(size: int, sigma: float, degree: int) -> NDArray[np.float64]:
    """Return the shapelets of width `sigma` (px) up to a total degree, (n, size, size), the Gaussian first."""
    offset = (np.arange(size) - size // 2) / sigma
    orders = [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]
    profiles = [hermval(offset, np.eye(degree + 1)[order]) * np.exp(-0.5 * offset**2) for order in range(degree + 1)]
    return np.array([np.outer(profiles[j], profiles[i]) for i, j in orders])


class Shapelets(KernelBasis):
    """Shapelets of the width that turns one Gaussian PSF into the other, 1 px at least."""

    @classmethod
    def make(cls, options: Any, targetFwhmPix: float | None = None, referenceFwhmPix: float | None = None) -> Shapelets:
        """Make those of the configured size and degree; of unknown FWHMs those of 1 px."""
        width = math.sqrt(max(0.0, (referenceFwhmPix or 0.0) ** 2 - (targetFwhmPix or 0.0) ** 2)) / SIGMA_TO_FWHM
        images = makeShapelets(options.kernelSize, max(1.0, width), options.own("degree"))
        # The kernel sum must not vary with the field: the first function has the sum 1, all others 0.
        return cls(renormalizeBasis(images))


registerKernelBasis("shapelets", Shapelets, degree=RangeField(doc="Highest degree.", dtype=int, default=6, min=0))


def makeConfig(name: str) -> ImagePsfMatchConfig:
    """Return the configuration with a basis: a kernel of order 1 and a background of order 2."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = name
    config.kernel.active.update(spatialKernelOrder=1, spatialBgOrder=2, fitForBackground=True)
    return config


def describe(name: str, task: ImagePsfMatchTask, pair: SimulatedPair) -> str:
    """Subtract, and return a line of the table."""
    result = task.subtractExposures(pair.template, pair.science)
    kernel, centre = result.psfMatchingKernel, pair.science.getBBox().centre
    numbers = (
        f"{len(kernel.basis):>9}",
        f"{task.metadata['nGoodCandidates']:>5}",
        f"{kernel.kernelSum(*centre):>10.4f}",
        f"{backgroundPull(result.subtractedExposure, pair.truth):>11.3f}",
        f"{starPull(result.subtractedExposure, pair.truth)[0]:>11.3f}",
    )
    return f"{name:<22}" + " ".join(numbers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Subtract a simulated pair with both bases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=640, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--degree", type=int, default=6, help="highest degree of the shapelets (default: %(default)s)")
    options = parser.parse_args(arguments)

    pair = simulatePair(seed=1, size=options.size, brightStars=100, skySubtracted=True)
    print(f"{'basis':<22}{'functions':>9} {'stars':>5} {'kernel sum':>10} {'sky scatter':>11} {'star scatter':>11}")
    print(describe("Gaussians, default", ImagePsfMatchTask(config=makeConfig("AL")), pair))
    config = makeConfig("shapelets")
    config.kernel.active.degree = options.degree
    print(describe(f"shapelets, degree {options.degree}", ImagePsfMatchTask(config=config), pair))
    centre = pair.science.getBBox().centre
    print(f"True kernel sum {pair.truth.kernelSum(*centre):.4f}. Scatter is difference / sqrt(variance): 1 is ideal.")


if __name__ == "__main__":
    main()

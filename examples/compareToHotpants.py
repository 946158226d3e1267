"""Compare psfmatch's coefficients with those of HOTPANTS on a reference pair of nine stars.

    python examples/compareToHotpants.py TEMPLATE SCIENCE

The files are LSST masked images of 193x193 pixels: a noiseless template of nine stars and a noisy science image. Eight
cases are solved with the public parts of psfmatch (no task, no rejection), and printed in HOTPANTS' order and
normalisation: the kernel coefficients (spatial ones of a basis function together), the background last.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from psfmatch import Box, Exposure, PsfMatchConfigAL
from psfmatch.fit import BuildSingleKernelVisitor, BuildSpatialKernelVisitor, KernelCandidate
from psfmatch.kernels import makeKernelBasisList

STARS = ((32, 32), (96, 32), (160, 32), (96, 95), (31, 96), (160, 96), (96, 160), (160, 160), (32, 160))
STAMP_HALF_WIDTH = 24
CENTRE = 96.5  # positions are scaled to about [-1, 1], as HOTPANTS does

# HOTPANTS runs through the powers of y first, ours through the degrees.
KERNEL_ORDER = (0, 2, 5, 9, 1, 4, 8, 3, 7, 6)
# ours: 1; x, y; x^2, xy, y^2 - HOTPANTS: 1, y, y^2, x, xy, x^2
SPATIAL_ORDER = {0: (0,), 1: (0, 2, 1), 2: (0, 2, 5, 1, 4, 3)}
# Its basis functions differ from ours by these factors and signs (the last sign is the background's).
BASIS_SCALE = np.array(
    [
        *(1.0, 8.866037e-02, 1.218095e01, 5.099318e-03, 8.866037e-02),
        *(4.179772e-02, 1.138120e-02, 1.218095e01, 1.138120e-02, 5.099318e-03),
    ]
)
PARITY = np.array([1, -1, 1, -1, -1, 1, -1, 1, -1, -1, 1])


@dataclass(frozen=True)
class Case:
    """Which stars are fitted, with which spatial orders of kernel and background."""

    name: str
    stars: tuple[tuple[int, int], ...]
    kernelOrder: int
    backgroundOrder: int


CORNER = tuple((x, y) for x, y in STARS if x > 90 and y > 90)
CASES = (
    Case("A", ((160, 160),), 0, 0),
    Case("B", CORNER, 0, 0),
    Case("C", CORNER, 1, 0),
    Case("D", CORNER, 0, 1),
    Case("E", CORNER, 1, 1),
    Case("F", STARS, 0, 2),
    Case("G", STARS, 2, 0),
    Case("H", STARS, 2, 2),
)


def makeConfig(case: Case) -> PsfMatchConfigAL:
    """Return the configuration of the comparison: one Gaussian of sigma 3 px and degree 3, 19x19 pixels."""
    config = PsfMatchConfigAL()
    config.kernelSize = 19
    config.scaleByFwhm = False
    config.fitForBackground = True
    config.spatialModelType = "polynomial"
    config.alardNGauss = 1
    config.alardSigGauss = [3.0]
    config.alardDegGauss = [3]
    config.constantVarianceWeighting = True
    config.spatialKernelOrder = case.kernelOrder
    config.spatialBgOrder = case.backgroundOrder
    config.validate()
    return config


def solve(case: Case, template: Exposure, science: Exposure) -> tuple[np.ndarray, np.ndarray]:
    """Return the spatial coefficients (10, p) of the kernel and (q,) of the background, in HOTPANTS' convention."""
    config = makeConfig(case)
    basis = makeKernelBasisList(config)[list(KERNEL_ORDER)] / BASIS_SCALE[:, np.newaxis, np.newaxis]
    candidates = []
    for x, y in case.stars:
        box = Box(x - STAMP_HALF_WIDTH, y - STAMP_HALF_WIDTH, 2 * STAMP_HALF_WIDTH + 1, 2 * STAMP_HALF_WIDTH + 1)
        candidates.append(
            KernelCandidate(
                (x - CENTRE) / CENTRE,
                (y - CENTRE) / CENTRE,
                template.maskedImage.subset(box),
                science.maskedImage.subset(box),
                config,
            )
        )
    BuildSingleKernelVisitor(basis, config).processCandidates(candidates)
    spatial = BuildSpatialKernelVisitor(basis, Box(-1, -1, 3, 3), config)
    spatial.processCandidates(candidates)
    spatial.solveLinearEquation()
    kernel, background = spatial.getSolutionPair()
    kernelTerms = kernel.spatialParameters[:, SPATIAL_ORDER[case.kernelOrder]]
    backgroundTerms = background.parameters[list(SPATIAL_ORDER[case.backgroundOrder])]
    return kernelTerms * PARITY[:-1, np.newaxis], backgroundTerms * PARITY[-1]


def main() -> None:
    """Solve and print the eight cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("template", metavar="TEMPLATE")
    parser.add_argument("science", metavar="SCIENCE")
    options = parser.parse_args()
    # The origins in the files differ and mean nothing here: pixels correspond one by one.
    template, science = Exposure.readFits(options.template), Exposure.readFits(options.science)
    for case in CASES:
        kernel, background = solve(case, template, science)
        print(
            f"{case.name}: {len(case.stars)} star{'s' * (len(case.stars) > 1)}, kernel order {case.kernelOrder}, "
            f"background order {case.backgroundOrder}"
        )
        for index, terms in enumerate(kernel):
            # The first coefficient is constant over the field.
            shown = terms[:1] if index == 0 else terms
            print(f"  kernel {index}    " + " ".join(f"{value: .8f}" for value in shown))
        print("  background  " + " ".join(f"{value: .8f}" for value in background))


if __name__ == "__main__":
    main()

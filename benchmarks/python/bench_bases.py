"""What each kernel basis makes of one field: residuals of stars it has not seen, and its time.

    python benchmarks/python/bench_bases.py [--size 1024] [--stars 100] [--threads 2] [--only AL "DF + PCA"]

One simulated pair with a varying PSF. Two thirds of the isolated stars are given to the task; the others are judged:
difference / sqrt(variance) within 4 px of each, robust and plain standard deviation, for all of them together.
Every basis gets the same stars; the differential background is fitted; the rest is as in the default configuration.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from astropy.table import Table

from psfmatch import ImagePsfMatchTask, PsfMatchError
from psfmatch.sources.starSelection import chooseIsolatedStars
from psfmatch.testing import SimulatedPair, simulatePair

RADIUS = 4.0  # px
BASES = {
    "AL": ("AL", {}),
    "DF + PCA": ("DF", {}),
    "DF": ("DF", {"usePcaForSpatialKernel": False}),
    "DF, relative": ("DF", {"usePcaForSpatialKernel": False, "lambdaType": "relative"}),
    "DF, biased risk": ("DF", {"usePcaForSpatialKernel": False, "lambdaType": "minimizeBiasedRisk"}),
    "DF, unbiased risk": ("DF", {"usePcaForSpatialKernel": False, "lambdaType": "minimizeUnbiasedRisk"}),
    "DF, forward differences": (
        "DF",
        {"usePcaForSpatialKernel": False, "regularizationType": "forwardDifference"},
    ),
    "DF, not regularised": ("DF", {"usePcaForSpatialKernel": False, "useRegularization": False}),
    "DF + PCA, not regularised": ("DF", {"useRegularization": False}),
}


def splitStars(pair: SimulatedPair) -> tuple[Table, Table]:
    """Return the stars to fit and those withheld, every third, evenly over the brightness."""
    task = ImagePsfMatchTask()
    stars = chooseIsolatedStars(task.getSelectSources(pair.science), task.kConfig.kernelSize)
    isVariable = np.asarray(pair.truth.stars["isVariable"])
    variables = np.column_stack([pair.truth.stars["x"], pair.truth.stars["y"]])[isVariable]
    places = np.column_stack([stars["x"], stars["y"]]).astype(float)
    for x, y in variables:
        keep = np.hypot(*(places - (x, y)).T) > 20.0
        stars, places = stars[keep], places[keep]
    withheld = np.arange(len(stars)) % 3 == 1
    return stars[~withheld], stars[withheld]


def residuals(difference, stars: Table) -> np.ndarray:
    """Return difference / sqrt(variance) of all good pixels within `RADIUS` of the stars."""
    bits = difference.mask.getPlaneBitMask(("BAD", "SAT", "CR", "EDGE", "NO_DATA"))
    y, x = np.indices(difference.image.shape)
    near = np.zeros(difference.image.shape, dtype=bool)
    for starX, starY in stars.iterrows("x", "y"):
        near |= np.hypot(x - starX, y - starY) <= RADIUS
    good = near & ((np.asarray(difference.mask) & bits) == 0)
    pulls = difference.image[good] / np.sqrt(difference.variance[good])
    return pulls[np.isfinite(pulls)]


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--stars", type=float, default=100.0, help="bright stars per megapixel")
    parser.add_argument("--background", action="store_true", help="leave the skies in and fit their difference")
    parser.add_argument("--order", type=int, default=2, help="spatialKernelOrder")
    parser.add_argument("--only", nargs="+", choices=BASES, default=list(BASES))
    options = parser.parse_args()

    pair = simulatePair(
        seed=options.seed,
        size=options.size,
        brightStars=options.stars,
        skySubtracted=not options.background,
        backgroundOrder=2 if options.background else 0,
    )
    fitted, withheld = splitStars(pair)
    print(f"{options.size} px, {len(fitted)} stars to fit, {len(withheld)} withheld")
    print("| basis | robust | plain | kernel sum | candidates | seconds |\n|---|---|---|---|---|---|")
    ideal = residuals(pair.idealDifference(), withheld)
    print(f"| nothing can do better | {_robust(ideal):.3f} | {ideal.std():.3f} | | | |")
    for name in options.only:
        kernelName, changes = BASES[name]
        config = ImagePsfMatchTask.ConfigClass()
        config.kernel.name = kernelName
        config.kernel.active.update(fitForBackground=options.background, spatialKernelOrder=options.order, **changes)
        task = ImagePsfMatchTask(config=config, threads=options.threads)
        start = time.perf_counter()
        try:
            result = task.subtractExposures(pair.template, pair.science, candidateList=fitted)
        except PsfMatchError as error:
            print(f"| {name} | {type(error).__name__}: {error} |")
            continue
        seconds = time.perf_counter() - start
        pulls = residuals(result.subtractedExposure.maskedImage, withheld)
        kernelSum = result.psfMatchingKernel.kernelSum(*pair.science.getBBox().centre)
        nUsed = result.kernelFit.passes[-1].nUsed
        print(f"| {name} | {_robust(pulls):.3f} | {pulls.std():.3f} | {kernelSum:.4f} | {nUsed} | {seconds:.1f} |")


def _robust(pulls: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(pulls - np.median(pulls))))


if __name__ == "__main__":
    main()

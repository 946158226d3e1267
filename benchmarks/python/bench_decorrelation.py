"""Noise, errors, fluxes and PSF of decorrelated differences, and the error that the kernel itself brings.

    python benchmarks/python/bench_decorrelation.py [--size 1024] [--draws 16] [--ratios 1 10 100] [--only noise kernel]

noise: a field whose science PSF varies by 15 %, with its true kernel. For each ratio of variances (convolved over
unconvolved) and either direction, differences of pure noise, Poisson noise of the stars included, are decorrelated.
Printed are means over the draws: the largest correlation of pixels over the lags 1 and 2 along x, y and the diagonals,
before and after; mean square of difference / sqrt(variance) in cells of 256 x 256 pixels, lowest and highest, with the
error that a cell's number of pixels leaves; the same in the cores of stars that outshine the sky; flux and profile
of noiseless sources at nine places against the effective PSF, relative to flux and peak.

kernel: a field with more stars and new noise for each draw; the kernel is fitted with its covariance. Printed are
ratios of predicted to measured variance: of the kernel sum at the centre, and of the noiseless template through the
kernel, summed over the cores of stars by brightness. A covariance holds for the stars that were used; so none is
rejected, unless --clip is given.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from psfmatch import Exposure, ImagePsf, ImagePsfMatchTask, LinearCombinationKernel, MaskedImage, applyKernel
from psfmatch.difference import decorrelate
from psfmatch.difference.decorrelation.correction import fitField, fitPositions
from psfmatch.kernels import EdgeHandling, kernelUncertaintyPlane
from psfmatch.noise import measureWhiteness
from psfmatch.testing import SimulatedPair, simulatePair

LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2))
CELL = 256
GAIN, SKY_VARIANCE = 1.5, 100.0
FLUX = 1e4
N_PLANES = 3


def trueKernel(pair: SimulatedPair) -> LinearCombinationKernel:
    """Return the kernel of the truth, its pixels as polynomials of order 4."""
    images = np.array([pair.truth.kernelImage(x, y, 25) for x, y in zip(*fitPositions(pair.truth.box), strict=True)])
    basis, _ = fitField(images, pair.truth.box, 4)
    return LinearCombinationKernel(basis, np.eye(len(basis)), bbox=pair.truth.box)


def correlation(pulls: np.ndarray, dy: int, dx: int) -> float:
    """Return the correlation of pixels a lag apart."""
    height, width = pulls.shape
    first = pulls[: height - dy, max(0, -dx) : width - max(0, dx)]
    second = pulls[dy:, max(0, dx) : width - max(0, -dx)]
    return float(np.mean(first * second) / np.mean(pulls**2))


def subtracted(kernel, convolved, unconvolved, isScience) -> Exposure:
    """Return the difference in either direction."""
    if isScience:
        return applyKernel(kernel, unconvolved, convolved, convolved="science").difference
    return applyKernel(kernel, convolved, unconvolved, convolved="template").difference


def checkNoise(pair: SimulatedPair, ratio: float, isScience: bool, draws: int, complete: bool) -> str:
    """Return a row of the table of noise."""
    random, kernel = np.random.default_rng(7), trueKernel(pair)
    sources = [np.clip(scene, 0.0, 5e4) / GAIN for scene in (pair.truth.template, pair.truth.science)]
    variances = [
        (factor * (SKY_VARIANCE + light)).astype(np.float32)
        for factor, light in zip((ratio, 1.0), sources, strict=True)
    ]
    power, before, after, width, seconds = 0.0, [], [], [], 0.0
    for _ in range(draws):
        convolved, unconvolved = (
            MaskedImage(random.standard_normal(v.shape, dtype=np.float32) * np.sqrt(v), variance=v) for v in variances
        )
        difference = subtracted(kernel, convolved, unconvolved, isScience)
        start = time.process_time()
        result = decorrelate(
            difference, kernel, convolved, unconvolved, isScienceConvolved=isScience, completeVariance=complete
        )
        seconds += time.process_time() - start
        pulls, old = (
            (image.image / np.sqrt(image.variance)).astype(np.float64) for image in (result.exposure, difference)
        )
        good = ~result.exposure.mask.hasAny(("EDGE", "NO_DATA"))
        power = power + pulls**2
        inner = np.s_[32:-32, 32:-32]
        before.append([correlation(old[inner], *lag) for lag in LAGS])
        after.append([correlation(pulls[inner], *lag) for lag in LAGS])
        width.append(measureWhiteness(result.exposure).pullWidth)
    power = power / draws
    cells = [
        power[top : top + CELL, left : left + CELL][good[top : top + CELL, left : left + CELL]].mean()
        for top in range(0, power.shape[0], CELL)
        for left in range(0, power.shape[1], CELL)
    ]
    cores = good & (sources[1] > SKY_VARIANCE)
    fluxError, psfError = checkSources(pair, kernel, variances, isScience)
    columns = [
        f"{ratio:g}",
        "science" if isScience else "template",
        f"{result.kernel.shape[0]} px, {result.kernel.order}",
        f"{np.abs(np.mean(before, axis=0)).max():.4f}",
        f"{np.abs(np.mean(after, axis=0)).max():.4f}",
        f"{min(cells):.4f} to {max(cells):.4f} +- {np.sqrt(2.0 / CELL**2 / draws):.4f}",
        f"{power[cores].mean():.4f} +- {np.sqrt(2.0 / cores.sum() / draws):.4f}",
        f"{np.mean(width):.4f}",
        f"{fluxError:.1e}",
        f"{psfError:.1e}",
        f"{seconds / draws:.2f}",
    ]
    return "| " + " | ".join(columns) + " |"


def checkSources(pair, kernel, variances, isScience) -> tuple[float, float]:
    """Return the largest relative errors of flux and of profile (by peak) of sources of the unconvolved image."""
    box = pair.truth.box
    scene, places = np.zeros(box.shape), [np.linspace(0.12, 0.88, 3) * size for size in box.shape]
    centres = [(int(y), int(x)) for y in places[0] for x in places[1]]
    psf = ImagePsf(pair.truth.sciencePsfImage(*box.centre, 41))
    star = psf.computeKernelImage(0, 0)
    for y, x in centres:
        scene[y - 20 : y + 21, x - 20 : x + 21] = FLUX * star
    empty = MaskedImage(np.zeros(box.shape), variance=np.full(box.shape, np.median(variances[0])))
    bright = MaskedImage(scene, variance=np.full(box.shape, np.median(variances[1])))
    difference = subtracted(kernel, empty, bright, isScience)
    result = decorrelate(difference, kernel, empty, bright, psf=psf, isScienceConvolved=isScience)
    scale = -kernel.kernelSum(*box.centre) if isScience else 1.0
    errors = []
    for y, x in centres:
        wanted = result.psf.computeKernelImage(x, y)
        half = wanted.shape[0] // 2
        seen = result.exposure.image[y - half : y + half + 1, x - half : x + half + 1] * scale / FLUX
        errors.append((abs(seen.sum(dtype=np.float64) - 1.0), np.abs(seen - wanted).max() / wanted.max()))
    flux, profile = np.max(errors, axis=0)
    return float(flux), float(profile)


def checkKernel(pair: SimulatedPair, draws: int, clip: bool) -> None:
    """Print predicted over measured variances that come from the fit of the kernel."""
    random = np.random.default_rng(11)
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(
        calculateKernelUncertainty=True, fitForBackground=True, spatialKernelOrder=1, spatialBgOrder=0, doCopyEdge=True
    )
    if not clip:
        config.kernel.active.update(singleKernelClipping=False, kernelSumClipping=False, spatialKernelClipping=False)
    stars = pair.truth.stars
    steady = ~np.asarray(stars["isVariable"]) & ~np.asarray(stars["isSaturated"]) & np.asarray(stars["isBright"])
    scene = MaskedImage(pair.truth.template, variance=np.zeros(pair.truth.box.shape))
    matched, planes, sums, sigmas, seconds = [], [], [], [], 0.0
    for _ in range(draws):
        exposures = [
            Exposure(
                MaskedImage(
                    exposure.image + random.standard_normal(exposure.image.shape) * np.sqrt(exposure.variance),
                    exposure.mask,
                    exposure.variance,
                )
            )
            for exposure in (pair.template, pair.science)
        ]
        task = ImagePsfMatchTask(config=config)
        result = task.subtractExposures(*exposures, 2.6, 3.8, candidateList=stars[steady]["x", "y"])
        kernel = result.psfMatchingKernel
        if len(planes) < N_PLANES:
            start = time.process_time()
            variance = result.subtractedExposure.variance
            planes.append(kernelUncertaintyPlane(kernel, exposures[0].maskedImage, variance))
            seconds += time.process_time() - start
        matched.append(kernel.convolve(scene, EdgeHandling(copyEdge=True)).image.astype(np.float64))
        sums.append(kernel.kernelSum(*pair.truth.box.centre))
        sigmas.append(kernel.kernelSumSigma(*pair.truth.box.centre))
    print(f"\nkernel sum: predicted / measured variance {np.mean(np.square(sigmas)) / np.var(sums, ddof=1):.2f}")
    print(f"scatter of a ratio with {draws} draws and few independent errors: {np.sqrt(2.0 / draws):.2f} and less")
    measured, predicted = np.var(matched, axis=0, ddof=1), np.mean(planes, axis=0)
    noise = np.median(pair.science.variance)
    print(f"share of pixels computed {np.mean(predicted > 0):.2f}, {seconds / len(planes):.2f} s of CPU")
    print("| peak of the star / sky noise | stars | predicted / measured | share of the variance there |")
    print("|---|---|---|---|")
    y, x = np.indices(pair.truth.box.shape)
    peaks = {}
    for starX, starY in stars[steady].iterrows("x", "y"):
        core = np.hypot(x - starX, y - starY) <= 4.0
        if core.sum() > 45:
            peaks[pair.truth.matched[core].max() / np.sqrt(noise)] = core
    for low, high in ((50, 150), (150, 500), (500, 5000)):
        cores = [core for peak, core in peaks.items() if low <= peak < high]
        if cores:
            ratio = sum(predicted[core].sum() for core in cores) / sum(measured[core].sum() for core in cores)
            share = np.mean([(measured[core] / pair.science.variance[core]).mean() for core in cores])
            print(f"| {low} to {high} | {len(cores)} | {ratio:.2f} | {share:.3f} |")


def main() -> None:
    """Run the checks and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--ratios", type=float, nargs="+", default=[1.0, 10.0, 100.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--complete", action="store_true", help="completeVariance=True")
    parser.add_argument("--clip", action="store_true", help="let the fit of the kernel reject stars")
    parser.add_argument("--only", nargs="+", choices=("noise", "kernel"), default=["noise", "kernel"])
    options = parser.parse_args()
    pair = simulatePair(options.seed, options.size, noise=False, badFraction=0.0, transients=0, skySubtracted=True)
    if "noise" in options.only:
        print(
            "| variance ratio | convolved | correction | largest correlation before | after | power in cells "
            "| in stars | pull width | flux error | PSF error | seconds of CPU |"
        )
        print("|" + 11 * "---|")
        for ratio in options.ratios:
            for isScience in (False, True):
                print(checkNoise(pair, ratio, isScience, options.draws, options.complete), flush=True)
    if "kernel" in options.only:
        pair = simulatePair(
            options.seed, options.size, brightStars=120, noise=False, badFraction=0.0, transients=0, skySubtracted=True
        )
        checkKernel(pair, options.draws, options.clip)


if __name__ == "__main__":
    main()

"""Is the detector itself calibrated: sources of known flux on differences that nothing can beat.

    python benchmarks/python/bench_detection.py [--size 2048] [--seeds 4] [--sources 300] [--threads 2]

The difference is `SimulatedPair.idealDifference`: exact noiseless sources and the template's noise through the true
kernel are taken off, so whatever is wrong is the detector's. Variance planes are made of the noisy pixels, as surveys
make them. Printed: false detections above 5 sigma where nothing has changed beside those that Gaussian noise makes,
completeness near S/N 6 beside that of a filter at the true places, mean flux ratios and widths of the pulls, forced and
fitted, and the time on one field.
"""

from __future__ import annotations

import argparse
import logging
import math
import time

import numpy as np

from psfmatch import Exposure
from psfmatch.kernels import PsfField
from psfmatch.testing import falseDetections, simulatePair, transientFluxes
from psfmatch.testing.optics import FieldPsf
from psfmatch.transients import detectOnDifference, forcedPhotometry

MATCH_PIX = 3.0
CLEARANCE_PIX = 15.0
MARGIN_PIX = 32


def gaussianRate(threshold: float, sigma: float) -> float:
    """Return the maxima of one sign per megapixel above a threshold of noise filtered by a Gaussian of width sigma.

    (2 pi)^(-3/2) u exp(-u^2 / 2) sqrt(det Lambda) for high thresholds (Adler 1981), Lambda = 1 / (2 sigma^2) each way.
    """
    return 1e6 * (2 * math.pi) ** -1.5 * threshold * math.exp(-0.5 * threshold**2) / (2 * sigma**2)


def nearest(x, y, atX, atY):
    """Return the index of the nearest of (x, y) to each place, and its distance."""
    if len(x) == 0:
        return np.zeros(len(atX), dtype=int), np.full(len(atX), np.inf)
    distance = np.hypot(
        np.asarray(x)[None, :] - np.asarray(atX)[:, None], np.asarray(y)[None] - np.asarray(atY)[:, None]
    )
    return distance.argmin(axis=1), distance.min(axis=1)


def falseRate(sources, truth, shape):
    """Return detections per megapixel far from edges, transients and variable stars, unflagged, and the area."""
    variable = truth.stars[np.asarray(truth.stars["isVariable"])]
    xs = np.concatenate([truth.transients["x"], variable["x"]])
    ys = np.concatenate([truth.transients["y"], variable["y"]])
    _, distance = nearest(xs, ys, sources["x"], sources["y"])
    inside = (sources["x"] > MARGIN_PIX) & (sources["x"] < shape[1] - MARGIN_PIX)
    inside &= (sources["y"] > MARGIN_PIX) & (sources["y"] < shape[0] - MARGIN_PIX)
    isFalse = inside & (distance > CLEARANCE_PIX)
    area = (shape[0] - 2 * MARGIN_PIX) * (shape[1] - 2 * MARGIN_PIX) - len(xs) * math.pi * CLEARANCE_PIX**2
    flagged = np.asarray(sources["flagSaturated"]) | np.asarray(sources["flagMasked"])
    return int(isFalse.sum()), int((isFalse & ~flagged).sum()), area / 1e6


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sources", type=int, default=250, help="injected per field")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.getLogger("psfmatch").setLevel(logging.ERROR)

    pulls, ratios, weights, fitted, fittedWeights, fittedPulls, near6 = [], [], [], [], [], [], []
    nFalse, nClean, megapixels, floor, scales, seconds = 0, 0, 0.0, 0.0, [], []
    for seed in range(options.seeds):
        generator = np.random.default_rng(seed)
        # A tenth just at the threshold, the rest even in the logarithm from 10 to 100.
        faint = np.full(options.sources // 5, 6.0)
        wanted = np.concatenate([faint, 10.0 ** generator.uniform(1, 2, options.sources - faint.size)])
        signs = np.where(generator.random(wanted.size) < 0.3, -1.0, 1.0)
        pair = simulatePair(seed, options.size, transients=tuple(wanted * signs), estimateVariance=True)
        difference = Exposure(pair.idealDifference(), pair.science.wcs)
        psf = PsfField(FieldPsf(pair.truth.optics, isScience=True), difference.getBBox())
        start = time.perf_counter()
        sources = detectOnDifference(difference, psf, science=pair.science, threads=options.threads)
        seconds.append(time.perf_counter() - start)
        scale = sources.meta["NOISESCL"]
        scales.append(sources.meta["NOISEMES"])
        found, clean, area = falseRate(sources, pair.truth, difference.shape)
        nFalse, nClean, megapixels = nFalse + found, nClean + clean, megapixels + area
        floor += sum(falseDetections(difference, pair.truth)) * area
        truth = pair.truth.transients
        flux, ratio = np.asarray(truth["flux"]), np.abs(np.asarray(truth["signalToNoise"]))
        forced = forcedPhotometry(difference, psf, truth["x"], truth["y"], localSky=False)
        error = np.asarray(forced["fluxErr"]) * scale
        isBright = ratio > 9.0
        pulls.append((np.asarray(forced["flux"]) - flux)[isBright] / error[isBright])
        ratios.append((np.asarray(forced["flux"]) / flux)[isBright])
        weights.append((flux / error)[isBright] ** 2)
        match, distance = nearest(sources["x"], sources["y"], truth["x"], truth["y"])
        isMatched = (distance < MATCH_PIX) & (np.asarray(sources["polarity"])[match] == np.sign(flux))
        isUsed = isMatched & isBright
        own, ownError = np.asarray(sources["psfFlux"])[match], np.asarray(sources["psfFluxErr"])[match]
        fitted.append((own / flux)[isUsed])
        fittedWeights.append((flux / ownError)[isUsed] ** 2)
        fittedPulls.append((own - flux)[isUsed] / ownError[isUsed])
        expected = transientFluxes(difference, pair.truth)
        byFilter = np.asarray(expected["flux"]) * np.sign(flux) > 5.0 * np.asarray(expected["error"])
        near6.append(np.column_stack([isMatched, byFilter])[~isBright])

    def mean(values, weight):
        values, weight = np.concatenate(values), np.concatenate(weight)
        return (
            (values * weight).sum() / weight.sum(),
            weight.sum() ** -0.5,
            values.mean(),
            values.std() / values.size**0.5,
        )

    allPulls, allFitted, faint = np.concatenate(pulls), np.concatenate(fittedPulls), np.concatenate(near6)
    gaussian = 2 * gaussianRate(5.0, psf.sigma)
    print(f"{options.seeds} fields of {options.size} px, {allPulls.size} sources of S/N 10 to 100")
    print(f"significance on blank sky      {np.mean(scales):.4f} (divided out)")
    print(f"false detections per Mpx       {nFalse / megapixels:.2f}, without flag {nClean / megapixels:.2f}, ", end="")
    print(f"Gaussian noise {gaussian:.2f}, filter of the test metrics {floor / megapixels:.2f}")
    print(
        f"completeness near S/N 6        {faint[:, 0].mean():.3f}, filter at the true places {faint[:, 1].mean():.3f}"
    )
    for name, values, weight, pull in (
        ("forced", ratios, weights, allPulls), ("fitted", fitted, fittedWeights, allFitted)
    ):  # fmt: skip
        weighted, weightedErr, plain, plainErr = mean(values, weight)
        print(f"flux ratio, {name:<8}           {weighted:.4f} +/- {weightedErr:.4f} weighted, ", end="")
        print(f"{plain:.4f} +/- {plainErr:.4f} plain; pull {pull.mean():+.3f}, width {pull.std():.3f}", end="")
        print(f", robust {1.4826 * np.median(np.abs(pull - np.median(pull))):.3f} (n {pull.size})")
    print(f"time                           {np.median(seconds):.2f} s per field, {options.threads} threads")


if __name__ == "__main__":
    main()

"""How good the differences of `psfmatch.subtract` without a parameter are, next to the best that is possible.

    python benchmarks/quality.py [--fields NAME ...] [--seeds 0-9] [--sizes 1024 ...] [--cache DIR] [--json FILE]
        [--subtract MODULE:FUNCTION] [--variance ideal|own] [--no-withheld] [--threads N]

Each field is simulated with sources put into the science image, subtracted, and judged with the truth. The floor is
what remains when the exact noiseless sources are taken off. One line per run and one per field, then what must hold.
A second run hides the pixels of half the bright stars (at most `MOST_WITHHELD` per megapixel) in the science image;
its kernel and background then subtract the whole images, and both halves are judged: what is not alike was fitted
to noise. `--subtract` judges another function(template, science, threads) instead, which returns an object with
`difference`, and for the second run `kernel` and `background`. Fields and their changes: benchmarks/suite/cases.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from psfmatch import Exposure, Mask, MaskedImage, subtract
from psfmatch.difference.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.testing import Truth, backgroundPull, transientFluxes
from psfmatch.testing.metrics import starPull
from suite.cases import CHANGES, FIELDS, Case, makeCase
from suite.quality import Judge
from suite.timing import Column, Record, printTable, progress

Subtract = Callable[[Exposure, Exposure, int], Any]

LEAST_FLUX = 6e3  # counts: signal-to-noise 50 over the default sky
MOST_WITHHELD = 150  # stars per megapixel
HIDDEN_RADIUS = (6.0, 14.0)  # px, of a faint and of the brightest withheld star
FAINT = 9.0  # predicted signal-to-noise: below are the sources that show the completeness, above those for fluxes

LIMITS: list[tuple[str, str, float]] = [
    ("starRobustRatio", "star robust / floor", 1.03),
    ("starPlainRatio", "star plain / floor", 1.05),
    ("withheldRobustRatio", "withheld robust / floor", 1.03),
    ("withheldPlainRatio", "withheld plain / floor", 1.05),
    ("halvesRobust", "|withheld / fitted - 1|, robust, each over its floor", 0.03),
    ("halvesPlain", "|withheld / fitted - 1|, plain, each over its floor", 0.03),
    ("scaleErrorSize", "|scale error - floor's|", 0.001),
    ("kernelSumErrorSize", "|kernel sum / truth - 1|", 0.001),
    ("fluxBiasSize", "|mean flux ratio - 1|", 0.003),
    ("pullExcess", "|pull width - floor's|", 0.03),
    ("falseExcess", "false per Mpx - floor's", 1.0),
    ("completenessLoss", "|completeness at 6 - floor's|", 0.01),
]
COLUMNS: list[Column] = [
    ("field", "field", "s"),
    ("size", "size", "d"),
    ("seed", "seed", "s"),
    ("floor r", "floorRobust", ".3f"),
    ("p", "floorPlain", ".3f"),
    ("stars r", "starRobustRatio", ".3f"),
    ("p", "starPlainRatio", ".3f"),
    ("fitted r", "fittedRobustRatio", ".3f"),
    ("p", "fittedPlainRatio", ".3f"),
    ("withheld r", "withheldRobustRatio", ".3f"),
    ("p", "withheldPlainRatio", ".3f"),
    ("scale", "scaleError", "+.2%"),
    ("floor", "floorScaleError", "+.2%"),
    ("K sum", "kernelSumError", "+.2%"),
    ("flux", "fluxBias", "+.2%"),
    ("floor", "floorFluxBias", "+.2%"),
    ("pull", "pullWidth", ".3f"),
    ("floor", "floorPullWidth", ".3f"),
    ("false", "falsePerMpx", ".1f"),
    ("floor", "floorFalse", ".1f"),
    ("compl", "completeness", ".3f"),
    ("floor", "floorCompleteness", ".3f"),
    ("own sky", "ownSky", ".3f"),
    ("used", "usableFraction", ".3f"),
    ("grade", "grade", "s"),
    ("wall s", "seconds", ".2f"),
    ("CPU s", "cpu", ".2f"),
    ("chosen", "chosen", "s"),
    ("", "failure", "s"),
]


def plainSubtract(template: Exposure, science: Exposure, threads: int) -> Any:
    """Run the front door without a parameter."""
    return subtract(template, science, threads=threads)


def brightStars(truth: Truth) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which stars count: constant, not saturated, signal-to-noise above 50."""
    stars = truth.stars
    steady = ~np.asarray(stars["isVariable"]) & ~np.asarray(stars["isSaturated"])
    return steady & (np.asarray(stars["flux"]) > LEAST_FLUX)


def chooseWithheld(case: Case) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which stars the second run must not see: a random half of those that count, but not too many."""
    bright = np.flatnonzero(brightStars(case.pair.truth))
    number = min(len(bright) // 2, round(MOST_WITHHELD * case.size**2 / 1e6))
    withheld = np.zeros(len(case.pair.truth.stars), dtype=bool)
    withheld[np.random.default_rng(case.seed).permutation(bright)[:number]] = True
    return withheld


def hide(exposure: Exposure, stars: Table) -> Exposure:
    """Return the exposure with the pixels of stars flagged BAD: larger discs for brighter ones."""
    source = exposure.maskedImage
    mask = source.mask.copy()
    bad = mask.getPlaneBitMask("BAD")
    height, width = mask.shape
    x0, y0 = source.xy0
    least, most = HIDDEN_RADIUS
    for x, y, flux in stars.iterrows("x", "y", "flux"):
        radius = min(least + 4.0 * np.log10(max(flux / LEAST_FLUX, 1.0)), most)
        column, row, reach = round(x) - x0, round(y) - y0, int(radius)
        rows = np.arange(max(row - reach, 0), min(row + reach + 1, height))
        columns = np.arange(max(column - reach, 0), min(column + reach + 1, width))
        disc = (columns - column) ** 2 + ((rows - row) ** 2)[:, None] <= radius**2
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= np.where(disc, np.int32(bad), np.int32(0))
    hidden = MaskedImage(source.image, mask, source.variance, source.xy0)
    return Exposure(hidden, wcs=exposure.wcs, psf=exposure.psf)


def applied(result: Any, template: Exposure, science: Exposure) -> MaskedImage:
    """Return the difference of whole images by the kernel and background of a run that did not see all of them."""
    template = getattr(result, "template", template)  # as it was laid upon the science image
    if getattr(result, "convolved", "template") == "template":
        matched = result.kernel.convolve(template.maskedImage)
        return subtractMatchedTemplate(science.maskedImage, matched, result.background)
    matched = result.kernel.convolve(science.maskedImage)
    kernelSum = result.kernel.kernelSum(*science.getBBox().centre)
    return subtractMatchedScience(matched, template.maskedImage, result.background, kernelSum)


def onTruth(case: Case, difference: MaskedImage | Exposure) -> MaskedImage:
    """Return the difference as science minus template of the simulation, in the counts of its science image."""
    masked = difference.maskedImage if isinstance(difference, Exposure) else difference
    if not case.isReversed:
        return masked
    box = case.pair.truth.box
    scale = case.pair.truth.optics.kernelSum(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1)[:, None])
    factor = np.broadcast_to(scale, box.shape).astype(np.float32)
    return MaskedImage(-factor * masked.image, masked.mask, factor**2 * masked.variance, masked.xy0)


def starRatios(case: Case, judge: Judge, image: Any, floor: Any, chosen: Any, variance: Any = None) -> Record:
    """Return the star residuals of a difference over those of the floor at the same pixels, for the chosen stars."""
    stars = case.pair.truth.stars.copy()
    stars["isBright"] = chosen
    truth = replace(case.pair.truth, stars=stars)
    mask = np.where(np.isfinite(image) & np.isfinite(floor), judge.mask, 1).astype(np.int32)
    planes = case.pair.science.mask.planes
    own = MaskedImage(image, Mask(mask, planes), judge.variance if variance is None else variance)
    robust, plain = starPull(own, truth)
    floorRobust, floorPlain = starPull(MaskedImage(floor, Mask(mask, planes), judge.variance), truth)
    return {
        "floorRobust": floorRobust,
        "floorPlain": floorPlain,
        "robustRatio": robust / floorRobust if floorRobust else float("nan"),
        "plainRatio": plain / floorPlain if floorPlain else float("nan"),
    }


def kernelSumError(case: Case, result: Any) -> float:
    """Return the median of kernel sum over truth, less one, on a grid; NaN where the result has no kernel."""
    kernel, box = getattr(result, "kernel", None), case.pair.truth.box
    if kernel is None:
        return float("nan")
    errors = []
    for x in np.linspace(box.x0 + 0.1 * box.width, box.x0 + 0.9 * box.width, 5):
        for y in np.linspace(box.y0 + 0.1 * box.height, box.y0 + 0.9 * box.height, 5):
            total, truth = kernel.kernelSum(x, y), case.pair.truth.kernelSum(x, y)
            # The reversed pair's template is the simulation's science image, and either may be the one convolved.
            isInverse = case.isReversed != (getattr(result, "convolved", "template") == "science")
            errors.append((total * truth if isInverse else total / truth) - 1.0)
    return float(np.median(errors))


def describe(result: Any) -> str:
    """Return what was chosen, as far as the result tells."""
    words = []
    kernel = getattr(result, "kernel", None)
    if kernel is not None and hasattr(kernel, "basis"):
        words.append(f"{kernel.shape[1]}px {len(kernel.scaledParameters)}f o{kernel.order}")
        words.append(f"bg{getattr(getattr(result, 'background', None), 'order', '?')}")
    if getattr(result, "convolved", "template") == "science":
        words.append("convolves science")
    candidates = getattr(result, "candidates", None)
    if candidates is not None and "status" in getattr(candidates, "colnames", ()):
        words.append(f"{int((np.asarray(candidates['status']) == 'GOOD').sum())}/{len(candidates)}")
    chosen = getattr(result, "chosen", None)
    return " ".join([*words, str(chosen) if isinstance(chosen, str) else ""]).strip()


def judgeCase(case: Case, function: Subtract, threads: int, *, own: bool, withheld: bool) -> Record:
    """Return the figures of one run, and those of a second one that does not see half the stars."""
    record: Record = {"field": case.name, "size": case.size, "seed": str(case.seed)}
    judge = Judge(case.pair)
    floor = case.pair.idealDifference().image
    template, science = case.inputs
    start, startCpu = time.perf_counter(), time.process_time()
    try:
        result = function(template, science, threads)
    except Exception as error:  # the other fields are still to be judged
        return record | {"failure": f"{type(error).__name__}: {error}"[:120]}
    record |= {"seconds": time.perf_counter() - start, "cpu": time.process_time() - startCpu}
    difference = onTruth(case, result.difference)
    record["ownSky"] = backgroundPull(difference, case.pair.truth)
    usable = ~difference.badPixels(("BAD", "SAT", "CR", "EDGE", "NO_DATA"))
    record["usableFraction"] = float(usable.mean())
    record["chosen"] = describe(result)
    record["kernelSumError"] = kernelSumError(case, result)
    record["grade"] = getattr(getattr(result, "quality", None), "grade", None)
    image = np.where(usable | np.isfinite(difference.image), difference.image, np.float32(np.nan))
    bright = brightStars(case.pair.truth)
    ratios = starRatios(case, judge, image, floor, bright, difference.variance if own else None)
    record |= {name: ratios[name] for name in ("floorRobust", "floorPlain")}
    record |= {"starRobustRatio": ratios["robustRatio"], "starPlainRatio": ratios["plainRatio"]}
    for prefix, values in (("", image), ("floor", floor)):
        figures = judgedSources(case, judge, values, difference.variance if own and not prefix else None)
        record |= {(prefix + name[0].upper() + name[1:] if prefix else name): figures[name] for name in figures}
    if withheld:
        record |= judgeHalves(case, judge, function, threads, floor)
    return withMargins(record)


def judgedSources(case: Case, judge: Judge, image: Any, variance: Any = None) -> Record:
    """Return scale error, fluxes of the sources put in, false detections and completeness."""
    keptVariance = judge.variance
    if variance is not None:
        judge.variance = variance
    figures = judge.judge(image)
    mask = np.where(np.isfinite(image), judge.mask, 1).astype(np.int32)
    values = np.where(np.isfinite(image), image, 0.0).astype(np.float32)
    masked = MaskedImage(values, Mask(mask, case.pair.science.mask.planes), judge.variance)
    judge.variance = keptVariance
    table = transientFluxes(masked, case.pair.truth)
    predicted, trueFlux, flux, error = (
        np.asarray(table[name]) for name in ("predictedSignalToNoise", "trueFlux", "flux", "error")
    )
    isMeasured = np.isfinite(flux)
    bright, faint = isMeasured & (predicted > FAINT), isMeasured & (predicted <= FAINT)
    sources = {
        "ratio": (flux / trueFlux)[bright].tolist(),
        "pull": ((flux - trueFlux) / error)[bright].tolist(),
        "weight": ((trueFlux / error) ** 2)[bright].tolist(),
        "found": (flux > 5.0 * error)[faint].astype(float).tolist(),
    }
    return {
        "scaleError": figures["scaleError"],
        "false": figures["falsePerMpx"],
        "falsePerMpx": figures["falsePerMpx"],
        "sources": sources,
        **pooled([sources]),
    }


def pooled(sources: Sequence[dict[str, list[float]]]) -> Record:
    """Return mean flux ratio less one, pull width and completeness of the sources of one or many runs."""
    ratio, pull, weight, found = (
        np.concatenate([part[name] for part in sources]) for name in ("ratio", "pull", "weight", "found")
    )
    return {
        "nSources": int(ratio.size),
        "fluxBias": float(np.sum(weight * (ratio - 1)) / np.sum(weight)) if ratio.size else float("nan"),
        "pullWidth": float(1.4826 * np.median(np.abs(pull - np.median(pull)))) if pull.size else float("nan"),
        "completeness": float(found.mean()) if found.size else float("nan"),
    }


def judgeHalves(case: Case, judge: Judge, function: Subtract, threads: int, floor: Any) -> Record:
    """Return the star residuals of the half that a second run sees and of the half that is hidden from it."""
    hidden = chooseWithheld(case)
    template, science = case.inputs
    try:
        result = function(template, hide(science, case.pair.truth.stars[hidden]), threads)
        image = onTruth(case, applied(result, template, science)).image
    except Exception as error:  # what the first run gave stands
        return {"failure": f"half withheld: {type(error).__name__}: {error}"[:120]}
    record: Record = {}
    for name, chosen in (("fitted", brightStars(case.pair.truth) & ~hidden), ("withheld", hidden)):
        ratios = starRatios(case, judge, image, floor, chosen)
        record |= {f"{name}RobustRatio": ratios["robustRatio"], f"{name}PlainRatio": ratios["plainRatio"]}
    return record


def withMargins(record: Record) -> Record:
    """Return the record with the figures that must stay below a limit."""
    nan = float("nan")
    margins: Record = {
        "scaleErrorSize": abs(record.get("scaleError", nan) - record.get("floorScaleError", nan)),
        "kernelSumErrorSize": abs(record.get("kernelSumError", nan)),
        "fluxBiasSize": abs(record.get("fluxBias", nan)),
        "pullExcess": abs(record.get("pullWidth", nan) - record.get("floorPullWidth", nan)),
        "falseExcess": record.get("falsePerMpx", nan) - record.get("floorFalse", nan),
        "completenessLoss": abs(record.get("completeness", nan) - record.get("floorCompleteness", nan)),
    }
    for kind in ("Robust", "Plain"):
        fitted, withheld = (record.get(f"{name}{kind}Ratio", nan) for name in ("fitted", "withheld"))
        margins[f"halves{kind}"] = abs(withheld / fitted - 1) if fitted else nan
    return record | margins


def summarise(records: Sequence[Record]) -> Iterator[Record]:
    """Return one record per field and size: means, and the fluxes of all seeds together."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if "sources" in record:
            groups.setdefault((record["field"], record["size"]), []).append(record)
    for (field, size), members in groups.items():
        summary: Record = {"field": field, "size": size, "seed": f"all {len(members)}"}
        for _, key, _ in COLUMNS:
            numbers = [m[key] for m in members if isinstance(m.get(key), float)]
            if numbers:
                summary[key] = float(np.nanmean(numbers)) if np.isfinite(numbers).any() else float("nan")
        own, floor = (pooled([m[name] for m in members]) for name in ("sources", "floorSources"))
        summary |= own | {f"floor{name[0].upper()}{name[1:]}": value for name, value in floor.items()}
        grades = [m["grade"] for m in members if m.get("grade")]
        summary["grade"] = "".join(sorted(grades)) or None
        yield withMargins(summary)


def verdicts(records: Sequence[Record], summaries: Sequence[Record]) -> list[Record]:
    """Return each limit with the mean and the worst of the fields, and where the worst is."""
    rows = []
    for key, what, limit in LIMITS:
        pooledKeys = ("fluxBiasSize", "pullExcess", "completenessLoss")
        # Single runs hold too few sources for these.
        members = [m for m in (summaries if key in pooledKeys else records) if np.isfinite(m.get(key, float("nan")))]
        if members:
            worst = max(members, key=lambda m: m[key])
            rows.append(
                {
                    "what": what,
                    "limit": limit,
                    "mean": float(np.mean([m[key] for m in members])),
                    "worst": worst[key],
                    "where": f"{worst['field']} {worst['size']} {worst['seed']}",
                    "over": f"{sum(m[key] > limit for m in members)} of {len(members)}",
                }
            )
    return rows


def _seeds(text: str) -> list[int]:
    low, _, high = text.partition("-")
    return list(range(int(low), int(high or low) + 1))


def importFunction(text: str) -> Subtract:
    """Return the function that "module:function" names."""
    module, _, name = text.partition(":")
    found: Subtract = getattr(importlib.import_module(module), name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fields",
        nargs="+",
        default=["sparse", "dense", "crowded", "galaxies"],
        help=f"{', '.join(FIELDS)}; with + any of {', '.join(CHANGES)}",
    )
    parser.add_argument("--seeds", nargs="+", type=_seeds, default=[[0]], help="3 or 0-9")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1024])
    parser.add_argument("--subtract", type=importFunction, default=plainSubtract, metavar="MODULE:FUNCTION")
    parser.add_argument("--variance", choices=("ideal", "own"), default="ideal", help="by which to judge residuals")
    parser.add_argument("--no-withheld", dest="withheld", action="store_false", help="leave the second run out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder that keeps the simulated pairs")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args(arguments)
    records: list[Record] = []
    for size in options.sizes:
        for field in options.fields:
            for seed in (seed for seeds in options.seeds for seed in seeds):
                progress(f"{field} {size} px, seed {seed}")
                case = makeCase(field, seed, size, options.cache)
                own = options.variance == "own"
                records.append(judgeCase(case, options.subtract, options.threads, own=own, withheld=options.withheld))
    summaries = list(summarise(records))
    printTable("Each run; star residuals are over the floor's", COLUMNS, records)
    printTable("Each field", COLUMNS, summaries)
    rows = verdicts(records, summaries)
    forms: list[Column] = [
        ("must hold", "what", "s"),
        ("limit", "limit", ".3f"),
        ("mean", "mean", ".4f"),
        ("worst", "worst", ".4f"),
        ("over it", "over", "s"),
        ("worst at", "where", "s"),
    ]
    printTable("What must hold", forms, rows)
    if options.json is not None:
        options.json.write_text(json.dumps({"runs": records, "fields": summaries, "limits": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

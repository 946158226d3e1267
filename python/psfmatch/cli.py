"""The command ``psfmatch``: subtract two FITS files, look into a file, run a demonstration.

Results go to standard output (``--json`` for machines), the log and the progress to standard error. Exit status:
0 done, 2 usage, 3 bad input, 4 too few stars or no solution, 5 a quality gate failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psfmatch.differencing import SubtractionResult
    from psfmatch.exposure import Exposure
    from psfmatch.imagePsfMatch import ImagePsfMatchConfig
    from psfmatch.testing import Truth

__all__ = ["main"]

log = logging.getLogger("psfmatch.cli")

EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_TOO_FEW_STARS = 4
MODES = ("auto", "convolveTemplate", "convolveScience")
PHASES = {
    "select": "finding stars",
    "measurePsf": "measuring PSFs",
    "stamps": "cutting stamps",
    "solve": "solving for the kernel",
    "convolve": "convolving",
    "subtract": "subtracting",
}
"""Timed blocks of the task in an astronomer's words, for the progress line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    _startLogging(options)
    from psfmatch.errors import (
        InsufficientKernelSourcesError,
        KernelSolutionError,
        NoKernelCandidatesError,
        PsfMatchError,
    )

    try:
        return int(options.run(options))
    except (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError) as error:
        return _fail(error, EXIT_TOO_FEW_STARS)
    except (PsfMatchError, OSError) as error:
        return _fail(error, EXIT_BAD_INPUT)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        if options.verbose:
            log.exception("internal traceback")
        return _fail(error, EXIT_USAGE)
    except KeyboardInterrupt:
        print("psfmatch: interrupted", file=sys.stderr)
        return 130


def _fail(error: BaseException, status: int) -> int:
    for handler in logging.getLogger("psfmatch").handlers:
        handler.close()
    print(f"psfmatch: error: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="psfmatch",
        description="Subtract astronomical images after matching their point-spread functions.",
        epilog="Exit status: 0 done, 2 usage, 3 bad input, 4 too few stars or no solution.",
    )
    parser.add_argument("--version", action="version", version=f"psfmatch {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    verbosity = common.add_mutually_exclusive_group()
    verbosity.add_argument("-v", "--verbose", action="store_true", help="log every candidate and step")
    verbosity.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")
    common.add_argument("--json", action="store_true", help="print the result as JSON")

    run = argparse.ArgumentParser(add_help=False)
    run.add_argument(
        "--threads", type=int, help="threads to use (default: PSFMATCH_NUM_THREADS, or all CPUs of this process)"
    )
    run.add_argument(
        "--mode",
        choices=MODES,
        default="auto",
        help="which image is convolved; auto takes the one with the narrower PSF (default)",
    )
    run.add_argument("--config", metavar="FILE", help="configuration: a saved .py, or a .json as results hold it")
    run.add_argument(
        "-c",
        dest="overrides",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="set one field, e.g. -c kernel.active.spatialKernelOrder=1; may be repeated",
    )

    subtract = commands.add_parser(
        "subtract",
        parents=[common, run],
        help="subtract a template from a science image",
        description="Warp the template to the science image's pixels, match the PSFs and subtract. Files are FITS "
        "(also .fz and .gz); "
        "brackets choose an HDU: 'file.fits[SCI]'.",
    )
    subtract.add_argument("template", metavar="TEMPLATE", help="image of the same sky, usually deeper and sharper")
    subtract.add_argument("science", metavar="SCIENCE", help="image in which to look for changes")
    subtract.add_argument("-o", "--output", metavar="OUT", required=True, help="difference image to write")
    for which in ("template", "science"):
        subtract.add_argument(f"--{which}-noise", metavar="FILE", help=f"1 sigma noise of the {which} image")
        subtract.add_argument(f"--{which}-variance", metavar="FILE", help=f"variance of the {which} image")
        subtract.add_argument(f"--{which}-mask", metavar="FILE", help=f"mask of the {which} image")
        subtract.add_argument(f"--{which}-fwhm", metavar="PIX", type=float, help=f"PSF FWHM of the {which} image")
    subtract.add_argument(
        "--gain", type=float, help="e-/count of both images, for a variance where the files have none"
    )
    subtract.add_argument("--read-noise", type=float, metavar="E", help="read noise in e-, with --gain")
    subtract.add_argument("--use-xy0", action="store_true", help="honour the pixel origins (LTV, WCS A) in the files")
    subtract.add_argument(
        "--ignore-wcs", action="store_true", help="take the images as registered whatever their WCSs say: do not warp"
    )
    subtract.add_argument("--picture", metavar="PNG", help="also draw template, matched, science, difference")
    subtract.set_defaults(run=_subtract)

    info = commands.add_parser("info", parents=[common], help="show what a FITS file holds and how it would be read")
    info.add_argument("file", metavar="FILE")
    info.set_defaults(run=_info)

    demo = commands.add_parser(
        "demo",
        parents=[common, run],
        help="simulate a pair with transients, subtract it, draw it",
        description="Simulate a pair with a varying PSF and injected transients, subtract it, and write template.fits, "
        "science.fits, difference.fits and difference.png.",
    )
    demo.add_argument("-o", "--output", metavar="DIR", default="psfmatch-demo", help="folder (default: %(default)s)")
    demo.add_argument("--size", type=int, default=1024, help="side of the images in pixels (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of the simulation (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("psfmatch")


def _startLogging(options: argparse.Namespace) -> None:
    level = logging.DEBUG if options.verbose else logging.WARNING if options.quiet else logging.INFO
    logger = logging.getLogger("psfmatch")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.propagate = False
    logger.setLevel(level)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty() and not options.verbose and hasattr(options, "threads"):
        handler = _AboveBar()
        logger.setLevel(logging.DEBUG)
        logger.addHandler(_ProgressBar())
    handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
    handler.setLevel(level)
    logger.addHandler(handler)


class _AboveBar(logging.Handler):
    """Writes log lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


class _ProgressBar(logging.Handler):
    """Shows on the last line of a terminal which step runs, from the tasks' timing messages."""

    def __init__(self) -> None:
        from tqdm import tqdm

        super().__init__(logging.DEBUG)
        form = "{desc:<24} {bar:30} {n_fmt}/{total_fmt} steps, {elapsed}"
        self._bar = tqdm(total=len(PHASES), leave=False, bar_format=form, file=sys.stderr)
        self._begun: set[str] = set()

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.close()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Advance when a step begins, and leave the terminal clean after the last one."""
        phase, _, event = record.getMessage().partition(": ")
        if phase not in PHASES:
            return
        if event == "start" and phase not in self._begun:
            self._begun.add(phase)
            self._bar.set_description_str(PHASES[phase])
            self._bar.update(1)
        elif event.startswith("end after") and phase == "subtract":
            self._bar.close()


def _configuration(options: argparse.Namespace) -> ImagePsfMatchConfig:
    from psfmatch.config import applyOverride, configFromDict
    from psfmatch.differencing import frontDoorConfig

    config = frontDoorConfig()
    if options.config is not None:
        path = Path(options.config)
        text = path.read_text()
        try:
            if path.suffix == ".json":
                config = configFromDict(type(config), json.loads(text))
            else:
                config.loadFromString(text, filename=os.fspath(path))
        except Exception as error:  # a .py configuration is a program: anything can go wrong in it
            raise ValueError(f"configuration {path}: {type(error).__name__}: {error}") from error
    for override in options.overrides:
        applyOverride(config, override)
    return config


def _read(options: argparse.Namespace, which: str) -> Exposure:
    from psfmatch.exposure import Exposure

    exposure = Exposure.readFits(
        getattr(options, which),
        noise=getattr(options, f"{which}_noise"),
        variance=getattr(options, f"{which}_variance"),
        mask=getattr(options, f"{which}_mask"),
        gain=options.gain,
        readNoise=options.read_noise,
        useXY0=options.use_xy0 or None,
    )
    if options.ignore_wcs:
        exposure.wcs = None
    return exposure


def _subtract(options: argparse.Namespace) -> int:
    from psfmatch import io
    from psfmatch.differencing import subtract

    start = time.perf_counter()
    for name in (options.template, options.science):
        if Path(options.output).exists() and io.parseFileName(name)[0].resolve() == Path(options.output).resolve():
            raise ValueError(f"the output {options.output} is one of the inputs; choose another name")
    config = _configuration(options)
    template, science = _read(options, "template"), _read(options, "science")
    result = subtract(
        template,
        science,
        config=config,
        mode=options.mode,
        templateFwhmPix=options.template_fwhm,
        scienceFwhmPix=options.science_fwhm,
        threads=options.threads,
    )
    result.writeFits(options.output)
    if options.picture is not None:
        _draw(template, science, result, options.picture, None)
    _report(result, options, {"output": options.output}, time.perf_counter() - start)
    return 0


def _draw(template: Exposure, science: Exposure, result: SubtractionResult, path: str, transients: Any) -> None:
    from psfmatch.plots import differenceFigure, savePng

    title = f"{result.convolved} convolved, kernel sum {result.kernel.kernelSum(*science.getBBox().centre):.4f}"
    figure = differenceFigure(
        template.maskedImage,
        result.matched.maskedImage,
        science.maskedImage,
        result.difference.maskedImage,
        transients=transients,
        title=title,
        matchedName="Matched template" if result.convolved == "template" else "Matched science",
    )
    savePng(figure, path)


def _report(result: SubtractionResult, options: argparse.Namespace, extra: dict[str, Any], seconds: float) -> None:
    summary = {**extra, **result.summary(), "seconds": round(seconds, 3)}
    if options.json:
        print(json.dumps(summary, indent=2))
        return
    for line in _inWords(summary):
        print(line)


def _inWords(summary: dict[str, Any]) -> list[str]:
    def number(name: str, form: str = ".4g") -> str:
        value = summary[name]
        return "unknown" if value is None else format(value, form)

    def told(name: str) -> str:
        return "; ".join(f"{count} for {reason}" for reason, count in summary[name].items())

    templateFwhm, scienceFwhm = number("templateFwhmPix", ".2f"), number("scienceFwhmPix", ".2f")
    kernel = f"{summary['kernelSize']}x{summary['kernelSize']} px, {summary['nBasis']} functions"
    unusable, rejected = told("rejectedSources"), told("rejectionReasons")
    rows = {
        "PSF FWHM": f"template {templateFwhm} px, science {scienceFwhm} px; {summary['convolved']} convolved",
        "kernel": f"{kernel} of order {summary['spatialKernelOrder']}, sum {number('kernelSum', '.4f')}",
        "stars": f"{number('nSources', 'd')} found, {summary['nCandidates']} cut out, {summary['nGood']} good",
        "not cut out": unusable or "none",
        "rejected": rejected or "none",
        "noise": f"difference / sqrt(variance) scatters by {number('noiseRobustStdev', '.3f')} (1 is ideal)",
        "flagged pixels": f"{summary['badFraction']:.2%}",
    }
    if "nInjected" in summary:
        found = f"{summary['nDetected']} of {summary['nInjected']}"
        rows["transients"] = f"{found} injected above 8 sigma stand out above 5"
        rows["true kernel sum"] = format(summary["trueKernelSum"], ".4f")
    rows["written"] = f"{summary['output']} in {summary['seconds']:.1f} s"
    if "picture" in summary:
        rows["picture"] = summary["picture"]
    return [f"{name:<17} {text}" for name, text in rows.items()]


def _info(options: argparse.Namespace) -> int:
    from psfmatch import io

    entries = io.describe(options.file)
    if options.json:
        rows = [
            {
                "index": e.index,
                "name": e.name,
                "version": e.version,
                "kind": e.kind,
                "shape": list(e.shape),
                "dtype": e.dtype,
                "role": e.role.name.lower(),
            }
            for e in entries
        ]
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'HDU':>3}  {'name':<12} {'kind':<6} {'shape':<16} {'dtype':<10} read as")
    for e in entries:
        shape = "x".join(str(n) for n in e.shape)
        columns = f"{e.index:>3}  {e.name or '-':<12} {e.kind:<6} {shape or '-':<16} {e.dtype or '-':<10}"
        print(columns, e.role.name.lower())
    return 0


def _countTransients(difference: Exposure, truth: Truth) -> dict[str, Any]:
    """Return how many transients should stand out (true signal-to-noise above 8) and how many do (above 5)."""
    import numpy as np

    from psfmatch.testing import transientFluxes

    fluxes = transientFluxes(difference, truth)
    injected = fluxes[np.abs(fluxes["predictedSignalToNoise"]) > 8.0]
    found = injected["flux"] * np.sign(injected["trueFlux"]) > 5.0 * injected["error"]
    return {"nInjected": len(injected), "nDetected": int(np.count_nonzero(found))}


def _demo(options: argparse.Namespace) -> int:
    from psfmatch.differencing import subtract
    from psfmatch.testing import simulatePair

    start = time.perf_counter()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    log.info("Simulating a pair of %dx%d pixels", options.size, options.size)
    pair = simulatePair(seed=options.seed, size=options.size)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    result = subtract(
        pair.template, pair.science, config=_configuration(options), mode=options.mode, threads=options.threads
    )
    result.writeFits(folder / "difference.fits")
    extra: dict[str, Any] = {"output": str(folder / "difference.fits")}
    extra["trueKernelSum"] = pair.truth.kernelSum(*pair.truth.box.centre)
    extra |= _countTransients(result.difference, pair.truth)
    try:
        _draw(pair.template, pair.science, result, str(folder / "difference.png"), pair.truth.transients)
        extra["picture"] = str(folder / "difference.png")
    except ModuleNotFoundError:
        log.warning("No picture: matplotlib is not installed (pip install 'psfmatch[plot]')")
    _report(result, options, extra, time.perf_counter() - start)
    return 0

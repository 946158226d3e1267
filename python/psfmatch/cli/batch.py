"""``psfmatch batch``: many pairs, from a table, with a ledger."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.cli.gates import EXIT_QUALITY_GATE, addGates, gatesOf
from psfmatch.cli.inputs import addGains
from psfmatch.cli.options import addChoices, addThreads, changedConfiguration
from psfmatch.cli.outputs import TABLE_ENDINGS, addOverwrite, requireOutputs, sendTable
from psfmatch.cli.progress import PairBar
from psfmatch.cli.reporting import tell

if TYPE_CHECKING:
    from psfmatch.batch import BatchSummary, Pair, PairOptions
    from psfmatch.io import PairRecord

__all__ = ["addCommand"]

log = logging.getLogger("psfmatch.cli")

EXIT_PAIRS_FAILED = 3
EXIT_TOO_FEW_STARS = 4
EXIT_INTERRUPTED = 130
TOO_FEW_STARS = {"NoKernelCandidatesError", "InsufficientKernelSourcesError", "KernelSolutionError"}
SHOWN_FAILURES = 5

DESCRIPTION = """
Subtract many pairs of images and keep a ledger of them.

The manifest is a table (ECSV, CSV, FITS, ...) with a row for each pair. Its columns 'template' and 'science' name the
images, relative to the manifest; 'file.fits[SCI]' names an HDU. Optional columns: 'name' of the outputs (default: that
of the science image); template_noise, template_variance, template_weight, template_mask and the same of science; gain,
read_noise, template_gain, template_read_noise, science_gain, science_read_noise; template_fwhm, science_fwhm. Each
means what the option of 'psfmatch subtract' means; others are passed over.

DIR receives for each pair NAME.fits (the difference, as 'psfmatch subtract' writes it), NAME.json (its figures),
NAME.png (a small picture) and NAME.log; ledger.sqlite, a row for each pair: state, times, memory, grade, or why it
failed; and in the end index.html, a page over all pairs, failed ones first. What fails costs no other pair. After a
crash or Ctrl-C (once: the pairs at work are finished; twice: at once) the same command with --resume does what is not
done.
"""

EPILOG = """
examples:
  psfmatch batch night.ecsv -o differences --workers 8
  psfmatch batch night.ecsv -o differences --workers 8 --resume --retry-failed
  psfmatch batch --status differences -o ledger.csv
  psfmatch batch night.ecsv -o differences --scheduler tcp://head:8786
  psfmatch batch night.ecsv -o differences --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT --resume

Exit status: 0 all done, 2 usage, 3 some failed (4 if all of these have too few stars), 5 some do not pass a gate, 130
interrupted.
"""


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "batch",
        parents=parents,
        help="subtract many pairs, on this machine or a cluster",
        description=DESCRIPTION.strip(),
        epilog=EPILOG.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="table with a row for each pair; with --status also DIR")
    parser.add_argument("-o", "--output", metavar="DIR", help="directory of outputs and ledger; see --status")
    which = parser.add_argument_group("which pairs")
    which.add_argument("--resume", action="store_true", help="go on: do what earlier runs in DIR have not done")
    which.add_argument("--retry-failed", action="store_true", help="with --resume: also those that failed")
    which.add_argument(
        "--shard", metavar="I/N", help="only part I of N (from 1), with a ledger of its own, for job arrays"
    )
    which.add_argument(
        "--status",
        action="store_true",
        help="tell from the ledgers how far DIR is, and do nothing; with DIR in place of MANIFEST, -o names a table to "
        f"write of them, a row for each pair ({TABLE_ENDINGS}, or - for standard output)",
    )
    where = parser.add_argument_group("where and how many at a time")
    where.add_argument("--workers", metavar="N", type=int, help="processes (default: the CPUs of this process)")
    addThreads(where, "threads of each pair (default: CPUs / workers; on a cluster 1)")
    where.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory for all processes together, such as 16G: so many pairs are at work that it suffices, by the sizes "
        "of their images (default: 0.8 of what is free)",
    )
    where.add_argument(
        "--timeout", metavar="S", type=float, help="seconds that a pair may take; then it is ended and has failed"
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask cluster that is there, also of dask-jobqueue: tcp://HOST:PORT, or its scheduler file",
    )
    group = parser.add_argument_group("the subtraction, for all pairs")
    addChoices(group)
    addGains(group, "where neither file nor manifest has a variance")
    group.add_argument("--use-xy0", action="store_true", help="honour the pixel origins (LTV, WCS A) in the files")
    group.add_argument("--ignore-wcs", action="store_true", help="take the images as registered: do not warp")
    outputs = parser.add_argument_group("outputs")
    addOverwrite(outputs)
    outputs.add_argument("--decorrelated", action="store_true", help="also write NAME_decorrelated.fits")
    outputs.add_argument("--sources", action="store_true", help="also find what has changed: NAME_sources.fits")
    outputs.add_argument("--report", action="store_true", help="also write NAME.html, a report with pictures")
    addGates(outputs)
    outputs.add_argument(
        "--set-apart",
        metavar="NAME",
        help="put the outputs of pairs that do not pass a --gate into a directory of their own, DIR/NAME",
    )
    parser.set_defaults(run=_batch)


def _batch(options: argparse.Namespace) -> int:
    from concurrent.futures import BrokenExecutor

    from psfmatch.batch import readManifest, runBatch
    from psfmatch.batch.memory import parseMemory

    if options.status and Path(options.manifest).is_dir():
        return _tellLedger(options)
    if options.output is None:
        raise ValueError("batch needs -o DIR, the directory of outputs and ledger")
    pairs = [_withDefaults(pair, options) for pair in readManifest(options.manifest)]
    shard = None if options.shard is None else _shardOf(options.shard)
    if options.status:
        _tell(options, _statusOf(pairs, options.output))
        return 0
    if options.retry_failed and not options.resume:
        raise ValueError("--retry-failed goes with --resume")
    own = (options.workers, options.memory, options.timeout)
    if options.scheduler is not None and own != (None, None, None):
        raise ValueError("--workers, --memory and --timeout are for own processes; a cluster has its own")
    isBar = sys.stderr.isatty() and not options.verbose and not options.quiet
    with ExitStack() as opened:
        bar = opened.enter_context(closing(PairBar()))
        arguments: dict[str, Any] = {
            "threads": options.threads,
            "resume": options.resume,
            "retryFailed": options.retry_failed,
            "overwrite": options.overwrite,
            "shard": shard,
            "tell": bar.tell if isBar else _logPair,
        }
        if options.scheduler is None:
            memory = None if options.memory is None else parseMemory(options.memory)
            arguments |= {"workers": options.workers, "memory": memory, "timeout": options.timeout}
        else:
            from psfmatch.batch.cluster import connected

            arguments["executor"] = opened.enter_context(connected(options.scheduler))
        try:
            summary = runBatch(pairs, options.output, _pairOptions(options), **arguments)
        except BrokenExecutor as error:
            raise OSError(str(error)) from error
    _tell(options, summary, None if shard is None else _statusOf(pairs, summary.directory))
    return _statusOfExit(summary)


def _withDefaults(pair: Pair, options: argparse.Namespace) -> Pair:
    """Return a pair with the gains and read noises of the options where it has none."""
    from psfmatch.batch.manifest import NUMBER_COLUMNS

    given: dict[str, Any] = {field: getattr(options, name, None) for name, field in NUMBER_COLUMNS.items()}
    return replace(pair, **{field: value for field, value in given.items() if getattr(pair, field) is None})


def _shardOf(text: str) -> tuple[int, int]:
    number, separator, count = text.partition("/")
    if not (separator and number.isdecimal() and count.isdecimal()):
        raise ValueError(f"shard {text!r}: give I/N, such as 3/16")
    return int(number), int(count)


def _pairOptions(options: argparse.Namespace) -> PairOptions:
    from psfmatch.batch import PairOptions

    # Without a word on the configuration the front door's own is used, which workers have without being sent it.
    return PairOptions(
        config=changedConfiguration(options),
        mode=options.mode,
        gates=gatesOf(options.gates),
        decorrelated=options.decorrelated,
        sources=options.sources,
        report=options.report,
        useXY0=options.use_xy0,
        ignoreWcs=options.ignore_wcs,
        setApart=options.set_apart,
    )


def _logPair(record: PairRecord, nEnded: int, nPairs: int) -> None:
    """Log a pair that is done; the failures are logged where they are met."""
    if record.state == "done":
        log.info(
            "%s: grade %s in %.1f s (%d of %d)", record.name, record.grade, record.wallSeconds or 0.0, nEnded, nPairs
        )


def _statusOf(pairs: list[Pair], directory: str) -> BatchSummary:
    """Return how far the pairs are according to all ledgers."""
    from psfmatch.batch.summary import summarize
    from psfmatch.io import PairRecord, readLedgers

    known = {record.name: record for record in readLedgers(directory)}
    new = (PairRecord(pair.name, pair.template, pair.science, "") for pair in pairs)
    return summarize(Path(directory), [known.get(record.name, record) for record in new])


def _tellLedger(options: argparse.Namespace) -> int:
    """Tell of all pairs that the ledgers of a directory know, and write them as a table."""
    from psfmatch import io
    from psfmatch.batch.summary import summarize
    from psfmatch.io import readLedgers

    requireOutputs([(options.output, io.TABLES)], [], options.overwrite)
    summary = summarize(Path(options.manifest), readLedgers(options.manifest))
    rows = {} if options.output is None else sendTable(summary.toTable(), options.output, "LEDGER", options)
    _tell(options, summary, more=rows)
    return 0


def _tell(
    options: argparse.Namespace,
    summary: BatchSummary,
    allShards: BatchSummary | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    grades = ", ".join(f"{number} {grade}" for grade, number in summary.grades.items())
    reasons = Counter(record.errorType for record in summary.failures)
    left = f", {summary.nLeft} of them as an earlier run left them" if summary.nLeft else ""
    rows = {"pairs": f"{summary.nPairs}{left}"}
    rows["done"] = f"{summary.nDone}{f'; grades: {grades}' if grades else ''}"
    rows["failed"] = "; ".join([str(summary.nFailed), *(f"{n} {reason}" for reason, n in reasons.most_common())])
    for record in summary.failures[:SHOWN_FAILURES]:
        rows[f"  {record.name}"] = record.errorMessage or "unknown"
    if len(summary.failures) > SHOWN_FAILURES:
        rows["  ..."] = f"and {len(summary.failures) - SHOWN_FAILURES} more, see the ledger"
    if summary.nPending:
        rows["not done"] = f"{summary.nPending}; --resume does them"
    if summary.gateFailures:
        names = ", ".join(record.name for record in summary.gateFailures[:SHOWN_FAILURES])
        rows["beyond a gate"] = f"{len(summary.gateFailures)}: {names}"
    if summary.seconds is not None and summary.pairsPerHour is not None:
        rows["time"] = f"{summary.startUpSeconds:.1f} s to start, {summary.seconds:.1f} s at work"
        rows["throughput"] = f"{summary.pairsPerHour:.0f} pairs an hour"
    if allShards is not None:
        rows["all shards"] = f"{allShards.nDone} of {allShards.nPairs} done, {allShards.nFailed} failed"
    rows["written"] = summary.directory
    tell(options, summary.toDict() | (more or {}), rows)


def _statusOfExit(summary: BatchSummary) -> int:
    if summary.isInterrupted:
        return EXIT_INTERRUPTED
    if summary.failures:
        isFewStars = {record.errorType for record in summary.failures} <= TOO_FEW_STARS
        return EXIT_TOO_FEW_STARS if isFewStars else EXIT_PAIRS_FAILED
    return EXIT_QUALITY_GATE if summary.gateFailures else 0

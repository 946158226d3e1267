"""The command as a whole: its parser, and what becomes of an error."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from psfmatch.cli import (
    apply,
    batch,
    completion,
    config,
    demo,
    detect,
    hotpants,
    info,
    options,
    progress,
    report,
    subtract,
)
from psfmatch.cli.parser import EXIT_USAGE, Parser, UsageError, commandsOf, optionsOf
from psfmatch.cli.reporting import errorOf, printJson
from psfmatch.errors import speakingTo

__all__ = ["main"]

log = logging.getLogger("psfmatch.cli")

EXIT_BAD_INPUT = 3
EXIT_TOO_FEW_STARS = 4
EXIT_INTERNAL = 6
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141  # as of a command that SIGPIPE has ended

RARELY = (100_000, 50, 50)
"""Thresholds of the garbage collector: new objects between two looks at them, and such looks between longer ones."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Without arguments those of the process are taken, which is then a command's own and ends with it.
    """
    if arguments is not None:
        return _run(arguments)
    # NumPy asks for huge pages, which virtual machines get from their host one by one: twice the system's time for the
    # large images, against a few per cent saved where memory is the machine's own.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    # NumPy's library of linear algebra starts threads of its own when it is loaded, which wait by turning round: nearly
    # a tenth of a second, for nothing that the command asks of it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules and their classes stay to the end: to look for what can be freed among them, while they are imported and
    # once more at the end, is a quarter of the start.
    gc.set_threshold(*RARELY)
    # Consoles of Windows do not know all letters of a file's name.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(None)
    finally:
        gc.freeze()


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    try:
        chosen = parser.parse_args(arguments)
    except UsageError as error:
        isJson = "--json" in (sys.argv[1:] if arguments is None else arguments)
        sys.exit(_fail(error, EXIT_USAGE, argparse.Namespace(json=isJson)))
    if chosen.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    progress.startLogging(chosen)
    from psfmatch.errors import (
        InsufficientKernelSourcesError,
        KernelSolutionError,
        NoKernelCandidatesError,
        PsfMatchError,
    )
    from psfmatch.threads import usingThreads

    try:
        # Threads of a batch are those of each of its pairs, in processes of their own.
        isBounded = hasattr(chosen, "threads") and not hasattr(chosen, "workers")
        with (
            speakingTo("command", optionsOf(commandsOf(parser)[chosen.command])),
            usingThreads(chosen.threads) if isBounded else contextlib.nullcontext(),
            _debugging(chosen),
        ):
            status = int(chosen.run(chosen))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return _withoutReader()
    except (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError) as error:
        return _fail(error, EXIT_TOO_FEW_STARS, chosen)
    except (PsfMatchError, OSError) as error:
        # Windows says so of a pipe that nobody reads any more.
        if isinstance(error, OSError) and error.errno == errno.EINVAL and error.filename is None:
            return _withoutReader()
        return _fail(error, EXIT_BAD_INPUT, chosen)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        if chosen.verbose:
            log.exception("internal traceback")
        return _fail(error, EXIT_USAGE, chosen)
    except KeyboardInterrupt as error:
        return _fail(error, EXIT_INTERRUPTED, chosen)
    except Exception as error:
        log.exception("This is an error of psfmatch itself; please report it with what follows.")
        return _fail(error, EXIT_INTERNAL, chosen)


def _debugging(options: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    """Return what draws debug views, where they are asked for."""
    if not getattr(options, "debug", False):
        return contextlib.nullcontext()
    from psfmatch.pictures import debugging

    return debugging()


def _withoutReader() -> int:
    """Return the status of a command whose reader has seen enough; Python must not try to write the rest at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_NO_READER


def _fail(error: BaseException, status: int, options: argparse.Namespace) -> int:
    """Tell of an error in one line on standard error, and as JSON where that was asked for; return the status."""
    for handler in logging.getLogger("psfmatch").handlers:
        handler.close()
    words = errorOf(error)["message"]
    print("psfmatch: interrupted" if status == EXIT_INTERRUPTED else f"psfmatch: error: {words}", file=sys.stderr)
    if options.json and not getattr(options, "isTold", False):
        printJson({"error": errorOf(error), "status": status})
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="psfmatch",
        description="Subtract astronomical images after matching their point-spread functions.",
        epilog="Exit status: 0 done, 2 usage, 3 bad input, 4 too few stars or no solution, 5 a quality gate failed, "
        "6 an error of psfmatch itself, 130 interrupted.",
    )
    parser.add_argument("-V", "--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    common, run = options.common(), options.ofTheRun()
    subtract.addCommand(commands, [common, run])
    apply.addCommand(commands, [common])
    detect.addCommand(commands, [common])
    batch.addCommand(commands, [common])
    info.addCommand(commands, [common])
    config.addCommand(commands, [common])
    report.addCommand(commands, [common, run])
    demo.addCommand(commands, [common, run])
    hotpants.addCommand(commands)
    completion.addCommand(commands, _parser)
    _addHelp(commands)
    return parser


def _addHelp(commands: Any) -> None:
    """Add the command that prints what ``--help`` of another does."""
    words = "show the help of a command"
    parser = commands.add_parser("help", help=words, description=f"{words.capitalize()}.")
    parser.add_argument("topic", metavar="COMMAND", nargs="?", choices=[*commands.choices], help="a command")
    parser.set_defaults(run=_help, verbose=0, quiet=False, json=False)


def _help(chosen: argparse.Namespace) -> int:
    with contextlib.suppress(SystemExit):  # once it is printed
        _parser().parse_args(["--help"] if chosen.topic is None else [chosen.topic, "--help"])
    return 0


class _ShowVersion(argparse.Action):
    """Prints the version, which is looked up for nobody else."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and leave."""
        from importlib.metadata import version

        print(f"psfmatch {version('psfmatch')}")
        parser.exit()

"""Options that several commands share, and the configuration that they make."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psfmatch.frontdoor import FrontDoorConfig

__all__ = ["addChoices", "addThreads", "changedConfiguration", "common", "configuration", "ofTheRun"]

MODES = ("auto", "convolveTemplate", "convolveScience")


def common() -> argparse.ArgumentParser:
    """Return the options of every command."""
    common = argparse.ArgumentParser(add_help=False)
    verbosity = common.add_mutually_exclusive_group()
    verbosity.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="log all that was found and done, not only what was decided; -vv: every candidate and step, too",
    )
    verbosity.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    return common


def addThreads(
    parser: argparse._ActionsContainer,
    words: str = "threads to use (default: PSFMATCH_NUM_THREADS, or all CPUs of this process)",
) -> None:
    """Add the number of threads."""
    parser.add_argument("--threads", metavar="N", type=int, help=words)


def ofTheRun() -> argparse.ArgumentParser:
    """Return the options of the commands that subtract one pair."""
    run = argparse.ArgumentParser(add_help=False)
    group = run.add_argument_group("the subtraction")
    addThreads(group)
    addChoices(group)
    group.add_argument("--explain", action="store_true", help="say why each choice was made, with the numbers compared")
    group.add_argument(
        "--debug",
        action="store_true",
        help="write pictures of every step to psfmatch-debug/: those that debug.py of this directory asks for, or all",
    )
    return run


def addChoices(group: argparse._ActionsContainer) -> None:
    """Add what `configuration` reads, and the direction."""
    group.add_argument(
        "--mode",
        choices=MODES,
        default="auto",
        help="which image is convolved; auto (default): the one with the narrower PSF",
    )
    group.add_argument("--config", metavar="FILE", help="configuration: a .json, .toml, .yaml or .py file")
    group.add_argument(
        "-c",
        dest="overrides",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="set one field, e.g. -c kernel.active.spatialKernelOrder=1; the rest is chosen around it; may be repeated",
    )


def changedConfiguration(options: argparse.Namespace) -> FrontDoorConfig | None:
    """Return the configuration as `configuration` does, None if nothing is set."""
    return configuration(options) if options.config is not None or options.overrides else None


def configuration(options: argparse.Namespace) -> FrontDoorConfig:
    """Return the front door's configuration, changed by ``--config`` and ``-c``; what is not set is chosen."""
    from psfmatch.config import applyOverride, updateFromFile
    from psfmatch.frontdoor import frontDoorConfig

    config = frontDoorConfig()
    if options.config is not None:
        updateFromFile(config, options.config)
    for override in options.overrides:
        applyOverride(config, override)
    return config

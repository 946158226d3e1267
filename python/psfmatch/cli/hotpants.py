"""``psfmatch hotpants``: the command line of HOTPANTS, option by option."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psfmatch.hotpants import Settings
    from psfmatch.hotpants.running import HotpantsResult

__all__ = ["addCommand"]

log = logging.getLogger("psfmatch.cli")


def addCommand(commands: Any) -> None:
    """Add the command; its options are not argparse's."""
    parser = commands.add_parser(
        "hotpants",
        help="subtract with the options, header keywords and mask bits of HOTPANTS",
        # Options begin with one dash and have several letters and values: all words are taken as they are.
        prefix_chars="\0",
        add_help=False,
        usage="psfmatch hotpants -inim SCIENCE -tmplim TEMPLATE -outim DIFFERENCE [options]\n"
        "       psfmatch hotpants --help",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, action=_Words)
    parser.set_defaults(run=_hotpants, settings=None, verbose=0, quiet=False, json=False)


class _Words(argparse.Action):
    """Takes the words of HOTPANTS' options apart, so that ``-v`` counts before anything is logged."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        from psfmatch.hotpants import helpText, parse

        words = list(values or ())
        if {"-h", "-help", "--help"} & set(words) or not words:
            print(helpText())
            parser.exit()
        try:
            namespace.settings = parse(words)
        except ValueError as error:
            parser.error(str(error))
        level = namespace.settings["v"]
        namespace.quiet, namespace.verbose = level == 0, 2 if level == 2 else 0


def _hotpants(options: argparse.Namespace) -> int:
    from psfmatch.hotpants.running import run

    start = time.perf_counter()
    result = run(options.settings)
    if not options.quiet:
        _tell(options.settings, result, time.perf_counter() - start)
    return 0


def _tell(settings: Settings, result: HotpantsResult, seconds: float) -> None:
    """Print a line for each region, and what was written."""
    for number, region in enumerate(result.regions):
        if region.fitted is None:
            print(f"region {number}  no kernel, filled")
            continue
        kernel, candidates = region.fitted.kernel, region.fitted.candidates
        nGood = int((candidates["status"] == "GOOD").sum()) if len(candidates) else 0
        print(
            f"region {number}  {region.fitted.convolved} convolved, kernel {kernel.shape[1]}x{kernel.shape[0]} px of "
            f"order {kernel.order}, sum {region.kernelSum:.4f}, {nGood} of {len(candidates)} stamps used, "
            f"difference / noise scatters by {region.scatter:.3f}"
        )
    print(f"written   {', '.join(result.files)} in {seconds:.1f} s, on the scale of -n {settings['n']}")

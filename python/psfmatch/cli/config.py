"""``psfmatch config``: the fields of a configuration, what they are for, and a file that holds them."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.cli.options import configuration
from psfmatch.cli.outputs import addOverwrite, inputsOf, requireOutputs
from psfmatch.cli.reporting import printJson

if TYPE_CHECKING:
    from psfmatch.config import FieldEntry
    from psfmatch.frontdoor import FrontDoorConfig

__all__ = ["USUAL", "addCommand"]

USUAL = (
    "kernel",
    "kernel.active.fitMethod",
    "kernel.active.regionConfig.layout",
    "kernel.active.regionConfig.threshold",
    "kernel.active.scaleByFwhm",
    "kernel.active.kernelSize",
    "kernel.active.alardNGauss",
    "kernel.active.alardSigGauss",
    "kernel.active.alardDegGauss",
    "kernel.active.spatialKernelOrder",
    "kernel.active.fitForBackground",
    "kernel.active.spatialBgOrder",
    "kernel.active.minKernelSources",
    "kernel.active.badPixelMaskPlanes",
    "kernel.active.maskedKernelFraction",
    "kernel.active.safeKernelFraction",
    "kernel.active.doCopyEdge",
    "kernel.active.calculateKernelUncertainty",
    "kernel.active.warpingConfig.warpingKernelName",
    "kernel.active.detectionConfig.detThreshold",
    "selectDetection.thresholdValue",
)
"""Paths of the fields that are shown, behind the steps of a run, unless others are asked for."""

WIDTH = 100


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "config",
        parents=parents,
        help="show and write the configuration of a subtraction",
        description="Show the fields that are set most often, with their values and what they are for, or write all "
        "of them to a file for --config. FIELD=VALUE with a path as it is shown here is what -c takes.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--full", action="store_true", help="show all fields")
    which.add_argument(
        "--search", metavar="WORD", nargs="+", help="show the fields whose path or description has all the words"
    )
    parser.add_argument("--config", metavar="FILE", help="start from this file, not from the defaults")
    parser.add_argument(
        "-c",
        dest="overrides",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="set one field first; may be repeated",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write all fields to FILE: .json, .toml, .yaml, or .py (pex.config); - is standard output, as JSON",
    )
    which.add_argument(
        "--form", choices=("json", "toml", "yaml", "py"), help="print all fields as such a file would hold them"
    )
    addOverwrite(parser)
    parser.set_defaults(run=_config)


def _config(options: argparse.Namespace) -> int:
    from psfmatch.config import configToDict, listFields

    config = configuration(options).withNames()
    config.validate()
    if options.output == "-":
        printJson(configToDict(config))
        return 0
    if options.output is not None:
        requireOutputs([(options.output, None)], inputsOf(options), options.overwrite)
        _write(config, Path(options.output))
    if options.form is not None:
        from psfmatch.config import configText

        print(configText(config, options.form), end="")
        return 0
    fields = list(listFields(config))
    if options.search is not None:
        words = [word.lower() for word in options.search]
        fields = [field for field in fields if all(word in _textOf(field) for word in words)]
        if not fields:
            raise ValueError(f"no field has {' and '.join(options.search)} in its path or description; try --full")
    elif not options.full:
        # Field paths follow the classes; a user thinks in steps.
        from psfmatch.frontdoor.options import STEPS

        byPath = {field.path: field for field in fields}
        fields = [byPath[path] for path in (*STEPS, *USUAL) if path in byPath]
    isAsked = options.full or options.search is not None
    if options.json:
        from dataclasses import asdict

        printJson([asdict(field) for field in fields])
    elif options.output is None or isAsked:
        _show(fields, _defaultsOf(config), isComplete=isAsked, isChosen=config.chooseKernel)
    if options.output is not None and not options.json:
        print(f"{'written':<17} {options.output}: psfmatch subtract --config {options.output} ...")
    return 0


def _write(config: FrontDoorConfig, path: Path) -> None:
    """Write the configuration in one of the forms that ``--config`` reads."""
    from psfmatch.config import configText, formOf
    from psfmatch.io import writeWhole

    writeWhole(path, configText(config, formOf(path)).encode())


def _textOf(field: FieldEntry) -> str:
    words = " ".join(f"{word} {meaning}" for word, meaning in field.choices)
    return f"{field.path} {field.doc} {words}".lower()


def _defaultsOf(config: FrontDoorConfig) -> dict[str, Any]:
    """Return the values of a run without any option, by path below the same kernel."""
    from psfmatch.config import listFields
    from psfmatch.frontdoor import frontDoorConfig

    usual = frontDoorConfig()
    name = usual.kernel.name
    # "active" has to mean the same kernel in both.
    usual.kernel.name = config.kernel.name
    defaults = {field.path: field.value for field in listFields(usual)}
    return defaults | {"kernel": name}


def _show(fields: list[FieldEntry], defaults: dict[str, Any], isComplete: bool, isChosen: bool) -> None:
    for field in fields:
        line = f"{field.path} = {_valueOf(field)}"
        if field.path in defaults and defaults[field.path] != field.value:
            line += f"  (default {defaults[field.path]!r})"
        print(line)
        text = f"{field.doc.rstrip('.')} [{field.limits}]." if field.limits else field.doc
        _printIndented(text, 4)
        for word, meaning in field.choices:
            if meaning:
                _printIndented(f"{word or repr('')}: {meaning}", 6)
    if not isComplete:
        print(f"\n{len(fields)} fields that are set most often; --full shows all, --search WORD those about something.")
    if isChosen:
        print(
            "\nchooseKernel is True: the kernel's basis, orders, priors and regions are chosen from the images.\n"
            "A field below kernel that is set, with -c or in a file, is kept, and the rest is chosen around it."
        )


def _valueOf(field: FieldEntry) -> str:
    return field.value if isinstance(field.value, str) and field.value else repr(field.value)


def _printIndented(text: str, indent: int) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)))

"""``psfmatch info``: what a FITS file holds and how it would be read."""

from __future__ import annotations

import argparse
from typing import Any

from psfmatch.cli.reporting import printJson

__all__ = ["addCommand"]


def addCommand(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "info",
        parents=parents,
        help="show what a FITS file holds and how it would be read",
        description="List the HDUs of a file and what each is read as: image, mask, variance, kernel, or nothing; with "
        "the unit of images, and what the bits of masks mean.",
    )
    parser.add_argument("file", metavar="FILE", help="FITS file, also .fz and .gz")
    parser.set_defaults(run=_info)


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
                "unit": e.unit,
                "meaning": e.meaning,
            }
            for e in entries
        ]
        printJson(rows)
        return 0
    # An image without a name is the image where it is the only one; of several somebody must choose.
    nameless = [e for e in entries if e.isPlane and e.role is io.Role.NONE]
    hasImage = any(e.role is io.Role.IMAGE for e in entries)
    print(f"{'HDU':>3}  {'name':<12} {'kind':<6} {'shape':<16} {'dtype':<10} read as")
    for e in entries:
        shape = "x".join(str(n) for n in e.shape)
        columns = f"{e.index:>3}  {e.name or '-':<12} {e.kind:<6} {shape or '-':<16} {e.dtype or '-':<10}"
        isFree = e.nPlanes and e.role in (io.Role.NONE, io.Role.IMAGE)
        cube = f"a cube: its planes are [{e.index}][0] to [{e.index}][{e.nPlanes - 1}]" if isFree else ""
        role = e.role.value or "nothing"
        if e in nameless and not hasImage:
            role = "image" if len(nameless) == 1 else f"image, if [{e.index}] is added to the name of the file"
        print(columns, ", ".join(filter(None, (cube or role, e.unit and f"in {e.unit}", e.meaning))))
    return 0

"""Which parts of the image are fitted, each by itself: ``-gd``, ``-nrx``, ``-nry``, ``-rf``, ``-rkw``."""

from __future__ import annotations

import re
from pathlib import Path

from psfmatch.errors import InputImagesError
from psfmatch.hotpants.parsing import Settings
from psfmatch.hotpants.tables import countHotpantsRegions, readHotpantsTable
from psfmatch.images import Box, Exposure

__all__ = ["regionBoxes", "section"]


def regionBoxes(settings: Settings, science: Exposure) -> list[Box]:
    """Return the regions, parent pixels.

    Raises
    ------
    ValueError
        If a section cannot be read, or there are more regions than pixels.
    InputImagesError
        If one lies outside the image.
    """
    whole = science.getBBox()
    if "ki" in settings and not settings.anyOf("gd", "nrx", "nry", "rf", "rkw"):
        return _stored(settings["ki"]) or [whole]
    if "gd" in settings:
        whole = _box(settings["gd"], "-gd", science.getBBox())
    if "rf" in settings:
        lines = [line.strip() for line in Path(settings["rf"]).read_text(encoding="utf-8-sig").splitlines()]
        texts = {f"line {n} of {settings['rf']}": line for n, line in enumerate(lines, 1) if line and line[0] != "#"}
    elif "rkw" in settings:
        keyword, count = settings["rkw"]
        texts = _cards(keyword, count, science)
    else:
        return _grid(whole, settings["nrx"], settings["nry"])
    boxes = []
    for where, text in texts.items():
        numbers = [int(number) for number in re.findall(r"[-+]?\d+", text)]
        if len(numbers) != 4:
            raise ValueError(f"{where}: {text!r} is no section xmin:xmax,ymin:ymax")
        part = _box(tuple(numbers), where, science.getBBox()).intersection(whole)
        if not part.isEmpty:
            boxes.append(part)
    if not boxes:
        raise ValueError("no region is left: the file, the cards, or -gd leave none")
    return boxes


def _stored(path: str) -> list[Box]:
    """Return the regions of a kernel table of HOTPANTS, as far as it tells them."""
    tables = [readHotpantsTable(path, region) for region in range(countHotpantsRegions(path))]
    return [table.box for table in tables if table.box is not None]


def section(box: Box, whole: Box) -> str:
    """Return a region as FITS writes it, pixels of the image from 1: [x1:x2,y1:y2]."""
    x, y = box.x0 - whole.x0, box.y0 - whole.y0
    return f"[{x + 1}:{x + box.width},{y + 1}:{y + box.height}]"


def _box(numbers: tuple[int, ...], where: str, whole: Box) -> Box:
    x1, x2, y1, y2 = numbers
    if not (1 <= x1 <= x2 <= whole.width and 1 <= y1 <= y2 <= whole.height):
        raise InputImagesError(
            f"{where}: [{x1}:{x2},{y1}:{y2}] is no part of an image of {whole.width}x{whole.height} pixels that count "
            "from 1",
            bbox=whole,
        )
    return Box(whole.x0 + x1 - 1, whole.y0 + y1 - 1, x2 - x1 + 1, y2 - y1 + 1)


def _cards(keyword: str, count: int, science: Exposure) -> dict[str, str]:
    """Return the sections in the cards of a keyword, which count from 0 or 1, or in its only card."""
    cards = {key.upper(): str(value) for key, value in science.metadata.items()}
    word = keyword.upper()
    for names in (
        *([f"{word}{form.format(n + first)}" for n in range(count)] for form in ("{:02d}", "{:d}") for first in (0, 1)),
        [word] if count == 1 else [],
    ):
        if names and all(name in cards for name in names):
            return {name: cards[name] for name in names}
    raise ValueError(f"-rkw {keyword} {count}: the science image has no cards {word}0 to {word}{count - 1}")


def _grid(box: Box, nx: int, ny: int) -> list[Box]:
    """Return nx by ny boxes side by side that fill a box."""
    if nx > box.width or ny > box.height:
        raise ValueError(f"{nx} by {ny} regions do not fit into {box.width}x{box.height} pixels")
    xs = [box.x0 + n * box.width // nx for n in range(nx + 1)]
    ys = [box.y0 + n * box.height // ny for n in range(ny + 1)]
    return [Box(xs[i], ys[j], xs[i + 1] - xs[i], ys[j + 1] - ys[j]) for j in range(ny) for i in range(nx)]

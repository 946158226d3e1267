"""Draw the house: which folder of psfmatch imports from which, read from the code.

    python docs/_ext/house.py

writes `docs/_static/house.svg`. Folders stand in the order of `tests/python/test_layers.py`; a dot in the row of one
and the column of another says that the first imports from the second, the larger the more often. No dot is above the
diagonal: nothing imports from what comes later.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

root = Path(__file__).resolve().parents[2]
picture = root / "docs" / "_static" / "house.svg"
PIXELS, LEFT, TOP = 26, 110, 112
"""Of a cell, and of the names' margins."""


def importsByFolder() -> tuple[tuple[str, ...], Counter[tuple[str, str]]]:
    """Return the folders in their order, and how many imports each has from each other."""
    spec = importlib.util.spec_from_file_location("layers", root / "tests" / "python" / "test_layers.py")
    assert spec is not None
    assert spec.loader is not None
    layers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layers)
    package = layers.pythonSources
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted(package.rglob("*.py")):
        here = layers.folderOf(path, package)
        for name in layers.importsOf(path, package):
            other = layers.ownFolder(name, package)
            if other is not None and other != here:
                counts[here, other] += 1
    # The package's front page names them all, and tells nothing of the house.
    folders = (layers.coreName, *(name for name in layers.pythonFolders if not name.startswith("__")))
    return folders, Counter({pair: n for pair, n in counts.items() if set(pair) <= {*folders}})


def draw() -> str:
    """Return the picture as SVG."""
    folders, counts = importsByFolder()
    n = len(folders)
    width, height = LEFT + n * PIXELS + 10, TOP + n * PIXELS + 10
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, name in enumerate(folders):
        middle = (i + 0.5) * PIXELS
        if i % 2:
            lines.append(f'<rect x="0" y="{TOP + i * PIXELS}" width="{width}" height="{PIXELS}" fill="#f2f5f8"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{TOP + middle + 4:g}" text-anchor="end">{name}</text>')
        x = LEFT + middle + 4
        lines.append(f'<text x="{x:g}" y="{TOP - 8}" transform="rotate(-60 {x:g} {TOP - 8})">{name}</text>')
        corner = f"{LEFT + i * PIXELS}", f"{TOP + i * PIXELS}"
        lines.append(f'<rect x="{corner[0]}" y="{corner[1]}" width="{PIXELS}" height="{PIXELS}" fill="#d5dde6"/>')
    for (here, other), count in sorted(counts.items()):
        x, y = (edge + (folders.index(name) + 0.5) * PIXELS for edge, name in ((LEFT, other), (TOP, here)))
        radius = min(2.0 + count**0.5, 0.45 * PIXELS)
        lines.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:.1f}" fill="#23639b">'
            f"<title>{here} from {other}: {count}</title></circle>"
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    picture.write_text(draw())

"""Text of a page: escaping, numbers, tables, sections; the style sheet is `style.css`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from psfmatch.errors import significant


class Markup(str):
    """Text that is markup already."""


def escape(text: Any) -> str:
    """Return text that a page shows as it is."""
    return text if isinstance(text, Markup) else html.escape(str(text), quote=True)


def tell(value: Any, of: float = 0.0) -> str:
    """Return a value as a report writes it: four digits, a dash for what is not known; not escaped.

    Beside `of`, what is as large as such values can be, a rounding error is 0.
    """
    if isinstance(value, list | tuple):
        return ", ".join(tell(item, of) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return significant(value, of=of) if isinstance(value, float) else value if isinstance(value, str) else str(value)


def badge(grade: str | None, kind: str = "") -> Markup:
    """Return a grade in its colour."""
    known = grade if grade in ("A", "B", "C", "D", "F") else ""
    return Markup(f'<span class="badge {known} {kind}">{escape(grade or "?")}</span>')


def link(address: str, words: str) -> Markup:
    """Return words that lead somewhere."""
    return Markup(f'<a href="{escape(address)}">{escape(words)}</a>')


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[int] = ()) -> Markup:
    """Return a table; `numeric` columns stand at the right."""

    def cells(row: Sequence[Any], tag: str) -> str:
        kinds = (' class="n"' if index in numeric else "" for index in range(len(row)))
        told = (f"<{tag}{kind}>{escape(tell(cell))}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
        return f"<tr>{''.join(told)}</tr>"

    head = f"<thead>{cells(headings, 'th')}</thead>" if headings else ""
    body = "\n".join(cells(row, "td") for row in rows)
    return Markup(f'<div class="scroll"><table>{head}<tbody>\n{body}\n</tbody></table></div>')


def flatRows(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested dictionaries as rows of dotted names and values."""
    if not isinstance(values, dict):
        return [(prefix, values)]
    names = {name: f"{prefix}.{name}" if prefix else name for name in values}
    return [row for name, value in values.items() for row in flatRows(value, names[name])]


def image(source: str, alternative: str, caption: str = "", kind: str = "wide") -> Markup:
    """Return a picture, its text for those who do not see it, and what is below it."""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return Markup(f'<figure class="{kind}"><img src="{source}" alt="{escape(alternative)}">{told}</figure>')


def folded(summary: str, content: str) -> Markup:
    """Return content that is seen when it is asked for."""
    return Markup(f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>")


def section(name: str, title: str, *content: str) -> Markup:
    """Return a section with an anchor, that can be folded."""
    heading, body = escape(title), "\n".join(content)
    inner = f"<details open><summary><h2>{heading}</h2></summary>\n{body}\n</details>"
    return Markup(f'<section id="{escape(name)}">\n{inner}\n</section>')


def page(title: str, navigation: str, content: str, footer: str) -> str:
    """Return a whole page: nothing in it asks for another file."""
    style = (files("psfmatch.pictures") / "style.css").read_text(encoding="utf-8").strip()
    bar = f"<nav><div>{navigation}</div></nav>\n" if navigation else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}
</style>
</head>
<body>
{bar}<main>
{content}
</main>
<footer><p>{footer}</p></footer>
</body>
</html>
"""

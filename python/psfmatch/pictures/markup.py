"""Text of a page: escaping, numbers, tables, and the style sheet."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from psfmatch.messages import significant

__all__ = ["badge", "escape", "flatRows", "folded", "image", "page", "section", "table", "tell"]

STYLE = """
:root{color-scheme:light dark;--ink:#1c2329;--quiet:#5b666f;--paper:#f5f7f8;--card:#fff;--line:#dde3e6;--link:#0b5cad}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaed;--quiet:#9fabb4;--paper:#14181b;--card:#1e2428;--line:#343d43;
--link:#7cb8f2}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:3rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif}
main,header,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
a{color:var(--link)}
h1{font-size:1.35rem;line-height:1.25;margin:1.2rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 .4rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0;max-width:52rem}
h1+.quiet{margin-top:-.5rem}
.quiet{color:var(--quiet);font-size:.9rem}
nav{position:sticky;top:0;background:var(--paper);border-bottom:1px solid var(--line);z-index:1}
nav div{max-width:76rem;margin:0 auto;padding:.45rem 1rem;overflow-x:auto;white-space:nowrap;font-size:.9rem}
nav a{margin-right:1rem;text-decoration:none}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:1rem 0}
.glance{display:grid;grid-template-columns:minmax(0,1.25fr) minmax(0,1fr);gap:1.2rem}
.verdict{display:flex;gap:1rem;align-items:center}
.verdict p{margin:.1rem 0}
.verdict strong{font-size:1.2rem}
.badge{display:inline-block;border-radius:.3rem;padding:0 .45em;font-weight:700;color:#fff;background:#6b7780}
.badge.big{font-size:3rem;line-height:1.25;border-radius:.5rem;padding:0 .35em}
.A{background:#1a7f37}.B{background:#4d7c0f}.C{background:#a16207}.D{background:#c2410c}.F{background:#b91c1c}
.reasons{list-style:none;padding:0;margin:.8rem 0}
.reasons li{margin:.5rem 0;padding-left:2.1rem;position:relative}
.reasons .badge{position:absolute;left:0}
.keys{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.5rem;margin:.8rem 0 0}
.keys div{border:1px solid var(--line);border-radius:.4rem;padding:.4rem .6rem}
.keys b{display:block;font-size:1.15rem}
.keys span{color:var(--quiet);font-size:.82rem}
td img{display:block;max-width:none;image-rendering:pixelated}
figure{margin:.6rem 0;overflow-x:auto}
figure img{display:block;width:100%;height:auto;background:#fff;border-radius:.3rem}
figcaption{color:var(--quiet);font-size:.88rem;margin-top:.35rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;margin:.4rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600}
td.n,th.n{text-align:right}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--link)}
ol.why{padding-left:1.3rem;max-width:60rem}
ol.why li{margin:.3rem 0}
footer{color:var(--quiet);font-size:.85rem;padding-bottom:2rem}
@media(max-width:52rem){.glance{grid-template-columns:minmax(0,1fr)}.wide img{min-width:46rem}
body{font-size:15px}section{padding:.8rem}}
@media print{nav{display:none}section{break-inside:avoid;border:0}}
""".strip()


def escape(text: Any) -> str:
    """Return text that a page shows as it is."""
    return html.escape(str(text), quote=True)


def tell(value: Any, of: float = 0.0) -> str:
    """Return a value as a report writes it: four digits, a dash for what is not known; not escaped.

    Beside `of`, what is as large as such values can be, a rounding error is 0.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return significant(value, of=of)
    if isinstance(value, list | tuple):
        return ", ".join(tell(item, of) for item in value)
    return str(value)


def badge(grade: str | None, isBig: bool = False) -> str:
    """Return a grade in its colour."""
    known = grade if grade in ("A", "B", "C", "D", "F") else ""
    return f'<span class="badge {known}{" big" if isBig else ""}">{escape(grade or "?")}</span>'


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[int] = ()) -> str:
    """Return a table; cells are escaped, but for those that are already markup (`Markup`)."""

    def cells(row: Sequence[Any], tag: str) -> str:
        told = ""
        for index, cell in enumerate(row):
            kind = ' class="n"' if index in numeric else ""
            told += f"<{tag}{kind}>{cell if isinstance(cell, Markup) else escape(tell(cell))}</{tag}>"
        return told

    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{cells(headings, 'th')}</tr></thead>" if headings else ""
    return f'<div class="scroll"><table>{head}<tbody>\n{body}\n</tbody></table></div>'


class Markup(str):
    """Text that is markup already."""


def flatRows(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested dictionaries as rows of dotted names and values."""
    if isinstance(values, dict):
        return [
            row for name, value in values.items() for row in flatRows(value, f"{prefix}.{name}" if prefix else name)
        ]
    return [(prefix, values)]


def image(source: str, alternative: str, caption: str = "", isWide: bool = True) -> str:
    """Return a picture, its text for those who do not see it, and what is below it."""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = ' class="wide"' if isWide else ""
    return f'<figure{kind}><img src="{source}" alt="{escape(alternative)}">{told}</figure>'


def folded(summary: str, content: str) -> str:
    """Return content that is seen when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def section(name: str, title: str, *content: str) -> str:
    """Return a section with an anchor."""
    return f'<section id="{escape(name)}">\n<h2>{escape(title)}</h2>\n' + "\n".join(content) + "\n</section>"


def page(title: str, navigation: str, content: str, footer: str) -> str:
    """Return a whole page: nothing in it asks for another file."""
    bar = f"<nav><div>{navigation}</div></nav>\n" if navigation else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n{bar}"
        f"<main>\n{content}\n</main>\n<footer><p>{footer}</p></footer>\n</body>\n</html>\n"
    )

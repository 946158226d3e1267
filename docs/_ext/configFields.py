"""Directive ``config-fields``: a table of the fields of a configuration class, made from the class itself.

The argument is the full name of a class or of a function that returns a configuration. ``:only:`` takes the fields
whose paths begin with one of some words, ``:without:`` leaves those out; ``:strip:`` shortens the paths.
"""

from importlib import import_module
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from psfmatch.config import listFields

HEADINGS = (("field", 26), ("default", 14), ("meaning", 60))


class ConfigFields(SphinxDirective):
    """Puts the table into the page."""

    required_arguments = 1
    option_spec: ClassVar = dict.fromkeys(("only", "without", "strip"), directives.unchanged)

    def run(self):
        """Return the table; an error for options that leave nothing of it."""
        module, _, name = self.arguments[0].rpartition(".")
        only = tuple(self.options.get("only", "").split()) or ("",)
        without = tuple(self.options.get("without", "").split())
        fields = [
            field
            for field in listFields(getattr(import_module(module), name)())
            if field.path.startswith(only) and not (without and field.path.startswith(without))
        ]
        if not fields:
            raise self.error(f"{self.arguments[0]} has no field that begins with {' or '.join(only)}")
        prefix = self.options.get("strip", "")
        rows = [self.row(field, field.path.removeprefix(prefix)) for field in fields]
        return [makeTable(HEADINGS, rows)]

    def row(self, field, path):
        """Return the cells of a field: path, value, and what it means."""
        text = nodes.paragraph()
        text += inline(field.doc)
        notes = ", ".join(filter(None, (field.type, field.limits)))
        text += nodes.emphasis("", f" ({notes})")
        cell = [text]
        meanings = [(word, meaning) for word, meaning in field.choices if meaning]
        if meanings:
            cell.append(
                nodes.bullet_list(
                    "",
                    *(
                        nodes.list_item("", nodes.paragraph("", "", nodes.literal("", repr(word)), *after(meaning)))
                        for word, meaning in meanings
                    ),
                )
            )
        return [literal(path)], [literal(repr(field.value))], cell


def after(meaning):
    """Return the nodes of a meaning behind its word."""
    return [nodes.Text(": "), *inline(meaning)]


def inline(text):
    """Return a text with what stands between backquotes as code."""
    parts = text.split("`")
    return [nodes.literal("", part) if number % 2 else nodes.Text(part) for number, part in enumerate(parts) if part]


def literal(text):
    """Return a paragraph of code."""
    return nodes.paragraph("", "", nodes.literal("", text))


def makeTable(headings, rows):
    """Return a table; headings with their relative widths, rows of cells, each a list of nodes."""
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=width) for _, width in headings]
    group += nodes.thead("", makeRow([[nodes.paragraph(text=heading)] for heading, _ in headings]))
    group += nodes.tbody("", *(makeRow(row) for row in rows))
    return nodes.table("", group)


def makeRow(cells):
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


def setup(app):
    """Register the directive."""
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

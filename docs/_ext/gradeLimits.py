"""Directive ``grade-limits``: the figures of a difference image, and the values that each grade asks for."""

import math

from configFields import literal, makeTable
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from psfmatch.quality import RULES

KINDS = {"most": "at most", "least": "at least", "near one": "within a factor of"}


class GradeLimits(SphinxDirective):
    """Puts the table into the page."""

    def run(self):
        """Return the table, a row for each rule of the grade."""
        headings = [("figure", 24), ("what x is", 40), ("A to D need x", 14), *((grade, 8) for grade in "ABCD")]
        return [makeTable(headings, [self.row(rule) for rule in RULES])]

    def row(self, rule):
        """Return the cells of a rule."""
        limits = ["any" if math.isinf(limit) else f"{limit:g}" for limit in rule.limits]
        texts = [rule.words.replace("{}", "x"), KINDS[rule.kind], *limits]
        return [[literal(rule.figure)], *([nodes.paragraph(text=text)] for text in texts)]


def setup(app):
    """Register the directive."""
    app.add_directive("grade-limits", GradeLimits)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

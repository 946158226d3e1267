"""Directive ``hotpants-options``: HOTPANTS' options by group, and what becomes of each here."""

from configFields import inline, literal, makeTable
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

HEADINGS = (("option", 24), ("default", 12), ("here", 64))


class HotpantsOptions(SphinxDirective):
    """Puts a table for each group into the page."""

    def run(self):
        """Return a heading line and a table for each group."""
        from psfmatch.hotpants import GROUPS

        found = []
        for group, options in GROUPS.items():
            found.append(nodes.paragraph("", "", nodes.strong("", group.capitalize())))
            found.append(makeTable(HEADINGS, [self.row(option) for option in options]))
        return found

    def row(self, option):
        """Return the cells of an option."""
        told = option.does or f"No meaning here: {option.reason}"
        default = "" if option.default is None or option.kind == "flag" else str(option.default)
        return (
            [literal(f"-{option.name} {option.values}".strip())],
            [nodes.paragraph(text=default)],
            [nodes.paragraph("", "", *inline(told + "."))],
        )


def setup(app):
    """Register the directive."""
    app.add_directive("hotpants-options", HotpantsOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

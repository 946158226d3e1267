"""Sets the fields of dataclasses as lists: docstrings tell them in a paragraph, ``name : what; name : what``."""

import re

START = re.compile(r"[A-Za-z]\w*(, [A-Za-z]\w*)* : ")
NEXT = re.compile(r"[;.]\s+(?=[A-Za-z]\w*(?:, [A-Za-z]\w*)* : )")


def setFields(app, what, name, obj, options, lines):
    """Replace the paragraphs of a class's docstring that tell fields."""
    if what != "class":
        return
    text, underline, sections = "\n".join(lines).partition("\n---")
    paragraphs = (listOf(paragraph) or paragraph for paragraph in text.split("\n\n"))
    lines[:] = ("\n\n".join(paragraphs) + underline + sections).split("\n")


def listOf(paragraph):
    """Return a paragraph of fields as a list, None if it is another."""
    text = " ".join(paragraph.split())
    if not START.match(text):
        return None
    fields = (field.partition(" : ") for field in NEXT.split(text))
    return "\n".join(f"- ``{names}``: {told.rstrip('.')}." for names, _, told in fields)


def setup(app):
    """Work before numpydoc does."""
    app.connect("autodoc-process-docstring", setFields, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

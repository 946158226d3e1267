"""Writes the pages of ``api/``, one for each module that has public names, before the sources are read.

The names are those of ``psfmatch.__all__``. Configuration classes are told in one sentence: their fields have a page
of their own.
"""

import inspect
from pathlib import Path

from lsst.pex.config import Config

import psfmatch

INTRODUCTION = """API
===

Every name below is imported from ``psfmatch`` itself, as in ``from psfmatch import subtract``.

.. toctree::
   :maxdepth: 1

"""


def writePages(app):
    """Write the index and the pages; a file that would not change is left alone."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {module.replace(".", "-"): pageOf(module, names) for module, names in psfmatch._HOMES.items()}
    for extra in {path.stem for path in folder.glob("*.rst")} - pages.keys() - {"index"}:
        (folder / f"{extra}.rst").unlink()
    pages["index"] = INTRODUCTION + "".join(f"   {page}\n" for page in pages)
    for page, text in pages.items():
        path = folder / f"{page}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def pageOf(module, names):
    """Return the page of a module: what it is for, a table of its names, then each in full."""
    imported = __import__(f"psfmatch.{module}", fromlist=["_"])
    title = f"psfmatch.{module}"
    summary = inspect.getdoc(imported).partition("\n\n")[0]
    lines = [title, "=" * len(title), "", summary, "", ".. currentmodule:: psfmatch", ""]
    lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    for name in names:
        lines += [*entryOf(name), ""]
    return "\n".join(lines)


def entryOf(name):
    """Return the lines of one name."""
    thing = getattr(psfmatch, name)
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}" if callable(thing) else f".. autodata:: {name}"]
    lines = [f".. autoclass:: {name}"]
    # Fields of a configuration and members of an enumeration are in its own table and text.
    if not issubclass(thing, (Config, BaseException)):
        lines.append("   :members:")
    return lines


def findPublic(app, env, node, contnode):
    """Return a link for a name that a docstring gives by its module: ``psfmatch.quality.Quality``; None for others."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in psfmatch.__all__:
        return None
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", f"psfmatch.{name}", node, contnode)


def setup(app):
    """Write the pages before autosummary and the reader look for them."""
    app.connect("builder-inited", writePages, priority=100)
    app.connect("missing-reference", findPublic)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

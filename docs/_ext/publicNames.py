"""Writes the pages of ``api/``, one for each place that public names are imported from, before the sources are read.

Names and places are those of the table "Where the names live" of the reference page. Configuration classes are told in
one sentence: their fields have a page of their own.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path

from lsst.pex.config import Config

REFERENCE = (Path(__file__).parents[1] / "reference.md").read_text()
HOMES = {
    home: re.findall(r"`(\w+)`", names)
    for home, names in re.findall(r"^\| `(psfmatch[.\w]*)` \|((?: `\w+`)+) \|$", REFERENCE, re.MULTILINE)
}
HOME_OF = {name: home for home, names in HOMES.items() for name in names}

INTRODUCTION = """API
===

Every name is imported from the place in whose page it stands, as in ``from psfmatch import subtract`` and
``from psfmatch.fit import KernelCandidate``.

.. toctree::
   :maxdepth: 1

"""


def writePages(app):
    """Write the index and the pages; a file that would not change is left alone."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {home.replace(".", "-"): pageOf(home, names) for home, names in HOMES.items()}
    for extra in {path.stem for path in folder.glob("*.rst")} - pages.keys() - {"index"}:
        (folder / f"{extra}.rst").unlink()
    pages["index"] = INTRODUCTION + "".join(f"   {page}\n" for page in pages)
    for page, text in pages.items():
        path = folder / f"{page}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def pageOf(home, names):
    """Return the page of a package: what it is for, a table of its names, then each in full."""
    module = import_module(home)
    summary = inspect.getdoc(module).partition("\n\n")[0]
    lines = [home, "=" * len(home), "", summary, "", f".. currentmodule:: {home}", ""]
    lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    for name in names:
        lines += [*entryOf(name, getattr(module, name)), ""]
    return "\n".join(lines)


def entryOf(name, thing):
    """Return the lines of one name."""
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}" if callable(thing) else f".. autodata:: {name}"]
    lines = [f".. autoclass:: {name}"]
    # Fields of a configuration and members of an enumeration are in its own table and text.
    if not issubclass(thing, (Config, BaseException)):
        lines.append("   :members:")
    return lines


def findPublic(app, env, node, contnode):
    """Return a link for a name that a docstring gives by another place, or by none: ``Quality``; None for others."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in HOME_OF:
        return None
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", f"{HOME_OF[name]}.{name}", node, contnode)


def setup(app):
    """Write the pages before autosummary and the reader look for them."""
    app.connect("builder-inited", writePages, priority=100)
    app.connect("missing-reference", findPublic)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

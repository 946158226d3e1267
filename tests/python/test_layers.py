"""The layers of the house: which folder of Python imports from which, which folder of C++ includes from which.

Imports are read from the syntax tree wherever they stand, in functions too; nothing is imported here.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# The way of the data, lowest first: a folder (or a module at the top) imports only from what stands before it. The
# package's own __init__, which tells where the public names live, stands above all.
pythonFolders = (
    "errors",
    "threads",
    "config",
    "io",
    "images",
    "kernels",
    "noise",
    "sources",
    "registration",
    "fit",
    "difference",
    "transients",
    "quality",
    "tasks",
    "frontdoor",
    "pictures",
    "batch",
    "hotpants",
    "testing",
    "cli",
    "__main__",
    "__init__",
)
coreName = "_core"
coreUsers = {"images", "kernels", "sources", "registration", "noise", "fit", "difference", "transients", "quality"}
coreUsers |= {"io"}  # of photon noise alone, without which no variance plane is read
# Libraries that are imported in few places, and where.
libraryUsers = {
    "lsst.pex.config": {"config", "tasks", "frontdoor", "hotpants"},
    # A result says what its pictures are.
    "matplotlib": {"pictures", "frontdoor"},
}
# C++: base needs nothing else, simd holds what is compiled per instruction set; sources of base choose among its parts.
cppFolders = ("base", "simd", "image", "sources", "warp", "kernel", "convolve", "fit")

# Beside this file in the checkout.
root = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
pythonSources = root / "python" / "psfmatch"
cppSources = (root / "cpp" / "include" / "psfmatch", root / "cpp" / "src")


def folderOf(path: Path, package: Path) -> str:
    """Name of the folder of a file, or of the module where it stands at the top."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def importsOf(path: Path, package: Path) -> Iterator[str]:
    """Full names of everything a file imports, relative imports resolved."""
    here = [package.name, *path.relative_to(package).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def ownFolder(imported: str, package: Path) -> str | None:
    """The folder or top module of the package that an import names; ``__init__`` for a name of the front page."""
    top, _, rest = imported.partition(".")
    if top != package.name:
        return None
    name = rest.partition(".")[0]
    return name if name == coreName or name in pythonFolders else "__init__"


def pythonViolations(package: Path) -> list[str]:
    """Sentences about the imports of a package that the table does not allow."""
    found = set()
    for path in sorted(package.rglob("*.py")):
        here, place = folderOf(path, package), path.relative_to(package).as_posix()
        if here not in pythonFolders:
            found.add(f"{here} is in no row of the table in {Path(__file__).name}")
            continue
        for imported in importsOf(path, package):
            other = ownFolder(imported, package)
            if other == coreName:
                if here not in coreUsers:
                    found.add(f"{place} imports {coreName}")
            elif other is not None and pythonFolders.index(other) > pythonFolders.index(here):
                found.add(f"{place} imports {other}, from above")
            for library, users in libraryUsers.items():
                if f"{imported}.".startswith(library + ".") and here not in users:
                    found.add(f"{place} imports {library}")
    return sorted(found)


def modulesInCycles(package: Path) -> list[str]:
    """Modules that cannot be imported one after the other: each waits for another one of them, but in functions."""
    graph = {}
    for path in package.rglob("*.py"):
        name = ".".join([package.name, *path.relative_to(package).with_suffix("").parts]).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        here = [package.name, *path.relative_to(package).parts[:-1]]
        names = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                base = here[: len(here) + 1 - node.level] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
        graph[name] = names
    graph = {name: {other for other in names if other in graph and other != name} for name, names in graph.items()}
    # A package's __init__ takes names from its modules; that these name the package is no cycle of theirs.
    for name, names in graph.items():
        names -= {other for other in names if name.startswith(other + ".")}
    while True:
        free = {name for name, names in graph.items() if not names & graph.keys()}
        if not free:
            return sorted(graph)
        graph = {name: names for name, names in graph.items() if name not in free}


def includesOf(path: Path) -> set[tuple[str, str]]:
    """Folders and names of our headers that a file includes."""
    pattern = r'^\s*#\s*include\s*["<](?:psfmatch/)?(\w+)/(\w+\.h)[">]'
    return {pair for pair in re.findall(pattern, path.read_text(), re.MULTILINE) if pair[0] in cppFolders}


def includeViolations(trees: tuple[Path, ...]) -> list[str]:
    """Sentences about includes that the order of the folders does not allow."""
    found = set()
    for tree in trees:
        for path in sorted([*tree.rglob("*.h"), *tree.rglob("*.cpp")]):
            here = path.parent.name if path.parent != tree else path.name
            if here not in cppFolders:
                found.add(f"{here} is in no row of the table in {Path(__file__).name}")
                continue
            highest = "simd" if here == "base" and path.suffix == ".cpp" else here
            for folder, name in includesOf(path):
                if cppFolders.index(folder) > cppFolders.index(highest):
                    found.add(f"{here}/{path.name} includes {folder}/{name}, from above")
    return sorted(found)


def test_everyNameStandsForAFile():
    assert set(pythonFolders) == {folderOf(path, pythonSources) for path in pythonSources.rglob("*.py")}
    assert set(cppFolders) == {path.parent.name for tree in cppSources for path in tree.rglob("*.*") if path.is_file()}


def test_onlyWhatMustStandsAtTheTop():
    files = {path.name for path in pythonSources.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "_core.pyi", "errors.py", "py.typed", "threads.py"}


def test_pythonFolders():
    assert pythonViolations(pythonSources) == []


def test_noModulesWaitForEachOther():
    assert modulesInCycles(pythonSources) == []


def test_cppFolders():
    assert includeViolations(cppSources) == []


def test_coreKnowsNothingOfPython():
    files = [path for path in (root / "cpp").rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if b"pybind11" in path.read_bytes()] == []


@pytest.fixture
def package(tmp_path):
    """Return a function that writes a small package, given the text of its modules."""

    def write(**modules: str) -> Path:
        for name, text in modules.items():
            path = tmp_path / "psfmatch" / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "psfmatch"

    return write


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ({"kernels__in__basis": "from psfmatch import _core\nfrom psfmatch.errors import PsfMatchError"}, []),
        ({"errors": "import numpy", "config__in__kernel": "from ..errors import PsfMatchError"}, []),
        ({"tasks__in__configs": "from lsst.pex.config import Config"}, []),
        ({"io__in__files": "import lsst.pex.configurator"}, []),
        ({"io__in__files": "import lsst.pex.config"}, ["io/files.py imports lsst.pex.config"]),
        ({"quality__in__figures": "def f():\n    import matplotlib.pyplot"}, ["quality/figures.py imports matplotlib"]),
        ({"cli__in__info": "from psfmatch import _core"}, ["cli/info.py imports _core"]),
        ({"tasks__in__configs": "from psfmatch._core import fill"}, ["tasks/configs.py imports _core"]),
        ({"errors": "from .io import read"}, ["errors.py imports io, from above"]),
        (
            {"config__in__kernel": "def f():\n    from ..io import read"},
            ["config/kernel.py imports io, from above"],
        ),
        ({"fit__in__light": "import psfmatch.tasks.task"}, ["fit/light.py imports tasks, from above"]),
        ({"cli__in__info": "from psfmatch import subtract"}, ["cli/info.py imports __init__, from above"]),
        ({"__init__": "from .cli import main"}, []),
        ({"utilities": ""}, ["utilities is in no row of the table in test_layers.py"]),
        ({"io__in__files": "from .planes import f", "io__in__planes": "from .files import g"}, []),
    ],
)
def test_pythonCheckFindsWhatIsWrong(package, modules, found):
    assert pythonViolations(package(**modules)) == found


def test_cyclesAreFound(package):
    files = {"io__in__files": "from .planes import f", "io__in__planes": "from .files import g", "errors": "import re"}
    assert modulesInCycles(package(**files)) == ["psfmatch.io.files", "psfmatch.io.planes"]
    assert modulesInCycles(package(io__in__planes="def f():\n    from .files import g")) == []


def test_includeCheckFindsWhatIsWrong(tmp_path):
    def write(name: str, *included: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f'#include "{other}"\n' for other in included))

    write("convolve/convolve.h", "psfmatch/base/types.h", "psfmatch/kernel/KernelBasis.h", "simd/lanes.h")
    write("base/instructionSet.cpp", "simd/rowFunctions.h")
    assert includeViolations((tmp_path,)) == []
    write("image/statistics.cpp", "psfmatch/fit/KernelPca.h")
    write("base/types.h", "simd/lanes.h")
    write("helpers.cpp")
    assert includeViolations((tmp_path,)) == [
        "base/types.h includes simd/lanes.h, from above",
        "helpers.cpp is in no row of the table in test_layers.py",
        "image/statistics.cpp includes fit/KernelPca.h, from above",
    ]


def test_thePictureOfTheHouse():
    """The contributor's page shows the imports that there are; `python docs/_ext/house.py` draws it anew."""
    spec = importlib.util.spec_from_file_location("house", root / "docs" / "_ext" / "house.py")
    house = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    folders, counts = house.importsByFolder()
    shown = re.findall(r"<title>(\w+) from (\w+): ", house.picture.read_text())
    assert set(shown) == set(counts)
    assert all(folders.index(other) < folders.index(here) for here, other in shown)

"""The layers of the package: which Python module imports which, which C++ header includes which.

Imports are read from the syntax tree wherever they stand, in functions too; nothing is imported here.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

# Python modules, lowest row first: a module imports from its own row or a lower one, without cycles. A
# package counts as one module. The package's own __init__, which re-exports, stands above all.
pythonRows = [
    {
        "choices",
        "equality",
        "errors",
        "config",
        "later",
        "medians",
        "messages",
        "pairRecords",
        "photons",
        "sourceTable",
        "strips",
        "taskLog",
        "threads",
        "tracing",
    },
    {"exposure", "io", "cells", "psfModels", "solutions", "task"},
    {
        "psf",
        "kernels",
        "light",
        "basis",
        "noise",
        "saturation",
        "streaks",
        "defects",
        "astrometry",
        "warping",
        "decorrelation",
        "detection",
        "measurement",
        "alignment",
        "borders",
        "selection",
        "stars",
        "visitors",
        "degrees",
        "stampFit",
        "stackFit",
        "regions",
        "modelChoice",
        "diagnostics",
        "differentialBackground",
        "subtraction",
        "recipe",
        "quality",
        "photometry",
        "qtables",
        "transients",
    },
    {
        "psfMatch",
        "starMatch",
        "taskConfigs",
        "imagePsfMatch",
        "modelPsfMatch",
        "differencing",
        "injection",
        "snapPsfMatch",
        "pictures",
    },
    {"batch", "hotpants", "cli", "__main__", "testing"},
    {"__init__"},
]
# Only the third row, and what lower ones need of it - medians, photons - see the compiled core, which stands below all.
coreName = "_core"
coreUsers = pythonRows[2] | {"medians", "photons"}
# Configuration classes are made in config; tasks hold them; nothing else below the third row knows them.
configLibrary = "lsst.pex.config"
configUsers = {"config", "task"}.union(*pythonRows[2:])

# C++ headers, lowest group first: a header includes its own group or lower ones, without cycles.
headerGroups = [
    {
        "types",
        "exceptions",
        "parallel",
        "instructionSet",
        "rowFunctions",
        "regionFunctions",
        "pixelFunctions",
        "fourierFunctions",
        "lanes",
        "prefetch",
    },
    {
        "adaptiveMoments",
        "statistics",
        "RobustStatistics",
        "SpatialFunction",
        "KernelBasis",
        "LinearSolver",
        "Regularization",
    },
    {
        "NormalEquations",
        "LinearCombinationKernel",
        "background",
        "badPixels",
        "BlankSky",
        "BrightPixels",
        "CellGrid",
        "ErrorFloor",
        "LitPixels",
        "PhotonNoise",
        "VariancePlane",
        "BorderLevels",
        "Clumps",
        "KernelUncertainty",
        "NoiseCovariance",
        "LagProducts",
        "LeastSquares",
        "SkyNoise",
        "NeighbourNoise",
        "SkySurface",
        "SourceResiduals",
        "WindowedCentroid",
        "convolve",
        "Correction",
        "sources",
        "StampQuality",
        "StarPeaks",
        "Streaks",
        "LineSums",
        "StreakMatch",
        "StreakField",
        "StreakStrip",
        "StreakProfile",
        "StreakMeasure",
        "subtract",
        "warp",
        "BoxLight",
        "ConstantBlocks",
        "SaturationTraces",
        "SharpPixels",
        "Coverage",
        "GrownFootprints",
        "LinearFit",
        "SourceMeasurement",
        "StackedSources",
        "StarMatch",
        "StarPatterns",
        "StarPositions",
        "StarEquations",
        "StarProfile",
        "StarShifts",
        "StarWidths",
    },
    {
        "StampEquations",
        "SpatialSums",
        "SpatialSystem",
        "SpatialComparison",
        "KernelCandidateFit",
        "SpatialKernelSolution",
        "KernelPca",
    },
    {
        "RegionStamps",
        "RegionPlaces",
        "RegionFit",
        "RegionVariance",
        "RegionWindows",
        "RegionResiduals",
        "RegionOutliers",
        "RegionSolver",
        "StampColumns",
        "StampEvidence",
        "StampModel",
        "StackMatch",
        "StampModelNoise",
        "StampAttempt",
        "StampMiddle",
        "StampAccounts",
    },
]

root = Path(__file__).resolve().parents[2]
pythonSources = root / "python" / "psfmatch"
headers = root / "cpp" / "include" / "psfmatch"
sources = root / "cpp" / "src"


def level(name: str, table: list[set[str]]) -> int:
    """Number of the row that holds a name; -1: none."""
    return next((number for number, row in enumerate(table) if name in row), -1)


def unlisted(names: Iterable[str], table: list[set[str]]) -> list[str]:
    """Sentences about names that the table does not hold."""
    here = Path(__file__).name
    return [f"{name} is in no row of the table in {here}" for name in sorted(names) if level(name, table) < 0]


def modulesOf(package: Path) -> dict[str, list[Path]]:
    """Files of each module; those of a package count together."""
    modules: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        modules.setdefault(path.relative_to(package).parts[0].removesuffix(".py"), []).append(path)
    return modules


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


def ownImports(paths: list[Path], package: Path) -> set[str]:
    """Names of the package's modules that some files import."""
    known = {*modulesOf(package), coreName}.union(*pythonRows)
    names = set()
    for path in paths:
        for imported in importsOf(path, package):
            top, _, rest = imported.partition(".")
            if top == package.name:
                name = rest.partition(".")[0]
                names.add(name if name in known else "__init__")
    return names


def findCycle(graph: dict[str, set[str]]) -> list[str]:
    """Return a cycle of a graph as the names along it, or an empty list."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in done:
            for following in sorted(graph.get(name, set())):
                cycle = walk(following, [*trail, name])
                if cycle:
                    return cycle
            done.add(name)
        return []

    for start in sorted(graph):
        cycle = walk(start, [])
        if cycle:
            return cycle
    return []


def pythonViolations(package: Path) -> list[str]:
    """Sentences about the imports of a package that the table does not allow."""
    modules = modulesOf(package)
    found = unlisted(modules, pythonRows)
    graph = {}
    for module, paths in modules.items():
        imported = ownImports(paths, package) - {module}
        if coreName in imported and module not in coreUsers:
            found.append(f"{module} imports {coreName}")
        graph[module] = imported - {coreName}
        for name in sorted(graph[module]):
            if level(name, pythonRows) > level(module, pythonRows):
                found.append(f"{module} imports {name}, from above")
        foreign = {name for path in paths for name in importsOf(path, package)}
        if module not in configUsers and any(f"{name}.".startswith(configLibrary + ".") for name in foreign):
            found.append(f"{module} imports {configLibrary}")
    cycle = findCycle(graph)
    return [*found, *([f"cycle {' -> '.join(cycle)}"] if cycle else [])]


def includesOf(path: Path) -> set[str]:
    """Names of our headers that a file includes."""
    return set(re.findall(r'^\s*#\s*include\s*["<]psfmatch/(?:\w+/)?(\w+)\.h[">]', path.read_text(), re.MULTILINE))


def nounOf(source: Path) -> str:
    """Header that a source file elaborates, the longest that begins its name; without any its own name."""
    names = [name for group in headerGroups for name in group if source.stem.startswith(name)]
    return max(names, key=len, default=source.name)


def headerViolations(headerPaths: list[Path], sourcePaths: list[Path]) -> list[str]:
    """Sentences about includes that the table does not allow."""
    graph = {path.stem: includesOf(path) - {path.stem} for path in headerPaths}
    includers = [(name, name, included) for name, included in graph.items()]
    includers += [(path.name, nounOf(path), includesOf(path)) for path in sourcePaths]
    found = unlisted({noun for _, noun, _ in includers}, headerGroups)
    for name, noun, included in includers:
        for other in sorted(included):
            if level(other, headerGroups) > level(noun, headerGroups):
                found.append(f"{name} includes {other}.h, from above")
    cycle = findCycle(graph)
    return [*found, *([f"cycle {' -> '.join(cycle)}"] if cycle else [])]


def test_noNameStandsTwice():
    for table in (pythonRows, headerGroups):
        assert sum(len(row) for row in table) == len(set().union(*table))


def test_everyNameStandsForAFile():
    modules = {path.relative_to(pythonSources).parts[0].removesuffix(".py") for path in pythonSources.rglob("*.py")}
    assert set().union(*pythonRows) == modules
    files = {path.stem for path in (root / "cpp").rglob("*.h")} | {path.name for path in sources.rglob("*.cpp")}
    assert set().union(*headerGroups) <= files


def test_pythonModules():
    assert pythonViolations(pythonSources) == []


def test_headersAndSources():
    assert headers.is_dir()
    ours = sorted([*sources.rglob("*.cpp"), *sources.rglob("*.h")])
    assert headerViolations(sorted(headers.rglob("*.h")), ours) == []


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
        ({"basis": "from . import _core\nfrom psfmatch.errors import PsfMatchError", "errors": ""}, []),
        ({"errors": "import numpy", "config__in__kernel": "from ..errors import PsfMatchError"}, []),
        ({"task": "from lsst.pex.config import Config", "psf": "import lsst.pex.config as pexConfig"}, []),
        ({"cells": "from lsst.pex.config import Config"}, ["cells imports lsst.pex.config"]),
        ({"io": "import lsst.pex.config"}, ["io imports lsst.pex.config"]),
        ({"io": "import lsst.pex.configurator"}, []),
        ({"exposure": "from psfmatch._core import fill"}, ["exposure imports _core"]),
        ({"cli": "from psfmatch import _core"}, ["cli imports _core"]),
        ({"errors": "from .io import read", "io": ""}, ["errors imports io, from above"]),
        (
            {"config__in__kernel": "def f():\n    from ..io import read", "io": ""},
            ["config imports io, from above"],
        ),
        ({"cells": "import psfmatch.basis", "basis": ""}, ["cells imports basis, from above"]),
        ({"cli": "from psfmatch import subtract", "__init__": ""}, ["cli imports __init__, from above"]),
        ({"__init__": "from .cli import main\nfrom . import basis", "cli": "", "basis": ""}, []),
        ({"psf": "from .basis import f", "basis": "from . import psf"}, ["cycle basis -> psf -> basis"]),
        ({"utilities": ""}, ["utilities is in no row of the table in test_layers.py"]),
        ({"io__in__files": "from .planes import f", "io__in__planes": "from .files import g"}, []),
    ],
)
def test_pythonCheckFindsWhatIsWrong(package, modules, found):
    assert pythonViolations(package(**modules)) == found


def test_headerCheckFindsWhatIsWrong(tmp_path):
    def write(name: str, *included: str) -> Path:
        path = tmp_path / name
        path.write_text("".join(f'#include "psfmatch/{other}.h"\n' for other in included))
        return path

    good = write("convolve.h", "types", "KernelBasis", "LinearCombinationKernel")
    rows = write("rowFunctionsAvx2.cpp", "types")
    assert headerViolations([good], [rows]) == []
    assert headerViolations([write("types.h", "warp")], []) == ["types includes warp.h, from above"]
    high = write("statistics.cpp", "KernelPca")
    assert headerViolations([], [high]) == ["statistics.cpp includes KernelPca.h, from above"]
    cycle = [write("warp.h", "badPixels"), write("badPixels.h", "warp")]
    assert headerViolations(cycle, []) == ["cycle badPixels -> warp -> badPixels"]
    noRow = "is in no row of the table in test_layers.py"
    assert headerViolations([write("misc.h")], [write("helpers.cpp")]) == [
        f"helpers.cpp {noRow}",
        f"misc {noRow}",
    ]

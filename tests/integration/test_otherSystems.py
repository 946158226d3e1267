"""Systems other than POSIX ones: what they lack is not needed, what they cannot do is not asked of them.

The functions and modules that only POSIX has are taken away from a whole tree of processes, in `sitecustomize`, which
every new interpreter imports, the workers of a batch included.
"""

import ast
import ctypes
import json
import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import psfmatch
from psfmatch import Exposure
from psfmatch.batch import Pair, PairOptions, readManifest
from psfmatch.batch import memory as memories
from psfmatch.batch import worker as workers
from psfmatch.cli.ccds import Ccd, _outputOf
from psfmatch.io import PairRecord
from psfmatch.testing import simulatePair

PACKAGE = Path(psfmatch.__file__).parent

POSIX_FUNCTIONS = (
    *("preadv", "pwritev", "pread", "pwrite", "readv", "writev", "sched_getaffinity", "sched_setaffinity"),
    *("register_at_fork", "fork", "forkpty", "getuid", "geteuid", "getgid", "getgroups", "sysconf", "chown", "lchown"),
    *("getpgid", "killpg", "setsid", "setpgid", "getloadavg", "mkfifo", "statvfs", "fstatvfs", "posix_fadvise"),
    *("posix_fallocate", "posix_spawn", "nice", "sync", "sendfile", "O_DIRECT", "O_NONBLOCK", "O_SYNC"),
)
POSIX_SIGNALS = "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGQUIT", "SIGSTOP"
POSIX_MODULES = "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "readline", "syslog"

SITECUSTOMIZE = f"""
import os, signal, sys

class NotHere:
    def find_spec(self, name, path=None, target=None):
        if name in {POSIX_MODULES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotHere())
for name in {POSIX_MODULES!r}:
    sys.modules.pop(name, None)
for module, names in ((os, {POSIX_FUNCTIONS!r}), (signal, {POSIX_SIGNALS!r})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=192, brightStars=300, faintStars=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pair):
    folder = tmp_path_factory.mktemp("systems")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    return folder


def python(folder, *arguments, **variables):
    """Run an interpreter that lacks what POSIX has alone; the finished process."""
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "PSFMATCH_NUM_THREADS": "3"} | variables
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, timeout=300, check=False
    )
    ran.stdout, ran.stderr = (text.decode(errors="replace") for text in (ran.stdout, ran.stderr))
    return ran


IMAGES = {
    "float32": np.arange(700 * 501, dtype=np.float32).reshape(700, 501),
    "float64": np.linspace(-1, 1, 300 * 400).reshape(300, 400),
    "int16": np.arange(-30000, 30000, dtype=np.int16).reshape(200, 300),
    "int32": np.arange(512 * 512, dtype=np.int32).reshape(512, 512),
    "uint8": (np.arange(400 * 600) % 251).astype(np.uint8).reshape(400, 600),
    "one pixel": np.ones((1, 1), dtype=np.float32),
    "one row": np.arange(200_000, dtype=np.float32).reshape(1, -1),
}


COMMANDS = {
    "subtract": ["subtract", "template.fits", "science.fits", "-o", "c.fits", "-c", "chooseKernel=False", "--json"],
    "apply": ["apply", "c.fits", "template.fits", "science.fits", "-o", "a.fits"],
    "detect": ["detect", "c.fits", "-o", "s.fits", "--psf-fwhm", "3.9"],
    "report": ["report", "template.fits", "science.fits", "-o", "r.html", "-c", "chooseKernel=False"],
    "config": ["config", "-o", "c.toml"],
    "demo": ["demo", "--size", "256", "-o", "demo"],
    "info": ["info", "c.fits"],
    "hotpants": ["hotpants", "-inim", "science.fits", "-tmplim", "template.fits", "-outim", "h.fits"],
    "short": ["subtract", "template.fits", "short.fits", "-o", "d.fits"],
}

PROGRAM = """
import json, os, signal, sys
import numpy as np
import psfmatch
from psfmatch.cli import main

told = {"there": [name for name in FUNCTIONS if hasattr(os, name)] + [name for name in MODULES if name in sys.modules]}
for name in IMAGES:
    np.save(f"{name}.npy", psfmatch.Exposure.readFits(f"{name}.fits").image)
for threads in (1, 3):
    os.environ["PSFMATCH_NUM_THREADS"] = str(threads)
    for ending in (".fits", ".fits.gz"):
        psfmatch.Exposure.readFits("science.fits").writeFits(f"there{threads}{ending}")
for name, arguments in COMMANDS.items():
    told[name] = main(arguments)
json.dump(told, open("told.json", "w"))
"""


@pytest.fixture(scope="module")
def told(folder):
    """What one process that lacks what POSIX has alone has read, written and done."""
    for name, image in IMAGES.items():
        fits.PrimaryHDU(image).writeto(folder / f"{name}.fits")
    (folder / "short.fits").write_bytes((folder / "science.fits").read_bytes()[: 2880 * 20])
    names = {"FUNCTIONS": POSIX_FUNCTIONS, "MODULES": POSIX_MODULES, "IMAGES": list(IMAGES), "COMMANDS": COMMANDS}
    given = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    (folder / "all.py").write_text(f"{given}\n{PROGRAM}")
    ran = python(folder, "all.py")
    assert ran.returncode == 0, ran.stderr
    return json.loads((folder / "told.json").read_text())


def test_thereIsNothingOfPosix(told):
    assert told["there"] == []


@pytest.mark.parametrize("name", IMAGES)
def test_reading(name, folder, told):
    np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), IMAGES[name].astype(np.float32))


@pytest.mark.parametrize("ending", [".fits", ".fits.gz"])
def test_writing(ending, folder, told):
    """Files are the same, byte by byte."""
    Exposure.readFits(folder / "science.fits").writeFits(folder / f"here{ending}")
    for threads in (1, 3):
        assert (folder / f"there{threads}{ending}").read_bytes() == (folder / f"here{ending}").read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name, told):
    assert told[name] == (3 if name == "short" else 0)


def test_differenceIsTheSame(folder, told):
    config = psfmatch.frontDoorConfig()
    config.chooseKernel = False
    result = psfmatch.subtract(folder / "template.fits", folder / "science.fits", config=config)
    for name in "ca":
        np.testing.assert_array_equal(Exposure.readFits(folder / f"{name}.fits").image, result.difference.image)


SCRIPT = """
import psfmatch
from psfmatch.batch import Pair, PairOptions

def main():
    config = psfmatch.frontDoorConfig()
    config.chooseKernel = False
    pairs = [Pair(name, "template.fits", "science.fits") for name in ("a", "b")]
    pairs.append(Pair("bad", "template.fits", "nowhere.fits"))
    summary = psfmatch.runBatch(pairs, "out", PairOptions(config=config), workers=2, threads=1)
    print(summary.nDone, summary.nFailed, sorted(r.name for r in summary.failures))

if __name__ == "__main__":
    main()
"""


def test_batchWithSpawnedWorkers(folder):
    (folder / "night.py").write_text(SCRIPT)
    ran = python(folder, "night.py")
    assert ran.stdout == "2 1 ['bad']\n", ran.stderr
    first, second = ((folder / "out" / f"{name}.fits").read_bytes() for name in "ab")
    assert len(first) == len(second) > 2880
    assert b"\r" not in (folder / "out" / "a.log").read_bytes()


@pytest.mark.parametrize(
    "value",
    [
        Pair("a", "t.fits", "s.fits", scienceGain=2.0),
        PairOptions(config=psfmatch.frontDoorConfig(), gates={"grade": "B"}),
        PairRecord("a", "t.fits", "s.fits", "f", grade="A", failedGates="x"),
        workers.prepareProcess,
        psfmatch.frontDoorConfig(),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_whatGoesToASpawnedProcess(value):
    assert pickle.loads(pickle.dumps(value)) == value


# Locks, disks, memory


def test_memoryWithoutProc(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(Path, "read_text", refuse)
    assert memories.availableMemory() == whole // 2
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memories.availableMemory() is None
    assert workers.peakMemory() == 0


def test_memoryOfWindows(monkeypatch):
    """By structures of the sizes that Windows checks."""

    class Kernel:
        class GetCurrentProcess:
            def __new__(cls):
                return -1

        def GlobalMemoryStatusEx(self, status):
            # Of MEMORYSTATUSEX: two numbers of 4 bytes, its size first, then the memory, whole and free.
            size, _ = struct.unpack_from("=II", status._obj)
            struct.pack_into("=QQ", status._obj, 8, 8 << 30, 5 << 30)
            return size == ctypes.sizeof(status._obj) == 64

        def K32GetProcessMemoryInfo(self, process, told, size):
            # Of PROCESS_MEMORY_COUNTERS: two numbers of 4 bytes, its size first, then the working set, peak and now.
            struct.pack_into("=QQ", told._obj, 8, 7 << 20, 6 << 20)
            return size == struct.unpack_from("=I", told._obj)[0] == 72

    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=Kernel()), raising=False)
    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memories.availableMemory() == 5 << 30
    assert workers.peakMemory() == 7 << 20


# Names and paths


@pytest.mark.parametrize(
    "name",
    ["CON", "nul", "aux.2024", "com1", "LPT9.x", "a.", "a ", "a:b", "a\\b", "a/b", 'a"', "a*", ".hidden", "-o", ""],
)
def test_namesThatSomeSystemCannotHave(name):
    with pytest.raises(ValueError, match="is not fit for a file"):
        readManifest([Pair(name, "t.fits", "s.fits")])


@pytest.mark.parametrize("name", ["console", "nulls", "a.b", "aux2", "com10", "é", "a b", "N1_2024-01-01"])
def test_namesThatAllSystemsCanHave(name):
    assert readManifest([Pair(name, "t.fits", "s.fits")])[0].name == name


def test_namesThatDifferInCaseAlone():
    with pytest.raises(ValueError, match="stand for several pairs"):
        readManifest([Pair("A", "t.fits", "s.fits"), Pair("a", "t.fits", "s.fits")])


def test_manifestWrittenOnWindows(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "s.fits").write_bytes(b"")
    (tmp_path / "odd\\name.fits").write_bytes(b"")
    text = "template,science\r\nsub\\t.fits[SCI],sub\\s.fits\r\nodd\\name.fits,sub/s2.fits\r\n"
    (tmp_path / "night.csv").write_bytes(text.encode())
    first, second = readManifest(tmp_path / "night.csv")
    assert (first.template, first.science) == (str(tmp_path / "sub" / "t.fits[SCI]"), str(tmp_path / "sub" / "s.fits"))
    # A file that is there is taken as it is called.
    assert second.template == str(tmp_path / "odd\\name.fits")


def test_detectorsWithOddNames(tmp_path):
    for name, expected in (
        ("SCI:1", "d_SCI_1.fits"),
        ("N/2", "d_N_2.fits"),
        ("a\\b", "d_a_b.fits"),
        ("CCD1", "d_CCD1.fits"),
    ):
        assert Path(_outputOf(Ccd(name, (name, 1), 1, 1), str(tmp_path / "d.fits"))).name == expected
    (pair,) = readManifest(_table(tmp_path, "s.fits[SCI-A]"))
    assert pair.name == "s_SCI-A"


def _table(folder, science):
    (folder / "one.csv").write_text(f"template,science\nt.fits,{science}\n")
    return folder / "one.csv"


# Consoles and files of text


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_consoleThatLacksLetters(encoding, folder):
    name = "σ-Ori-日.fits"
    (folder / name).write_bytes((folder / "science.fits").read_bytes())
    variables = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    arguments = "subtract", "template.fits", name, "-o", f"d-{name}", "--overwrite", "-c", "chooseKernel=False"
    ran = python(folder, "-m", "psfmatch", *arguments, **variables)
    assert ran.returncode == 0, ran.stderr
    assert "\\u65e5" in ran.stdout
    ran = python(folder, "-m", "psfmatch", "info", "日.fits", **variables)
    assert ran.returncode == 3
    assert "no such file" in ran.stderr


@pytest.mark.parametrize("name", ["mine.toml", "mine.py", "mine.yaml"])
def test_textIsUtf8WhateverTheSystemPrefers(name, folder):
    text = {"toml": "doAlign = false", "py": "config.doAlign = False", "yaml": "doAlign: false"}[
        name.rpartition(".")[2]
    ]
    (folder / name).write_text(f"# σ\n{text}\n", encoding="utf-8")
    arguments = "config", "--config", name, "--json", "--search", "doAlign"
    ran = python(folder, "-m", "psfmatch", *arguments, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert json.loads(ran.stdout)[0]["value"] is False, ran.stderr


ALLOWED = {
    "io/pixels.py": {"preadv", "pwrite"},
    "io/files.py": {"register_at_fork"},
    "threads.py": {"sched_getaffinity"},
    "batch/memory.py": {"sysconf"},
}
"""What is used where it is there, with something in its place where it is not."""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothingOfPosixIsNeeded(path):
    """What POSIX alone has, and text without an encoding, stand nowhere but where they are cared for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try) or (isinstance(block, ast.With) and "ImportError" in ast.unparse(block.items[0]))
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            assert name not in {f"os.{function}" for function in set(POSIX_FUNCTIONS) - allowed}, name
            assert name not in {f"signal.{number}" for number in POSIX_SIGNALS}, name
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in guarded:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not set(names) & set(POSIX_MODULES), names
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            words = {keyword.arg for keyword in node.keywords}
            text = ast.unparse(node)
            isOfSystem = any(word in text for word in ("/proc", "proc/", "folder / name", "memory."))
            if node.func.attr in ("read_text", "write_text") and not isOfSystem:
                assert "encoding" in words, text
            if node.func.attr == "open" and text.startswith(("path.", "Path(", "temporary.")):
                assert "encoding" in words or any("b'" in ast.unparse(argument) for argument in node.args), text

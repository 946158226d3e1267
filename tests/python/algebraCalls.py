"""Which linear algebra of NumPy a run without parameters calls, and whether other threads work for it.

A script that needs a fresh interpreter: it rewrites the package while that is imported. Writes JSON.
"""

import ast
import importlib.machinery
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

NAMES = ("dot", "vdot", "inner", "matmul", "tensordot", "einsum", "polyfit")
SUBMODULE = ("cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matrix_power", "pinv",
             "qr", "slogdet", "solve", "svd")  # fmt: skip
calls = {}  # (function, place): elements of the largest matrix it was given


def record(name, arguments):
    """Note a call for the nearest line of the package."""
    # Of a stack of small matrices, the last two axes count: NumPy takes them one by one.
    sizes = [math.prod(argument.shape[-2:]) for argument in arguments if isinstance(argument, np.ndarray)]
    frame = sys._getframe(2)
    while frame is not None and "/psfmatch/" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is not None:
        place = frame.f_code.co_filename.rpartition("/psfmatch/")[2]
        key = name, f"{place}:{frame.f_lineno} ({frame.f_code.co_name})"
        calls[key] = max(calls.get(key, 0), *sizes, 0)


def recorded(name, function):
    def call(*arguments, **keywords):
        record(name, arguments)
        return function(*arguments, **keywords)

    return call


def multiply(left, right):
    record("@", (left, right))
    return left @ right


def dotOf(value):
    """Return ``value.dot``, recorded where value is an array."""
    return recorded(".dot", value.dot) if isinstance(value, np.ndarray) else value.dot


class Rewriter(ast.NodeTransformer):
    """``a @ b`` and ``a.dot(b)`` of the package, which cannot be replaced from outside, become calls."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        return ast.copy_location(ast.Call(ast.Name("_recordMultiply", ast.Load()), [node.left, node.right], []), node)

    def visit_Attribute(self, node):
        self.generic_visit(node)
        isArray = node.attr == "dot" and not (isinstance(node.value, ast.Name) and node.value.id == "np")
        return (
            ast.copy_location(ast.Call(ast.Name("_recordDot", ast.Load()), [node.value], []), node) if isArray else node
        )


def install():
    """Replace NumPy's functions, and how files of the package are compiled."""
    for name in NAMES:
        setattr(np, name, recorded(name, getattr(np, name)))
    for name in SUBMODULE:
        setattr(np.linalg, name, recorded(f"linalg.{name}", getattr(np.linalg, name)))
    compiled = importlib.machinery.SourceFileLoader.get_code

    def getCode(loader, name):
        if name.partition(".")[0] != "psfmatch":
            return compiled(loader, name)
        path = loader.get_filename(name)
        tree = ast.fix_missing_locations(Rewriter().visit(ast.parse(Path(path).read_text(encoding="utf-8"))))
        return compile(tree, path, "exec", dont_inherit=True)

    importlib.machinery.SourceFileLoader.get_code = getCode
    vars(sys.modules["builtins"]).update(_recordMultiply=multiply, _recordDot=dotOf)


def timesOfHelpers():
    """Seconds that each thread of this process but the first has run, where the system tells."""
    paths = Path("/proc/self/task").glob("*/schedstat")
    return {path: int(path.read_text().split()[0]) * 1e-9 for path in paths if int(path.parent.name) != os.getpid()}


def main():
    install()
    import psfmatch
    from psfmatch.testing import simulatePair

    pair = simulatePair(3, 320, brightStars=300)
    calls.clear()
    alone = time.process_time() - time.thread_time()
    psfmatch.subtract(pair.template, pair.science, threads=1)
    alone = time.process_time() - time.thread_time() - alone
    # On two threads, those that the run starts are gone at its end; those of libraries were there before and stay.
    before = timesOfHelpers()
    psfmatch.subtract(pair.template, pair.science, threads=2)
    after = timesOfHelpers()
    beside = sum(after[path] - seconds for path, seconds in before.items() if path in after)
    sites = [[place, name, size] for (name, place), size in sorted(calls.items(), key=lambda call: call[0][::-1])]
    json.dump({"calls": sites, "othersForOne": alone, "othersForTwo": beside}, sys.stdout)


if __name__ == "__main__":
    main()

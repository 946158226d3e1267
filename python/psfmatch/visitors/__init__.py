"""The visitors of the solution: fit each candidate, compare kernel sums, fit the spatial model, assess it.

With principal components one more stands between: it finds them, and the candidates are fitted again.

Each handles all candidates of a pass in one call of the compiled core, which uses all threads and releases the
interpreter. The thresholds are policy and live here; the arithmetic over pixels does not.
"""

from psfmatch.exposure import stampTuple
from psfmatch.visitors.assessSpatialKernel import AssessSpatialKernelVisitor
from psfmatch.visitors.buildSingleKernel import NO_LIGHT, BuildSingleKernelVisitor
from psfmatch.visitors.buildSpatialKernel import BuildSpatialKernelVisitor
from psfmatch.visitors.judging import fitControl, stampPairs
from psfmatch.visitors.kernelPca import KernelPcaVisitor
from psfmatch.visitors.kernelSum import KernelSumVisitor

__all__ = [
    "NO_LIGHT",
    "AssessSpatialKernelVisitor",
    "BuildSingleKernelVisitor",
    "BuildSpatialKernelVisitor",
    "KernelPcaVisitor",
    "KernelSumVisitor",
    "fitControl",
    "stampPairs",
    "stampTuple",
]

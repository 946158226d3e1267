"""Many pairs: a manifest, workers, a ledger.

Only what is light is imported here: every worker imports it before anything else.
"""

from psfmatch.pairRecords import PairRecord, readLedgers

from .batchRun import runBatch
from .manifest import Pair, readManifest, shardOf
from .records import Job, PairOptions
from .summary import BatchSummary

__all__ = [
    "BatchSummary",
    "Job",
    "Pair",
    "PairOptions",
    "PairRecord",
    "readLedgers",
    "readManifest",
    "runBatch",
    "shardOf",
]

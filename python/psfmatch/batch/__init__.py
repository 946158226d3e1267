"""Many pairs: a manifest, workers, a ledger.

Only what is light is imported here: every worker imports it before anything else.
"""

from psfmatch.batch.batchRun import runBatch
from psfmatch.batch.job import Job, PairOptions
from psfmatch.batch.manifest import Pair, readManifest, shardOf
from psfmatch.batch.summary import BatchSummary
from psfmatch.io.pairRecords import PairRecord, readLedgers

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

"""Subtract many pairs on an executor of one's own, and look at what came of it.

    python examples/batchExecutor.py night.ecsv differences [--processes 4] [--scheduler ADDRESS]

Any executor of `concurrent.futures` serves, such as mpi4py's `MPIPoolExecutor`, and any client of Dask. With
dask-jobqueue a cluster of Slurm jobs is made in four lines:

    cluster = dask_jobqueue.SLURMCluster(cores=8, processes=8, memory="16GB", walltime="02:00:00")
    cluster.adapt(maximum_jobs=16)
    with distributed.Client(cluster) as client:
        summary = psfmatch.runBatch("night.ecsv", "differences", executor=client, resume=True)

Without an executor `runBatch` starts processes of its own, which is best on one machine: a worker that dies is made
anew, and pairs with the same template go to the same one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psfmatch
from psfmatch.batch import BatchSummary, readLedgers


def main(arguments: Sequence[str] | None = None) -> BatchSummary:
    """Run the batch, or go on with it, and print what failed and what is not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", metavar="MANIFEST", help="table with the columns template, science, perhaps name")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--processes", metavar="N", type=int, default=4)
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, in place of processes")
    options = parser.parse_args(arguments)
    if options.scheduler is not None:
        from distributed import Client

        executor = Client(options.scheduler)
    else:
        executor = ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"))
    with executor:
        summary = psfmatch.runBatch(
            options.manifest,
            options.directory,
            psfmatch.PairOptions(sources=True),
            executor=executor,
            resume=True,
            tell=lambda record, n, of: print(f"{n}/{of} {record.name}: {record.grade or record.errorMessage}"),
        )
    print(f"{summary.nDone} of {summary.nPairs} done; grades: {summary.grades}")
    for record in readLedgers(options.directory):
        if record.state == "failed" or record.grade in ("D", "F"):
            print(f"look at {record.name}: {record.errorMessage or f'grade {record.grade}'}")
    return summary


if __name__ == "__main__":
    main()

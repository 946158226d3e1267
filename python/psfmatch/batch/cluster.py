"""Pairs on a Dask cluster, also of dask-jobqueue on Slurm or HTCondor, whose workers see the same files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psfmatch.batch.memory import keepFreedMemory
from psfmatch.batch.worker import keepLogToPairs

__all__ = ["connected", "prepareDaskWorker"]

TIMEOUT = 30  # seconds until a scheduler that does not answer is given up


@contextmanager
def connected(address: str, threads: int) -> Iterator[Any]:
    """Connect to a cluster and make its workers ready, those that join later, too.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``, or the scheduler file.
    threads
        Of a pair.

    Yields
    ------
    client : distributed.Client

    Raises
    ------
    ModuleNotFoundError
        If dask's distributed is not installed.
    OSError
        If nobody answers.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--scheduler needs Dask: pip install 'psfmatch[dask]'") from error
    place = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**place, timeout=TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        from functools import partial

        client.register_worker_callbacks(partial(prepareDaskWorker, threads))
        yield client


def prepareDaskWorker(threads: int) -> None:
    """Set the threads of a pair for what reads the environment, and import what pairs need."""
    os.environ["PSFMATCH_NUM_THREADS"] = str(threads)
    if multiprocessing.parent_process() is not None:  # else the process is somebody's own
        keepLogToPairs()
        keepFreedMemory()
    from psfmatch.batch import subtracting  # noqa: F401

"""Pairs on a Dask cluster, also of dask-jobqueue on Slurm or HTCondor, whose workers see the same files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from psfmatch.batch.memory import keepFreedMemory
from psfmatch.batch.worker import keepLogToPairs

try:
    from distributed import Client, WorkerPlugin
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError("a scheduler needs Dask: pip install 'psfmatch[dask]'") from missing

__all__ = ["PairsPlugin", "connected", "preparing"]

TIMEOUT = 30  # seconds until a scheduler that does not answer is given up
THREADS = "PSFMATCH_NUM_THREADS"
PROFILE_INTERVAL = 1000.0  # milliseconds


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a cluster.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``, or the scheduler file.

    Yields
    ------
    client : distributed.Client

    Raises
    ------
    OSError
        If nobody answers.
    """
    place = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**place, timeout=TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        yield client


@contextmanager
def preparing(client: Client, threads: int) -> Iterator[None]:
    """Keep a client's workers ready for pairs of so many threads, those that join meanwhile, too."""
    name = f"psfmatch-{uuid4()}"
    client.register_plugin(PairsPlugin(threads), name=name)
    try:
        yield
    finally:
        with suppress(OSError, RuntimeError, ValueError):  # the cluster may have ended
            if client.status == "running":
                client.unregister_worker_plugin(name)


class PairsPlugin(WorkerPlugin):
    """Sets the threads of a pair for what reads the environment, and imports what pairs need.

    Dask's profiler of tasks looks a hundred times a second at what a worker does. Each time Python changes threads,
    which makes a pair take half as long again; once a second tells as much of tasks that take seconds.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def setup(self, worker: Any) -> None:
        """Make a worker ready."""
        self.threadsBefore = os.environ.get(THREADS)
        os.environ[THREADS] = str(self.threads)
        self.profiler = worker.periodic_callbacks.get("profile")
        if self.profiler is not None:
            self.intervalBefore = self.profiler.callback_time
            self.profiler.callback_time = max(self.intervalBefore, PROFILE_INTERVAL)
        if multiprocessing.parent_process() is not None:  # else the process is somebody's own
            keepLogToPairs()
            keepFreedMemory()
        from psfmatch.batch import pairSubtraction  # noqa: F401

    def teardown(self, worker: Any) -> None:
        """Leave the worker as it was."""
        os.environ.pop(THREADS, None)
        if self.threadsBefore is not None:
            os.environ[THREADS] = self.threadsBefore
        if self.profiler is not None:
            self.profiler.callback_time = self.intervalBefore

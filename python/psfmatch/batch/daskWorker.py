"""A worker of a Dask cluster, for as long as pairs may come to it."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from distributed import WorkerPlugin

from psfmatch.batch.memory import keepFreedMemory
from psfmatch.batch.worker import keepLogToPairs

__all__ = ["PairsPlugin"]

THREADS = "PSFMATCH_NUM_THREADS"
PROFILE_INTERVAL = 1000.0  # milliseconds


class PairsPlugin(WorkerPlugin):
    """Sets the threads of a pair for what reads the environment, and imports what pairs need.

    Dask's profiler of tasks looks a hundred times a second at what a worker does. Each time Python changes threads,
    which makes a pair take half as long again; once a second tells as much of tasks that take seconds.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.threadsBefore: str | None = None
        self.profileInterval: float | None = None

    def setup(self, worker: Any) -> None:
        """Make a worker ready."""
        self.threadsBefore = os.environ.get(THREADS)
        os.environ[THREADS] = str(self.threads)
        profiler = worker.periodic_callbacks.get("profile")
        if profiler is not None and profiler.callback_time < PROFILE_INTERVAL:
            self.profileInterval = profiler.callback_time
            profiler.callback_time = PROFILE_INTERVAL
        if multiprocessing.parent_process() is not None:  # else the process is somebody's own
            keepLogToPairs()
            keepFreedMemory()
        from psfmatch.batch import pairSubtraction  # noqa: F401

    def teardown(self, worker: Any) -> None:
        """Leave the worker as it was."""
        if self.threadsBefore is None:
            os.environ.pop(THREADS, None)
        else:
            os.environ[THREADS] = self.threadsBefore
        profiler = worker.periodic_callbacks.get("profile")
        if profiler is not None and self.profileInterval is not None:
            profiler.callback_time = self.profileInterval

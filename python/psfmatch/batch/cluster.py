"""Pairs on a Dask cluster, also of dask-jobqueue on Slurm or HTCondor, whose workers see the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["connected", "preparing"]

TIMEOUT = 30  # seconds until a scheduler that does not answer is given up


@contextmanager
def connected(address: str) -> Iterator[Any]:
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
    ModuleNotFoundError
        If dask's distributed is not installed.
    OSError
        If nobody answers.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a scheduler needs Dask: pip install 'psfmatch[dask]'") from error
    place = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**place, timeout=TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        yield client


@contextmanager
def preparing(client: Any, threads: int) -> Iterator[None]:
    """Keep a client's workers ready for pairs of so many threads, those that join meanwhile, too."""
    from psfmatch.batch.daskWorker import PairsPlugin

    name = f"psfmatch-{uuid4()}"
    client.register_plugin(PairsPlugin(threads), name=name)
    try:
        yield
    finally:
        with suppress(OSError, RuntimeError, ValueError):  # the cluster may have ended
            if client.status == "running":
                client.unregister_worker_plugin(name)

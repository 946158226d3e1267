"""What workers do with a pair in the tests of the batch, in place of a subtraction: quick, and deadly if asked for.

The pair's name says what happens: die... ends the process each time, dieOnce... the first time, fail... raises, slow...
takes long, exit... ends the process as if all were well. Names of all that was begun are appended to
`begun.txt` in the directory.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from psfmatch.batch import Pair
from psfmatch.batch.worker import attempt


def pairsNamed(*names):
    return [Pair(name, "t.fits", f"{name}.fits") for name in names]


def touch(job):
    return attempt(job, lambda: _touch(job))


def _touch(job):
    directory, name = Path(job.directory), job.pair.name
    with (directory / "begun.txt").open("a") as file:
        file.write(f"{name}\n")
    if name.startswith("die") and (job.attempt == 1 or not name.startswith("dieOnce")):
        half = directory / ".partial" / name
        half.mkdir(parents=True, exist_ok=True)
        (half / "half.fits").write_text("half")
        time.sleep(0.3)  # so that the pool knows with which pair the process dies
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("exit"):
        os._exit(0)
    if name.startswith("fail"):
        raise ValueError("as the name says")
    time.sleep(30.0 if name.startswith("slow") else 0.01)
    (directory / f"{name}.fits").write_text(os.environ.get("OPENBLAS_NUM_THREADS", ""))
    return replace(
        job.record,
        grade="A",
        failedGates="too good" if name.startswith("gate") else None,
        templateFromCache=job.attempt > 1,
    )


def begun(directory):
    """Names of the pairs that were begun, in that order."""
    return (Path(directory) / "begun.txt").read_text().split()


def touchQuickly(job):
    return attempt(job, lambda: _touchQuickly(job))


def _touchQuickly(job):
    directory = Path(job.directory)
    with (directory / "begun.txt").open("a") as file:
        file.write(f"{job.pair.name}\n")
    (directory / f"{job.pair.name}.fits").write_text("quick")
    return replace(job.record, grade="A")


def dieAtOnce():
    os._exit(7)

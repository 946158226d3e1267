"""What goes to a worker and what comes back; light, for every worker imports it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from psfmatch.batch.manifest import Pair

if TYPE_CHECKING:
    from psfmatch.taskConfigs import ImagePsfMatchConfig

__all__ = ["Job", "Outcome", "PairOptions", "Work"]


@dataclass(frozen=True)
class PairOptions:
    """What is done with every pair.

    config : configuration of `psfmatch.subtract`, None: everything is chosen from the images; mode : which image is
    convolved; gates : ``{"grade": "B"}``, see `psfmatch.checkGates`; decorrelated, sources, report : also write
    NAME_decorrelated.fits, the sources found on it as NAME_sources.fits, the report as NAME.html; useXY0 : honour the
    pixel origins in the files; ignoreWcs : take the images as registered; setApart : name of the directory, inside of
    that of the batch, to which the outputs of pairs go that do not pass the gates, None: they lie with the others.
    """

    config: ImagePsfMatchConfig | None = None
    mode: str = "auto"
    gates: dict[str, Any] = field(default_factory=dict)
    decorrelated: bool = False
    sources: bool = False
    report: bool = False
    useXY0: bool = False
    ignoreWcs: bool = False
    setApart: str | None = None


@dataclass(frozen=True)
class Job:
    """One pair as it goes to a worker.

    options : pickled, so that a worker unpacks those of a run once; directory : of the outputs, absolute; threads : of
    the pair; fingerprint : of row and options; attempt : from 1.
    """

    pair: Pair
    options: bytes
    directory: str
    threads: int
    fingerprint: str
    attempt: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a pair, and when and where, which `psfmatch.batch.worker.attempt` fills in.

    state : "done" or "failed"; grade : of the difference; failedGates : in words; templateFromCache : whether the
    template was in memory already; nDetections : how many changes were found, None where they were not looked for;
    folder : the directory, inside of that of the batch, to which the outputs went, None: its own; errorType,
    errorMessage : why it failed; startTime, endTime : Unix time; cpuSeconds : of the process meanwhile; peakMemory : of
    the process meanwhile, where the system tells it, else since it began, bytes.
    """

    state: str = "done"
    grade: str | None = None
    failedGates: tuple[str, ...] = ()
    templateFromCache: bool = False
    nDetections: int | None = None
    folder: str | None = None
    errorType: str | None = None
    errorMessage: str | None = None
    host: str | None = None
    pid: int | None = None
    startTime: float | None = None
    endTime: float | None = None
    wallSeconds: float | None = None
    cpuSeconds: float | None = None
    peakMemory: int | None = None


Work: TypeAlias = Callable[[Job], Outcome]
"""What a worker does with a pair; it is sent by its name, so that it must be importable there."""

"""What goes to a worker; light, for every worker imports it first. What comes back is a record of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from psfmatch.batch.manifest import Pair
from psfmatch.io.pairRecords import PairRecord

if TYPE_CHECKING:
    from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["Job", "PairOptions", "Work"]


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

    def deciding(self) -> tuple[Any, ...]:
        """Return what decides the result of a pair, as plain data; how it is reported does not."""
        if self.config is None:
            return None, self.mode, self.useXY0, self.ignoreWcs
        from psfmatch.config import configToDict

        # A field that was set to its default decides, too.
        config = self.config.withNames() if hasattr(self.config, "withNames") else self.config
        return configToDict(config), self.mode, self.useXY0, self.ignoreWcs


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

    @property
    def record(self) -> PairRecord:
        """The record of the pair before anybody has begun with it."""
        return PairRecord(self.pair.name, self.pair.template, self.pair.science, self.fingerprint)


Work: TypeAlias = Callable[[Job], PairRecord]
"""What a worker does with a pair; it is sent by its name, so that it must be importable there."""

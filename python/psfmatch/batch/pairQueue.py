"""Which pair comes next: those with the same template to the same worker, as long as nobody has to wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from psfmatch.batch.records import Job

__all__ = ["PairQueue"]


class PairQueue:
    """The pairs that wait, by template.

    Parameters
    ----------
    jobs
        In any order; those of a template are given out in it.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._groups: dict[str, deque[Job]] = {}
        for job in jobs:
            self._groups.setdefault(job.pair.template, deque()).append(job)

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def next(self, last: str | None, others: Iterable[str | None]) -> Job | None:
        """Take the pair that suits a worker best; None if none is left.

        Parameters
        ----------
        last
            The template that the worker has in memory.
        others
            Those that other workers have. Of the rest that comes first which most pairs share.
        """
        if not self._groups:
            return None
        if last not in self._groups:
            taken = set(others)
            # The first of equals: dictionaries keep their order.
            last = max(self._groups, key=lambda name: (name not in taken, len(self._groups[name])))
        job = self._groups[last].popleft()
        if not self._groups[last]:
            del self._groups[last]
        return job

    def putBack(self, job: Job) -> None:
        """Take a pair again, as the first of its template."""
        self._groups.setdefault(job.pair.template, deque()).appendleft(job)

    def clear(self) -> None:
        """Forget all pairs that wait."""
        self._groups.clear()

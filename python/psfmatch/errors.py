"""Exceptions of psfmatch.

Everything that the data can cause is a `PsfMatchError`; a caller's slip is a `ValueError` or `TypeError`.
Each message says what was found, where, and what to try; the numbers in it are attributes too, so that a
pipeline can act on them without parsing text. All of them survive pickling, as worker processes need.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__all__ = [
    "ExposureReadError",
    "InputImagesError",
    "InsufficientKernelSourcesError",
    "KernelSolutionError",
    "NoKernelCandidatesError",
    "NumericalError",
    "PsfMatchError",
]


class PsfMatchError(RuntimeError):
    """Base of all errors that the data cause.

    Parameters
    ----------
    message : `str`
        What was found, where, and what to try.
    **counts
        Numbers and names behind the message; each becomes an attribute, all together are `counts`.

    Examples
    --------
    >>> error = InsufficientKernelSourcesError("2 of 3 stars", nSources=2, nRequired=3)
    >>> error.nSources, error.counts
    (2, {'nSources': 2, 'nRequired': 3})
    """

    def __init__(self, message: str, **counts: Any) -> None:
        super().__init__(message)
        self.counts = counts

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that ordinary look-up does not find. Unpickling asks before `counts` exists.
        counts = self.__dict__.get("counts", {})
        if name in counts:
            return counts[name]
        known = ", ".join(sorted(counts)) or "none"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its counts: {known}")


class InputImagesError(PsfMatchError):
    """The images cannot be matched as they are: empty, of unequal sizes, not registered, without overlap."""


class NoKernelCandidatesError(PsfMatchError):
    """Not one star is left from which the matching kernel could be found."""


class InsufficientKernelSourcesError(PsfMatchError):
    """Some stars were found, but fewer than the kernel solution requires."""


class NumericalError(PsfMatchError):
    """The numbers allow no finite answer: no value to take a median of, a kernel of sum 0 to divide by."""


class KernelSolutionError(NumericalError):
    """The equations for the kernel have no usable solution."""


class ExposureReadError(PsfMatchError, OSError):
    """A file exists but holds no image that can be read.

    Parameters
    ----------
    message : `str`
        What was found in the file and what to try.
    path : `str` or `os.PathLike`
        The file; kept as `str` in `path`.
    **counts
        As for `PsfMatchError`.
    """

    if not TYPE_CHECKING:
        # Of the two bases, that which lays out the object: the pickles of a cluster call it by this name.
        __new__ = OSError.__new__

    def __init__(self, message: str, path: str | os.PathLike[str] = "", **counts: Any) -> None:
        super().__init__(message, **counts)
        self.path = os.fspath(path)

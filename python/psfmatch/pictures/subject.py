"""What a report is about: a result by its attributes, and what is found on its difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from astropy.table import Table

from psfmatch.diagnostics import DifferenceNoise
from psfmatch.errors import PsfMatchError
from psfmatch.exposure import Exposure
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.threads import usingThreads

__all__ = ["Detections", "Reported", "findDetections", "matchedName", "matchedPair"]


class Reported(Protocol):
    """What is read of a `psfmatch.SubtractionResult`."""

    @property
    def difference(self) -> Exposure: ...  # noqa: D102
    @property
    def matched(self) -> Exposure: ...  # noqa: D102
    @property
    def template(self) -> Exposure: ...  # noqa: D102
    @property
    def science(self) -> Exposure: ...  # noqa: D102
    @property
    def unconvolved(self) -> Exposure: ...  # noqa: D102
    @property
    def decorrelated(self) -> Exposure: ...  # noqa: D102
    @property
    def convolved(self) -> str: ...  # noqa: D102
    @property
    def kernel(self) -> LinearCombinationKernel: ...  # noqa: D102
    @property
    def background(self) -> SpatialFunction2D: ...  # noqa: D102
    @property
    def candidates(self) -> Table: ...  # noqa: D102
    @property
    def noise(self) -> DifferenceNoise: ...  # noqa: D102
    @property
    def metadata(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def config(self) -> Any: ...  # noqa: D102
    @property
    def quality(self) -> Any: ...  # noqa: D102
    @property
    def decorrelation(self) -> Any: ...  # noqa: D102
    @property
    def alignment(self) -> Any: ...  # noqa: D102
    @property
    def coverage(self) -> Any: ...  # noqa: D102
    @property
    def preparation(self) -> Any: ...  # noqa: D102
    @property
    def varianceFactor(self) -> float: ...  # noqa: D102
    @property
    def choices(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def steps(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def changes(self) -> Table: ...  # noqa: D102

    def summary(self) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Detections:
    """What has changed: `SubtractionResult.changes`, None if it could not be made; how it came about."""

    table: Table | None
    note: str = ""


def findDetections(result: Reported, threads: int | None = None) -> Detections:
    """Find what has changed, and tell where the PSF for it came from if that limits what is found."""
    try:
        with usingThreads(threads):
            table = result.changes
    except PsfMatchError as error:
        return Detections(None, f"Nothing could be looked for: {str(error).rstrip('.')}.")
    origin = table.meta["PSFFROM"]
    return Detections(table, f"PSF: {origin}." if "Gaussian" in origin else "")


def matchedName(result: Reported) -> str:
    """Return what the convolved image is called."""
    return "Matched template" if result.convolved == "template" else "Matched science"


def matchedPair(result: Reported) -> dict[str, Exposure]:
    """Return the two images of one PSF whose difference is the difference, and it, by their names."""
    first, second = (
        (result.matched, result.unconvolved) if result.convolved == "template" else (result.unconvolved, result.matched)
    )
    isTemplate = result.convolved == "template"
    return {
        "matched template" if isTemplate else "template": first,
        "science" if isTemplate else "matched science": second,
        "difference / noise": result.difference,
    }

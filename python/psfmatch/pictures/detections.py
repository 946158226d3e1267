"""What has changed between the images, for pictures and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psfmatch.errors import PsfMatchError
from psfmatch.threads import usingThreads

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.differencing import SubtractionResult

__all__ = ["Detections", "detectionCounts", "findDetections"]


@dataclass(frozen=True)
class Detections:
    """What has changed: `SubtractionResult.changes`, None if it could not be made; how it came about."""

    table: Table | None
    note: str = ""


def findDetections(result: SubtractionResult, threads: int | None = None) -> Detections:
    """Find what has changed, and tell where the PSF for it came from if that limits what is found."""
    try:
        with usingThreads(threads):
            table = result.changes
    except PsfMatchError as error:
        return Detections(None, f"Nothing could be looked for: {str(error).rstrip('.')}.")
    origin = table.meta["PSFFROM"]
    return Detections(table, f"PSF: {origin}." if "Gaussian" in origin else "")


def detectionCounts(detections: Detections) -> dict[str, int | None]:
    """Return how many changes there are, in all, of either sign, and how many pairs are dipoles; None: not known."""
    table = detections.table
    if table is None:
        return dict.fromkeys(("nDetections", "nPositive", "nNegative", "nDipoles"))
    meta = table.meta
    counts = {"nPositive": meta["NPOS"], "nNegative": meta["NNEG"], "nDipoles": meta["NDIPOLE"]}
    return {"nDetections": len(table), **counts}

"""The kernel candidates: from a caller's catalogue, from detected stars, or from bright pixels without any catalogue.

`candidateList` and `candidates` turn what a caller gives into positions, `selection` finds stars, cuts stamps that are
good in both images and puts them into cells; `candidateDetection` grows stamps around bright pixels instead.
"""

from psfmatch.selection.candidateDetection import KernelCandidateDetection
from psfmatch.selection.candidateList import isFinishedList, toSourceTable
from psfmatch.selection.finding import findFaint, getSelectSources, ignoredPlanes
from psfmatch.selection.selection import buildCellSet, makeCandidateList, requireSources, stampRules

__all__ = [
    "KernelCandidateDetection",
    "buildCellSet",
    "findFaint",
    "getSelectSources",
    "ignoredPlanes",
    "isFinishedList",
    "makeCandidateList",
    "requireSources",
    "stampRules",
    "toSourceTable",
]

"""What a difference needs besides its own planes for its changes to be found as by the run that made it.

OWNVAR is the variance of the image that was not convolved, LENTVAR what the convolved one lends to that of the
decorrelated difference; OWNIMAGE and MATCHVAR, where the others cannot tell them, are the image that was not convolved
and the variance of the matched one. DBASIS and DCOEF are the kernel that decorrelates, as KBASIS and KCOEF are that
which matches. MASKRUNS tells where the masks of the two images differ from that of the difference: from pixel START on
(rows one after the other), the bits of IMAGE (0: not convolved, 1: convolved) are those of the difference exclusive-or
BITS. DETECT is JSON.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.columns import tableBytes
from psfmatch.io.files import openFits
from psfmatch.io.headers import imageHdu
from psfmatch.io.kernels import coefficientHdu, correctionTables, jsonHdu, readJson
from psfmatch.io.layouts import listHdus
from psfmatch.io.names import parseFileName
from psfmatch.io.planes import DetectionPlanes
from psfmatch.io.roles import Role
from psfmatch.io.sourceTable import SourceTable
from psfmatch.threads import mapStrips

Bits = NDArray[np.int32]


def detectionHdus(
    planes: DetectionPlanes, mask: Bits, planeHdu: Callable[[str, NDArray[Any]], fits.ImageHDU]
) -> list[Any]:
    """Return the HDUs; `mask` is that of the difference, (h, w), `planeHdu` makes one of a name and a plane."""
    others = {"LENTVAR": planes.lentVariance, "OWNIMAGE": planes.ownImage, "MATCHVAR": planes.matchedVariance}
    hdus: list[Any] = [planeHdu("OWNVAR", planes.ownVariance)]
    hdus += [planeHdu(name, plane) for name, plane in others.items() if plane is not None]
    if planes.correction is not None:
        hdus.append(imageHdu("DBASIS", np.asarray(planes.correction.basis, dtype=np.float64)))
        hdus.append(coefficientHdu("DCOEF", planes.correction.coefficients, planes.correction.spatialField))
    runs = [_runsOf(bits, mask) for bits in (planes.ownMask, planes.matchedMask)]
    columns = {
        "IMAGE": np.repeat(np.arange(2, dtype=np.int16), [len(starts) for starts, _ in runs]),
        "START": np.concatenate([starts for starts, _ in runs]),
        "BITS": np.concatenate([bits for _, bits in runs]),
    }
    return [*hdus, tableBytes(SourceTable(columns), "MASKRUNS"), jsonHdu(planes.facts, "DETECT")]


def readDetectionPlanes(path: str | os.PathLike[str], mask: Bits) -> DetectionPlanes | None:
    """Read what `detectionHdus` has written; None where a file has none of it.

    mask : bits of the difference in it, (h, w). ExposureReadError if the HDUs do not fit together.
    """
    with openFits(parseFileName(path)[0]) as source:
        found = {entry.role: entry.index for entry in listHdus(source)}
        if Role.DETECTION not in found:
            return None

        def plane(role: Role) -> NDArray[np.float32] | None:
            return None if role not in found else np.array(source.readData(found[role]), dtype=np.float32, order="C")

        try:
            facts = readJson(source, found[Role.DETECTION], "DETECT")
            runs = source.readData(found[Role.MASK_RUNS])
            own, matched = (
                _bitsOf(runs["START"][runs["IMAGE"] == which], runs["BITS"][runs["IMAGE"] == which], mask)
                for which in (0, 1)
            )
            ownVariance = plane(Role.OWN_VARIANCE)
            if ownVariance is None:
                raise KeyError("OWNVAR")
            correction = correctionTables(source, found) if Role.CORRECTION_BASIS in found else None
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise source.error(f"what is there to find changes with does not fit together: {error}") from error
        return DetectionPlanes(
            ownVariance,
            own,
            matched,
            facts,
            plane(Role.LENT_VARIANCE),
            correction,
            plane(Role.OWN_IMAGE),
            plane(Role.MATCHED_VARIANCE),
        )


def _runsOf(bits: Bits, mask: Bits) -> tuple[NDArray[np.integer], Bits]:
    """Return where the differences between two masks begin to be others, and what they are from there on."""
    first, second = np.asarray(bits).ravel(), np.asarray(mask).ravel()

    def changes(strip: slice) -> NDArray[np.int64]:
        begin = max(strip.start - 1, 0)  # the last pixel before tells whether the first is another
        differing = first[begin : strip.stop] ^ second[begin : strip.stop]
        places: NDArray[np.int64] = np.flatnonzero(differing[1:] != differing[:-1]) + (begin + 1)
        return places

    starts = np.concatenate([np.zeros(1, dtype=np.int64), *mapStrips(changes, first.shape)])
    return starts.astype(np.int32 if first.size < 2**31 else np.int64), first[starts] ^ second[starts]


def _bitsOf(starts: NDArray[np.int64], bits: Bits, mask: Bits) -> Bits:
    lengths = np.diff(np.append(np.asarray(starts, dtype=np.int64), mask.size))
    differing = np.repeat(np.asarray(bits, dtype=np.int32), lengths)
    return np.asarray(mask) ^ differing.reshape(mask.shape)

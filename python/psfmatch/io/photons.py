"""Photons of the light above the sky in a variance plane, over the compiled core: readers of files may use it, too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch.threads import resolveThreads


def addPhotons(
    variance: npt.NDArray[np.float32],
    image: npt.NDArray[np.float32],
    gain: float,
    *,
    level: float,
    least: float,
    threads: int | None = None,
) -> None:
    """Add (image - level) / gain to a variance, in place, where that light exceeds `least`.

    variance : (ny, nx), counts^2; image : (ny, nx), counts; NaN has no light; gain : e-/count; level, least : of the
    sky, and the light above it that counts; counts; threads : number of threads; the result does not depend on it.
    ValueError if the gain is not a positive number, or the shapes differ.
    """
    from psfmatch import _core  # what reads headers alone does not need it

    pixels = np.ascontiguousarray(image, dtype=np.float32)
    _core.addPhotons(pixels, variance, level=level, least=least, gain=gain, nThreads=resolveThreads(threads))

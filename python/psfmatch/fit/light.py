"""Whether a kernel makes light of the light of the image to convolve: if not, it has nothing to do with the sky.

An image that does not show the stars of the other (another field, sky alone, noise) can be scaled to it all the same:
its sky to that of the other, its noise to the faintest of the stars. So beside the kernel sum the light itself is
compared: what no plane in a candidate's stamps explains, of the template smoothed and of the science image. What the
two have in common is as likely negative as positive where the template is noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.errors import KernelSolutionError
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.fit.stars.judging import fitControl, stampPairs

__all__ = ["NOT_SHOWN", "requireLight", "requirePositive"]

MIN_SIGNIFICANCE = 5.0
"""Of a kernel sum, in sigma."""
MIN_COMMON = 4.0
"""Of the light in common, in sigma."""
CLEAR_PULL, MIN_ONE_SIGN, MIN_CLEAR = 3.0, 2.0, 5
"""Of the candidates that show so many sigma by themselves, if there are so many, the positive ones must outnumber the
negative ones by so many times what random signs would do: what is no light in a template may be far above its noise,
but has either sign."""
NOT_SHOWN = "the image to convolve does not show the light of the other. Check that both show the same sky, registered."


def requirePositive(kernelSum: float, mean: float, error: float, count: int) -> None:
    """Raise KernelSolutionError unless a kernel sum is positive, and its mean significantly so.

    Parameters
    ----------
    kernelSum
        At the centre of the field.
    mean, error, count
        Of all sums, its standard deviation, and the number of candidates or regions that tell it.
    """
    if kernelSum > 0.0 and mean > MIN_SIGNIFICANCE * error:
        return
    raise KernelSolutionError(
        f"the kernel sum is {kernelSum:.4g} at the centre and {mean:.4g} +/- {error:.2g} from {count} candidates, not "
        f"significantly positive: {NOT_SHOWN}",
        kernelSum=kernelSum,
        nCandidates=count,
    )


def requireLight(
    candidates: Sequence[KernelCandidate], kernelShape: tuple[int, int], options: KernelOptions, threads: int
) -> None:
    """Raise KernelSolutionError unless the candidates' stamps have light in common, significantly more than none."""
    ratios, errors = _core.lightRatios(
        stampPairs(candidates, options), *kernelShape, fitControl(options, 1), nThreads=threads
    )
    # Where an image shows nothing, it has nothing in common with the other.
    pulls = np.where(errors > 0.0, np.nan_to_num(ratios / np.where(errors > 0.0, errors, 1.0)), 0.0)
    significance = float(pulls.sum()) / math.sqrt(max(1, pulls.size))
    nPositive, nNegative = (np.count_nonzero(sign * pulls > CLEAR_PULL) for sign in (1.0, -1.0))
    nClear = nPositive + nNegative
    hasOneSign = nClear < MIN_CLEAR or nPositive - nNegative > MIN_ONE_SIGN * math.sqrt(nClear)
    if significance > MIN_COMMON and hasOneSign:
        return
    raise KernelSolutionError(
        f"the kernel has no light to work on: what both images have in common in {pulls.size} candidates is one of "
        f"{significance:.2g} sigma, clearly positive in {nPositive} of them and negative in {nNegative}: {NOT_SHOWN}",
        nCandidates=pulls.size,
        significance=significance,
    )

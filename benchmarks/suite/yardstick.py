"""Y, the unit of times: one convolution by SciPy, measured in the turns of what is compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from suite.timing import progress

SIZE = 4096  # px
SIDE = 21  # px, of the kernel


def yardstick() -> dict[str, Callable[[], float]]:
    """Return the work ``Y``, whose processor seconds are the unit; nothing where SciPy is not installed.

    It is `scipy.signal.oaconvolve` of 4096x4096 float32 pixels by 21x21, one thread.
    """
    try:
        from scipy.signal import oaconvolve
    except ImportError:
        progress("no SciPy, no ratios to Y: pip install scipy")
        return {}
    generator = np.random.default_rng(0)
    image = generator.normal(size=(SIZE, SIZE)).astype(np.float32)
    kernel = np.full((SIDE, SIDE), 1.0 / SIDE**2, dtype=np.float32)

    def work() -> float:
        start = time.process_time()
        oaconvolve(image, kernel, mode="same")
        return time.process_time() - start

    return {"Y": work}

"""Choice of the kernel model by what it leaves of pixels that it has not seen.

`policy` says how much is tried, `family` which Gaussians, `layouts` where the regions lie, `models` goes field by field
over orders and priors, `trial` compares two models, `choosing` is the whole way.
"""

from psfmatch.modelChoice.choosing import KernelChoice, chooseKernel
from psfmatch.modelChoice.policy import effortFor
from psfmatch.modelChoice.trial import Choice

__all__ = ["Choice", "KernelChoice", "chooseKernel", "effortFor"]

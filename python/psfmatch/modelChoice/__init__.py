"""Choice of the kernel model by what it leaves of pixels that it has not seen.

`layouts` says how much is tried and where the regions lie, `family` which Gaussians, `models` goes field by field over
orders and priors, `choosing` is the whole way, `usual` the model that nothing is compared with.
"""

from psfmatch.modelChoice.choosing import KernelChoice, chooseKernel
from psfmatch.modelChoice.layouts import effortFor
from psfmatch.modelChoice.models import Choice
from psfmatch.modelChoice.usual import fitUsualKernel

__all__ = ["Choice", "KernelChoice", "chooseKernel", "effortFor", "fitUsualKernel"]

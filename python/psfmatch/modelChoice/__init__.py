"""Choice of the kernel model by what it leaves of pixels that it has not seen.

`choosing` is the whole way: `layouts` says how much is tried and where the regions lie, `family` which Gaussians,
`models` goes field by field over orders and priors.
"""

from psfmatch.choices import Choice
from psfmatch.modelChoice.choosing import KernelChoice, chooseKernel, fitUsualKernel
from psfmatch.modelChoice.layouts import ImagePair, effortFor

__all__ = ["Choice", "ImagePair", "KernelChoice", "chooseKernel", "effortFor", "fitUsualKernel"]

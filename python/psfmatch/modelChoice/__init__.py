"""Which kernel model serves pixels that it has not seen: its Gaussians, orders and priors, from stars or tiles.

`family` has the Gaussians that two PSFs ask for, `trial` compares models on held-out regions, `layouts` stars and
tiles, `choosing` goes through them one choice at a time.
"""

from psfmatch.modelChoice.choosing import KernelChoice, chooseKernel
from psfmatch.modelChoice.trial import Choice

__all__ = ["Choice", "KernelChoice", "chooseKernel"]

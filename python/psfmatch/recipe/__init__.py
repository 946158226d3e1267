"""A subtraction to be made again: the kernel with all that was done about it, stored and applied.

`preparation` is what was done to the images before, `recipe` stores it with kernel and background, `applying` makes the
difference from it, without stars and without a fit.
"""

from psfmatch.recipe.applying import AppliedKernel, applyKernel
from psfmatch.recipe.preparation import Preparation, crossInputs, prepareInputs, registerInputs
from psfmatch.recipe.recipe import StoredKernel, SubtractionRecipe, edgeHandlingOf, warperOf

__all__ = [
    "AppliedKernel",
    "Preparation",
    "StoredKernel",
    "SubtractionRecipe",
    "applyKernel",
    "crossInputs",
    "edgeHandlingOf",
    "prepareInputs",
    "registerInputs",
    "warperOf",
]

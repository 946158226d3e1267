"""Models of PSFs: an image, Gaussians, a grid of images, models of other packages; and all of them as numbers."""

from psfmatch.psfModels.adapted import ModelPsf, asPsf, averagePosition
from psfmatch.psfModels.grid import GridPsf
from psfmatch.psfModels.models import DoubleGaussianPsf, GaussianPsf, ImagePsf, Psf
from psfmatch.psfModels.sampled import psfFromNodes, psfImageAt, psfOrNone, samplePsf

__all__ = [
    "DoubleGaussianPsf",
    "GaussianPsf",
    "GridPsf",
    "ImagePsf",
    "ModelPsf",
    "Psf",
    "asPsf",
    "averagePosition",
    "psfFromNodes",
    "psfImageAt",
    "psfOrNone",
    "samplePsf",
]

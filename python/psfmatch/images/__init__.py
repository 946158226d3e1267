"""Images in memory, and what is known of them: pixels, mask, variance, PSF, sky coordinates.

`maskedImage` and `exposure` are the nouns that pass through all steps; `psfModels` and its neighbours say what a PSF
is, `psfMoments` and `psfWidths` how wide; `pixelTransform` and `skyPositions` lead from pixels to the sky and to other
images; `conversion` makes an Exposure of whatever a user has.
"""

from psfmatch.images.border import BORDER, withUsableBorder
from psfmatch.images.box import Box
from psfmatch.images.conversion import ImageLike, WeightLike, gainOf, gainsOf, readInput, requireUnits, toExposure
from psfmatch.images.exposure import Exposure
from psfmatch.images.foreignPsfs import ModelPsf, asPsf, averagePosition
from psfmatch.images.gridPsf import GridPsf
from psfmatch.images.mask import DEFAULT_BAD_PLANES, DEFAULT_MASK_PLANES, Mask
from psfmatch.images.maskedImage import MaskedImage, stampTuple
from psfmatch.images.origins import atOrigin, requireSameShape
from psfmatch.images.pixelTransform import PixelTransform, dropAdvice, hasUsableWcs
from psfmatch.images.psfModels import DoubleGaussianPsf, GaussianPsf, ImagePsf, Psf
from psfmatch.images.psfMoments import SIGMA_TO_FWHM, adaptiveMoments
from psfmatch.images.psfWidths import DEFAULT_FWHM_PIX, FWHM_DEFINITIONS, getFwhmPix, getFwhmPixXY
from psfmatch.images.sampledPsfs import NOT_THERE, psfFromNodes, psfImageAt, psfOrNone, samplePsf
from psfmatch.images.skyPositions import pixelsToSky, skyToPixels
from psfmatch.images.weightImage import UNUSABLE_PLANES, weightImage

__all__ = [
    "BORDER",
    "DEFAULT_BAD_PLANES",
    "DEFAULT_FWHM_PIX",
    "DEFAULT_MASK_PLANES",
    "FWHM_DEFINITIONS",
    "NOT_THERE",
    "SIGMA_TO_FWHM",
    "UNUSABLE_PLANES",
    "Box",
    "DoubleGaussianPsf",
    "Exposure",
    "GaussianPsf",
    "GridPsf",
    "ImageLike",
    "ImagePsf",
    "Mask",
    "MaskedImage",
    "ModelPsf",
    "PixelTransform",
    "Psf",
    "WeightLike",
    "adaptiveMoments",
    "asPsf",
    "atOrigin",
    "averagePosition",
    "dropAdvice",
    "gainOf",
    "gainsOf",
    "getFwhmPix",
    "getFwhmPixXY",
    "hasUsableWcs",
    "pixelsToSky",
    "psfFromNodes",
    "psfImageAt",
    "psfOrNone",
    "readInput",
    "requireSameShape",
    "requireUnits",
    "samplePsf",
    "skyToPixels",
    "stampTuple",
    "toExposure",
    "weightImage",
    "withUsableBorder",
]

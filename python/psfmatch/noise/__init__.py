"""The noise of images: what their variance planes should say, and what those of a difference cannot say.

Noise is measured in windows of blank sky (`blankSky`). Before the subtraction `varianceScaling` brings variance planes
to the noise that the images show. Afterwards `differentialBackground` takes off what blank sky has left, `covariance`
holds the noise that neighbouring pixels of a difference share, `whiteness` measures whether they do, and
`kernelUncertainty` is the systematic error near bright stars that comes from the kernel.
"""

from psfmatch.noise.covariance import noiseCovariance as noiseCovariance
from psfmatch.noise.kernelUncertainty import kernelUncertaintyPlane as kernelUncertaintyPlane
from psfmatch.noise.varianceScaling import measureVarianceFactor as measureVarianceFactor
from psfmatch.noise.varianceScaling import multiplyVariance as multiplyVariance
from psfmatch.noise.varianceScaling import scaleVariance as scaleVariance
from psfmatch.noise.whiteness import Whiteness as Whiteness
from psfmatch.noise.whiteness import measureWhiteness as measureWhiteness

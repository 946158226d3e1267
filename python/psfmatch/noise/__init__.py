"""The noise of images: what their variance planes should say, and what those of a difference cannot say.

`blankSky` measures it where there are no sources: before the subtraction to bring variance planes to the noise that the
images show (`inputNoise`, in crowds too), afterwards to tell whether neighbouring pixels share noise. `differenceNoise`
computes what they share, and the systematic error near bright stars that comes from the kernel; `lightNoise` measures
what sources leave beyond that, in proportion to their light and to its root.
"""

from psfmatch.noise.blankSky import WHITENESS_PIXELS, Whiteness, measureWhiteness
from psfmatch.noise.differenceNoise import kernelUncertaintyPlane, noiseCovariance
from psfmatch.noise.inputNoise import NoiseFactor, measureNoiseFactor, scaleVariance
from psfmatch.noise.lightNoise import ErrorFloor, LitDifference, PhotonNoise, addPhotonNoise

__all__ = [
    "WHITENESS_PIXELS",
    "ErrorFloor",
    "LitDifference",
    "NoiseFactor",
    "PhotonNoise",
    "Whiteness",
    "addPhotonNoise",
    "kernelUncertaintyPlane",
    "measureNoiseFactor",
    "measureWhiteness",
    "noiseCovariance",
    "scaleVariance",
]

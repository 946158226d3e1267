"""The noise of images: what their variance planes should say, and what those of a difference cannot say.

`blankSky` measures it where there are no sources: before the subtraction to bring variance planes to the noise that the
images show (`inputNoise`, in crowds too), afterwards to tell whether neighbouring pixels share noise. `lightNoise`
measures what sources leave beyond that, in proportion to their light and to its root. What pixels share because of the
kernel, and its own error, is for `psfmatch.kernels.covariance`.
"""

from psfmatch.noise.blankSky import WHITENESS_PIXELS, Whiteness, measureWhiteness
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
    "measureNoiseFactor",
    "measureWhiteness",
    "scaleVariance",
]

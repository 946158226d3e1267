"""The noise of images: what their variance planes should say, and what those of a difference cannot say.

`blankSky` measures it where there are no sources: before the subtraction to bring variance planes to the noise that the
images show (`inputNoise`, in crowds too), afterwards to take off the background that is left and to tell whether
neighbouring pixels share noise. `differenceNoise` computes what they share, and the systematic error near bright stars
that comes from the kernel; `errorFloor` measures what is left of sources in proportion to their light, and
`photonNoise` what variance planes lack there.
"""

from psfmatch.noise.blankSky import WHITENESS_PIXELS, Whiteness, measureWhiteness
from psfmatch.noise.differenceNoise import kernelUncertaintyPlane, noiseCovariance
from psfmatch.noise.errorFloor import ErrorFloor, errorFloorPlane, measureErrorFloor
from psfmatch.noise.inputNoise import NoiseFactor, measureNoiseFactor, scaleVariance
from psfmatch.noise.photonNoise import PhotonNoise, addPhotonNoise, measurePhotonNoise

__all__ = [
    "WHITENESS_PIXELS",
    "ErrorFloor",
    "NoiseFactor",
    "PhotonNoise",
    "Whiteness",
    "addPhotonNoise",
    "errorFloorPlane",
    "kernelUncertaintyPlane",
    "measureErrorFloor",
    "measureNoiseFactor",
    "measurePhotonNoise",
    "measureWhiteness",
    "noiseCovariance",
    "scaleVariance",
]

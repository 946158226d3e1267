"""Where pixels lie on the sky, and where the pixels of one image lie in another.

`sky` turns pixels into right ascension and declination and back, `pixelTransform` goes from image to image by way of
the sky.
"""

from psfmatch.astrometry.pixelTransform import PixelTransform, dropAdvice, hasUsableWcs
from psfmatch.astrometry.sky import pixelsToSky, skyToPixels

__all__ = ["PixelTransform", "dropAdvice", "hasUsableWcs", "pixelsToSky", "skyToPixels"]

"""Two images pixel for pixel: of one shape, and of one origin."""

from psfmatch.errors import InputImagesError
from psfmatch.images.maskedImage import MaskedImage

__all__ = ["atOrigin", "requireSameShape"]


def requireSameShape(template: MaskedImage, science: MaskedImage) -> None:
    """Raise InputImagesError unless both images have one shape."""
    if template.shape != science.shape:
        raise InputImagesError(
            f"Input images different size: template {template.width}x{template.height}, science "
            f"{science.width}x{science.height} pixels (width x height); give both exposures a WCS, or cut the template "
            "to the science grid",
            templateShape=template.shape,
            scienceShape=science.shape,
        )


def atOrigin(template: MaskedImage, science: MaskedImage) -> MaskedImage:
    """Return a view of the template with the science image's xy0: registered means pixel for pixel."""
    if template.xy0 == science.xy0:
        return template
    return MaskedImage(template.image, template.mask, template.variance, xy0=science.xy0)

"""Images without a gain: the photon noise of their light, told by a first difference, for the one that counts."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from psfmatch.config.choices import Choice
from psfmatch.difference import convolveBy
from psfmatch.difference.subtraction import subtractMatchedTemplate
from psfmatch.errors import InputImagesError, PsfMatchError
from psfmatch.fit import ImagePair, effortFor, fitUsualKernel
from psfmatch.frontdoor.cutouts import isCutout
from psfmatch.frontdoor.finishing import LEAST_VARIANCE_FACTOR
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.frontdoor.options import RunOptions
from psfmatch.images import Box, MaskedImage, atOrigin
from psfmatch.io import isWithoutPhotons
from psfmatch.noise import LitDifference, PhotonNoise, addPhotonNoise
from psfmatch.noise.blankSky import findBlankSky, measureVarianceFactor, multiplyVariance
from psfmatch.sources.starSelection import chooseRegionSources, usefulSources

__all__ = ["withPhotonNoise"]

log = logging.getLogger("psfmatch.frontdoor")

Widths = tuple[float | None, float | None]

SIDE = 1024
"""Pixels of the middle of the images that tell the noise of all."""
LEAST_SIGMAS = 3.0
"""Errors by which the photon noise must exceed none."""


def withPhotonNoise(inputs: Inputs, fwhms: Widths, convolveTemplate: bool, options: RunOptions, threads: int) -> Inputs:
    """Return the inputs with the photon noise of the image that is not convolved, where nobody has told a gain.

    Its variance is then a constant of ours, and light has more noise than that: the usual kernel, fitted to the middle
    of the images, tells how much. The inputs as they are where that shows none. The kernel smooths the noise of the
    other image, of which little is left.
    """
    image = inputs.science if convolveTemplate else inputs.template
    isOurs = isWithoutPhotons(image.metadata.get("VARSRC"))
    # Stamps and fields of faint sources have fits of their own.
    isField = inputs.faint is None and not isCutout(inputs.science.shape, len(usefulSources(inputs.sources)))
    if not (isOurs and isField and options.doScaleVariance and options.chooseKernel and not options.smoothingSigma):
        return inputs
    try:
        found = _measured(inputs, fwhms, convolveTemplate, options, threads)
    except PsfMatchError as error:
        log.debug("No photon noise: %s", error)
        return inputs
    if not (math.isfinite(found.perCount) and found.perCount > LEAST_SIGMAS * found.perCountError):
        return inputs
    sentence = (
        f"Photon noise of the {'science image' if convolveTemplate else 'template'}: {found.perCount:.3g} +/- "
        f"{found.perCountError:.2g} counts^2 of variance per count of light, as of a gain of "
        f"{1.0 / found.perCount:.3g} e-/count, which nobody told: so a first difference scatters on {found.nPixels} "
        "pixels of light, sources of both images."
    )
    choice = Choice("photonNoise", f"{found.perCount:.3g}", found.perCount, "0", 0.0, sentence)
    choice.log(log)
    inputs = replace(inputs, choices=(*inputs.choices, choice))
    added = addPhotonNoise(image, found.perCount, threads)
    if convolveTemplate:
        record = replace(inputs.preparation, sciencePhotonNoise=found.perCount)
        return replace(inputs, science=added, preparation=record)
    record = replace(inputs.preparation, templatePhotonNoise=found.perCount)
    return replace(inputs, template=added, preparation=record)


def _measured(inputs: Inputs, fwhms: Widths, convolveTemplate: bool, options: RunOptions, threads: int) -> PhotonNoise:
    """Return the photon noise of the image that is not convolved, by a difference of the middle of the images."""
    science = inputs.science.maskedImage
    area = _middleOf(inputs.coverage.areaOf(science.getBBox()))
    images: list[MaskedImage] = [
        image.subset(area) for image in (atOrigin(inputs.template.maskedImage, science), science)
    ]
    convolved, other = images if convolveTemplate else images[::-1]
    sizes = fwhms if convolveTemplate else (fwhms[1], fwhms[0])
    sources = usefulSources(inputs.sources)
    sources = sources[area.contains(sources["x"], sources["y"])]
    start, _ = effortFor(options.kernel, len(sources), sizes, other.shape, options.pinned)
    sources = chooseRegionSources(sources, start.regions.maxRegions, area)
    correlation = inputs.templateCorrelation if convolveTemplate else None
    pair = ImagePair(convolved, other, sources, sizes, threads, correlation)
    kernel, background = fitUsualKernel(pair, start)
    matched = convolveBy(kernel, convolved, start, threads)
    difference = subtractMatchedTemplate(other, matched, background, threads)
    sky = findBlankSky(difference, threads=threads)
    factor = measureVarianceFactor(sky)
    if factor < LEAST_VARIANCE_FACTOR:
        raise InputImagesError(f"the sky of the difference has {factor:.3g} of its variance")
    difference = multiplyVariance(difference, factor, threads)
    return LitDifference(difference, other, threads=threads).photonNoise()


def _middleOf(area: Box) -> Box:
    """Return as much of an area's middle as is looked at."""
    width, height = min(area.width, SIDE), min(area.height, SIDE)
    return Box(area.x0 + (area.width - width) // 2, area.y0 + (area.height - height) // 2, width, height)

"""A kernel that was found before, applied to two images: no stars, no fit, the stored difference again.

With the recipe of the kernel (`psfmatch.difference`) the images are prepared, registered, convolved and subtracted as
they were when it was found: on the same images, with the same version and instruction set, the difference comes out bit
for bit. On other images of the same field, such as one with injected sources, this is subtraction with an existing
kernel.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from importlib.metadata import version
from os import PathLike
from typing import Any

from psfmatch.config.equality import ByValue
from psfmatch.difference.borders import completeBorder
from psfmatch.difference.decorrelation.decorrelation import decorrelate
from psfmatch.difference.decorrelation.smoothing import smoothedExposure, smoothingKernel
from psfmatch.difference.recipe.recipe import Convolved, StoredKernel, SubtractionRecipe
from psfmatch.difference.saturationTraces import flagSaturationTraces
from psfmatch.difference.subtraction import matchedExposure, subtractMatched
from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, ImageLike, MaskedImage, atOrigin, gainsOf, toExposure
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D, makeSpatialFunction
from psfmatch.noise import addPhotonNoise
from psfmatch.noise.blankSky import multiplyVariance
from psfmatch.registration import Alignment, surroundingsOf
from psfmatch.registration.preparation import crossInputs, prepareInputs, registerInputs
from psfmatch.sources import flagStreaks
from psfmatch.threads import resolveThreads

__all__ = ["AppliedKernel", "applyKernel"]

log = logging.getLogger("psfmatch.applying")


@dataclass(frozen=True, eq=False)
class AppliedKernel(ByValue):
    """A difference image that an existing kernel made.

    difference, matched, template : as in `SubtractionResult`; stored : kernel, background and recipe that were used.
    """

    difference: Exposure
    matched: Exposure
    template: Exposure
    stored: StoredKernel

    def writeFits(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write difference, mask, variance, matched image and kernel; this file can be applied in its turn."""
        self.difference.writeFits(path, overwrite=overwrite, matched=self.matched.image, kernel=self.stored.toTables())


def applyKernel(
    kernel: StoredKernel | LinearCombinationKernel | str | PathLike[str],
    template: ImageLike,
    science: ImageLike,
    *,
    convolved: Convolved | None = None,
    useBackground: bool = True,
    threads: int | None = None,
    **gains: float | None,
) -> AppliedKernel:
    """Subtract a template from a science image with a kernel that exists already.

    Parameters
    ----------
    kernel
        A kernel file, a difference image of psfmatch, or what was read from either. A kernel without a recipe is
        applied with the defaults of `psfmatch.subtract`, undivided or divided by its sum at the image's centre.
    template, science
        Exposure, MaskedImage, path of a FITS file, HDUList, CCDData, or 2-D array, as they were given to
        `psfmatch.subtract`. Not changed.
    convolved
        "template" or "science", for a kernel whose recipe does not say it; by default the template.
    useBackground
        Subtract the stored differential background. Without one nothing is subtracted.
    threads
        Number of threads; the result does not depend on it.
    **gains
        gain, readNoise, templateGain, templateReadNoise, scienceGain, scienceReadNoise, as of `psfmatch.subtract`.

    Returns
    -------
    applied : AppliedKernel

    Raises
    ------
    ExposureReadError, FileNotFoundError
        If a file cannot be read or holds no kernel.
    InputImagesError
        If the science image has pixels where the kernel is not known, an image is smaller than the kernel, or the
        images do not belong together.
    ValueError
        If `convolved` contradicts the recipe.
    """
    stored = _asStored(kernel)
    ofTemplate, ofScience = gainsOf(gains)
    templateExposure, scienceExposure = toExposure(template, *ofTemplate), toExposure(science, *ofScience)
    box = scienceExposure.getBBox()
    recipe = stored.recipe
    if recipe is None:
        convolved = convolved or "template"
        divisor = 1.0 if convolved == "template" else stored.kernel.kernelSum(*box.centre)
        recipe = SubtractionRecipe(convolved=convolved, divisor=divisor, shape=box.shape, xy0=(box.x0, box.y0))
    elif convolved not in (None, recipe.convolved):
        raise ValueError(f"convolved is {convolved!r}, but this kernel convolves the {recipe.convolved}")
    background = stored.background if useBackground and stored.background is not None else _noBackground()
    _requireFit(stored.kernel, background, recipe, scienceExposure)
    instructionSet = _instructionSetOf(recipe)

    given = templateExposure, scienceExposure
    prepared = prepareInputs(*given, recipe.preparation)
    laid = recipe.preparation.alignment
    prepared, _ = crossInputs(
        given, prepared, None if laid is None else Alignment.fromDict(laid), recipe.preparation.defectFluxRatio, threads
    )
    scienceExposure = prepared[1]
    warper = recipe.makeWarper(threads, instructionSet)
    templateExposure = registerInputs(prepared[0], scienceExposure, recipe.preparation, warper)
    if recipe.preparation.streakFluxRatio is not None:
        templateExposure, scienceExposure, *_ = flagStreaks(
            templateExposure, scienceExposure, recipe.preparation.streakFluxRatio, resolveThreads(threads)
        )
    templateExposure = addPhotonNoise(templateExposure, recipe.preparation.templatePhotonNoise, resolveThreads(threads))
    scienceExposure = addPhotonNoise(scienceExposure, recipe.preparation.sciencePhotonNoise, resolveThreads(threads))
    template = atOrigin(templateExposure.maskedImage, scienceExposure.maskedImage)
    science = scienceExposure.maskedImage
    isTemplate = recipe.convolved == "template"
    matched = stored.kernel.convolve(
        template if isTemplate else science, recipe.edges, instructionSet=instructionSet, threads=threads
    )
    used = replace(
        recipe, shape=box.shape, xy0=(box.x0, box.y0), version=version("psfmatch"), instructionSet=instructionSet
    )
    first, second = templateExposure, scienceExposure
    if recipe.smoothing:
        other = second if isTemplate else first
        other = smoothedExposure(other, recipe.smoothing, recipe.edges, instructionSet=instructionSet, threads=threads)
        first, second = (first, other) if isTemplate else (other, second)
    difference = subtractMatched(
        first,
        second,
        matched,
        background,
        isScienceConvolved=not isTemplate,
        kernelSum=recipe.divisor,
        threads=threads,
    )
    surroundings = None
    if recipe.edgeFraction > 0.0 and isTemplate and templateExposure is not prepared[0]:
        record = recipe.preparation.alignment
        alignment = None if record is None else Alignment.fromDict(record)
        surroundings = surroundingsOf(prepared[0], scienceExposure, alignment, warper)
    completeBorder(
        difference.maskedImage,
        matched,
        *((template, second.maskedImage) if isTemplate else (science, atOrigin(first.maskedImage, science))),
        stored.kernel,
        background,
        edges=recipe.edges,
        fraction=recipe.edgeFraction,
        beyond=None if surroundings is None else surroundings.on,
        isScienceConvolved=not isTemplate,
        kernelSum=recipe.divisor,
        instructionSet=instructionSet,
        threads=threads,
    )
    if recipe.borderLevels is not None:
        recipe.borderLevels.subtractFrom(difference.maskedImage, resolveThreads(threads))
    if recipe.traceGrowth:
        flagSaturationTraces(difference.maskedImage, recipe.traceGrowth, resolveThreads(threads))
    if recipe.decorrelation is not None:
        inputs = (template, science) if isTemplate else (science, template)
        difference = _decorrelated(difference, stored.kernel, inputs, recipe, threads)
    if recipe.varianceFactor != 1.0:
        difference = difference.withPixels(multiplyVariance(difference.maskedImage, recipe.varianceFactor, threads))
    difference, matchedImage = recipe.planes.appliedTo(
        difference,
        matchedExposure(matched, first, second, isScienceConvolved=not isTemplate),
        template,
        science,
        isScienceConvolved=not isTemplate,
    )
    return AppliedKernel(
        difference=difference,
        matched=matchedImage,
        template=templateExposure,
        stored=StoredKernel(stored.kernel, background if useBackground else None, used),
    )


def _asStored(kernel: StoredKernel | LinearCombinationKernel | str | PathLike[str]) -> StoredKernel:
    if isinstance(kernel, StoredKernel):
        return kernel
    if isinstance(kernel, LinearCombinationKernel):
        return StoredKernel(kernel)
    if isinstance(kernel, str | PathLike):
        return StoredKernel.readFits(kernel)
    raise TypeError(
        f"a {type(kernel).__name__} is no kernel; give a StoredKernel, a LinearCombinationKernel, or the path of a file"
    )


def _noBackground() -> SpatialFunction2D:
    return makeSpatialFunction("polynomial", [0.0], (0.0, 0.0, 1.0, 1.0))


def _requireFit(
    kernel: LinearCombinationKernel, background: SpatialFunction2D, recipe: SubtractionRecipe, science: Exposure
) -> None:
    """Raise InputImagesError unless the kernel is known at all pixels of the science image and smaller than it."""
    height, width = kernel.shape
    if science.height < height or science.width < width:
        raise InputImagesError(
            f"Input images of {science.width}x{science.height} pixels are smaller than the kernel of {width}x{height}; "
            "use larger cut-outs",
            shape=science.shape,
            kernelSize=max(height, width),
        )
    known, box = recipe.box, science.getBBox()
    # What does not vary holds everywhere.
    isFree = not kernel.isVarying and background.coreFunction.size == 1
    if isFree or known is None or known.containsBox(box):
        return
    raise InputImagesError(
        f"The science image covers the pixels {box}, the kernel is known on {known}: it varies, and says nothing about "
        "pixels outside; apply it to the same field, or to a cut-out with the xy0 that belongs to it",
        box=box,
        kernelBox=known,
    )


def _instructionSetOf(recipe: SubtractionRecipe) -> str:
    """Return the instruction set to use: the recipe's if this machine has it."""
    here, chosen = version("psfmatch"), recipe.runnableInstructionSet()
    if recipe.version != here:
        log.warning("The kernel was made by psfmatch %s, this is %s: the last bits may differ", recipe.version, here)
    if chosen != recipe.instructionSet:
        log.warning(
            "The kernel was made with the instruction set %s, this machine has %s: the last bits may differ",
            recipe.instructionSet,
            chosen,
        )
    return chosen


def _decorrelated(
    difference: Exposure,
    kernel: LinearCombinationKernel,
    inputs: tuple[MaskedImage, MaskedImage],
    recipe: SubtractionRecipe,
    threads: int | None,
) -> Exposure:
    """Return the difference decorrelated as the recipe has it; `inputs` are the convolved image and the other one."""
    # JSON has lists where the arguments are tuples.
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in (recipe.decorrelation or {}).items()
    }
    isScienceConvolved = recipe.convolved == "science"
    smoothing = smoothingKernel(recipe.smoothing, difference.getBBox()) if recipe.smoothing else None
    return decorrelate(
        difference, kernel, *inputs,
        isScienceConvolved=isScienceConvolved, smoothing=smoothing, threads=threads, **options,
    ).exposure  # fmt: skip

"""Kernel and background of a region: fitted as the options say, from images as a basis, or read from a file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from lsst.pex.config import FieldValidationError

from psfmatch.config import KernelOptions, PsfMatchConfigAL
from psfmatch.fit import RegionCells, fitRegions
from psfmatch.fit.diagnostics import candidateTable
from psfmatch.frontdoor import FrontDoorConfig, SubtractionResult, frontDoorConfig, subtract
from psfmatch.frontdoor.options import STEPS
from psfmatch.hotpants.kernels import readHotpantsKernel
from psfmatch.hotpants.parsing import Settings
from psfmatch.hotpants.positions import starsToFit
from psfmatch.hotpants.storedKernel import readStoredKernel
from psfmatch.hotpants.tables import hasHotpantsTable
from psfmatch.hotpants.writing import readImage
from psfmatch.images import Exposure
from psfmatch.images.mask import DEFAULT_BAD_PLANES
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D, makeSpatialFunction
from psfmatch.kernels.basis import renormalizeBasis
from psfmatch.sources.starSelection import chooseRegionSources
from psfmatch.tasks import ImagePsfMatchConfig, ImagePsfMatchTask

__all__ = ["Fitted", "configuration", "fit", "maskedFraction", "readKernel"]

log = logging.getLogger("psfmatch.hotpants")

Convolved = Literal["template", "science"]
MODES: dict[str | None, Any] = {None: "auto", "t": "convolveTemplate", "i": "convolveScience"}
KS_TO_THRESHOLD = 2.5
"""Our rejection at 5 sigma for the 2 of ``-ks`` that is usual."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A kernel with its background.

    convolved : which image; candidates : one row per stamp; config : that made it, to make others alike, None where
    there is none; gaussians : degrees and sigmas (pixels) of its basis, None for another one.
    """

    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    convolved: Convolved
    candidates: Table
    config: ImagePsfMatchConfig | None = None
    gaussians: tuple[tuple[int, ...], tuple[float, ...]] | None = None


def configuration(settings: Settings) -> FrontDoorConfig:
    """Return the front door's configuration: what is given is fixed, the rest is chosen from the images.

    Raises
    ------
    ValueError
        If a field refuses what an option says.
    """
    config = frontDoorConfig()
    for name in (step for step in STEPS if step.startswith("do")):
        setattr(config, name, False)
    kernel = config.kernel.active
    fixed: list[str] = []

    def fix(owner: Any, option: str, **fields: Any) -> None:
        try:
            owner.update(**fields)
        except FieldValidationError as error:
            name, value = next(iter(fields.items()))
            reason = str(error).rpartition("failed validation: ")[2].splitlines()[0]
            raise ValueError(f"-{option} makes {name} {value}: {reason}") from error
        if owner is kernel:
            fixed.extend(fields)

    if "r" in settings:
        fix(kernel, "r", kernelSize=2 * settings["r"] + 1)
    if "ng" in settings:
        degrees, sigmas = settings["ng"]
        fix(kernel, "ng", alardNGauss=len(sigmas), alardSigGauss=list(sigmas), alardDegGauss=list(degrees))
    if "ko" in settings:
        fix(kernel, "ko", spatialKernelOrder=settings["ko"])
    if "bgo" in settings:
        fix(kernel, "bgo", spatialBgOrder=settings["bgo"])
    if "kfm" in settings:
        fix(kernel, "kfm", maskedKernelFraction=maskedFraction(settings))
    region = kernel.regionConfig
    if settings.anyOf("nsx", "nsy", "nss"):
        fix(region, "nsx, -nsy, -nss", maxRegions=settings["nsx"] * settings["nsy"] * settings["nss"])
    if "rss" in settings:
        fix(region, "rss", halfWidth=settings["rss"])
    if "ks" in settings:
        fix(region, "ks", threshold=KS_TO_THRESHOLD * settings["ks"])
    config.fixedKernelFields = fixed
    return config


def maskedFraction(settings: Settings) -> float:
    """Return the part of the kernel that bad pixels may hold: less than all of it."""
    return min(round(1.0 - float(settings["kfm"]), 9), 0.999)


def fit(template: Exposure, science: Exposure, settings: Settings, like: Fitted | None = None) -> Fitted:
    """Return kernel and background between two images of one region.

    Parameters
    ----------
    template, science
        As `InputImage.toFit` gives them, cut to the region.
    settings
        The command line.
    like
        What another region gave: its basis, orders and direction are taken.

    Raises
    ------
    ValueError, NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError, InputImagesError
        As for `psfmatch.subtract`, and if an option makes no sense.
    """
    stars = starsToFit(settings, science)
    config: ImagePsfMatchConfig = configuration(settings) if like is None or like.config is None else like.config
    if "pca" in settings:
        return _fitImages(template, science, stars, settings, config)
    mode = MODES[settings.given.get("c")]
    if like is not None:
        mode = "convolveTemplate" if like.convolved == "template" else "convolveScience"

    def run(mode: Any) -> SubtractionResult:
        return subtract(template, science, config=config, mode=mode, candidateList=stars)

    if "fom" in settings and mode == "auto":
        results = [run(mode) for mode in ("convolveTemplate", "convolveScience")]
        merits = [_merit(result, settings) for result in results]
        log.info(
            "Merit %s: %.4g with the template convolved, %.4g the other way",
            *(settings["fom"], *merits),
            extra={"isDecision": True},
        )
        return _ofResult(results[int(merits[1] < merits[0])])
    return _ofResult(run(mode))


def readKernel(settings: Settings, science: Exposure, region: int) -> Fitted:
    """Return the stored kernel of ``-ki`` for a region: of ours the only one, of HOTPANTS' tables the region's."""
    path = settings["ki"]
    stored = readStoredKernel(path)
    convolved: Convolved | None = None if stored.recipe is None else stored.recipe.convolved
    kernel, background = stored.kernel, stored.background
    if region > 0 and hasHotpantsTable(path):
        kernel, background = readHotpantsKernel(path, region, science.shape)
    if "c" in settings:
        asked: Convolved = "template" if settings["c"] == "t" else "science"
        if convolved not in (None, asked):
            raise ValueError(f"-c {settings['c']}, but the kernel of {path} convolves the {convolved}; leave it out")
        convolved = asked
    return Fitted(
        kernel,
        background or makeSpatialFunction("polynomial", [0.0], (0.0, 0.0, 1.0, 1.0)),
        convolved or "template",
        Table({"x": [], "y": [], "status": [], "spatialRms": []}, dtype=[float, float, str, float]),
    )


def _ofResult(result: SubtractionResult) -> Fitted:
    for sentence in (*(choice.sentence for choice in result.choices), *result.steps):
        log.debug("%s", sentence)
    kernel = result.config.kernel.active
    isGaussian = not result.steps and isinstance(kernel, PsfMatchConfigAL)
    return Fitted(
        result.kernel,
        result.background,
        result.convolved,
        result.candidates,
        result.config if isGaussian else None,
        (tuple(kernel.alardDegGauss), tuple(kernel.alardSigGauss)) if isGaussian else None,
    )


def _merit(result: SubtractionResult, settings: Settings) -> float:
    """Return how much of the stars is left, in science counts: the less the better direction."""
    pixels = result.difference.maskedImage
    good = ~pixels.badPixels(DEFAULT_BAD_PLANES)
    near = np.zeros(pixels.shape, dtype=np.bool_)
    half = settings["rss"]
    for x, y in result.candidates[np.asarray(result.candidates["status"]) == "GOOD"].iterrows("x", "y"):
        column, row = round(x) - pixels.xy0[0], round(y) - pixels.xy0[1]
        near[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] = True
    values = pixels.image[good & near].astype(np.float64)
    if values.size == 0:
        return np.inf
    if settings["fom"] == "v":
        return float(values.var())
    low, middle, high = np.percentile(values, [15.87, 50.0, 84.13])
    if settings["fom"] == "h":
        return float(high - low) / 2.0
    return float(values[np.abs(values - middle) <= settings["ssig"] * (high - low) / 2.0].std())


def _fitImages(
    template: Exposure,
    science: Exposure,
    stars: npt.NDArray[np.float64] | None,
    settings: Settings,
    config: ImagePsfMatchConfig,
) -> Fitted:
    """Fit with the images of ``-pca`` as basis functions, without a prior: they are what is expected."""
    images = [readImage(name) for name in settings["pca"]]
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or any(side % 2 == 0 for side in images[0].shape):
        raise ValueError(f"-pca needs images of one shape with odd sides, not {sorted(shapes)}")
    # Theirs are convolved with, ours correlated.
    basis = renormalizeBasis(np.array(images)[:, ::-1, ::-1])
    kernelConfig = config.kernel.active
    kernelConfig.update(fitMethod="regions", scaleByFwhm=False, kernelSize=max(basis.shape[1:]), nStarPerCell=-1)
    kernelConfig.regionConfig.update(shapeScale=0.0, variationScale=0.0)
    convolved: Convolved = "science" if settings.given.get("c") == "i" else "template"
    pair = template.maskedImage, science.maskedImage
    first, second = pair if convolved == "template" else pair[::-1]
    task = ImagePsfMatchTask(config=config)
    sources = (
        Table({"x": stars[:, 0], "y": stars[:, 1]})
        if stars is not None
        else chooseRegionSources(
            task.getSelectSources(science), kernelConfig.regionConfig.maxRegions, science.getBBox()
        )
    )
    options = KernelOptions.fromConfig(kernelConfig)
    cells = RegionCells(first, second, options, max(basis.shape[1:]), sources, task.threads)
    found = fitRegions(cells, basis, options)
    return Fitted(found.kernel, found.background, convolved, candidateTable(cells))

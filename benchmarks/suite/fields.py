"""The simulated pairs that are measured: made once, kept as FITS, and the task's settings for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from psfmatch import Exposure, ImagePsfMatchTask, MaskedImage
from psfmatch.testing import simulatePair
from suite.timing import progress

KERNEL_FWHM = (2.6, 3.8)  # px, template and science, those of the simulation
TILE_SIZE = 4096
DENSE_SIZE = 1024  # smaller fields hold too few bright stars
CONTENTS: dict[str, dict[str, Any]] = {
    "pair": {},
    "tile": {"templateVariation": 0.0, "scienceVariation": 0.0, "backgroundOrder": 0},
    "dense": {"brightStars": 300, "faintStars": 1200, "galaxies": 150},
    "simple": {"brightStars": 75, "faintStars": 75, "galaxies": 0},  # per megapixel
}


def pairPaths(size: int, cache: Path, kind: str = "pair") -> tuple[Path, Path]:
    """Return the FITS files of template and science image of `size` pixels, simulating them if need be.

    A pair holds what `simulatePair` puts in, or what `CONTENTS` says. A tile has no variation of its PSF, so that
    copies of it side by side make one field.
    """
    paths = cache / f"{kind}{size}-template.fits", cache / f"{kind}{size}-science.fits"
    if not all(path.exists() for path in paths):
        progress(f"simulating a {kind} of {size} px")
        cache.mkdir(parents=True, exist_ok=True)
        pair = simulatePair(0, size, **CONTENTS[kind])
        for exposure, path in zip((pair.template, pair.science), paths, strict=True):
            exposure.writeFits(path)
    return paths


def loadPair(size: int, cache: Path) -> tuple[MaskedImage, MaskedImage]:
    """Return template and science image in memory; those above 8192 px are copies of one tile side by side."""
    copies = size // TILE_SIZE if size > 2 * TILE_SIZE else 1
    if copies > 1 and size % TILE_SIZE:
        raise ValueError(f"{size} px: fields above {2 * TILE_SIZE} px are multiples of {TILE_SIZE} px")
    paths = pairPaths(size, cache) if copies == 1 else pairPaths(TILE_SIZE, cache, "tile")
    template, science = (_repeated(Exposure.readFits(path).maskedImage, copies) for path in paths)
    return template, science


def loadExposures(size: int, cache: Path, field: str) -> tuple[Exposure, Exposure]:
    """Return template and science image of a field in memory: sparse, dense or simple."""
    template, science = pairPaths(size, cache, "pair" if field == "sparse" else field)
    return Exposure.readFits(template), Exposure.readFits(science)


def _repeated(source: MaskedImage, copies: int) -> MaskedImage:
    if copies == 1:
        return source
    planes = [np.tile(np.asarray(plane), (copies, copies)) for plane in (source.image, source.mask, source.variance)]
    return MaskedImage(planes[0], type(source.mask)(planes[1], source.mask.planes), planes[2])


def makeTask(
    size: int, threads: int, *, kernelName: str = "AL", order: int = 2, side: int | None = None
) -> ImagePsfMatchTask:
    """Return the task that is measured: 27 functions (AL), background of order 1, about 45 stars a megapixel."""
    config = ImagePsfMatchTask.ConfigClass()
    config.selectDetection.thresholdValue = 100 if size >= DENSE_SIZE else 10
    config.kernel.name = kernelName
    kernel = config.kernel.active
    kernel.update(fitForBackground=True, spatialKernelOrder=order, spatialBgOrder=1)
    if side is not None:
        kernel.update(kernelSizeMin=side, kernelSizeMax=side)
    return ImagePsfMatchTask(config=config, threads=threads)

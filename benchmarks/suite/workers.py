"""What each program of `benchmarks/peers.py` does, each in a process of its own.

A worker finds its input in a folder, does its work up to six times, and leaves `result.npy` and the seconds. Programs
are imported here only where they are used; their settings are the nearest to ours that they offer: kernel of 21x21
pixels, order 2 in kernel and background.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
KERNEL_FWHM = (2.6, 3.8)  # px
HALF_WIDTH = 10  # px, of the kernel
STAR_RADIUS = 20  # px about each star, of what sfft fits
MOST_CALLS = 6
AGAIN_BELOW = 30.0  # s: no further call after these


def loadPlanes(folder: Path) -> dict[str, Array]:
    """Return the arrays of the input."""
    return {path.stem: np.load(path) for path in sorted(folder.glob("input-*.npy"))}


def skySubtracted(image: Array, mask: Array) -> Array:
    """Return the image less its background, 0 where it is not finite."""
    import sep

    finite = np.where(np.isfinite(image), image, np.float32(0)).astype(np.float32)
    isBad = (mask != 0) | ~np.isfinite(image)
    background = sep.Background(finite, mask=isBad, bw=64, bh=64).back()
    return np.where(np.isfinite(image), finite - background, 0.0)


def subtractPsfmatch(folder: Path, threads: int) -> Callable[[], Array]:
    """The documented task, which finds its stars itself."""
    from psfmatch import ImagePsfMatchTask, MaskedImage

    planes = loadPlanes(folder)
    pair = [
        MaskedImage(*(planes[f"input-{name}-{plane}"] for plane in ("image", "mask", "variance")))
        for name in ("template", "science")
    ]

    def work() -> Array:
        config = ImagePsfMatchTask.ConfigClass()
        config.kernel.active.update(fitForBackground=True, spatialKernelOrder=2, spatialBgOrder=2)
        task = ImagePsfMatchTask(config=config, threads=threads)
        return task.subtractMaskedImages(*pair, None, *KERNEL_FWHM).subtractedMaskedImage.image

    return work


def subtractSfft(folder: Path, threads: int) -> Callable[[], Array]:
    """Sfft's NumPy backend with images that are 0 but for the stars; files in and out, as it wants them."""
    from astropy.io import fits
    from sfft.CustomizedPacket import Customized_Packet

    planes = loadPlanes(folder)
    ny, nx = planes["input-science-image"].shape
    keep = np.zeros((ny, nx), dtype=bool)
    for x, y in planes["input-stars"]:
        rows = slice(max(round(y) - STAR_RADIUS, 0), round(y) + STAR_RADIUS + 1)
        keep[rows, max(round(x) - STAR_RADIUS, 0) : round(x) + STAR_RADIUS + 1] = True
    keep &= (planes["input-template-mask"] == 0) & (planes["input-science-mask"] == 0)
    paths = {}
    for name in ("template", "science"):
        image = skySubtracted(planes[f"input-{name}-image"], planes[f"input-{name}-mask"])
        for kind, pixels in (("whole", image), ("stars", np.where(keep, image, 0.0))):
            paths[name, kind] = str(folder / f"{name}-{kind}.fits")
            fits.writeto(paths[name, kind], pixels.astype(np.float64), overwrite=True)
    out = str(folder / "sfft-difference.fits")

    def work() -> Array:
        Customized_Packet.CP(
            FITS_REF=paths["template", "whole"],
            FITS_SCI=paths["science", "whole"],
            FITS_mREF=paths["template", "stars"],
            FITS_mSCI=paths["science", "stars"],
            ForceConv="REF",
            GKerHW=HALF_WIDTH,
            FITS_DIFF=out,
            KerPolyOrder=2,
            BGPolyOrder=2,
            ConstPhotRatio=True,
            BACKEND_4SUBTRACT="Numpy",
            NUM_CPU_THREADS_4SUBTRACT=threads,
            VERBOSE_LEVEL=0,
        )
        return np.asarray(fits.getdata(out))

    return work


def subtractProperimage(folder: Path, threads: int) -> Callable[[], Array]:
    """Properimage's D (Zackay, Ofek & Gal-Yam 2016), with PSFs that it measures."""
    from properimage import SingleImage, subtract

    del threads
    planes = loadPlanes(folder)

    def work() -> Array:
        images = [
            SingleImage(
                planes[f"input-{name}-image"].astype(np.float64),
                mask=planes[f"input-{name}-mask"] != 0,
                guessmask=False,
            )
            for name in ("template", "science")
        ]
        result = subtract(*images, align=False, smooth_psf=False, beta=True, shift=True, iterative=False)
        return np.where(result[3], np.nan, np.real(result[0]))

    return work


def convolvePsfmatch(folder: Path, threads: int) -> Callable[[], Array]:
    """Image, variance and mask."""
    from psfmatch import LinearCombinationKernel, MaskedImage

    planes = loadPlanes(folder)
    image = planes["input-template-image"]
    source = MaskedImage(image, np.zeros(image.shape, dtype=np.int32), planes["input-template-variance"])
    kernel = LinearCombinationKernel(planes["input-kernel"][np.newaxis], [[1.0]])
    return lambda: kernel.convolve(source, threads=threads).image


def convolveFft(folder: Path, threads: int) -> Callable[[], Array]:
    """scipy.signal.fftconvolve on the image alone."""
    from scipy.signal import fftconvolve

    del threads
    planes = loadPlanes(folder)
    image, kernel = planes["input-template-image"], planes["input-kernel"].astype(np.float32)[::-1, ::-1]
    return lambda: fftconvolve(image, kernel, mode="same")


def convolveDirect(folder: Path, threads: int) -> Callable[[], Array]:
    """scipy.ndimage.convolve on the image alone."""
    from scipy.ndimage import convolve

    del threads
    planes = loadPlanes(folder)
    image, kernel = planes["input-template-image"], planes["input-kernel"].astype(np.float32)[::-1, ::-1]
    return lambda: convolve(image, kernel, mode="constant")


def warpPsfmatch(folder: Path, threads: int) -> Callable[[], Array]:
    """Lanczos3 on image, variance and mask."""
    from psfmatch import Box, MaskedImage
    from psfmatch.config import WarperConfig
    from psfmatch.images import PixelTransform
    from psfmatch.registration import Warper

    image = loadPlanes(folder)["input-sky"]
    masked = MaskedImage(image, variance=np.ones_like(image))
    config = WarperConfig()
    config.update(warpingKernelName="lanczos3", keepCentroids=True)
    warper = Warper(config, threads=threads)
    source, target = warpGrids(image.shape[0])
    transform = PixelTransform(target, source)
    return lambda: warper.warpMaskedImage(masked, transform, Box(0, 0, *image.shape[::-1])).image


def warpReproject(folder: Path, threads: int) -> Callable[[], Array]:
    """reproject_interp, bicubic, on the image alone."""
    from reproject import reproject_interp

    del threads
    image = loadPlanes(folder)["input-sky"]
    source, target = warpGrids(image.shape[0])
    return lambda: reproject_interp((image, source), target, image.shape, order="bicubic", return_footprint=False)


def warpAdaptive(folder: Path, threads: int) -> Callable[[], Array]:
    """reproject_adaptive, which conserves flux, on the image alone."""
    from reproject import reproject_adaptive

    del threads
    image = loadPlanes(folder)["input-sky"]
    source, target = warpGrids(image.shape[0])
    return lambda: reproject_adaptive((image, source), target, image.shape, return_footprint=False, kernel="gaussian")


def warpGrids(size: int) -> tuple[Any, Any]:
    """Return the coordinates of the source and of the output, turned by 0.1 rad about the middle."""
    from psfmatch.testing import makeTanWcs

    centre = (size / 2.0, size / 2.0)
    return makeTanWcs(0.2, 0.0, centre), makeTanWcs(0.2, 0.1, centre)


WORKERS: dict[str, Callable[[Path, int], Callable[[], Array]]] = {
    "psfmatch": subtractPsfmatch,
    "sfft": subtractSfft,
    "properimage": subtractProperimage,
    "psfmatch convolve": convolvePsfmatch,
    "scipy fftconvolve": convolveFft,
    "scipy ndimage": convolveDirect,
    "psfmatch warp": warpPsfmatch,
    "reproject_interp": warpReproject,
    "reproject_adaptive": warpAdaptive,
}


def run(name: str, folder: Path, threads: int) -> None:
    """Do the work of one program several times; `seconds.json` holds wall and processor time of each call."""
    work = WORKERS[name](folder, threads)
    calls: list[tuple[float, float]] = []
    while not calls or (len(calls) < MOST_CALLS and sum(wall for wall, _ in calls) < AGAIN_BELOW):
        start, cpu = time.perf_counter(), time.process_time()
        result = work()
        calls.append((time.perf_counter() - start, time.process_time() - cpu))
    np.save(folder / "result.npy", np.asarray(result, dtype=np.float32))
    (folder / "seconds.json").write_text(json.dumps(calls))

"""Build a task of your own on `ImagePsfMatchTask`: one with a `run`, a configuration field and two subtasks more.

    python examples/subclassedTask.py [--size PIX] [-c FIELD=VALUE ...]

`TransientTask` subtracts a template and searches the difference, in both signs, with the detection that the package
has for stars; the configuration says how deep. It also has a criterion of its own for the stars that tell the kernel.
The script runs it on a simulated pair and compares what it finds with what was put in. It shows the metadata that a
task leaves behind, times of all steps and numbers of the fit, and hands the task to `psfmatch.subtract`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.pex.config import RangeField

from psfmatch import Exposure, GaussianPsf, ImagePsfMatchConfig, ImagePsfMatchTask, subtract
from psfmatch.config import KernelOptions, Struct, applyOverride
from psfmatch.config.task import timeMethod
from psfmatch.fit import SINGLE_KERNEL_CRITERIA, KernelCandidate
from psfmatch.images import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM
from psfmatch.sources import SourceDetectionTask
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.testing import simulatePair

MATCH_RADIUS = 3.0  # px
MOST_COUNTS = 20000.0  # in the middle of a star


class TransientConfig(ImagePsfMatchConfig):
    """Configuration of `TransientTask`: that of the subtraction, and of the search."""

    detection = SourceDetectionTask.makeField("Search of the difference image.")
    measurement = SourceMeasurementTask.makeField("Fluxes on the difference image.")
    maxElongation = RangeField(
        doc="Detections whose axes differ by more than this factor are residuals, not stars.",
        dtype=float,
        default=2.0,
        min=1.0,
    )

    def setDefaults(self) -> None:
        """Fit the background; search at 5 sigma."""
        super().setDefaults()
        self.kernel.active.fitForBackground = True
        self.kernel.active.spatialKernelOrder = 1
        self.kernel.active.spatialBgOrder = 2
        self.detection.minPixels = 3
        self.detection.thresholdType = "pixel_stdev"
        self.detection.thresholdPolarity = "both"
        self.detection.thresholdValue = 5.0
        self.detection.reEstimateBackground = False


def tooBright(candidate: KernelCandidate, options: KernelOptions) -> str | None:
    """Reject stars so bright that a detector may not count their light as that of others."""
    image = candidate.scienceMaskedImage.image
    peak = float(image[image.shape[0] // 2, image.shape[1] // 2])
    return f"too bright: peak {peak:.0f}, limit {MOST_COUNTS:.0f}" if peak > MOST_COUNTS else None


class TransientTask(ImagePsfMatchTask):
    """Subtracts a template and lists what has changed."""

    ConfigClass = TransientConfig
    _DefaultName = "transient"
    singleKernelCriteria = (*SINGLE_KERNEL_CRITERIA, tooBright)
    regionCriteria = (tooBright,)

    detection: SourceDetectionTask
    measurement: SourceMeasurementTask

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.makeSubtask("detection")
        self.makeSubtask("measurement")

    @timeMethod
    def run(self, templateExposure: Exposure, scienceExposure: Exposure) -> Struct:
        """Return what `subtractExposures` returns, and ``transients``: a Table with x, y, psfFlux and psfFluxErr."""
        result = self.subtractExposures(templateExposure, scienceExposure)
        difference = result.subtractedExposure
        sigma = self.metadata.get("scienceFwhmPix", DEFAULT_FWHM_PIX) / SIGMA_TO_FWHM
        # Fluxes are those of the PSF; without a model of it, those of a Gaussian as wide as the stars.
        psf = GaussianPsf(sigma) if difference.psf is None else difference.psf
        found = self.detection.run(difference.maskedImage, sigma).sources
        transients = self.measurement.run(found, Exposure(difference.maskedImage, wcs=difference.wcs, psf=psf))
        isRound = np.asarray(transients["a"]) <= self.config.maxElongation * np.asarray(transients["b"])
        self.metadata["nElongated"] = int(np.count_nonzero(~isRound))
        self.log.info("Found %d transients, left out %d elongated ones", np.sum(isRound), np.sum(~isRound))
        result.transients = transients[isRound]
        return result


def nearest(table: Table, x: float, y: float) -> tuple[float, int]:
    """Return the distance (px) of the nearest row of a table, and its number; infinity without rows."""
    if len(table) == 0:
        return np.inf, -1
    distance = np.hypot(np.asarray(table["x"]) - x, np.asarray(table["y"]) - y)
    return float(distance.min()), int(distance.argmin())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task on a simulated pair and compare with the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=768, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("-c", dest="overrides", metavar="FIELD=VALUE", action="append", default=[], help="set a field")
    options = parser.parse_args(arguments)

    config = TransientTask.ConfigClass()
    for override in options.overrides:
        applyOverride(config, override)
    task = TransientTask(config=config)
    pair = simulatePair(seed=3, size=options.size, brightStars=80, variableFraction=0.0)
    result = task.run(pair.template, pair.science)

    print(f"{'x':>7} {'y':>7} {'true S/N':>9} {'true flux':>10} {'measured':>8}")
    for x, y, flux, signalToNoise in pair.truth.transients.iterrows("x", "y", "flux", "signalToNoise"):
        distance, row = nearest(result.transients, x, y)
        measured = "  missed"
        if distance < MATCH_RADIUS:
            measured = f"{result.transients['psfFlux'][row]:8.0f} +/- {result.transients['psfFluxErr'][row]:.0f}"
        print(f"{x:7.1f} {y:7.1f} {signalToNoise:9.1f} {flux:10.0f} {measured}")
    known = [nearest(pair.truth.transients, x, y)[0] < MATCH_RADIUS for x, y in result.transients.iterrows("x", "y")]
    print(f"{len(known) - sum(known)} detections besides, {task.metadata['nElongated']} elongated ones left out")

    print("\nseconds spent")
    metadata = task.getFullMetadata()["transient"]
    for name in ("select", "measurePsf", "stamps", "solve", "convolve", "subtract", "run"):
        print(f"  {name:<12} {metadata[name + 'EndWallTime'] - metadata[name + 'StartWallTime']:.3f}")

    # With everything chosen from the images; the criterion is asked for every region that is fitted.
    whole = subtract(pair.template, pair.science, task=TransientTask)
    nBright = sum(str(reason).startswith("too bright") for reason in whole.candidates["reason"])
    print(f"\nsubtract: {len(whole.candidates)} regions, {nBright} of them too bright; grade {whole.grade}")


if __name__ == "__main__":
    main()

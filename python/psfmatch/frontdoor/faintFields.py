"""Fields of faint sources: where the template lies, and the kernel, from the light of all of them together.

What `psfmatch.fit.stackFit` finds puts the alignment right to a fraction of what single faint stars tell, and becomes
the kernel where no source is bright enough for one with more freedom.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.config.choices import Choice
from psfmatch.config.task import Struct
from psfmatch.difference import warperOf
from psfmatch.errors import fixed
from psfmatch.fit.stackFit import StackMatch, matchSources
from psfmatch.frontdoor.simplerModels import subtractWith
from psfmatch.images import DEFAULT_BAD_PLANES, DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, Exposure, MaskedImage, atOrigin
from psfmatch.io.sourceTable import AnyTable, SourceTable
from psfmatch.registration import Alignment, LaidPair, LightShift, applyAlignment, measureLightShift, movedBy
from psfmatch.sources import findFaint, ignoredPlanes, recordFwhms, stackedFwhm
from psfmatch.sources.starSelection import totalSnr, usefulSources
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.threads import resolveThreads

__all__ = ["FaintMatch", "byStack", "matchFaint", "stackFwhms"]

log = logging.getLogger("psfmatch.frontdoor")

FloatArray = npt.NDArray[np.float64]
MAX_CUTOUT_SIDE = 150
"""Pixels: smaller images are fitted as one stamp."""
MAX_TOTAL_SNR, LEAST_TOTAL_SNR = 300.0, 150.0
"""Of all sources together, in both images, or in either: a fit to pixels loses a tenth of the kernel sum at 100 to 200
in both, and varies by 5 % at 300; where one image is deep, the other needs half of that."""
FEW_SOURCES = 5
"""Fewer with a bright one among them are that one's."""
SAME_FWHM = 0.7
"""Sources of both images that are nearer than so many FWHM are one."""
MAX_SHIFT_FWHM = 1.5
"""Of a shift that is left between the images, in units of the wider FWHM."""
SHIFT_SIGMAS = 1.5
"""From which it is put right, where the stars one by one knew it worse."""


@dataclass(frozen=True, eq=False)
class FaintMatch:
    """The images of a field that shows faint sources alone, or none in the science image, and what matches them.

    template : registered, as the alignment now says; sources : of both images; match : from the image that is convolved
    to the other, None where stars, or all pixels, are to tell the kernel all the same; isShown : whether each image
    shows light where the other has sources;
    choices : in sentences what was found.
    """

    template: Exposure
    alignment: Alignment | None
    sources: AnyTable
    match: StackMatch | None
    convolveTemplate: bool
    choices: tuple[Choice, ...]
    isShown: bool = True


def matchFaint(laid: LaidPair, others: AnyTable | None, task: ImagePsfMatchTask) -> FaintMatch | None:
    """Return how a field of faint sources is matched; None for other fields, and for cut-outs.

    Parameters
    ----------
    laid
        Template and science image; not changed.
    others
        Sources of the template as it was, None where nobody has looked.
    task
        Finds the sources of the template there.
    """
    given, registered, science, sources, alignment = (
        laid.given,
        laid.template,
        laid.science,
        laid.sources,
        laid.alignment,
    )
    if not isinstance(sources, SourceTable) or max(science.shape) <= MAX_CUTOUT_SIDE or not _isFaint(sources):
        return None
    isDeep = others is not None and len(others) > 0 and totalSnr(others) >= MAX_TOTAL_SNR
    if isDeep and totalSnr(sources) >= LEAST_TOTAL_SNR:
        return None
    before = atOrigin(registered.maskedImage, science.maskedImage)
    others = _onRegistered(Exposure(before, psf=registered.psf), others, task)
    # The deeper image first, whose list knows the brightest of them all.
    isDeeper = len(others) and totalSnr(others) > totalSnr(sources)
    widths = _fwhmOf(others, before), _fwhmOf(sources, science.maskedImage)
    first, second = (others, sources) if isDeeper else (sources, others)
    both = _together(first, second, SAME_FWHM * max(widths))
    if not len(both):
        return None
    fwhms = widths[0 if len(others) else 1], widths[1 if len(sources) else 0]
    pair = _Pair(before, science.maskedImage, fwhms, task.threads)
    match = pair.match(both)
    checks = [pair.match(own) for own in (sources, others) if len(own)]
    isShown = match.isFound and all(check.isFound for check in checks)
    if not isShown or min(match.snr) >= MAX_TOTAL_SNR:
        told = "is not that of both" if not isShown else f"has a signal-to-noise of {min(match.snr):.0f} together"
        sentence = f"Sources: {len(both)} of both images, whose light {told}."
        choice = Choice.told("sources", "both" if isShown else "apart", sentence)
        choice.log(log)
        if not len(sources) and not match.nSources:
            return None
        kept = sources if len(sources) and not isShown else both
        return FaintMatch(registered, alignment, kept, None, True, (choice,), isShown)
    place = pair.place(match)
    if alignment is not None and _isMoved(place, match, alignment):
        sentence = (
            f"the light of {match.nSources} faint sources together, of signal-to-noise {min(match.snr):.0f}, puts it "
            f"({fixed(place.x, 2, sign=True)}, {fixed(place.y, 2, sign=True)}) px from there, to {place.error:.2f} px"
        )
        alignment = movedBy(alignment, given, science, (place.x, place.y), place.error, sentence)
        registered = applyAlignment(given, science, alignment, warperOf(task.options, task.threads))
        pair = replace(pair, template=atOrigin(registered.maskedImage, science.maskedImage))
        place = pair.place(pair.match(both))
    isTemplate = match.fwhms[0] <= match.fwhms[1]
    match = pair.match(both, place, isTemplate)
    if not match.isFound:
        return None
    choice = Choice.told("kernel", "stack", _sentence(match, isTemplate))
    choice.log(log)
    return FaintMatch(registered, alignment, both, match, isTemplate, (choice,))


def stackFwhms(
    faint: FaintMatch | None, given: tuple[float | None, float | None], task: ImagePsfMatchTask
) -> tuple[float, float] | None:
    """Return the FWHMs (pixels) of template and science image that a stack tells, and record them; None if none does.

    `given` are those that the user has given.
    """
    if faint is None or faint.match is None or given != (None, None):
        return None
    fwhms = faint.match.fwhms if faint.convolveTemplate else faint.match.fwhms[::-1]
    origin = "from its sources laid upon one another"
    recordFwhms({"template": (fwhms[0], origin), "science": (fwhms[1], origin)}, log, task.metadata)
    return fwhms


def byStack(
    template: Exposure,
    science: Exposure,
    faint: FaintMatch,
    convolveTemplate: bool,
    options: KernelOptions,
    threads: int,
) -> Struct:
    """Subtract with the kernel of a stack, or where the wider PSF is to be convolved with the flux ratio alone.

    Parameters and result are those of `psfmatch.frontdoor.simplerModels.byScale`, with the match.
    """
    match = faint.match
    if match is None:
        raise ValueError("no kernel of a stack was found")
    # Kernels of images are applied without a turn.
    isMatched = convolveTemplate == faint.convolveTemplate
    kernel = match.kernel[::-1, ::-1] / match.ratio if isMatched else np.ones((1, 1))
    ratio = match.ratio if faint.convolveTemplate else 1.0 / match.ratio
    return subtractWith(template, science, kernel, ratio, convolveTemplate, options, threads, backgroundOrder=2)


def _onRegistered(registered: Exposure, before: AnyTable | None, task: ImagePsfMatchTask) -> AnyTable:
    """Return the sources of the registered template, found as those of the template before."""
    if before is None or "smoothing" not in before.colnames or not len(before):
        return task.selectSources(registered)
    planes = ignoredPlanes(task.selectDetection, task.options.background.ignoredPixelMask)
    threads = resolveThreads(task.threads)
    return findFaint(registered, task.selectMeasurement, float(before["smoothing"][0]), planes, threads)


def _isFaint(sources: AnyTable) -> bool:
    """Return whether all sources together tell less of a kernel than a fit to pixels needs."""
    isFew = len(sources) < FEW_SOURCES and len(usefulSources(sources)) > 0
    return not isFew and totalSnr(sources) < MAX_TOTAL_SNR


@dataclass(frozen=True, eq=False)
class _Pair:
    """A registered template and a science image, and about the FWHM (pixels) of each."""

    template: MaskedImage
    science: MaskedImage
    fwhms: tuple[float, float]
    threads: int

    def match(self, sources: AnyTable, place: LightShift | None = None, isTemplate: bool = True) -> StackMatch:
        """Return what takes the template, or else the science image, to the other; with a shift that is known."""
        x, y, snr = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y", "snr"))
        x, y = x - self.science.xy0[0], y - self.science.xy0[1]
        step = 1 if isTemplate else -1
        shift = None if place is None else (step * place.x, step * place.y)
        first, second = (self.template, self.science)[::step]
        one, other = self.fwhms[::step]
        return matchSources(first, second, x, y, snr, (one, other), shift, self.threads)

    def place(self, match: StackMatch) -> LightShift:
        """Return the shift that is left, by the stack and by all light, in the mean."""
        sigma = max(1.0, math.sqrt(self.fwhms[0] * self.fwhms[1]) / SIGMA_TO_FWHM)
        light = measureLightShift(self.template, self.science, sigma, self.threads)
        own, other = match.shiftError**-2, light.error**-2 if light.error > 0.0 else 0.0
        x, y = ((own * a + other * b) / (own + other) for a, b in zip(match.shift, light[:2], strict=True))
        return LightShift(x, y, (own + other) ** -0.5)


def _together(sources: AnyTable, others: AnyTable, nearest: float) -> SourceTable:
    """Return the sources of one image, and those of another that are not within some pixels, brightest first."""
    x, y, snr = (
        [np.asarray(table[name], dtype=np.float64) for table in (sources, others)] for name in ("x", "y", "snr")
    )
    distance = np.hypot(x[1][:, None] - x[0], y[1][:, None] - y[0])
    isNew = (distance > nearest).all(axis=1)
    columns = {
        name: np.concatenate([np.asarray(sources[name]), np.asarray(others[name])[isNew]])
        for name in sources.colnames
        if name in others.colnames
    }
    order = np.argsort(-np.concatenate([snr[0], snr[1][isNew]]), kind="stable")
    return SourceTable(columns, sources.units)[order]


def _fwhmOf(sources: AnyTable, image: MaskedImage) -> float:
    """Return about the FWHM, pixels, of the sources of an image: of the smoothing that found them, or as they show."""
    if "smoothing" in sources.colnames and len(sources):
        return SIGMA_TO_FWHM * float(sources["smoothing"][0])
    x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
    x0, y0 = image.xy0
    return stackedFwhm(image, DEFAULT_BAD_PLANES, x - x0, y - y0) or DEFAULT_FWHM_PIX


def _isMoved(place: LightShift, match: StackMatch, alignment: Alignment) -> bool:
    """Return whether the light puts the template elsewhere, where its shift is to be believed."""
    size = math.hypot(place.x, place.y)
    known = max(error[2] for error in alignment.errors) if alignment.isFound else math.inf
    isBetter = place.error < known
    return isBetter and SHIFT_SIGMAS * place.error < size < MAX_SHIFT_FWHM * max(match.fwhms)


def _sentence(match: StackMatch, isTemplate: bool) -> str:
    shape = "a Gaussian" if match.power == 1.0 else f"exp(-(k a)^{2.0 * match.power:.2f}) in Fourier space, the width"
    names = ("template", "science image") if isTemplate else ("science image", "template")
    shift = f"({', '.join(fixed(step, 2, sign=True) for step in match.shift)})"
    return (
        f"Kernel from {match.nSources} faint sources laid upon one another, of signal-to-noise {match.snr[0]:.0f} "
        f"together in the {names[0]} and {match.snr[1]:.0f} in the {names[1]}: {shape} of sigma "
        f"{math.sqrt(match.variance):.2f} px, FWHM {match.fwhms[0]:.2f} px to {match.fwhms[1]:.2f} px, flux ratio "
        f"{match.ratio:.3f} +- {match.ratioError:.3f}, moved by {shift} px; the "
        f"{names[0]} is convolved."
    )

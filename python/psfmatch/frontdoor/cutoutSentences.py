"""What is told of a cut-out's difference: how it was made, and what keeps its grade down, in sentences."""

from __future__ import annotations

from psfmatch.config.choices import Choice
from psfmatch.errors import significant
from psfmatch.fit.stampFit import StampFit
from psfmatch.frontdoor.cutoutDirection import Direction
from psfmatch.images import Box

__all__ = ["capsOf", "choicesOf", "cutKernelOf"]

LEAST_REACH = 2.55
"""Of kernels, in their sigmas; the widest that the core tries reach less far in small stamps."""
ALIKE_NATS, ALIKE_SIGMAS = 3.0, 3.0
"""Two accounts of the middle that are both likely, and differ there."""
POOR_NOISE, BAD_NOISE = 1.2, 5.0
"""Sum of k^2 over the square of the sum of k of kernels that sharpen: grades C and D; 1 leaves an image as it is."""
ACCOUNTS = {
    "none": "as the rest",
    "scaled": "the source there, changed by a factor",
    "point": "a new point",
    "out": "left out of the fit",
}


def choicesOf(direction: Direction, window: Box, isAlert: bool, isKnown: bool) -> tuple[Choice, ...]:
    """Return in sentences what the fit has found, fluxes and their ratio on the scale of the science image."""
    fit, isTurned = direction.fit, direction.isScienceConvolved
    if not fit.templateHasLight:
        sentence = (
            "Kernel: the template shows no source above 5 sigma; the difference is the science image minus its sky and "
            "the smoothed noise of the template."
        )
        return (Choice.told("kernel", "none", sentence),)
    shape = "a Gaussian" if fit.kernelWidth > 0.0 else "the inverse, as far as the noise bears it, of a Gaussian"
    deviation = f" that deviates by {fit.deviation:.0%} of its peak" if fit.deviation else ""
    ratio = 1.0 / fit.ratio if isTurned else fit.ratio
    noises = (fit.templateNoise, fit.scienceNoise) if isTurned else (fit.scienceNoise, fit.templateNoise)
    kernel = (
        f"Kernel of the whole stamp of {window.width}x{window.height} pixels by evidence: {shape} of sigma "
        f"{abs(fit.kernelWidth):g} px{deviation}; flux ratio {ratio:.3f} +- {fit.ratioError * ratio / fit.ratio:.3f}, "
        f"{'told by the light of both images' if fit.isFree else 'as expected'}."
    )
    noise = (
        f"Noise of dark pixels {noises[0]:.4g} in the science image and {noises[1]:.4g} in the "
        f"template{', as given' if isKnown else ''}; {fit.modelError:.1%} of the light is left by any kernel."
    )
    choices = [Choice.told("kernel", "stamp", kernel), Choice.told("noise", f"{noises[0]:.4g}", noise)]
    if direction.sentence:
        choices.append(Choice.told("stampDirection", "science" if isTurned else "template", direction.sentence))
    if fit.rejected:
        places = ", ".join(f"({x + window.x0}, {y + window.y0})" for x, y in fit.rejected)
        number = len(fit.rejected)
        sentence = f"{number} places have changed and are left out of the fit: {places}."
        choices.append(Choice.told("changes", str(number), sentence))
    if isAlert:
        scale = direction.scale
        others = "; ".join(
            f"{ACCOUNTS[a.account]}: flux {significant(scale * a.middleFlux, 4)} +- "
            f"{significant(abs(scale) * a.middleError, 2)}, "
            f"{a.score - fit.attempts[0].score:.1f}"
            for a in fit.attempts
        )
        sentence = f"Middle of the stamp: {ACCOUNTS[fit.account]}. Accounts with their evidence, nats: {others}."
        choices.append(Choice.told("middle", fit.account, sentence))
    return tuple(choices)


def capsOf(direction: Direction, isAlert: bool) -> tuple[tuple[str, str], ...]:
    """Return what keeps the grade down: (grade, why)."""
    fit, scale = direction.fit, direction.scale
    convolved = "science image" if direction.isScienceConvolved else "template"
    if not fit.templateHasLight:
        return (("C", "science minus sky: the template shows no source, kernel and flux ratio are unchecked"),)
    caps = [("B", "the kernel is that of one stamp, without stars held out")]
    if direction.left.cap is not None:
        caps.append(direction.left.cap)
    best = fit.attempts[0]
    # The kernel's and the ratio's error beside the noise of the pixels.
    if isAlert and best.middleError > 2.0 * fit.middleNoise:
        why = (
            "the flux in the middle depends on a ratio that nothing here can check: "
            f"+- {significant(abs(scale) * best.middleError, 3)} of {significant(abs(scale) * fit.middleLight, 4)} "
            f"counts of the {convolved}'s light"
        )
        caps.append(("D", why))
    if fit.noiseRatio > POOR_NOISE or fit.kernelWidth < 0.0:
        why = (
            f"a kernel that sharpens: {fit.negativeShare:.0%} of it is negative, and it multiplies the variance of the "
            f"{convolved}'s noise by {significant(fit.noiseRatio, 3)}"
        )
        isPoor, isBad = fit.noiseRatio > POOR_NOISE, fit.noiseRatio > BAD_NOISE
        caps.append(("D" if isBad else "C" if isPoor else "B", why))
    if fit.modelError >= fit.largestModelError:
        caps.append(("C", f"a model error of {fit.modelError:.0%} of the light"))
    for other in fit.attempts[1:]:
        apart = abs(other.middleFlux - best.middleFlux)
        if isAlert and best.score - other.score < ALIKE_NATS and apart > ALIKE_SIGMAS * fit.middleNoise:
            why = (
                f"two accounts of the middle are alike: {scale * best.middleFlux:.4g} and "
                f"{scale * other.middleFlux:.4g} counts, {best.score - other.score:.1f} nats apart"
            )
            caps.append(("C", why))
            break
    return tuple(caps)


def cutKernelOf(fit: StampFit) -> tuple[str, str]:
    """Return what a small stamp does to its kernel: (grade, why)."""
    side = fit.kernel.shape[0]
    if 0.5 * side < LEAST_REACH * fit.kernelWidth:
        why = f"a Gaussian of sigma {fit.kernelWidth:g} px is cut off by the kernel of {side}x{side} pixels"
        return "D", f"{why}, the largest that the stamp holds"
    return "C", f"the stamp holds no kernel of more than {side}x{side} pixels"

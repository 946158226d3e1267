"""What a notebook shows of a result: the grade, a few numbers, and a small picture of the three images."""

from __future__ import annotations

import numpy as np

from psfmatch.displays.drawing import asinhNorm, binned, noiseOf, percentile
from psfmatch.plots import HIDDEN_PLANES
from psfmatch.reporting.drawing import pngOf, requireMatplotlib
from psfmatch.reporting.markup import escape, tell
from psfmatch.reporting.subject import Reported, matchedPair

__all__ = ["smallTriplet", "summaryHtml"]

SIDE = 190  # px, of a binned image at most
PULLS = 5.0
INCHES = 2.4  # of a panel
MOST_REASONS = 3


def summaryHtml(result: Reported) -> str:
    """Return a small table, and the two images of one PSF with their difference where matplotlib is installed."""
    numbers = result.summary()
    known = numbers["chiRobustStdev"] if result.quality is None else result.quality.noiseRobustStdev
    rows = [
        ("grade", "not graded" if numbers["grade"] is None else numbers["grade"]),
        *(("", reason) for reason in numbers["gradeReasons"][:MOST_REASONS]),
        (
            "convolved",
            f"the {numbers['convolved']}, kernel {numbers['kernelSize']} px, sum {tell(numbers['kernelSum'])}",
        ),
        ("PSF FWHM", f"template {tell(numbers['templateFwhmPix'])} px, science {tell(numbers['scienceFwhmPix'])} px"),
        ("candidates", f"{numbers['nGood']} good of {numbers['nCandidates']}"),
        ("noise", f"the sky scatters by {tell(known)} of its predicted noise (1 is ideal)"),
    ]
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows
    )
    height, width = numbers["shape"]
    try:
        requireMatplotlib()
        picture = smallTriplet(result)
    except ModuleNotFoundError:
        picture = ""
    caption = f"Difference image, {width} × {height} px"
    return f"<div><table><caption>{caption}</caption><tbody>{body}</tbody></table>{picture}</div>"


def smallTriplet(result: Reported) -> str:
    """Return a small picture, as markup, of the two images of one PSF and their difference."""
    from matplotlib.figure import Figure

    images = matchedPair(result)
    planes = [binned(image, HIDDEN_PLANES, SIDE) for image in images.values()]
    aspect = min(max(planes[0].values.shape[0] / planes[0].values.shape[1], 0.3), 2.0)
    figure = Figure(figsize=(3 * INCHES + 0.2, INCHES * aspect + 0.25), dpi=80)
    noise = max(noiseOf(plane.values) for plane in planes[:2])
    brightest = max(percentile(plane.values - plane.sky, 99.9) for plane in planes[:2])
    wide, tall = figure.get_size_inches()
    for number, (name, plane) in enumerate(zip(images, planes, strict=True)):
        place = ((0.02 + number * (INCHES + 0.08)) / wide, 0.0, INCHES / wide, INCHES * aspect / tall)
        axis = figure.add_axes(place)
        if number < 2:
            plane.show(axis, plane.values - plane.sky, norm=asinhNorm(noise, max(brightest, 20 * noise)), cmap="gray_r")
        else:
            noises = np.sqrt(np.where(plane.variance > 0.0, plane.variance, np.nan))
            plane.show(axis, plane.values / noises, vmin=-PULLS, vmax=PULLS, cmap="RdBu_r")
        axis.set_axis_off()
        axis.set_title(name, fontsize=9, pad=2)
    text = "matched images and their difference"
    return f'<img src="{pngOf(figure, 80)}" alt="{text}" style="max-width:100%">'

"""Makes the pictures of the tutorial from a simulated pair, and what is printed, into ``pictures/``.

What is there is kept: remove the folder to have it made again.
"""

from logging import WARNING, getLogger

import numpy as np
from sphinx.util import logging

from psfmatch import subtract
from psfmatch.noise import measureWhiteness
from psfmatch.pictures import savePicture
from psfmatch.testing import simulatePair

log = logging.getLogger(__name__)

SEED, SIZE = 3, 512
CORE = 8  # px, half width of what is drawn of a kernel
TRANSIENTS = (60.0, 25.0, 12.0, -15.0, -40.0)  # signal-to-noise


def makePictures(app):
    """Subtract the pair and draw what the pages show."""
    from matplotlib.figure import Figure

    folder = app.srcdir / "pictures"
    if all((folder / name).exists() for name in ("difference.png", "kernels.png", "noise.png", "explain.txt")):
        return
    log.info("drawing a simulated pair")
    folder.mkdir(exist_ok=True)
    getLogger("psfmatch").setLevel(WARNING)
    pair = simulatePair(seed=SEED, size=SIZE, transients=TRANSIENTS)
    result = subtract(pair.template, pair.science)
    (folder / "explain.txt").write_text(result.explain() + "\n")
    savePicture(result.plotDifference(result.changes), folder / "difference.png")
    # A template of one exposure: the noise that is convolved is most of it.
    shallow = simulatePair(seed=SEED, size=SIZE, templateDepth=1)
    for name, draw, subtracted, size in (
        ("kernels", drawKernels, result, (8.0, 4.2)),
        ("noise", drawNoise, subtract(shallow.template, shallow.science), (8.0, 3.6)),
    ):
        figure = Figure(figsize=size, layout="constrained", dpi=130)
        draw(figure, subtracted)
        figure.savefig(folder / f"{name}.png")


def drawKernels(figure, result):
    """Draw the core of the kernel on a 3 x 3 grid, and its departure from the middle one."""
    edge = max(0, result.kernel.shape[1] // 2 - CORE)
    core = np.s_[edge : result.kernel.shape[1] - edge, edge : result.kernel.shape[1] - edge]
    box = result.difference.getBBox()
    x, y = (np.linspace(first, first + side - 1, 3) for first, side in ((box.x0, box.width), (box.y0, box.height)))
    middle = result.kernel.computeImage(*box.centre)[core]
    kernels = [[result.kernel.computeImage(column, row)[core] for column in x] for row in y]
    left, right = figure.subfigures(1, 2)
    change = max(float(np.abs(kernel - middle).max()) for row in kernels for kernel in row)
    for part, heading, offset, largest, colours in (
        (left, "kernel", 0.0, float(middle.max()), "viridis"),
        (right, "kernel less that of the middle", middle, change, "RdBu_r"),
    ):
        part.suptitle(heading)
        axes = part.subplots(3, 3)
        for row, line in zip(kernels, axes[::-1], strict=True):  # y upwards
            for kernel, axis in zip(row, line, strict=True):
                least = 0.0 if colours == "viridis" else -largest
                image = axis.imshow(kernel - offset, origin="lower", vmin=least, vmax=largest, cmap=colours)
                axis.set_axis_off()
        part.colorbar(image, ax=axes, shrink=0.8)


def drawNoise(figure, result):
    """Draw the histogram of the difference over its noise, and the correlation of neighbouring pixels."""
    first, second = figure.subplots(1, 2)
    pulls = np.linspace(-5.0, 5.0, 101)
    for label, exposure, colour in (
        ("as it is", result.difference, "#888888"),
        ("decorrelated", result.decorrelated, "#1d4ed8"),
    ):
        good = (np.asarray(exposure.mask) == 0) & (exposure.variance > 0)
        values = exposure.image[good] / np.sqrt(exposure.variance[good])
        first.hist(values, pulls, density=True, histtype="step", color=colour, label=label)
        whiteness = measureWhiteness(exposure.maskedImage)
        second.plot((1, 2), whiteness.correlations[2, 3:], "o-", color=colour, label=label)
    first.plot(pulls, np.exp(-0.5 * pulls**2) / np.sqrt(2 * np.pi), "k:", label="N(0, 1)")
    first.set(yscale="log", ylim=(1e-5, 1), xlabel="difference / noise", ylabel="share of pixels per unit")
    second.axhline(0.0, color="k", linestyle=":")
    second.set(
        xticks=(1, 2), xlim=(0.5, 2.5), xlabel="distance of two pixels along x", ylabel="correlation of blank sky"
    )
    for axis in (first, second):
        axis.legend(frameon=False, fontsize=8)


def setup(app):
    """Draw before the pages are read."""
    app.connect("builder-inited", makePictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

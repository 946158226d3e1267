"""Two CCDData in, a difference CCDData and a plot out: the cell of a notebook.

`differenceOf` is the cell. `main` makes two CCDData of a simulated field, as ``CCDData.read`` would give, runs it,
writes the difference where astropy, ds9 and LSST's afw can read it, and prints the sources that have changed.

    python notebookCell.py [--size 300] [-o FOLDER]
"""

import argparse
from pathlib import Path

from astropy.nddata import CCDData

import psfmatch
from psfmatch.pictures import differenceFigure
from psfmatch.testing import simulatePair


def differenceOf(template: CCDData, science: CCDData):
    """Return the result, the difference as a CCDData, and a figure."""
    result = psfmatch.subtract(template, science)
    difference = result.toCCDData()
    figure = differenceFigure(result.template, result.matched, result.science, result.difference)
    return result, difference, figure


def main(arguments: list[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=300, help="side of the images, pixels")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the difference and the plot")
    options = parser.parse_args(arguments)
    pair = simulatePair(seed=4, size=options.size, brightStars=400, faintStars=100)
    template, science = pair.template.toCCDData(), pair.science.toCCDData()

    result, difference, figure = differenceOf(template, science)

    print(f"difference of {difference.shape} pixels in {difference.unit}, grade {result.grade}")
    print(f"convolved: {difference.meta['CONVOL00']}, kernel sum {difference.meta['KSUM00']:.3f}")
    sources = psfmatch.asQTable(result.detect())
    print(f"{len(sources)} sources have changed")
    difference.write(options.output / "difference.fits", hdu_flags="FLAGS", overwrite=True)
    figure.savefig(options.output / "difference.png", dpi=60)


if __name__ == "__main__":
    main()

"""Choose the kernel's stars yourself: a catalogue of sky positions in place of psfmatch's own detection.

    python examples/userCatalogue.py [--size PIX] [--brightest MAG] [--faintest MAG]

The catalogue is a table with ra and dec in degrees, as one gets it from Gaia or a survey; here it is made from a
simulated pair, with some entries that cannot serve: stars that are off the image, at its edge, or next to bad pixels.
The script keeps a range of magnitudes, which leaves out saturated and faint stars, subtracts once with the catalogue
and once without, and prints the fate of every star.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from psfmatch import subtract
from psfmatch.testing import SimulatedPair, simulatePair

ZERO_POINT = 27.0  # mag of one count


def makeCatalogue(pair: SimulatedPair) -> Table:
    """Return name, ra, dec (degrees) and mag of the stars of a simulated pair, and of two beyond its edges."""
    stars = pair.truth.stars
    x = np.append(stars["x"], [-500.0, 5000.0])
    y = np.append(stars["y"], [100.0, 300.0])
    flux = np.append(stars["flux"], [5e4, 5e4])
    ra, dec = pair.science.wcs.all_pix2world(x, y, 0)
    order = np.argsort(-flux)
    return Table(
        {
            "name": [f"star {number}" for number in range(1, len(x) + 1)],
            "ra": ra[order],
            "dec": dec[order],
            "mag": ZERO_POINT - 2.5 * np.log10(flux[order]),
        }
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Subtract a simulated pair with a catalogue, and without, and print what became of the stars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--brightest", type=float, default=13.0, metavar="MAG", help="(default: %(default)s)")
    parser.add_argument("--faintest", type=float, default=17.0, metavar="MAG", help="(default: %(default)s)")
    options = parser.parse_args(arguments)

    pair = simulatePair(seed=2, size=options.size, brightStars=150, skySubtracted=True)
    catalogue = makeCatalogue(pair)
    chosen = catalogue[(catalogue["mag"] >= options.brightest) & (catalogue["mag"] <= options.faintest)]
    print(f"{len(chosen)} of {len(catalogue)} stars have magnitudes {options.brightest} to {options.faintest}")

    result = subtract(pair.template, pair.science, candidateList=chosen)
    summary = result.summary()
    for reason, count in summary["rejectedSources"].items():
        print(f"  {count} not cut out: {reason}")
    print(f"\n{'x':>7} {'y':>7} {'rating':>7} {'kernel sum':>10}  fate")
    for row in result.candidates:
        fate = row["reason"] or {"GOOD": "used", "UNKNOWN": "not needed"}[row["status"]]
        print(f"{row['x']:7.1f} {row['y']:7.1f} {row['rating']:7.1f} {row['kernelSum']:10.4f}  {fate}")

    centre = pair.science.getBBox().centre
    print(f"\ntrue kernel sum          {pair.truth.kernelSum(*centre):.4f}")
    for name, found in (
        ("with the catalogue", result),
        ("with its own detection", subtract(pair.template, pair.science)),
    ):
        numbers = found.summary()
        print(
            f"{name:<24} {numbers['kernelSum']:.4f} from {numbers['nGood']} stars; "
            f"difference / sqrt(variance) scatters by {numbers['chiRobustStdev']:.3f}"
        )


if __name__ == "__main__":
    main()

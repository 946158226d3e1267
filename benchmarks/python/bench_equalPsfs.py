"""Equal and undersampled PSFs: what is left of stars, and what that does to detection and fluxes.

    python benchmarks/python/bench_equalPsfs.py [--seeds 10] [--fwhms 1.3,1.6,2.0,3.0] [--threads 2]
        [--as-it-is]

Pairs of 512x512 pixels whose PSFs are those of one pupil with a central obstruction and three struts, of the same width
(pixel included), turned by 60 degrees from image to image and moved by a dither of 0.4 px, so that no convolution
turns one into the other. Nothing changes but what is put into the science image: point sources of S/N 5 to 20 on blank
sky, and the same 1.5 to 3 px from stars. Printed for each width, per pair: peaks above 5 sigma that are none of these,
by `detect` without and with the error floor; the shares found; median flux over the true one (less than 1: a PSF from
stars ends before the light of a diffraction pattern does); robust width of (flux - true flux times that median) over
its error, of those found on sky and on stars; the floor, kernel sum, grades, and how many pairs were smoothed before
the fit. With `--as-it-is` none is.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter

import numpy as np

from psfmatch import Exposure, MaskedImage, subtract
from psfmatch.frontdoor import subtracting

SIZE, HALF, FINE = 512, 24, 20
"""Pixels of a side, of a star's stamp to either side, and points in a pixel, each axis."""
STARS, BRIGHTEST, FAINTEST, SLOPE = 150, 3e5, 1.5e3, 0.6
SKY, GAIN = 200.0, 1.0
DITHER = (8, 6)
"""0.4 and 0.3 px in points of a pixel."""
INJECTED, MARGIN, APART, MATCH_PIX = 40, 30, 12.0, 1.5
STRUTS = 90.0, 210.0, 330.0
"""Degrees. A turn by 60 degrees brings the same six spikes: what is left is the sampling's."""


def opticalPsf(turn, waves):
    """Return the PSF (n, n) on points of a pixel, light integrated over pixels; `waves` : lambda / D in points."""
    n = 2 * FINE * (HALF + 2)
    axis = (np.arange(n) - n // 2) / n * waves * 2
    x, y = axis[None, :], axis[:, None]
    radius = np.hypot(x, y)
    pupil = (radius <= 1.0) & (radius >= 0.25)
    for angle in np.radians(np.array(STRUTS) + turn):
        along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
        pupil &= ~((along > 0) & (np.abs(across) < 0.06))
    light = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(pupil.astype(float))))) ** 2
    box = np.zeros((n, n))
    box[:FINE, :FINE] = 1.0
    box = np.roll(box, (-(FINE // 2), -(FINE // 2)), (0, 1))
    seen = np.fft.irfft2(np.fft.rfft2(light) * np.fft.rfft2(box), (n, n))
    return seen * FINE**2 / light.sum() / FINE**2


def fwhmOf(psf):
    """Return the FWHM (pixels) of a PSF on points: of the circle that holds the points above half the maximum."""
    return 2.0 * np.sqrt(np.count_nonzero(psf > 0.5 * psf.max()) / np.pi) / FINE


def psfsOf(fwhm):
    """Return the PSFs of template and science image of one width."""
    low, high = 0.3 * fwhm * FINE, 1.6 * fwhm * FINE
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fwhmOf(opticalPsf(0.0, middle)) < fwhm else (low, middle)
    return opticalPsf(0.0, middle), opticalPsf(60.0, middle)


def draw(psf, x, y, flux):
    """Return the light (SIZE, SIZE) of stars at x, y, points of a pixel."""
    image = np.zeros((SIZE + 4 * HALF, SIZE + 4 * HALF))
    middle = psf.shape[0] // 2
    offsets = FINE * np.arange(-HALF, HALF + 1)
    for px, py, f in zip(x, y, flux, strict=True):
        (column, dx), (row, dy) = divmod(px + FINE // 2, FINE), divmod(py + FINE // 2, FINE)
        stamp = psf[np.ix_(middle + offsets - (dy - FINE // 2), middle + offsets - (dx - FINE // 2))]
        top, left = row + 2 * HALF - HALF, column + 2 * HALF - HALF
        image[top : top + 2 * HALF + 1, left : left + 2 * HALF + 1] += f * stamp
    return image[2 * HALF : -2 * HALF, 2 * HALF : -2 * HALF]


def makePair(seed, psfs):
    """Return template, science image, and what was put into the latter: x, y (pixels), flux, and whether on a star."""
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, SIZE * FINE, (2, STARS))
    low, high = FAINTEST**-SLOPE, BRIGHTEST**-SLOPE
    flux = (low + generator.uniform(size=STARS) * (high - low)) ** (-1 / SLOPE)
    template = draw(psfs[0], x, y, flux)
    science = draw(psfs[1], x + DITHER[0], y + DITHER[1], flux)
    area = 1.0 / np.sum(psfs[1][psfs[1].shape[0] // 2 % FINE :: FINE, psfs[1].shape[0] // 2 % FINE :: FINE] ** 2)
    noise = np.sqrt(2.0 * area * SKY / GAIN)
    stars = np.column_stack([x + DITHER[0], y + DITHER[1]]) / FINE
    places, onStar = [], []
    nearby = generator.permutation(STARS)
    for _ in range(5000):
        isNear = len(places) >= INJECTED
        if len(places) == 2 * INJECTED:
            break
        if isNear and not len(nearby):
            break
        if isNear:
            star, nearby = stars[nearby[0]], nearby[1:]
            angle = generator.uniform(0, 2 * np.pi)
            place = star + generator.uniform(1.5, 3.0) * np.array([np.cos(angle), np.sin(angle)])
        else:
            place = generator.uniform(MARGIN, SIZE - MARGIN, 2)
            if np.hypot(*(stars - place).T).min() < APART:
                continue
        if min(place) < MARGIN or max(place) > SIZE - MARGIN:
            continue
        if not len(places) or np.hypot(*(np.array(places) - place).T).min() > APART:
            places.append(np.rint(place * FINE) / FINE)
            onStar.append(isNear)
    places, onStar = np.array(places), np.array(onStar)
    added = noise * np.exp(generator.uniform(np.log(5.0), np.log(20.0), len(places)))
    points = np.rint(places * FINE).astype(int)
    science += draw(psfs[1], points[:, 0], points[:, 1], added)
    images = []
    for light in (template, science):
        variance = (light + SKY) / GAIN
        pixels = light + generator.normal(size=light.shape) * np.sqrt(variance)
        images.append(Exposure(MaskedImage(pixels.astype(np.float32), variance=variance.astype(np.float32))))
    return (*images, places, added, onStar)


def judge(table, places, flux, onStar):
    """Return false peaks, which were found, and their fluxes and errors."""
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    distance = np.hypot(x[:, None] - places[:, 0], y[:, None] - places[:, 1])
    isTrue = (distance < MATCH_PIX).any(axis=1) if len(table) else np.zeros(0, bool)
    found, values, errors = np.zeros(len(places), bool), np.full(len(places), np.nan), np.full(len(places), np.nan)
    for i in range(len(places)):
        if len(table) and distance[:, i].min() < MATCH_PIX:
            row = int(distance[:, i].argmin())
            found[i] = table["psfFlux"][row] > 0
            values[i], errors[i] = table["psfFlux"][row], table["psfFluxErr"][row]
    return int((~isTrue).sum()), found, values, errors, flux, onStar


def width(values):
    """Return the robust width about zero."""
    return 1.4826 * np.median(np.abs(values)) if values.size else np.nan


def main() -> None:
    """Print one line for each width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fwhms", default="1.3,1.6,2.0,3.0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--as-it-is", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if options.as_it_is:
        subtracting.isWorthSmoothing = lambda *_: False
    print("FWHM  false: without  floor | found on sky      on stars | flux on sky  on stars | pull on sky   on stars"
          " | floor   kernel sum - 1    grades, smoothed")  # fmt: skip
    for fwhm in map(float, options.fwhms.split(",")):
        psfs = psfsOf(fwhm)
        rows, floors, sums, grades, nSmoothed = {False: [], True: []}, [], [], Counter(), 0
        for seed in range(options.seeds):
            template, science, places, flux, onStar = makePair(seed, psfs)
            result = subtract(template, science, threads=options.threads)
            floors.append(0.0 if result.errorFloor is None else result.errorFloor.share)
            sums.append(result.kernel.kernelSum(SIZE / 2, SIZE / 2) - 1.0)
            grades[result.grade] += 1
            nSmoothed += result.smoothing > 0.0
            for isWith in rows:
                table = result.detect(threads=options.threads, **({} if isWith else {"floor": None}))
                rows[isWith].append(judge(table, places, flux, onStar))
        told = []
        for isWith in rows:
            false = np.mean([row[0] for row in rows[isWith]])
            found, values, errors, true, near = (np.concatenate([row[i] for row in rows[isWith]]) for i in range(1, 6))
            parts = [~near & found, near & found]
            ratio = np.median(values[parts[0]] / true[parts[0]])
            pulls = (values - ratio * true) / errors
            told.append((
                false, found[~near].mean(), found[near].mean(),
                *(np.median(values[part] / true[part]) for part in parts), *(width(pulls[part]) for part in parts),
            ))  # fmt: skip
        before, after = told
        print(f"{fwhm:4.1f}  {before[0]:14.1f} {after[0]:6.1f} | "
              + " | ".join(f"{before[i]:5.3f} {after[i]:5.3f}  {before[i + 1]:5.3f} {after[i + 1]:5.3f}"
                           for i in (1, 3, 5))
              + f" | {np.mean(floors):6.2%}  {np.mean(sums):+.4f} +/- {np.std(sums):.4f}  "
              + "".join(f"{grade}{n}" for grade, n in sorted(grades.items()))
              + f", {nSmoothed}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

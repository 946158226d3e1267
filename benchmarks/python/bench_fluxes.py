"""Are fluxes right where the PSF comes from the stars: of the PSF alone, and of transients from end to end.

    python benchmarks/python/bench_fluxes.py [--seeds 3] [--depths 1,4,16] [--scenes GAUSS] [--threads 2]

Fields of 512x512 pixels whose stars are drawn here, with nine points in every pixel: Gaussian, Moffat and
double-Gaussian PSFs, constant, or with a FWHM that varies by 10 % and an ellipticity that turns; few stars or crowds,
with galaxies; fluxes over two and a half decades. And members of other kinds: wide wings, elongated stars that turn
over the field, a template broader than the science image, another shape, arrays without planes, other units. Printed
for each scene: what a fit with the measured PSF finds of a true star without noise, the mean and the worst of 49
places, % from the truth, and the processor time; and of transients on the difference to a template of another width
and depth the mean flux, % from the truth with its error, and the width of the pulls.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass

import numpy as np

from psfmatch import Exposure, MaskedImage, PsfMatchError, psfFromStars, subtract
from psfmatch.kernels import PsfField

SKY = 200.0
"""Counts; the gain is 1."""
TRANSIENTS, SEPARATION_PIX, STAR_PIX, MARGIN_PIX = 60, 22.0, 12.0, 30
SNR = 50.0
MATCH_PIX = 2.0
POINTS = np.polynomial.legendre.leggauss(3)[0] / 2
WEIGHTS = np.polynomial.legendre.leggauss(3)[1] / 2


@dataclass(frozen=True)
class Scene:
    """kind, shape : of the profile (beta, or share of light in wings of `wings` times the width).

    faintest : counts. turns : ellipticity in the corners, whose angle goes once around the field.
    templateWidth : FWHM of the template's stars over that of the science image's. scale : counts of the science image
    for each of the template. hasPlanes : whether variances are given.
    """

    name: str
    kind: str
    shape: float
    fwhm: float
    varies: float
    nStars: int
    nGalaxies: int = 0
    faintest: float = 400.0
    wings: float = 2.0
    turns: float = 0.0
    templateWidth: float = 0.75
    size: tuple[int, int] = (512, 512)
    hasPlanes: bool = True
    scale: float = 1.0

    def profile(self, r2, fwhm):
        """Return the light per pixel at squared distances (pixels)."""
        if self.kind == "Moffat":
            a2 = fwhm**2 / 4 / (2 ** (1 / self.shape) - 1)
            return (self.shape - 1) / np.pi / a2 * (1 + r2 / a2) ** -self.shape
        parts = ((1.0, 1.0),) if self.kind == "Gauss" else ((1 - self.shape, 1.0), (self.shape, self.wings))
        sigma2 = [(share, (fwhm * width / 2.3548) ** 2) for share, width in parts]
        return sum(share / 2 / np.pi / s2 * np.exp(-0.5 * r2 / s2) for share, s2 in sigma2)

    def star(self, x, y, dx, dy, half, scale=1.0):
        """Return a star of flux 1 at (x, y) of the field on pixels of which the middle one is (dx, dy) off it."""
        u, v = 2 * x / self.size[1] - 1, 2 * y / self.size[0] - 1
        fwhm = scale * self.fwhm * (1 + self.varies * (0.6 * u - 0.3 * v + 0.5 * (u * u + v * v) - 0.4))
        e1, e2 = 0.05 * (1 + 5 * self.varies * u) + self.turns * u, 0.05 * 5 * self.varies * v + self.turns * v
        offset = np.arange(-half, half + 1)
        image = np.zeros((offset.size, offset.size))
        for a, wa in zip(POINTS, WEIGHTS, strict=True):
            for b, wb in zip(POINTS, WEIGHTS, strict=True):
                px, py = (offset + a - dx)[None, :], (offset + b - dy)[:, None]
                r2 = (px**2 * (1 - e1) + py**2 * (1 + e1) - 2 * e2 * px * py) / np.sqrt(1 - e1**2 - e2**2)
                image += wa * wb * self.profile(r2, fwhm)
        return image

    def draw(self, sources, scale):
        """Return the light (h, w) of sources x, y, flux, extra width (pixels)."""
        image = np.zeros((self.size[0] + 200, self.size[1] + 200))
        half = int(min(60, np.ceil(12 * self.fwhm * scale)))
        for x, y, flux, wide in sources:
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            wider = scale * np.hypot(1.0, wide / (self.fwhm * scale))
            stamp = self.star(x, y, x - column, y - row, half, wider)
            image[row + 100 - half : row + 101 + half, column + 100 - half : column + 101 + half] += flux * stamp
        return image[100:-100, 100:-100]


SCENES = (
    Scene("Gauss 4 px, 120 stars", "Gauss", 0, 4.0, 0.0, 120),
    Scene("Gauss 5.5 px, 350", "Gauss", 0, 5.5, 0.0, 350),
    Scene("Gauss 3 px, varies, 80", "Gauss", 0, 3.0, 0.1, 80, 0, 2000.0),
    Scene("Moffat 4, 4.5 px, 50", "Moffat", 4.0, 4.5, 0.0, 50, 0, 2000.0),
    Scene("Moffat 3, 5.5 px, 350", "Moffat", 3.0, 5.5, 0.0, 350),
    Scene("Moffat 3, 3.5 px, 350 and 60 galaxies", "Moffat", 3.0, 3.5, 0.0, 350, 60),
    Scene("Moffat 2.5, 3 px, 200", "Moffat", 2.5, 3.0, 0.0, 200),
    Scene("Moffat 3, 5.5 px, varies, 350", "Moffat", 3.0, 5.5, 0.1, 350),
    Scene("Moffat 3, 4 px, varies, 150 and 40 galaxies", "Moffat", 3.0, 4.0, 0.1, 150, 40),
    Scene("Moffat 2.5, 3.5 px, varies, 300 and 30 galaxies", "Moffat", 2.5, 3.5, 0.1, 300, 30),
    Scene("double Gaussian 4 px, 200", "double", 0.286, 4.0, 0.0, 200),
    Scene("double Gaussian 4 px, varies, 200", "double", 0.286, 4.0, 0.1, 200),
    Scene("Moffat 3, 4 px, varies, 50 from 2000", "Moffat", 3.0, 4.0, 0.1, 50, 0, 2000.0),
    Scene("Moffat 2.5, 3.5 px, 350", "Moffat", 2.5, 3.5, 0.0, 350),
    Scene("wings of 30 % 3 times as wide, 3.5 px, varies, 250", "double", 0.3, 3.5, 0.1, 250, wings=3.0),
    Scene("Moffat 3.5, 4.5 px, elongated by 0.2, turns, 200", "Moffat", 3.5, 4.5, 0.0, 200, turns=0.2),
    Scene("Gauss 3.5 px, template broader, 200", "Gauss", 0, 3.5, 0.0, 200, templateWidth=1.35),
    Scene("Moffat 3, 3.5 px, template broader, varies, 200", "Moffat", 3.0, 3.5, 0.1, 200, templateWidth=1.35),
    Scene("Moffat 3, 4 px, 500x612, 250", "Moffat", 3.0, 4.0, 0.0, 250, size=(612, 500)),
    Scene("Moffat 3, 4 px, arrays alone, 200", "Moffat", 3.0, 4.0, 0.0, 200, hasPlanes=False),
    Scene("Moffat 3, 4 px, template of 1/100 of the counts, 200", "Moffat", 3.0, 4.0, 0.0, 200, scale=100.0),
    Scene("Moffat 3, 4 px, template of 10000 times the counts, 200", "Moffat", 3.0, 4.0, 0.0, 200, scale=1e-4),
)


def drawSources(scene, generator):
    """Return stars and galaxies (n, 4): x, y, flux, extra width; N(>F) of the stars goes with F^-0.6."""
    low, high = scene.faintest**-0.6, 2e5**-0.6
    flux = (low + generator.uniform(size=scene.nStars) * (high - low)) ** (-1 / 0.6)
    height, width = scene.size
    places = generator.uniform(-10, (width + 10, height + 10), (scene.nStars, 2))
    stars = np.column_stack([places, flux, 0 * flux])
    n = scene.nGalaxies
    galaxies = [generator.uniform(0, (width, height), (n, 2)), 10 ** generator.uniform(3, 4.7, (n, 1))]
    return np.concatenate([stars, np.column_stack([*galaxies, generator.uniform(3, 9, n)])])


def drawPlaces(scene, sources, generator):
    """Return places (n, 2) of transients, apart from each other and from bright sources."""
    far = np.array(scene.size[::-1]) - MARGIN_PIX
    taken = sources[sources[:, 2] > 2000.0, :2]
    places = []
    for _ in range(20_000):
        place = generator.uniform(MARGIN_PIX, far)
        if len(places) == TRANSIENTS:
            break
        if len(taken) and np.hypot(*(taken - place).T).min() < STAR_PIX:
            continue
        if places and np.hypot(*(np.array(places) - place).T).min() < SEPARATION_PIX:
            continue
        places.append(place)
    return np.array(places)


def exposed(light, depth, generator, scale=1.0):
    """Return an exposure of some light as the mean of `depth` exposures, in units of `scale` counts."""
    variance = (light + SKY) / depth
    image = (light + SKY + generator.normal(size=light.shape) * np.sqrt(variance)) / scale
    return Exposure(MaskedImage(image.astype(np.float32), variance=(variance / scale**2).astype(np.float32)))


def psfErrors(scene, psf, box):
    """Return the errors (49,), %, of noise-free fluxes on a lattice."""
    field = PsfField(psf, box)
    rows, columns = (np.linspace(20, side - 21, 7).round() for side in scene.size)
    errors = []
    for y in rows:
        for x in columns:
            image = field.images([x], [y])[0]
            true = scene.star(x, y, 0.0, 0.0, image.shape[0] // 2)
            errors.append(100 * ((image * true).sum() / (image**2).sum() - 1))
    return np.array(errors)


def transientErrors(scene, sources, light, depth, seed, threads):
    """Return relative errors and pulls (n,) of the fluxes of transients found on a difference."""
    generator = np.random.default_rng(seed)
    places = drawPlaces(scene, sources, generator)
    area = 4 * np.pi * (scene.fwhm / 2.3548) ** 2
    flux = SNR * np.sqrt(area * SKY * (1 + 1 / depth))
    new = scene.draw(np.column_stack([places, np.full(len(places), flux), np.zeros(len(places))]), 1.0)
    science = exposed(light[1] + new, 1, generator)
    template = exposed(light[0], depth, generator, scene.scale)
    if scene.hasPlanes:
        difference = subtract(template, science, threads=threads)
    else:
        difference = subtract(template.maskedImage.image, science.maskedImage.image, threads=threads)
    table = difference.detect(threads=threads)
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    errors, pulls = [], []
    for place in places:
        distance = np.hypot(x - place[0], y - place[1]) if len(x) else np.array([np.inf])
        i = int(distance.argmin())
        if distance[i] < MATCH_PIX:
            errors.append(table["psfFlux"][i] / flux - 1)
            pulls.append((table["psfFlux"][i] - flux) / table["psfFluxErr"][i])
    return np.array(errors), np.array(pulls), len(places)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--depths", default="1,4,16", help="of the template, in science images; none: the PSF alone")
    parser.add_argument("--scenes", default="", help="only those whose names hold this")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    depths = [float(depth) for depth in options.depths.split(",") if depth]
    print(
        "| scene | stars | PSF: mean / worst % | CPU s |" + "".join(f" template {d:g}: mean %, pulls |" for d in depths)
    )
    print("|---|---|---|---|" + "---|" * len(depths))
    for scene in (scene for scene in SCENES if options.scenes.lower() in scene.name.lower()):
        means, worst, counts, times = [], [], [], []
        found = {depth: ([], []) for depth in depths}
        for seed in range(1, options.seeds + 1):
            generator = np.random.default_rng(seed)
            sources = drawSources(scene, generator)
            light = scene.draw(sources, scene.templateWidth), scene.draw(sources, 1.0)
            exposure = exposed(light[1], 1, generator)
            start = time.process_time()
            psf = psfFromStars(exposure, threads=options.threads)
            times.append(time.process_time() - start)
            errors = psfErrors(scene, psf, exposure.getBBox())
            means.append(errors.mean())
            worst.append(errors[np.abs(errors).argmax()])
            counts.append(psf.nStars)
            for depth in depths:
                try:
                    fluxErrors, pulls, _ = transientErrors(scene, sources, light, depth, seed, options.threads)
                except PsfMatchError as error:
                    print(f"{scene.name}, {depth:g}: {type(error).__name__}")
                    continue
                found[depth][0].extend(fluxErrors)
                found[depth][1].extend(pulls)
        cells = [
            scene.name,
            f"{min(counts)} to {max(counts)}",
            f"{np.mean(means):+.1f} / {worst[int(np.abs(worst).argmax())]:+.1f}",
            f"{np.median(times):.2f}",
        ]
        for errors, pulls in found.values():
            n = max(1, len(errors))
            cells.append(f"{100 * np.mean(errors):+.1f} +/- {100 * np.std(errors) / n**0.5:.1f}, {np.std(pulls):.2f}")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

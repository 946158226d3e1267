"""A command line of HOTPANTS from its words to the files that it asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psfmatch import io
from psfmatch.difference import StoredKernel
from psfmatch.errors import (
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
    PsfMatchError,
)
from psfmatch.hotpants import fitting
from psfmatch.hotpants.differencing import Planes, RegionFigures, subtractRegions
from psfmatch.hotpants.fitting import Fitted
from psfmatch.hotpants.header import headerCards
from psfmatch.hotpants.kernels import hotpantsTable
from psfmatch.hotpants.options import OPTIONS
from psfmatch.hotpants.parsing import Settings
from psfmatch.hotpants.positions import ds9Regions
from psfmatch.hotpants.preparing import InputImage, readInputs
from psfmatch.hotpants.regions import regionBoxes
from psfmatch.hotpants.storedKernel import recipeOf
from psfmatch.hotpants.tables import HotpantsTable
from psfmatch.hotpants.writing import writeHotpantsImage, writeHotpantsTables, writeText
from psfmatch.images import Box

__all__ = ["HotpantsResult", "run", "withoutMeaning"]

log = logging.getLogger("psfmatch.hotpants")

TOO_FEW = (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError)
OUTPUTS = ("outim", "oni", "ond", "oci", "omi", "oki", "savexy")
INPUTS = ("inim", "tmplim", "tni", "ini", "tmi", "imi", "ki", "ssf", "cmp", "rf")
OF_THE_FIT = (
    *("r", "ng", "ko", "bgo", "pca", "nsx", "nsy", "nss", "rss", "ft", "sft", "nft", "ssf", "cmp", "afssc", "ks"),
    *("tuk", "iuk", "mins", "fom", "savexy"),
)


@dataclass(frozen=True, eq=False)
class HotpantsResult:
    """What a command line came to: the planes, the figures of each region, and the files that were written."""

    planes: Planes
    regions: list[RegionFigures]
    files: tuple[str, ...]


def run(settings: Settings) -> HotpantsResult:
    """Subtract as a command line says, and write what it asks for.

    Parameters
    ----------
    settings
        What `psfmatch.hotpants.parse` returned.

    Raises
    ------
    ValueError
        If options contradict each other or the images.
    FileExistsError
        With ``-nc``, if a file is there already.
    ExposureReadError, FileNotFoundError, InputImagesError, NoKernelCandidatesError, InsufficientKernelSourcesError,
    KernelSolutionError
        As for `psfmatch.subtract`; of several regions one at least must have a kernel.
    """
    for name, reason in withoutMeaning(settings).items():
        log.warning("-%s has no meaning here: %s", name, reason)
    _checkFiles(settings)
    template, science = readInputs(settings)
    for name, image in (("template", template), ("science image", science)):
        log.info("Saturation of the %s: %s", name, image.saturation, extra={"isDecision": True})
    boxes = regionBoxes(settings, science.exposure)
    fits = _fitAll(template, science, boxes, settings)
    planes, figures = subtractRegions(template, science, list(zip(boxes, fits, strict=True)), settings)
    return HotpantsResult(planes, figures, _write(settings, science, planes, figures))


def withoutMeaning(settings: Settings) -> dict[str, str]:
    """Return the options given that change nothing, each with the reason."""
    reasons = {name: OPTIONS[name].reason for name in settings.given if OPTIONS[name].reason}
    if "ki" in settings:
        reasons |= {name: "with -ki no kernel is fitted" for name in OF_THE_FIT if name in settings}
    if "afssc" in settings and not settings.anyOf("ssf", "cmp"):
        reasons["afssc"] = "without -ssf or -cmp stars are found in any case"
    if "fom" in settings and "c" in settings:
        reasons["fom"] = "with -c only that direction is tried"
    for flag, names in (("sht", ("obs", "obz")), ("nsht", ("nbs", "nbz"))):
        if flag not in settings:
            reasons |= {name: f"without -{flag} pixels are floats" for name in names if name in settings}
    for letter in "ti":
        if f"{letter}ni" in settings:
            for name in (f"{letter}g", f"{letter}r", f"{letter}p"):
                if name in settings:
                    reasons[name] = f"-{letter}ni gives the noise"
    return reasons


def _checkFiles(settings: Settings) -> None:
    inputs = {io.parseFileName(settings[name])[0].resolve(): name for name in INPUTS if name in settings}
    seen: dict[Path, str] = {}
    for name in OUTPUTS:
        if name not in settings:
            continue
        io.requireOutput(settings[name])
        path = Path(settings[name]).resolve()
        other = inputs.get(path) or seen.get(path)
        if other is not None:
            raise ValueError(f"-{name} and -{other} are the same file, {settings[name]}; choose another name")
        seen[path] = name
        if "nc" in settings and path.exists():
            raise FileExistsError(f"-{name} {settings[name]} exists already, and -nc says not to replace it")


def _fitAll(template: InputImage, science: InputImage, boxes: Sequence[Box], settings: Settings) -> list[Fitted | None]:
    """Return kernel and background of each region; None where there are too few stars."""
    first, second = template.toFit(), science.toFit()
    origin = np.subtract(first.maskedImage.xy0, second.maskedImage.xy0)
    fits: list[Fitted | None] = []
    like: Fitted | None = None
    failure: PsfMatchError | None = None
    for number, box in enumerate(boxes):
        if "ki" in settings:
            fits.append(fitting.readKernel(settings, second, number))
            continue
        there = Box(box.x0 + int(origin[0]), box.y0 + int(origin[1]), box.width, box.height)
        try:
            fitted = fitting.fit(first.subset(there), second.subset(box), settings, like)
        except TOO_FEW as error:
            if len(boxes) == 1:
                raise
            log.warning("Region %d: %s; its pixels are filled", number, str(error).rstrip("."))
            fits.append(None)
            failure = error
            continue
        fits.append(fitted)
        like = like or (fitted if fitted.config is not None else None)
    if failure is not None and not any(fits):
        raise failure
    return fits


def _write(
    settings: Settings, science: InputImage, planes: Planes, figures: Sequence[RegionFigures]
) -> tuple[str, ...]:
    exposure = science.exposure
    overwrite = "nc" not in settings
    cards = headerCards(settings, figures, exposure.getBBox())
    image = (settings["obs"], settings["obz"]) if "sht" in settings else None
    noise = (settings["nbs"], settings["nbz"]) if "nsht" in settings else None
    isAll = "allm" in settings
    layers: dict[str, tuple[Any, Any]] = {}
    for flag, name, plane, scaling in (
        ("cim", "CONVOLVED", planes.convolved, image),
        ("ndm", "DIFFNOISE", planes.pull, None),
        ("nim", "NOISE", planes.noise, noise),
    ):
        if isAll or flag in settings:
            layers[name] = plane, scaling
    if isAll:
        layers["MASK"] = planes.mask, None
    common: dict[str, Any] = {"wcs": exposure.wcs, "xy0": exposure.xy0, "overwrite": overwrite}
    common["metadata"] = exposure.metadata
    kernel = _kernelTables(settings, exposure.getBBox(), figures) if settings.anyOf("hki", "oki") else None
    written = [settings["outim"]]
    files: tuple[tuple[str, Any, tuple[float, float] | None], ...] = (
        ("oni", planes.noise, noise),
        ("ond", planes.pull, None),
        ("oci", planes.convolved, image),
        ("omi", planes.mask, None),
    )
    for option, plane, scaling in files:
        if option in settings:
            # Pulls and masks are plain numbers.
            unit = {"BUNIT": "1"} if option in ("ond", "omi") else {}
            own = common | {"metadata": exposure.metadata | unit}
            writeHotpantsImage(settings[option], plane, cards, scaling=scaling, **own)
            written.append(settings[option])
    if "oki" in settings and kernel is not None:
        if isinstance(kernel, io.KernelTables):
            io.writeKernelTables(settings["oki"], kernel, overwrite=overwrite)
        else:
            writeHotpantsTables(settings["oki"], kernel, overwrite=overwrite)
        written.append(settings["oki"])
    if "savexy" in settings:
        writeText(settings["savexy"], ds9Regions(_stamps(figures, exposure.xy0), settings["rss"]), overwrite)
        written.append(settings["savexy"])
    # The difference comes last: who finds it finds the others, too.
    writeHotpantsImage(
        settings["outim"],
        planes.difference,
        cards,
        scaling=image,
        layers=layers,
        kernel=kernel if "hki" in settings else None,
        **common,
    )
    return tuple(written)


def _stamps(figures: Sequence[RegionFigures], xy0: tuple[int, int]) -> list[tuple[float, float, bool]]:
    return [
        (x - xy0[0], y - xy0[1], status == "GOOD")
        for region in figures
        if region.fitted is not None
        for x, y, status in region.fitted.candidates.iterrows("x", "y", "status")
    ]


def _kernelTables(
    settings: Settings, whole: Box, figures: Sequence[RegionFigures]
) -> Sequence[HotpantsTable] | io.KernelTables:
    """Return the kernels as HOTPANTS would store them; ours where its basis cannot hold them."""
    fits = [(region.box, region.fitted) for region in figures if region.fitted is not None]
    tables = [
        hotpantsTable(fitted.kernel, fitted.background, *fitted.gaussians, box, fitted.convolved)
        if fitted.gaussians is not None and whole.x0 == 0 == whole.y0
        else None
        for box, fitted in fits
    ]
    known = [table for table in tables if table is not None]
    if len(known) == len(figures) and len({(t.degrees, t.sigmas, t.side, t.kernelOrder) for t in known}) == 1:
        return known
    box, fitted = fits[0]
    which = f" of the first of {len(figures)} regions" if len(figures) > 1 else ""
    log.warning("The kernel%s is written in our own tables: HOTPANTS' basis cannot hold it", which)
    recipe = recipeOf(fitted.kernel, fitted.convolved, box)
    return StoredKernel(fitted.kernel, fitted.background, recipe).toTables()

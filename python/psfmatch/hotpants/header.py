"""Header keywords of HOTPANTS, with our own name in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from psfmatch.hotpants.differencing import RegionFigures
from psfmatch.hotpants.parsing import Settings
from psfmatch.hotpants.regions import section
from psfmatch.images import Box

__all__ = ["headerCards"]

Card = tuple[str, Any, str]


def headerCards(settings: Settings, figures: Sequence[RegionFigures], whole: Box) -> list[Card]:
    """Return keyword, value and comment of each card; a figure that is not known has no card."""
    first = next((region.fitted for region in figures if region.fitted is not None), None)
    scale = {"t": "TEMPLATE", "i": "IMAGE", "u": "IMAGE"}[settings["n"]]
    if settings["n"] == "u" and first is not None and first.convolved == "science":
        scale = "TEMPLATE"
    cards: list[Card] = [
        ("SOFTNAME", "psfmatch", "keywords are those of HOTPANTS"),
        ("SOFTVERS", version("psfmatch"), ""),
        ("COMMAND", settings.command, ""),
        ("DIFFCMD", settings.command, ""),
        ("NREGION", len(figures), "regions, each fitted by itself"),
        ("TARGET", settings["inim"], ""),
        ("TEMPLATE", settings["tmplim"], ""),
        ("DIFFIM", settings["outim"], ""),
        ("PHOTNORM", scale, "image whose flux scale this has"),
        ("KERINFO", "hki" in settings, "whether the kernel is in an extension"),
        ("MASKVAL", settings["fi"], "value of bad pixels"),
    ]
    for number, region in enumerate(figures):
        cards.append((f"REGION{number:02d}", section(region.box, whole), "pixels from 1"))
        if region.fitted is None:
            cards.append((f"CONVOL{number:02d}", "NONE", "no kernel could be fitted"))
            continue
        convolved = "TEMPLATE" if region.fitted.convolved == "template" else "IMAGE"
        rows: list[Card] = [
            ("CONVOL", convolved, "image that was convolved"),
            ("KSUM", region.kernelSum, "kernel sum at the centre"),
            ("SSSIG", region.stampSigma, "mean rms of residual/noise in the stamps"),
            ("SSSCAT", region.stampScatter, "scatter of that over the stamps"),
            ("FSIG", region.sigma, "mean of difference/noise, clipped"),
            ("FSCAT", region.scatter, "scatter of difference/noise, clipped"),
            ("X2NRM", region.chiSquare, "mean square of difference/noise"),
            ("NSCALO", region.noiseScale, "the noise was multiplied by this"),
        ]
        cards += [
            (f"{name}{number:02d}", value, comment)
            for name, value, comment in rows
            if not (isinstance(value, float) and math.isnan(value))
        ]
    return cards

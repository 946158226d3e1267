"""What a difference was made from, as header cards: inputs with their checksums, HOTPANTS' names for the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from psfmatch.images import Exposure
from psfmatch.threads import mapStrips

__all__ = ["describeInputs", "provenanceCards"]

MASKED_VALUE = 1e-30
"""What readers of HOTPANTS' files take for a masked pixel: no pixel of ours has it, the mask is an image of its own."""


def describeInputs(template: Exposure, science: Exposure) -> dict[str, str]:
    """Return the names of two images, where they come from files, and the checksums of their pixels.

    The checksum is FITS's DATASUM of the pixels as float32 (BITPIX -32): the sum of 32-bit words modulo 2^32 - 1, as in
    the card that ``fits.writeto(..., checksum=True)`` makes.
    """
    exposures = {"template": template, "science": science}
    described = {name: exposure.source for name, exposure in exposures.items() if exposure.source}
    return described | {f"{name}Checksum": _checksum(exposure) for name, exposure in exposures.items()}


def provenanceCards(
    provenance: Mapping[str, str], convolved: str, kernelSum: float, grade: str | None
) -> dict[str, Any]:
    """Return the cards of a difference.

    Parameters
    ----------
    provenance
        What `describeInputs` returned; may be empty.
    convolved
        "template" or "science".
    kernelSum
        Sum of the kernel at the centre of the image.
    grade
        A to F, None if there is none.
    """
    cards: dict[str, Any] = {"SOFTNAME": "psfmatch", "SOFTVERS": version("psfmatch")}
    names = {"science": "TARGET", "template": "TEMPLATE", "scienceChecksum": "SCIDSUM", "templateChecksum": "TMPDSUM"}
    cards |= {card: provenance[name] for name, card in names.items() if name in provenance}
    cards |= {
        "CONVOL00": "TEMPLATE" if convolved == "template" else "IMAGE",
        "KSUM00": kernelSum,
        "PHOTNORM": "IMAGE",
        "MASKVAL": MASKED_VALUE,
    }
    return cards if grade is None else {**cards, "GRADE": grade}


def _checksum(exposure: Exposure) -> str:
    # Native floats seen as native integers are the words that the big-endian file holds.
    words = mapStrips(lambda strip: int(exposure.image[strip].view(np.uint32).sum(dtype=np.uint64)), exposure.shape)
    total = sum(words)
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return str(total)

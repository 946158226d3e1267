"""Configuration of psfmatch, in classes of ``lsst.pex.config``.

`matching`, `kernel`, `detection` and `warping` hold the fields; `overrides` sets one from a string; `listing` goes
through all; `serialization` turns a configuration into plain data for JSON and back. Files that a user writes are
Python and go through ``load`` and ``save`` of the classes; what psfmatch writes is JSON and is never executed.
"""

from .detection import (
    DetectionConfig,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
)
from .kernel import PsfMatchConfig, PsfMatchConfigAL, PsfMatchConfigDF
from .listing import FieldEntry, listFields
from .overrides import applyOverride
from .regions import RegionConfig
from .serialization import configFromDict, configToDict
from .warping import WarperConfig

__all__ = [
    "DetectionConfig",
    "FieldEntry",
    "PsfMatchConfig",
    "PsfMatchConfigAL",
    "PsfMatchConfigDF",
    "RegionConfig",
    "SourceDetectionConfig",
    "SourceMeasurementConfig",
    "SubtractBackgroundConfig",
    "WarperConfig",
    "applyOverride",
    "configFromDict",
    "configToDict",
    "listFields",
]

"""Configuration of psfmatch, in classes of ``lsst.pex.config``.

`matching`, `kernel`, `detection` and `warping` hold the fields; `options` holds what the code below the tasks is told,
dataclasses that are read from a configuration once; `overrides` sets one from a string; `listing` goes
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
from .options import BackgroundOptions, KernelOptions, RegionOptions, StampOptions, WarpOptions
from .overrides import applyOverride
from .regions import RegionConfig
from .serialization import configFromDict, configToDict, updateFromDict
from .warping import WarperConfig

__all__ = [
    "BackgroundOptions",
    "DetectionConfig",
    "FieldEntry",
    "KernelOptions",
    "PsfMatchConfig",
    "PsfMatchConfigAL",
    "PsfMatchConfigDF",
    "RegionConfig",
    "RegionOptions",
    "SourceDetectionConfig",
    "SourceMeasurementConfig",
    "StampOptions",
    "SubtractBackgroundConfig",
    "WarpOptions",
    "WarperConfig",
    "applyOverride",
    "configFromDict",
    "configToDict",
    "listFields",
    "updateFromDict",
]

"""Configuration of psfmatch, in classes of ``lsst.pex.config``.

`matching`, `kernel`, `detection` and `warping` hold the fields; `options` holds what the code below the tasks is told,
dataclasses that are read from a configuration once; `overrides` sets one from a string; `listing` goes
through all; `serialization` turns a configuration into plain data and back; `forms` reads and writes these in files,
JSON, TOML or YAML, which are never executed, or Python, as ``load`` and ``save`` of the classes do.
"""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames
from psfmatch.config.options import (
    BackgroundOptions,
    DetectionOptions,
    KernelOptions,
    MeasurementOptions,
    Options,
    RegionOptions,
    StampOptions,
    StarMatchOptions,
    WarpOptions,
    usualOptions,
)

if TYPE_CHECKING:
    from psfmatch.config.detection import (
        DetectionConfig,
        SourceDetectionConfig,
        SourceMeasurementConfig,
        SubtractBackgroundConfig,
    )
    from psfmatch.config.forms import FORMS, configText, formOf, updateFromFile
    from psfmatch.config.kernel import (
        KERNEL_CONFIGS,
        PsfMatchConfig,
        PsfMatchConfigAL,
        PsfMatchConfigDF,
        addKernelConfig,
    )
    from psfmatch.config.listing import FieldEntry, listFields
    from psfmatch.config.overrides import applyOverride
    from psfmatch.config.regions import RegionConfig
    from psfmatch.config.serialization import configFromDict, configToDict, updateFromDict
    from psfmatch.config.warping import WarperConfig

__all__ = [
    "FORMS",
    "KERNEL_CONFIGS",
    "BackgroundOptions",
    "DetectionConfig",
    "DetectionOptions",
    "FieldEntry",
    "KernelOptions",
    "MeasurementOptions",
    "Options",
    "PsfMatchConfig",
    "PsfMatchConfigAL",
    "PsfMatchConfigDF",
    "RegionConfig",
    "RegionOptions",
    "SourceDetectionConfig",
    "SourceMeasurementConfig",
    "StampOptions",
    "StarMatchOptions",
    "SubtractBackgroundConfig",
    "WarpOptions",
    "WarperConfig",
    "addKernelConfig",
    "applyOverride",
    "configFromDict",
    "configText",
    "configToDict",
    "formOf",
    "listFields",
    "updateFromDict",
    "updateFromFile",
    "usualOptions",
]

# All that needs the configuration library, which takes longer to import than the options to be made.
__getattr__ = laterNames(
    __name__,
    {
        name: f"{__name__}.{module}"
        for module, names in {
            "detection": (
                "DetectionConfig",
                "SourceDetectionConfig",
                "SourceMeasurementConfig",
                "SubtractBackgroundConfig",
            ),
            "forms": ("FORMS", "configText", "formOf", "updateFromFile"),
            "kernel": (
                "KERNEL_CONFIGS",
                "PsfMatchConfig",
                "PsfMatchConfigAL",
                "PsfMatchConfigDF",
                "addKernelConfig",
            ),
            "listing": ("FieldEntry", "listFields"),
            "overrides": ("applyOverride",),
            "regions": ("RegionConfig",),
            "serialization": ("configFromDict", "configToDict", "updateFromDict"),
            "warping": ("WarperConfig",),
        }.items()
        for name in names
    },
)

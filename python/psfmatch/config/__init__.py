"""Configuration of psfmatch, in classes of ``lsst.pex.config``.

`matching`, `kernel`, `detection` and `warping` hold the fields; `options` holds what the code below the tasks is told,
dataclasses that are read from a configuration once; `overrides` sets one from a string; `listing` goes
through all; `serialization` turns a configuration into plain data and back; `forms` reads and writes these in files,
JSON, TOML or YAML, which are never executed, or Python, as ``load`` and ``save`` of the classes do.
"""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames
from psfmatch.config.options import BackgroundOptions as BackgroundOptions
from psfmatch.config.options import DetectionOptions as DetectionOptions
from psfmatch.config.options import ImagePsfMatchOptions as ImagePsfMatchOptions
from psfmatch.config.options import KernelOptions as KernelOptions
from psfmatch.config.options import MeasurementOptions as MeasurementOptions
from psfmatch.config.options import Options as Options
from psfmatch.config.options import RegionOptions as RegionOptions
from psfmatch.config.options import StampOptions as StampOptions
from psfmatch.config.options import WarpOptions as WarpOptions
from psfmatch.config.options import usualOptions as usualOptions

if TYPE_CHECKING:
    from psfmatch.config.detection import DetectionConfig as DetectionConfig
    from psfmatch.config.detection import SourceDetectionConfig as SourceDetectionConfig
    from psfmatch.config.detection import SourceMeasurementConfig as SourceMeasurementConfig
    from psfmatch.config.detection import SubtractBackgroundConfig as SubtractBackgroundConfig
    from psfmatch.config.forms import FORMS as FORMS
    from psfmatch.config.forms import configText as configText
    from psfmatch.config.forms import formOf as formOf
    from psfmatch.config.forms import updateFromFile as updateFromFile
    from psfmatch.config.kernel import KERNEL_CONFIGS as KERNEL_CONFIGS
    from psfmatch.config.kernel import PsfMatchConfig as PsfMatchConfig
    from psfmatch.config.kernel import PsfMatchConfigAL as PsfMatchConfigAL
    from psfmatch.config.kernel import PsfMatchConfigDF as PsfMatchConfigDF
    from psfmatch.config.kernel import addKernelConfig as addKernelConfig
    from psfmatch.config.listing import FieldEntry as FieldEntry
    from psfmatch.config.listing import listFields as listFields
    from psfmatch.config.overrides import applyOverride as applyOverride
    from psfmatch.config.regions import RegionConfig as RegionConfig
    from psfmatch.config.serialization import configFromDict as configFromDict
    from psfmatch.config.serialization import configToDict as configToDict
    from psfmatch.config.serialization import updateFromDict as updateFromDict
    from psfmatch.config.task import Struct as Struct
    from psfmatch.config.task import Task as Task
    from psfmatch.config.warping import WarperConfig as WarperConfig
else:
    __getattr__ = laterNames(__name__)

"""The documented tasks: they match the PSF of an image to that of another, or to a model, and subtract."""

from psfmatch.tasks.imagePsfMatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.tasks.modelPsfMatch import ModelPsfMatchConfig, ModelPsfMatchTask
from psfmatch.tasks.psfMatch import KernelFit, PsfMatchTask, PsfMatchTaskConfig
from psfmatch.tasks.snapPsfMatch import SnapPsfMatchConfig, SnapPsfMatchTask
from psfmatch.tasks.starMatch import StarMatchConfig, StarMatchTask

__all__ = [
    "ImagePsfMatchConfig",
    "ImagePsfMatchTask",
    "KernelFit",
    "ModelPsfMatchConfig",
    "ModelPsfMatchTask",
    "PsfMatchTask",
    "PsfMatchTaskConfig",
    "SnapPsfMatchConfig",
    "SnapPsfMatchTask",
    "StarMatchConfig",
    "StarMatchTask",
]

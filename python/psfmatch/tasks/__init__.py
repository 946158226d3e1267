"""The documented tasks: they match the PSF of an image to that of another, or to a model, and subtract."""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames

if TYPE_CHECKING:
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

# Imported when they are first asked for.
__getattr__ = laterNames(
    __name__,
    {
        name: f"{__name__}.{module}"
        for module, names in {
            "imagePsfMatch": (
                "ImagePsfMatchConfig",
                "ImagePsfMatchTask",
            ),
            "modelPsfMatch": (
                "ModelPsfMatchConfig",
                "ModelPsfMatchTask",
            ),
            "psfMatch": (
                "KernelFit",
                "PsfMatchTask",
                "PsfMatchTaskConfig",
            ),
            "snapPsfMatch": (
                "SnapPsfMatchConfig",
                "SnapPsfMatchTask",
            ),
            "starMatch": (
                "StarMatchConfig",
                "StarMatchTask",
            ),
        }.items()
        for name in names
    },
)

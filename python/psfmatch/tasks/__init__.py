"""The documented tasks: they match the PSF of an image to that of another, or to a model, and subtract."""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames

if TYPE_CHECKING:
    from psfmatch.tasks.configs import ImagePsfMatchConfig as ImagePsfMatchConfig
    from psfmatch.tasks.configs import ModelPsfMatchConfig as ModelPsfMatchConfig
    from psfmatch.tasks.configs import PsfMatchTaskConfig as PsfMatchTaskConfig
    from psfmatch.tasks.configs import SnapPsfMatchConfig as SnapPsfMatchConfig
    from psfmatch.tasks.configs import SnapPsfMatchConfigAL as SnapPsfMatchConfigAL
    from psfmatch.tasks.configs import SnapPsfMatchConfigDF as SnapPsfMatchConfigDF
    from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask as ImagePsfMatchTask
    from psfmatch.tasks.modelPsfMatch import ModelPsfMatchTask as ModelPsfMatchTask
    from psfmatch.tasks.psfMatch import KernelFit as KernelFit
    from psfmatch.tasks.psfMatch import PsfMatchTask as PsfMatchTask
    from psfmatch.tasks.snapPsfMatch import SnapPsfMatchTask as SnapPsfMatchTask
else:
    __getattr__ = laterNames(__name__)

"""The task for two exposures of one visit, taken one after the other.

Between snaps nothing has moved by more than a pixel and the PSF has hardly changed: the kernel is small, close to one
pixel, the same all over the field, and there is no background between them.
"""

from __future__ import annotations

from typing import Any

from psfmatch.config.later import laterClass
from psfmatch.config.task import Struct
from psfmatch.images import Exposure
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask

__all__ = ["SnapPsfMatchTask"]


class SnapPsfMatchTask(ImagePsfMatchTask):
    """PSF-matches and subtracts two snaps of a visit.

    Parameters
    ----------
    *args, **kwargs
        As for `PsfMatchTask`: config, name, parentTask, log, threads.

    Examples
    --------
    >>> task = SnapPsfMatchTask()
    >>> result = task.subtractExposures(firstSnap, secondSnap)  # doctest: +SKIP
    """

    ConfigClass = laterClass("psfmatch.tasks.configs:SnapPsfMatchConfig")
    _DefaultName = "snapPsfMatch"

    def subtractExposures(
        self,
        templateExposure: Exposure,
        scienceExposure: Exposure,
        templateFwhmPix: float | None = None,
        scienceFwhmPix: float | None = None,
        candidateList: Any = None,
        doWarping: bool | None = None,
        convolveTemplate: bool = True,
    ) -> Struct:
        """Match and subtract two snaps, as `ImagePsfMatchTask.subtractExposures`.

        ``doWarping`` is by default what the configuration says: snaps lie on one another as they are.
        """
        return super().subtractExposures(
            templateExposure,
            scienceExposure,
            templateFwhmPix,
            scienceFwhmPix,
            candidateList,
            self.config.doWarping if doWarping is None else doWarping,
            convolveTemplate,
        )

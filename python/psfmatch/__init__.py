"""PSF-matched difference imaging: one image's PSF is matched to another's by a kernel that varies over the field.

``psfmatch.subtract(template, science)`` is the front door, `ImagePsfMatchTask` the documented task. This page holds
what most programs begin with, imported when it is first used, so that importing the package costs little; all else is
a name of its folder, as in ``from psfmatch.fit import KernelCandidate``.

The way of the data through the folders, each of which imports only from those before it:

1. `config` is what can be set; `io` reads files, `images` hold pixels, mask, variance, WCS and PSF; `kernels` are
   functions of position.
2. `noise` puts the variance planes right; `sources` finds and measures what shines, what is saturated and what is no
   light at all, and the PSF of the stars.
3. `registration` makes two images ready and lays the template upon the science image.
4. `fit` chooses stars or regions, and finds kernel and background.
5. `difference` subtracts, makes the noise white and keeps how it was made; `transients` finds what has changed, and
   `quality` grades.
6. `tasks` are the documented tasks; `frontdoor` goes the whole way by itself, and `pictures` show it.
7. `batch` goes it with many pairs, `hotpants` by the words of HOTPANTS, `testing` with simulated skies, `cli` at the
   command line.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The one list of the front page: type checkers read it, and `laterNames` does.
    from psfmatch.batch import PairOptions as PairOptions
    from psfmatch.batch import readManifest as readManifest
    from psfmatch.batch import runBatch as runBatch
    from psfmatch.config import PsfMatchConfigAL as PsfMatchConfigAL
    from psfmatch.config import PsfMatchConfigDF as PsfMatchConfigDF
    from psfmatch.difference import StoredKernel as StoredKernel
    from psfmatch.difference import applyKernel as applyKernel
    from psfmatch.errors import ExposureReadError as ExposureReadError
    from psfmatch.errors import InputImagesError as InputImagesError
    from psfmatch.errors import InsufficientKernelSourcesError as InsufficientKernelSourcesError
    from psfmatch.errors import KernelSolutionError as KernelSolutionError
    from psfmatch.errors import NoKernelCandidatesError as NoKernelCandidatesError
    from psfmatch.errors import NumericalError as NumericalError
    from psfmatch.errors import PsfMatchError as PsfMatchError
    from psfmatch.frontdoor import SubtractionResult as SubtractionResult
    from psfmatch.frontdoor import computeScore as computeScore
    from psfmatch.frontdoor import frontDoorConfig as frontDoorConfig
    from psfmatch.frontdoor import injectSources as injectSources
    from psfmatch.frontdoor import measureEfficiency as measureEfficiency
    from psfmatch.frontdoor import subtract as subtract
    from psfmatch.images import Box as Box
    from psfmatch.images import DoubleGaussianPsf as DoubleGaussianPsf
    from psfmatch.images import Exposure as Exposure
    from psfmatch.images import GaussianPsf as GaussianPsf
    from psfmatch.images import GridPsf as GridPsf
    from psfmatch.images import ImageLike as ImageLike
    from psfmatch.images import ImagePsf as ImagePsf
    from psfmatch.images import Mask as Mask
    from psfmatch.images import MaskedImage as MaskedImage
    from psfmatch.images import ModelPsf as ModelPsf
    from psfmatch.images import Psf as Psf
    from psfmatch.images import getFwhmPix as getFwhmPix
    from psfmatch.io.qtables import asQTable as asQTable
    from psfmatch.kernels import LinearCombinationKernel as LinearCombinationKernel
    from psfmatch.quality import checkGates as checkGates
    from psfmatch.sources import psfFromStars as psfFromStars
    from psfmatch.tasks import ImagePsfMatchConfig as ImagePsfMatchConfig
    from psfmatch.tasks import ImagePsfMatchTask as ImagePsfMatchTask
    from psfmatch.tasks import ModelPsfMatchConfig as ModelPsfMatchConfig
    from psfmatch.tasks import ModelPsfMatchTask as ModelPsfMatchTask
    from psfmatch.tasks import SnapPsfMatchConfig as SnapPsfMatchConfig
    from psfmatch.tasks import SnapPsfMatchTask as SnapPsfMatchTask
    from psfmatch.transients import detectOnDifference as detectOnDifference
    from psfmatch.transients import forcedPhotometry as forcedPhotometry

    __version__: str
else:

    def __getattr__(name):
        if name == "__version__":  # read when it is asked for
            from importlib.metadata import version

            return globals().setdefault(name, version("psfmatch"))
        from psfmatch.config.later import laterNames

        return laterNames(__name__)(name)

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})

import enum
import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
StampTuple = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]

__version__: str

class ClippedStatistics:
    @property
    def mean(self) -> float: ...
    @property
    def median(self) -> float: ...
    @property
    def stdev(self) -> float: ...
    @property
    def count(self) -> int: ...

def clippedStatistics(values: npt.ArrayLike, *, nSigma: float = 3.0, nIterations: int = 3) -> ClippedStatistics: ...

class ResidualStatistics:
    @property
    def mean(self) -> float: ...
    @property
    def rms(self) -> float: ...
    @property
    def count(self) -> int: ...

def residualStatistics(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    *,
    coreRadius: int = -1,
) -> ResidualStatistics: ...
def adaptiveMoments(
    stamps: FloatArray,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sigma: float = 1.5,
    maxIterations: int = 50,
    maxShift: float = ...,
    nThreads: int = 1,
) -> FloatArray: ...

class ConditionNumberType(enum.Enum):
    eigenvalue = ...
    svd = ...

class SolverMethod(enum.Enum):
    none = ...
    ldlt = ...
    llt = ...
    eigenvector = ...

def conditionNumber(matrix: npt.ArrayLike, kind: ConditionNumberType) -> float: ...

class SpatialModel(enum.Enum):
    chebyshev1 = ...
    polynomial = ...

class Frame:
    def __init__(
        self, xCentre: float = 0.0, yCentre: float = 0.0, xScale: float = 1.0, yScale: float = 1.0
    ) -> None: ...
    @property
    def xCentre(self) -> float: ...
    @property
    def yCentre(self) -> float: ...
    @property
    def xScale(self) -> float: ...
    @property
    def yScale(self) -> float: ...

def frameOf(x0: int, y0: int, width: int, height: int) -> Frame: ...

class SpatialFunction:
    @overload
    def __init__(self, model: SpatialModel, order: int, frame: Frame) -> None: ...
    @overload
    def __init__(self, name: str, numbers: Sequence[float]) -> None: ...
    @staticmethod
    def bSplines(degree: int, xKnots: Sequence[float], yKnots: Sequence[float], frame: Frame) -> SpatialFunction: ...
    def joined(self, other: SpatialFunction) -> SpatialFunction: ...
    def ofOrder(self, order: int) -> SpatialFunction: ...
    @property
    def name(self) -> str: ...
    @property
    def numbers(self) -> tuple[float, ...]: ...
    @property
    def told(self) -> str: ...
    @property
    def order(self) -> int: ...
    @property
    def frame(self) -> Frame: ...
    @property
    def size(self) -> int: ...
    def evaluate(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray: ...

def changeFrame(coefficients: npt.ArrayLike, function: SpatialFunction, frame: Frame) -> FloatArray: ...
def makeAlardLuptonBasis(
    halfWidth: int, sigmas: Sequence[float], degrees: Sequence[int], hermite: bool = False
) -> FloatArray: ...
def alardLuptonImages(degrees: Sequence[int], within: Sequence[int]) -> tuple[int, ...]: ...
def renormalizeBasis(basis: npt.ArrayLike) -> FloatArray: ...
def makeDeltaFunctionBasis(width: int, height: int) -> FloatArray: ...

class RegularizationKind(enum.Enum):
    centralDifference = ...
    forwardDifference = ...

def makeRegularizationMatrix(
    width: int,
    height: int,
    *,
    kind: RegularizationKind,
    stencil: int = 9,
    orders: Sequence[int] = ...,
    borderPenalty: float = 3.0,
) -> FloatArray: ...

class LambdaType(enum.Enum):
    absolute = ...
    relative = ...
    minimizeBiasedRisk = ...
    minimizeUnbiasedRisk = ...

class Regularization:
    def __init__(
        self,
        matrix: npt.ArrayLike,
        *,
        lambdaType: LambdaType = ...,
        lambdaValue: float = 0.2,
        lambdaScaling: float = 1e-4,
        lambdas: Sequence[float] = ...,
        maxConditionNumber: float = 5e6,
    ) -> None: ...
    @property
    def matrix(self) -> FloatArray: ...
    @property
    def lambdaType(self) -> LambdaType: ...
    @property
    def lambdaValue(self) -> float: ...
    @property
    def lambdaScaling(self) -> float: ...
    @property
    def lambdas(self) -> list[float]: ...
    @property
    def maxConditionNumber(self) -> float: ...

class PreparedBasis:
    def __init__(self, basis: npt.ArrayLike) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def isSeparable(self) -> bool: ...
    @property
    def isDeltaFunction(self) -> bool: ...

def lostWeights(
    template: StampTuple, science: StampTuple, boxes: npt.NDArray[np.int64], *, nThreads: int = 1
) -> list[float]: ...
def coreSignalToNoise(image: StampTuple, boxes: npt.NDArray[np.int64], *, coreRadius: int) -> list[float]: ...

class StampPair:
    def __init__(self, template: StampTuple, science: StampTuple) -> None: ...

class CandidateFitControl:
    def __init__(
        self,
        *,
        fitBackground: bool,
        constantVariance: bool,
        iterate: bool,
        zeroWeightBadPixels: bool,
        coreRadius: int,
        checkConditionNumber: bool,
        maxConditionNumber: float,
        conditionNumberType: ConditionNumberType,
        keepEquations: bool = True,
        covariance: bool = False,
    ) -> None: ...

class CandidateOutcome(enum.Enum):
    solved = ...
    noLight = ...
    illConditioned = ...
    failed = ...

class CandidateFit:
    @property
    def outcome(self) -> CandidateOutcome: ...
    @property
    def message(self) -> str: ...
    @property
    def matrix(self) -> FloatArray: ...
    @property
    def rightHandSide(self) -> FloatArray: ...
    @property
    def coefficients(self) -> FloatArray: ...
    @property
    def background(self) -> float: ...
    @property
    def kernelSum(self) -> float: ...
    @property
    def kernelSumError(self) -> float: ...
    @property
    def conditionNumber(self) -> float: ...
    @property
    def method(self) -> SolverMethod: ...
    @property
    def regularizationStrength(self) -> float: ...
    @property
    def covariance(self) -> FloatArray: ...
    @property
    def noiseMatrix(self) -> FloatArray: ...
    @property
    def lostFraction(self) -> float: ...
    @property
    def whole(self) -> ResidualStatistics: ...
    @property
    def core(self) -> ResidualStatistics: ...
    @property
    def isSolved(self) -> bool: ...
    @property
    def scalars(self) -> tuple[float, float, float, float, str, float, float]:
        """Background, kernelSum, kernelSumError, conditionNumber, method, lostFraction, regularizationStrength."""
    def statistics(self, core: bool) -> tuple[float, float, int]:
        """Mean, rms and count of the core or the whole."""

def fitCandidates(
    stamps: Sequence[StampPair],
    basis: PreparedBasis,
    control: CandidateFitControl,
    *,
    regularization: Regularization | None = None,
    nThreads: int = 1,
) -> list[CandidateFit]: ...
def lightRatios(
    stamps: Sequence[StampPair],
    kernelHeight: int,
    kernelWidth: int,
    control: CandidateFitControl,
    *,
    nThreads: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Return the ratios, science over template, and their errors: (stamps) each."""

class CandidateAssessment:
    @property
    def valid(self) -> bool: ...
    @property
    def message(self) -> str: ...
    @property
    def whole(self) -> ResidualStatistics: ...
    @property
    def core(self) -> ResidualStatistics: ...
    def statistics(self, core: bool) -> tuple[float, float, int]:
        """Mean, rms and count of the core or the whole."""

def assessCandidates(
    stamps: Sequence[StampPair],
    basis: npt.ArrayLike,
    coefficients: npt.ArrayLike,
    backgrounds: Sequence[float],
    control: CandidateFitControl,
    *,
    nThreads: int = 1,
) -> list[CandidateAssessment]: ...

class SpatialKernelSolution:
    @property
    def kernelFunction(self) -> SpatialFunction: ...
    @property
    def scalePlaces(self) -> list[int]: ...
    @property
    def kernelPlaces(self) -> list[int]: ...
    @property
    def kernelParameters(self) -> FloatArray: ...
    @property
    def backgroundParameters(self) -> FloatArray: ...
    @property
    def conditionNumber(self) -> float: ...
    @property
    def method(self) -> SolverMethod: ...
    @property
    def nUnknowns(self) -> int: ...
    @property
    def covariance(self) -> FloatArray: ...

def solveSpatialKernel(
    matrices: Sequence[FloatArray],
    rightHandSides: Sequence[FloatArray],
    x: Sequence[float],
    y: Sequence[float],
    nBasis: int,
    kernelFunction: SpatialFunction,
    backgroundFunction: SpatialFunction | None,
    *,
    constantFirstTerm: bool,
    conditionNumberType: ConditionNumberType,
    noiseMatrices: Sequence[FloatArray] | None = None,
    scaleFunction: SpatialFunction | None = None,
    nThreads: int = 1,
) -> SpatialKernelSolution: ...
def solveSpatialKernelFromStamps(
    stamps: Sequence[StampPair],
    basis: PreparedBasis,
    control: CandidateFitControl,
    x: Sequence[float],
    y: Sequence[float],
    kernelFunction: SpatialFunction,
    backgroundFunction: SpatialFunction | None,
    *,
    constantFirstTerm: bool,
    conditionNumberType: ConditionNumberType,
    regularization: Regularization | None = None,
    strengths: Sequence[float] | None = None,
    scaleFunction: SpatialFunction | None = None,
    nThreads: int = 1,
) -> SpatialKernelSolution: ...
def principalComponents(images: npt.ArrayLike) -> tuple[FloatArray, FloatArray]: ...

class InstructionSet(enum.Enum):
    automatic = ...
    baseline = ...
    avx2 = ...

def isSupported(instructionSet: InstructionSet) -> bool: ...
def providePages(plane: npt.NDArray[Any], *, nThreads: int = 1) -> None: ...
def convolve(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    basis: npt.ArrayLike,
    parameters: npt.ArrayLike,
    spatial: SpatialFunction,
    x0: int,
    y0: int,
    *,
    copyEdge: bool,
    normalize: bool,
    maskedKernelFraction: float,
    safeKernelFraction: float,
    badBits: int,
    edgeBit: int,
    noDataBit: int,
    interpolatedBit: int,
    instructionSet: InstructionSet,
    nThreads: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...
def subtract(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    otherImage: npt.NDArray[np.float32],
    otherVariance: npt.NDArray[np.float32],
    otherMask: npt.NDArray[np.int32],
    background: npt.ArrayLike,
    spatial: SpatialFunction,
    x0: int,
    y0: int,
    *,
    divisor: float,
    ownBits: int,
    otherBits: int,
    noDataBit: int,
    nThreads: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...

maxAreaWidth: float

class WarpingKernel(enum.Enum):
    bilinear = ...
    lanczos3 = ...
    lanczos4 = ...
    lanczos5 = ...

def warp(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    x: FloatArray,
    y: FloatArray,
    *,
    spacing: int,
    height: int,
    width: int,
    kernel: WarpingKernel,
    maskKernel: WarpingKernel,
    growBits: int,
    cacheSize: int,
    keepCentroids: bool,
    areaWidth: float,
    badBits: int,
    maskedKernelFraction: float,
    safeKernelFraction: float,
    noDataBit: int,
    instructionSet: InstructionSet,
    nThreads: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...

class FilledPixels:
    def __len__(self) -> int: ...

FoundSources = tuple[npt.NDArray[np.void], npt.NDArray[np.void], int]

def fillBadPixels(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    *,
    nThreads: int = 1,
) -> FilledPixels: ...
def findSources(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    filled: FilledPixels,
    *,
    profile: Sequence[float],
    threshold: float,
    perPixel: bool = False,
    minStdev: float = 0.0,
    findPositive: bool = True,
    findNegative: bool = False,
    minPixels: int = 1,
    nThreads: int = 1,
) -> tuple[FoundSources, FoundSources]: ...
def smoothedSamples(
    image: npt.NDArray[np.float32],
    filled: FilledPixels,
    *,
    profile: Sequence[float],
    rowStep: int,
    columnStep: int,
    nThreads: int = 1,
) -> npt.NDArray[np.float32]: ...

class SuperPixelStatistic(enum.Enum):
    MEANCLIP = ...
    MEAN = ...
    MEDIAN = ...

def superPixelStatistics(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32] | None = None,
    mask: npt.NDArray[np.int32] | None = None,
    badBits: int = 0,
    *,
    edgesX: Sequence[int],
    edgesY: Sequence[int],
    stepX: int = 1,
    stepY: int = 1,
    statistic: SuperPixelStatistic = ...,
    nThreads: int = 1,
) -> tuple[FloatArray, FloatArray]: ...
def subtractSurface(
    image: npt.NDArray[np.float32],
    rows: npt.NDArray[np.float32],
    columns: npt.NDArray[np.float32],
    *,
    nThreads: int = 1,
) -> npt.NDArray[np.float32]: ...

class SkyCurve(enum.Enum):
    CONSTANT = ...
    LINEAR = ...
    NATURAL_SPLINE = ...
    AKIMA_SPLINE = ...

def skySurface(
    values: FloatArray,
    variances: FloatArray,
    edgesX: Sequence[int],
    edgesY: Sequence[int],
    *,
    order: int = -1,
    isWeighted: bool = False,
    alongX: SkyCurve = ...,
    alongY: SkyCurve = ...,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
def skyAt(
    values: FloatArray,
    variances: FloatArray,
    edgesX: Sequence[int],
    edgesY: Sequence[int],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    order: int = -1,
    isWeighted: bool = False,
    alongX: SkyCurve = ...,
    alongY: SkyCurve = ...,
) -> FloatArray: ...
def skyLevel(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32], *, step: int) -> float: ...

# --- fit: equations and the spatial system
class StampEquations:
    def __init__(
        self,
        matrices: npt.ArrayLike,
        rightHandSides: npt.ArrayLike,
        squares: npt.ArrayLike,
        noise: npt.ArrayLike,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def matrices(self) -> FloatArray: ...
    @property
    def rightHandSides(self) -> FloatArray: ...
    @property
    def squares(self) -> FloatArray: ...
    @property
    def noise(self) -> FloatArray: ...

class SpatialModelOptions:
    def __init__(
        self,
        images: Sequence[int],
        kernel: SpatialFunction,
        background: SpatialFunction,
        shapeScale: float,
        variationScale: float,
        widthScale: float = 0.0,
        scale: SpatialFunction = ...,
    ) -> None: ...
    @property
    def kernel(self) -> SpatialFunction: ...
    @property
    def background(self) -> SpatialFunction: ...
    @property
    def scale(self) -> SpatialFunction: ...
    @property
    def whole(self) -> SpatialFunction: ...
    @property
    def images(self) -> tuple[int, ...]: ...
    @property
    def kernelOrder(self) -> int: ...
    @property
    def backgroundOrder(self) -> int: ...
    @property
    def shapeScale(self) -> float: ...
    @property
    def variationScale(self) -> float: ...
    @property
    def widthScale(self) -> float: ...
    @property
    def nParameters(self) -> int: ...
    def replaced(self, **changes: Any) -> SpatialModelOptions: ...
    def __hash__(self) -> int: ...

class SpatialSolution:
    @property
    def kernel(self) -> FloatArray: ...
    @property
    def background(self) -> FloatArray: ...
    @property
    def conditionNumber(self) -> float: ...
    @property
    def kernelSumError(self) -> float: ...
    @property
    def kernelFunction(self) -> SpatialFunction: ...
    @property
    def backgroundFunction(self) -> SpatialFunction: ...
    @property
    def kernelCovariance(self) -> FloatArray | None: ...
    @property
    def backgroundCovariance(self) -> FloatArray | None: ...
    def part(self, images: Sequence[int]) -> SpatialSolution: ...

class SpatialSystem:
    def __init__(
        self,
        equations: StampEquations,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        folds: npt.NDArray[np.int64],
        function: SpatialFunction,
        basisList: npt.ArrayLike,
        kernelNorm: float,
        *,
        noiseImages: npt.ArrayLike | None = None,
        nThreads: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def nFolds(self) -> int: ...
    def solve(
        self,
        options: SpatialModelOptions,
        *,
        withCovariance: bool = False,
        without: npt.NDArray[np.bool_] | None = None,
    ) -> SpatialSolution: ...
    def heldOut(self, options: SpatialModelOptions) -> tuple[FloatArray, FloatArray, FloatArray]: ...
    def at(self, solution: SpatialSolution) -> tuple[FloatArray, FloatArray]: ...
    def chiSquares(self, coefficients: npt.ArrayLike, backgrounds: npt.ArrayLike) -> FloatArray: ...
    def lightGain(self, solution: SpatialSolution) -> float: ...

def pairedGain(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[float, float]: ...

# --- fit: stamps of regions
class RegionFlags:
    def __init__(self, flags: npt.NDArray[np.bool_]) -> None: ...
    def __len__(self) -> int: ...
    def asarray(self) -> npt.NDArray[np.bool_]: ...
    @property
    def fraction(self) -> float: ...

class RegionStamps:
    def __init__(
        self,
        template: StampTuple,
        science: StampTuple,
        x: npt.NDArray[np.int64],
        y: npt.NDArray[np.int64],
        halfWidth: int,
        kernelHeight: int,
        kernelWidth: int,
        *,
        saturatedBits: int = 0,
        growTemplateBad: int = 2,
        nThreads: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def usableFraction(self) -> FloatArray: ...
    @property
    def usable(self) -> npt.NDArray[np.bool_]: ...
    @property
    def science(self) -> npt.NDArray[np.float32]: ...
    @property
    def scienceVariance(self) -> npt.NDArray[np.float32]: ...
    @property
    def templateVariance(self) -> npt.NDArray[np.float32]: ...

class RegionSummary:
    @property
    def signal(self) -> FloatArray: ...
    @property
    def mean(self) -> FloatArray: ...
    @property
    def rms(self) -> FloatArray: ...
    @property
    def chiSquare(self) -> FloatArray: ...
    @property
    def nPixels(self) -> npt.NDArray[np.int64]: ...
    @property
    def keptFraction(self) -> FloatArray: ...

class RegionResiduals:
    def __len__(self) -> int: ...
    @property
    def pull(self) -> npt.NDArray[np.float32]: ...
    @property
    def signal(self) -> npt.NDArray[np.float32]: ...
    @property
    def variance(self) -> npt.NDArray[np.float32]: ...
    @property
    def usable(self) -> npt.NDArray[np.bool_]: ...
    def brightScatter(
        self, fit: RegionFit, kernelNorm: float, brightSignal: float = 5.0, largestPull: float = 5.0
    ) -> tuple[float, float, int]: ...
    def summary(self, rejected: RegionFlags | None) -> RegionSummary: ...

class RegionFit:
    def __init__(
        self,
        stamps: RegionStamps,
        basis: PreparedBasis,
        *,
        noiseImages: npt.ArrayLike | None = None,
        nThreads: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def equations(self) -> StampEquations: ...
    @property
    def weightCounts(self) -> npt.NDArray[np.int64]: ...
    @property
    def rejected(self) -> RegionFlags: ...
    @property
    def rejectedFraction(self) -> float: ...
    def judge(
        self, coefficients: npt.ArrayLike, backgrounds: npt.ArrayLike, *, nThreads: int = 1
    ) -> RegionResiduals: ...
    def reweigh(self, residuals: RegionResiduals, rejected: RegionFlags | None, *, nThreads: int = 1) -> bool: ...

class RegionSolver:
    def __init__(
        self,
        stamps: RegionStamps,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        basisList: npt.ArrayLike,
        spatialModel: SpatialModel,
        frame: Frame,
        kernelNorm: float,
        *,
        threshold: float = 5.0,
        growth: int = 6,
        noiseCorrelation: npt.ArrayLike | None = None,
        nThreads: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def x(self) -> FloatArray: ...
    @property
    def y(self) -> FloatArray: ...
    @property
    def basisList(self) -> FloatArray: ...
    @property
    def nPasses(self) -> int: ...
    @property
    def fit(self) -> RegionFit: ...
    @property
    def usableFraction(self) -> FloatArray: ...
    def usualModel(self, images: Sequence[int]) -> SpatialModelOptions: ...
    def prepare(self, function: SpatialFunction) -> None: ...
    def polynomials(self, order: int) -> SpatialFunction: ...
    def chiSquares(self, options: SpatialModelOptions) -> FloatArray: ...
    def hasJudged(self, options: SpatialModelOptions) -> bool: ...
    def chiSquaresBy(self, other: RegionSolver, options: SpatialModelOptions) -> FloatArray: ...
    def reject(self, options: SpatialModelOptions, isRejecting: bool = True) -> bool: ...
    def brightPixels(self, options: SpatialModelOptions) -> tuple[float, float, int]: ...
    def summary(self, options: SpatialModelOptions) -> RegionSummary: ...
    def solve(self, options: SpatialModelOptions, *, withCovariance: bool = False) -> SpatialSolution: ...
    def lightGain(self, solution: SpatialSolution) -> float: ...

def findOutliers(residuals: RegionResiduals, *, threshold: float, growth: int, nThreads: int = 1) -> RegionFlags: ...
def tilePlaces(
    image: StampTuple, halfWidth: int, margin: int, maxTiles: int, *, nThreads: int = 1
) -> npt.NDArray[np.int64]: ...
def regionFolds(x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.int64]: ...

# --- image: sky, noise, quality
def quantiles(
    values: npt.NDArray[Any], fractions: Sequence[float], good: npt.NDArray[np.bool_] | None = None
) -> list[float]: ...
def medianAndSigma(values: npt.NDArray[Any], good: npt.NDArray[np.bool_] | None = None) -> tuple[float, float]: ...
def rowMedians(values: npt.NDArray[Any], good: npt.NDArray[np.bool_] | None = None) -> FloatArray: ...

class BlankSky:
    __hash__ = None  # type: ignore[assignment]
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def values(self) -> npt.NDArray[np.float32]: ...
    @property
    def pulls(self) -> npt.NDArray[np.float32]: ...
    @property
    def variances(self) -> npt.NDArray[np.float32]: ...
    @property
    def isBlank(self) -> npt.NDArray[np.bool_]: ...
    @property
    def tops(self) -> npt.NDArray[np.int64]: ...
    @property
    def lefts(self) -> npt.NDArray[np.int64]: ...
    @property
    def nPixels(self) -> int: ...
    @property
    def freedom(self) -> float: ...
    def pullWidth(self) -> float: ...
    def widths(self) -> tuple[float, float, float]: ...
    def whiteness(self, *, nThreads: int = 1) -> tuple[float, float, float, float, float, int, FloatArray]: ...
    def laggedProducts(self, maxLag: int, *, nThreads: int = 1) -> tuple[FloatArray, FloatArray]: ...
    def cellMeans(
        self, minPixels: int, *, nThreads: int = 1
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]: ...

def findBlankSky(
    image: StampTuple, subtrahend: StampTuple | None = None, *, maxPixels: int = 300_000, nThreads: int = 1
) -> BlankSky: ...
def neighbourNoise(image: StampTuple, *, maxPixels: int = 300_000, nThreads: int = 1) -> float: ...
def errorFloor(
    difference: StampTuple,
    image: StampTuple,
    sky: BlankSky,
    *,
    sigma: float,
    scale: float = 1.0,
    isMinuend: bool = True,
    nThreads: int = 1,
) -> tuple[float, float, float, float, int, int]: ...
def errorFloorPlane(
    difference: StampTuple,
    image: StampTuple,
    *,
    share: float,
    sigma: float,
    scale: float = 1.0,
    isMinuend: bool = True,
    nThreads: int = 1,
) -> npt.NDArray[np.float32]: ...
def photonNoise(
    difference: StampTuple, image: StampTuple, *, scale: float = 1.0, isMinuend: bool = True, nThreads: int = 1
) -> tuple[float, float, float, int]: ...
def withPhotonNoise(
    image: StampTuple, *, perCount: float, leastSigmas: float, nThreads: int = 1
) -> npt.NDArray[np.float32]: ...
def multipliedPlane(
    variance: npt.NDArray[np.float32], factor: float, *, nThreads: int = 1
) -> npt.NDArray[np.float32]: ...
def addPhotons(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    *,
    level: float,
    least: float,
    gain: float,
    nThreads: int = 1,
) -> None: ...
def blankSkyAt(image: StampTuple, where: BlankSky, *, nThreads: int = 1) -> BlankSky: ...
def blankSkyInRows(image: StampTuple, where: BlankSky, step: int, *, nThreads: int = 1) -> BlankSky: ...
def leastSquares(
    terms: npt.ArrayLike, values: npt.ArrayLike, errors: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]: ...

class StampAccount(enum.Enum):
    none = ...
    scaled = ...
    point = ...
    out = ...

class StampAttempt:
    @property
    def account(self) -> StampAccount: ...
    @property
    def score(self) -> float: ...
    @property
    def middleFlux(self) -> float: ...
    @property
    def middleError(self) -> float: ...
    @property
    def ratio(self) -> float: ...
    @property
    def nRejected(self) -> int: ...

def fitStamp(
    science: npt.NDArray[np.float32],
    template: npt.NDArray[np.float32],
    scienceGood: npt.NDArray[np.bool_],
    templateGood: npt.NDArray[np.bool_],
    scienceVariance: FloatArray | None = None,
    templateVariance: FloatArray | None = None,
    *,
    isAlert: bool = False,
    ratio: float = 1.0,
    ratioError: float = 0.05,
    canFreeRatio: bool = True,
) -> dict[str, Any]: ...
def matchStacks(
    first: FloatArray,
    second: FloatArray,
    *,
    variances: tuple[float, float],
    fwhms: tuple[float, float],
    shift: tuple[float, float] | None = None,
) -> dict[str, Any]: ...
def lagProducts(
    first: npt.NDArray[np.float32],
    second: npt.NDArray[np.float32],
    *,
    reach: int,
    nCells: int,
    nThreads: int = 1,
) -> FloatArray: ...

class BrightPixels:
    @property
    def sky(self) -> float: ...
    @property
    def noise(self) -> float: ...
    @property
    def places(self) -> npt.NDArray[np.int64]: ...
    @property
    def counts(self) -> FloatArray: ...
    @property
    def isFlagged(self) -> npt.NDArray[np.bool_]: ...
    @property
    def nFlagged(self) -> int: ...

class Plateau:
    @property
    def level(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def nPixels(self) -> int: ...
    @property
    def nExpected(self) -> float: ...
    @property
    def nAbove(self) -> int: ...
    @property
    def nUnflagged(self) -> int: ...

def brightPixels(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    *,
    saturated: int,
    defects: int,
    nThreads: int = 1,
) -> BrightPixels: ...
def findPlateau(
    pixels: BrightPixels,
    *,
    minPixels: int = 9,
    minExcess: float = 3.0,
    least: float = -math.inf,
    most: float = math.inf,
    countsFlagged: bool = True,
) -> Plateau | None: ...
def flagSaturation(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    *,
    saturated: int,
    defects: int,
    level: float,
    countsHidden: bool = False,
    trails: tuple[float, float, int] = (math.nan, math.nan, 1),
    growth: float = 0.0,
    nThreads: int = 1,
) -> npt.NDArray[np.int32] | None: ...
def clumpSizes(pixels: BrightPixels, width: int, level: float) -> npt.NDArray[np.int64]: ...
def areaAbout(image: npt.NDArray[np.float32], place: int, value: float) -> int: ...
def constantBlocks(
    image: npt.NDArray[np.float32], mask: npt.NDArray[np.int32], *, badBits: int, nThreads: int = 1
) -> tuple[npt.NDArray[np.int64], list[tuple[float, int]], int]: ...
def sharpPixels(
    image: StampTuple, *, mostContrast: float = ..., nThreads: int = 1
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], float, int]: ...

class Streak:
    def __init__(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        halfWidth: float,
        fwhm: float = 0.0,
        peak: float = 0.0,
        significance: float = 0.0,
    ) -> None: ...
    @property
    def x0(self) -> float: ...
    @property
    def y0(self) -> float: ...
    @property
    def x1(self) -> float: ...
    @property
    def y1(self) -> float: ...
    @property
    def halfWidth(self) -> float: ...
    @property
    def fwhm(self) -> float: ...
    @property
    def peak(self) -> float: ...
    @property
    def significance(self) -> float: ...

def findStreaks(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    other: npt.NDArray[np.float32],
    otherMask: npt.NDArray[np.int32],
    *,
    badBits: int,
    otherBadBits: int,
    fluxRatio: float,
    nThreads: int = 1,
) -> tuple[list[Streak], list[Streak]]: ...
def flagStreaks(streaks: Sequence[Streak], bits: int, mask: npt.NDArray[np.int32]) -> int: ...

class StarPeaks:
    @property
    def places(self) -> npt.NDArray[np.int64]: ...
    @property
    def counts(self) -> FloatArray: ...
    @property
    def fallX(self) -> FloatArray: ...
    @property
    def fallY(self) -> FloatArray: ...

def starPeaks(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    bright: BrightPixels,
    *,
    badBits: int,
    distance: int = 1,
    nThreads: int = 1,
) -> StarPeaks: ...
def planesOf(mask: npt.NDArray[np.int32], *, nThreads: int = 1) -> int: ...

class CellGrid:
    def __init__(self, values: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike) -> None: ...
    @property
    def values(self) -> FloatArray: ...
    @property
    def x(self) -> FloatArray: ...
    @property
    def y(self) -> FloatArray: ...
    @property
    def isKnown(self) -> bool: ...
    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray: ...

def measureCells(
    plane: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    *,
    isVariance: bool,
    x0: int,
    y0: int,
    nThreads: int = 1,
) -> CellGrid: ...
def composed(first: npt.ArrayLike, second: npt.ArrayLike, *, nThreads: int = 1) -> FloatArray: ...
def noiseCovariance(
    weights: npt.ArrayLike, variance: npt.NDArray[np.float32], *, row: int, column: int, maxLag: int
) -> FloatArray: ...
def kernelUncertainty(
    image: StampTuple,
    noise: npt.NDArray[np.float32],
    basis: npt.ArrayLike,
    parameters: npt.ArrayLike,
    spatial: SpatialFunction,
    covariance: npt.ArrayLike,
    correction: tuple[FloatArray, FloatArray, SpatialFunction] | None,
    x0: int,
    y0: int,
    *,
    divisor: float,
    minShare: float,
    nThreads: int = 1,
) -> npt.NDArray[np.float32]: ...
def differenceFigures(
    difference: StampTuple,
    template: StampTuple,
    science: StampTuple,
    *,
    noData: int,
    edge: int,
    saturated: Sequence[int],
    kernelSum: float,
    nThreads: int = 1,
) -> dict[str, Any]: ...
def pullNoise(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    *,
    step: int = 1,
) -> tuple[float, float, int]: ...
def windowedCentroid(stamp: npt.ArrayLike, *, sigma: float, nPasses: int) -> tuple[float, float]: ...

# --- sources: stars, moments

def connectRuns(y: npt.ArrayLike, x0: npt.ArrayLike, x1: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], int]: ...
def growFootprints(
    y: npt.ArrayLike,
    x0: npt.ArrayLike,
    x1: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    count: int,
    height: int,
    width: int,
    radius: int,
    isotropic: bool = False,
    combined: bool = True,
) -> tuple[npt.NDArray[np.int64], int]: ...
def sampleNoise(samples: npt.NDArray[np.float32]) -> tuple[float, float, int]: ...
def countCoverage(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    otherImage: npt.NDArray[np.float32],
    otherVariance: npt.NDArray[np.float32],
    otherMask: npt.NDArray[np.int32],
    otherBadBits: int,
    *,
    nThreads: int = 1,
) -> tuple[int, int, int, tuple[int, int, int, int]]: ...
def starWidths(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    radius: int = 15,
    nThreads: int = 1,
) -> FloatArray: ...
def stackSources(
    images: Sequence[StampTuple],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    radius: int = 15,
    nThreads: int = 1,
) -> tuple[list[tuple[FloatArray, float, float]], int]: ...
def fitPositions(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    fwhm: float,
    nThreads: int = 1,
) -> FloatArray: ...
def areSinglePixels(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    minNeighbours: float,
    minSigmas: float = 0.0,
) -> npt.NDArray[np.bool_]: ...
def boxLight(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    halfBox: int,
    skyRing: int,
    minPixels: int,
    nThreads: int = 1,
) -> FloatArray: ...
def ringLevels(
    image: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    inner: float,
    outer: float,
    minPixels: int,
    nThreads: int = 1,
) -> FloatArray: ...
def measureSources(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sigma: float,
    radius: int,
    maxSigma: float,
    psfImages: npt.ArrayLike | None = None,
    psfNumber: npt.ArrayLike | None = None,
    nThreads: int = 1,
) -> FloatArray: ...
def bitsNear(mask: npt.NDArray[np.int32], x: npt.ArrayLike, y: npt.ArrayLike, radius: int) -> npt.NDArray[np.int32]: ...
def starShifts(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    matched: npt.NDArray[np.float32],
    badBits: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    radius: int,
    nThreads: int = 1,
) -> tuple[FloatArray, FloatArray]: ...
def drawStars(
    image: npt.NDArray[np.float32],
    stars: npt.ArrayLike,
    shapes: npt.ArrayLike,
    radii: npt.ArrayLike,
    *,
    nThreads: int = 1,
) -> None: ...
def starEquations(
    residual: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    stars: npt.ArrayLike,
    shapes: npt.ArrayLike,
    radii: npt.ArrayLike,
    freedoms: npt.ArrayLike,
    *,
    nThreads: int = 1,
) -> FloatArray: ...
def meanResidual(
    residual: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    stars: npt.ArrayLike,
    factors: npt.ArrayLike,
    *,
    half: int,
    nThreads: int = 1,
) -> tuple[FloatArray, FloatArray]: ...
def matchStars(
    first: npt.ArrayLike, second: npt.ArrayLike, *, area: float, maxOffset: float, maxChance: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]: ...
def matchPatterns(
    first: npt.ArrayLike, second: npt.ArrayLike, *, area: float, maxChance: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float, FloatArray]: ...
def fitLinear(
    terms: npt.ArrayLike, values: npt.ArrayLike, variances: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]: ...
def excessVariance(squares: npt.ArrayLike, variances: npt.ArrayLike, nParameters: int) -> float: ...

# --- finishing of differences

def kernelCoefficients(
    parameters: npt.ArrayLike, spatial: SpatialFunction, x: npt.ArrayLike, y: npt.ArrayLike
) -> FloatArray: ...
def kernelImages(
    basis: npt.ArrayLike, parameters: npt.ArrayLike, spatial: SpatialFunction, x: npt.ArrayLike, y: npt.ArrayLike
) -> FloatArray: ...
def correctDifference(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unconvolved: npt.NDArray[np.float32],
    convolved: npt.NDArray[np.float32],
    factors: tuple[FloatArray, FloatArray, FloatArray, float] | None,
    basis: npt.ArrayLike,
    parameters: npt.ArrayLike,
    spatial: SpatialFunction,
    x0: int,
    y0: int,
    *,
    divisor: float,
    maskedKernelFraction: float,
    badBits: int,
    edgeBit: int,
    noDataBit: int,
    nThreads: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...
def borderLevels(
    difference: StampTuple, *, nThreads: int = 1
) -> tuple[list[int], float, list[tuple[float, float]], float]: ...
def subtractBorderLevels(
    image: npt.NDArray[np.float32],
    *,
    area: Sequence[int],
    length: float,
    sides: Sequence[tuple[float, float]],
    nThreads: int = 1,
) -> None: ...
def saturationTraces(
    difference: StampTuple, *, saturated: int, maxGrowth: int, nThreads: int = 1
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int, int, int]: ...

import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
StampTuple = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]

__version__: str

class NumericalError(RuntimeError): ...
class SolutionError(NumericalError): ...

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
    def __init__(self, model: SpatialModel, order: int, frame: Frame) -> None: ...
    @property
    def model(self) -> SpatialModel: ...
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
    nThreads: int = 1,
) -> SpatialKernelSolution: ...
def principalComponents(images: npt.ArrayLike) -> tuple[FloatArray, FloatArray]: ...

class InstructionSet(enum.Enum):
    automatic = ...
    baseline = ...
    avx2 = ...

def isSupported(instructionSet: InstructionSet) -> bool: ...
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
    otherBits: int,
    noDataBit: int,
    nThreads: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...
def subtractInto(
    output: npt.NDArray[np.float32],
    image: npt.NDArray[np.float32],
    otherImage: npt.NDArray[np.float32],
    background: npt.ArrayLike,
    spatial: SpatialFunction,
    x0: int,
    y0: int,
    *,
    nThreads: int,
) -> None: ...

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

# --- fit: stamps of regions

# --- image: sky, noise, quality

# --- sources: stars, moments

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

class SymmetricFactor:
    def __init__(self, matrix: npt.ArrayLike) -> None: ...
    @property
    def conditionNumber(self) -> float: ...
    def solve(self, rightHandSide: npt.ArrayLike) -> FloatArray: ...
    def sandwich(self, inner: npt.ArrayLike) -> FloatArray: ...

def readRegions(
    stamps: Sequence[StampPair],
    kernelHeight: int,
    kernelWidth: int,
    control: CandidateFitControl,
    *,
    nThreads: int = 1,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]: ...
def makeRegionEquations(
    stamps: Sequence[StampPair],
    basis: PreparedBasis,
    weights: npt.NDArray[np.float32],
    control: CandidateFitControl,
    *,
    nThreads: int = 1,
) -> tuple[FloatArray, FloatArray]: ...
def convolveRegions(
    stamps: Sequence[StampPair],
    basis: npt.ArrayLike,
    coefficients: npt.ArrayLike,
    control: CandidateFitControl,
    *,
    nThreads: int = 1,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...

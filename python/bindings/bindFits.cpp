#include <pybind11/stl.h>

#include <tuple>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/fit/KernelPca.h"
#include "psfmatch/fit/SpatialKernelSolution.h"
#include "psfmatch/fit/StampQuality.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

using IndexArray = py::array_t<Index, py::array::c_style | py::array::forcecast>;

// (n, 4): x0, y0, width, height
std::vector<Box> boxesOf(IndexArray const& array) {
    if (array.ndim() != 2 || array.shape(1) != 4) {
        throw py::value_error("boxes must have shape (n, 4): x0, y0, width, height");
    }
    std::vector<Box> boxes;
    for (py::ssize_t i = 0; i < array.shape(0); ++i) {
        boxes.push_back({array.at(i, 0), array.at(i, 1), array.at(i, 2), array.at(i, 3)});
    }
    return boxes;
}

// An array that shows the memory of an object, which lives as long; for matrices that are symmetric to the last bit.
py::array_t<double> sharedArray(double const* data, std::vector<py::ssize_t> shape, py::object const& owner) {
    py::array_t<double> array(std::move(shape), data, owner);
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
}

// Of a symmetric matrix, whose rows may be taken for columns.
double const* symmetricData(DoubleArray const& array, py::ssize_t nUnknowns, char const* name) {
    if (array.ndim() != 2 || array.shape(0) != nUnknowns || array.shape(1) != nUnknowns) {
        throw py::value_error(std::string(name) + " of " + std::to_string(nUnknowns) + " unknowns has another shape");
    }
    return array.data();
}

char const* nameOf(SolverMethod method) {
    switch (method) {
        case SolverMethod::ldlt:
            return "ldlt";
        case SolverMethod::llt:
            return "llt";
        case SolverMethod::eigenvector:
            return "eigenvector";
        case SolverMethod::none:
            break;
    }
    return "none";
}

// mean, rms and count
template <typename Result>
std::tuple<double, double, Index> statisticsOf(Result const& result, bool core) {
    ResidualStatistics const& statistics = core ? result.core : result.whole;
    return {statistics.mean, statistics.rms, statistics.count};
}

py::array_t<double> matrixOfFit(py::object const& owner) {
    auto const& matrix = owner.cast<CandidateFit const&>().equations.matrix;
    return matrix.size() == 0 ? arrayOf(matrix) : sharedArray(matrix.data(), {matrix.rows(), matrix.cols()}, owner);
}

py::array_t<double> rightHandSideOfFit(py::object const& owner) {
    auto const& side = owner.cast<CandidateFit const&>().equations.rightHandSide;
    return side.size() == 0 ? arrayOf(side) : sharedArray(side.data(), {side.size()}, owner);
}

}  // namespace

void bindFits(py::module_& module) {
    module.def(
        "lostWeights",
        [](StampTuple const& templateImage, StampTuple const& scienceImage, IndexArray const& boxes, int nThreads) {
            auto const& [tImage, tVariance, tMask, tBits] = templateImage;
            auto const& [sImage, sVariance, sMask, sBits] = scienceImage;
            auto const templateView = maskedViewOf(tImage, tVariance, tMask);
            auto const scienceView = maskedViewOf(sImage, sVariance, sMask);
            auto const list = boxesOf(boxes);
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return lostWeights(templateView, tBits, scienceView, sBits, list, execution);
        },
        py::arg("template"), py::arg("science"), py::arg("boxes"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "coreSignalToNoise",
        [](StampTuple const& image, IndexArray const& boxes, Index coreRadius) {
            auto const& [pixels, variance, mask, badBits] = image;
            auto const view = maskedViewOf(pixels, variance, mask);
            auto const list = boxesOf(boxes);
            py::gil_scoped_release const release;
            return coreSignalToNoise(view, badBits, list, coreRadius);
        },
        py::arg("image"), py::arg("boxes"), py::kw_only(), py::arg("coreRadius"));

    py::class_<StampPair>(module, "StampPair")
        .def(py::init<StampTuple, StampTuple>(), py::arg("template"), py::arg("science"));

    py::class_<CandidateFitControl>(module, "CandidateFitControl")
        .def(py::init([](bool fitBackground, bool constantVariance, bool iterate, bool zeroWeightBadPixels,
                         Index coreRadius, bool checkConditionNumber, double maxConditionNumber,
                         ConditionNumberType conditionNumberType, bool keepEquations, bool covariance) {
                 CandidateFitControl control;
                 control.fitBackground = fitBackground;
                 control.constantVariance = constantVariance;
                 control.iterate = iterate;
                 control.zeroWeightBadPixels = zeroWeightBadPixels;
                 control.coreRadius = coreRadius;
                 control.checkConditionNumber = checkConditionNumber;
                 control.maxConditionNumber = maxConditionNumber;
                 control.conditionNumberType = conditionNumberType;
                 control.keepEquations = keepEquations;
                 control.covariance = covariance;
                 return control;
             }),
             py::kw_only(), py::arg("fitBackground"), py::arg("constantVariance"), py::arg("iterate"),
             py::arg("zeroWeightBadPixels"), py::arg("coreRadius"), py::arg("checkConditionNumber"),
             py::arg("maxConditionNumber"), py::arg("conditionNumberType"), py::arg("keepEquations") = true,
             py::arg("covariance") = false);

    py::native_enum<CandidateOutcome>(module, "CandidateOutcome", "enum.Enum")
        .value("solved", CandidateOutcome::solved)
        .value("noLight", CandidateOutcome::noLight)
        .value("illConditioned", CandidateOutcome::illConditioned)
        .value("failed", CandidateOutcome::failed)
        .finalize();
    py::class_<CandidateFit>(module, "CandidateFit")
        .def_readonly("outcome", &CandidateFit::outcome)
        .def_readonly("message", &CandidateFit::message)
        .def_property_readonly("matrix", &matrixOfFit)
        .def_property_readonly("rightHandSide", &rightHandSideOfFit)
        .def_property_readonly("coefficients", [](CandidateFit const& fit) { return arrayOf(fit.coefficients); })
        .def_readonly("background", &CandidateFit::background)
        .def_readonly("kernelSum", &CandidateFit::kernelSum)
        .def_readonly("kernelSumError", &CandidateFit::kernelSumError)
        .def_readonly("conditionNumber", &CandidateFit::conditionNumber)
        .def_readonly("method", &CandidateFit::method)
        .def_readonly("regularizationStrength", &CandidateFit::regularizationStrength)
        .def_property_readonly("covariance", [](CandidateFit const& fit) { return arrayOf(fit.covariance); })
        .def_property_readonly("noiseMatrix", [](CandidateFit const& fit) { return arrayOf(fit.noiseMatrix); })
        .def_readonly("lostFraction", &CandidateFit::lostFraction)
        .def_readonly("whole", &CandidateFit::whole)
        .def_readonly("core", &CandidateFit::core)
        // What is read of thousands of fits comes in one piece.
        .def_property_readonly("isSolved",
                               [](CandidateFit const& fit) { return fit.outcome == CandidateOutcome::solved; })
        .def_property_readonly("scalars",
                               [](CandidateFit const& fit) {
                                   return std::tuple(fit.background, fit.kernelSum, fit.kernelSumError,
                                                     fit.conditionNumber, nameOf(fit.method), fit.lostFraction,
                                                     fit.regularizationStrength);
                               })
        .def("statistics", &statisticsOf<CandidateFit>, py::arg("core"));
    module.def(
        "fitCandidates",
        [](std::vector<StampPair const*> const& pairs, PreparedBasis const& basis, CandidateFitControl const& control,
           Regularization const* regularization, int nThreads) {
            auto const stamps = stampsOf(pairs);
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return fitCandidates(stamps, basis, control, execution, regularization);
        },
        py::arg("stamps"), py::arg("basis"), py::arg("control"), py::kw_only(), py::arg("regularization") = py::none(),
        py::arg("nThreads") = 1);

    module.def(
        "lightRatios",
        [](std::vector<StampPair const*> const& pairs, Index kernelHeight, Index kernelWidth,
           CandidateFitControl const& control, int nThreads) {
            auto const stamps = stampsOf(pairs);
            auto const execution = interruptible(nThreads);
            Eigen::VectorXd values(static_cast<Index>(stamps.size()));
            Eigen::VectorXd errors(values.size());
            {
                py::gil_scoped_release const release;
                Index i = 0;
                for (LightRatio const& ratio : lightRatios(stamps, kernelHeight, kernelWidth, control, execution)) {
                    values[i] = ratio.value;
                    errors[i++] = ratio.error;
                }
            }
            return std::pair(arrayOf(values), arrayOf(errors));
        },
        py::arg("stamps"), py::arg("kernelHeight"), py::arg("kernelWidth"), py::arg("control"), py::kw_only(),
        py::arg("nThreads") = 1);

    py::class_<CandidateAssessment>(module, "CandidateAssessment")
        .def_readonly("valid", &CandidateAssessment::valid)
        .def_readonly("message", &CandidateAssessment::message)
        .def_readonly("whole", &CandidateAssessment::whole)
        .def_readonly("core", &CandidateAssessment::core)
        .def("statistics", &statisticsOf<CandidateAssessment>, py::arg("core"));
    module.def(
        "assessCandidates",
        [](std::vector<StampPair const*> const& pairs, DoubleArray const& basisImages, DoubleArray const& coefficients,
           std::vector<double> const& backgrounds, CandidateFitControl const& control, int nThreads) {
            auto const stamps = stampsOf(pairs);
            KernelBasis const basis = basisOf(basisImages);
            RowMatrix const rows = matrixOf(coefficients, "coefficients");
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return assessCandidates(stamps, basis, rows, backgrounds, control, execution);
        },
        py::arg("stamps"), py::arg("basis"), py::arg("coefficients"), py::arg("backgrounds"), py::arg("control"),
        py::kw_only(), py::arg("nThreads") = 1);

    py::class_<SpatialKernelSolution>(module, "SpatialKernelSolution")
        .def_property_readonly("kernelParameters",
                               [](SpatialKernelSolution const& s) { return arrayOf(s.kernelParameters); })
        .def_property_readonly("backgroundParameters",
                               [](SpatialKernelSolution const& s) { return arrayOf(s.backgroundParameters); })
        .def_readonly("conditionNumber", &SpatialKernelSolution::conditionNumber)
        .def_readonly("method", &SpatialKernelSolution::method)
        .def_property_readonly("covariance", [](SpatialKernelSolution const& s) { return arrayOf(s.covariance); })
        .def_readonly("nUnknowns", &SpatialKernelSolution::nUnknowns)
        .def_readonly("kernelFunction", &SpatialKernelSolution::kernelFunction)
        .def_readonly("scalePlaces", &SpatialKernelSolution::scalePlaces)
        .def_readonly("kernelPlaces", &SpatialKernelSolution::kernelPlaces);
    module.def(
        "solveSpatialKernel",
        [](std::vector<DoubleArray> const& matrices, std::vector<DoubleArray> const& rightHandSides,
           std::vector<double> const& x, std::vector<double> const& y, Index nBasis,
           SpatialFunction const& kernelFunction, std::optional<SpatialFunction> const& backgroundFunction,
           bool constantFirstTerm, ConditionNumberType conditionNumberType,
           std::optional<std::vector<DoubleArray>> const& noiseMatrices,
           std::optional<SpatialFunction> const& scaleFunction, int nThreads) {
            if (matrices.size() != rightHandSides.size() || matrices.size() != x.size() ||
                matrices.size() != y.size()) {
                throw py::value_error("matrices, right-hand sides and positions differ in number");
            }
            if (noiseMatrices && noiseMatrices->size() != matrices.size()) {
                throw py::value_error(std::to_string(matrices.size()) + " matrices and " +
                                      std::to_string(noiseMatrices->size()) + " noise matrices");
            }
            std::vector<CandidateEquations> candidates;
            candidates.reserve(matrices.size());
            for (std::size_t i = 0; i < matrices.size(); ++i) {
                if (rightHandSides[i].ndim() != 1) {
                    throw py::value_error("a right-hand side must have one dimension");
                }
                auto const size = rightHandSides[i].shape(0);
                candidates.push_back(
                    {x[i], y[i], size, symmetricData(matrices[i], size, "matrix"), rightHandSides[i].data(),
                     noiseMatrices ? symmetricData((*noiseMatrices)[i], size, "noiseMatrix") : nullptr});
            }
            SpatialKernelControl control;
            control.constantFirstTerm = constantFirstTerm;
            control.scaleFunction = scaleFunction;
            control.conditionNumberType = conditionNumberType;
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return solveSpatialKernel(candidates, nBasis, kernelFunction, backgroundFunction, control, execution);
        },
        py::arg("matrices"), py::arg("rightHandSides"), py::arg("x"), py::arg("y"), py::arg("nBasis"),
        py::arg("kernelFunction"), py::arg("backgroundFunction"), py::kw_only(), py::arg("constantFirstTerm"),
        py::arg("conditionNumberType"), py::arg("noiseMatrices") = py::none(), py::arg("scaleFunction") = py::none(),
        py::arg("nThreads") = 1);
    module.def(
        "solveSpatialKernelFromStamps",
        [](std::vector<StampPair const*> const& pairs, PreparedBasis const& basis,
           CandidateFitControl const& fitControl, std::vector<double> const& x, std::vector<double> const& y,
           SpatialFunction const& kernelFunction, std::optional<SpatialFunction> const& backgroundFunction,
           bool constantFirstTerm, ConditionNumberType conditionNumberType, Regularization const* regularization,
           std::optional<std::vector<double>> const& strengths, std::optional<SpatialFunction> const& scaleFunction,
           int nThreads) {
            auto const stamps = stampsOf(pairs);
            SpatialKernelControl control;
            control.constantFirstTerm = constantFirstTerm;
            control.scaleFunction = scaleFunction;
            control.conditionNumberType = conditionNumberType;
            auto const given = strengths.value_or(std::vector<double>());
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return solveSpatialKernelFromStamps(stamps, x, y, basis, fitControl, kernelFunction, backgroundFunction,
                                                control, regularization, given, execution);
        },
        py::arg("stamps"), py::arg("basis"), py::arg("control"), py::arg("x"), py::arg("y"), py::arg("kernelFunction"),
        py::arg("backgroundFunction"), py::kw_only(), py::arg("constantFirstTerm"), py::arg("conditionNumberType"),
        py::arg("regularization") = py::none(), py::arg("strengths") = py::none(),
        py::arg("scaleFunction") = py::none(), py::arg("nThreads") = 1);

    module.def(
        "principalComponents",
        [](DoubleArray const& images) {
            if (images.ndim() != 3) {
                throw py::value_error("images have shape (n, height, width), not " + std::to_string(images.ndim()) +
                                      " dimensions");
            }
            KernelBasis stack = basisOf(images);
            PrincipalComponents components = withoutLock([&] { return principalComponents(stack.images); });
            stack.images = std::move(components.images);
            return py::make_tuple(arrayOf(components.values), arrayOf(stack));
        },
        py::arg("images"));
}

}  // namespace psfmatch::python

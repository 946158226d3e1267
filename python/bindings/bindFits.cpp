#include <pybind11/stl.h>

#include <tuple>

#include "arrays.h"
#include "module.h"
#include "psfmatch/KernelCandidateFit.h"
#include "psfmatch/KernelPca.h"
#include "psfmatch/SpatialKernelSolution.h"
#include "psfmatch/StampQuality.h"

namespace psfmatch::python {

namespace {

// image, variance, mask, bits of the bad planes in that mask
using StampTuple = std::tuple<py::array, py::array, py::array, MaskPixel>;

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

std::vector<CandidateStamp> stampsOf(std::vector<StampTuple> const& templates,
                                     std::vector<StampTuple> const& sciences) {
    if (templates.size() != sciences.size()) {
        throw py::value_error(std::to_string(templates.size()) + " template and " + std::to_string(sciences.size()) +
                              " science stamps");
    }
    std::vector<CandidateStamp> stamps;
    stamps.reserve(templates.size());
    for (std::size_t i = 0; i < templates.size(); ++i) {
        auto const& [tImage, tVariance, tMask, tBits] = templates[i];
        auto const& [sImage, sVariance, sMask, sBits] = sciences[i];
        stamps.push_back(
            {maskedViewOf(tImage, tVariance, tMask), maskedViewOf(sImage, sVariance, sMask), tBits, sBits});
    }
    return stamps;
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
            return coreSignalToNoise(maskedViewOf(pixels, variance, mask), badBits, boxesOf(boxes), coreRadius);
        },
        py::arg("image"), py::arg("boxes"), py::kw_only(), py::arg("coreRadius"));

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
        .value("illConditioned", CandidateOutcome::illConditioned)
        .value("failed", CandidateOutcome::failed)
        .finalize();
    py::class_<CandidateFit>(module, "CandidateFit")
        .def_readonly("outcome", &CandidateFit::outcome)
        .def_readonly("message", &CandidateFit::message)
        .def_property_readonly("matrix", [](CandidateFit const& fit) { return arrayOf(fit.equations.matrix); })
        .def_property_readonly("rightHandSide",
                               [](CandidateFit const& fit) { return arrayOf(fit.equations.rightHandSide); })
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
        .def_readonly("core", &CandidateFit::core);
    module.def(
        "fitCandidates",
        [](std::vector<StampTuple> const& templates, std::vector<StampTuple> const& sciences,
           PreparedBasis const& basis, CandidateFitControl const& control, Regularization const* regularization,
           int nThreads) {
            auto const stamps = stampsOf(templates, sciences);
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return fitCandidates(stamps, basis, control, execution, regularization);
        },
        py::arg("templates"), py::arg("sciences"), py::arg("basis"), py::arg("control"), py::kw_only(),
        py::arg("regularization") = py::none(), py::arg("nThreads") = 1);

    py::class_<CandidateAssessment>(module, "CandidateAssessment")
        .def_readonly("valid", &CandidateAssessment::valid)
        .def_readonly("message", &CandidateAssessment::message)
        .def_readonly("whole", &CandidateAssessment::whole)
        .def_readonly("core", &CandidateAssessment::core);
    module.def(
        "assessCandidates",
        [](std::vector<StampTuple> const& templates, std::vector<StampTuple> const& sciences,
           DoubleArray const& kernels, std::vector<double> const& backgrounds, CandidateFitControl const& control,
           int nThreads) {
            auto const stamps = stampsOf(templates, sciences);
            KernelBasis const stack = basisOf(kernels);
            std::vector<OwnedImage<double>> images;
            for (Index i = 0; i < stack.size(); ++i) {
                images.emplace_back(
                    Eigen::Map<OwnedImage<double> const>(stack.images.row(i).data(), stack.height, stack.width));
            }
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return assessCandidates(stamps, images, backgrounds, control, execution);
        },
        py::arg("templates"), py::arg("sciences"), py::arg("kernels"), py::arg("backgrounds"), py::arg("control"),
        py::kw_only(), py::arg("nThreads") = 1);

    py::class_<SpatialKernelSolution>(module, "SpatialKernelSolution")
        .def_property_readonly("kernelParameters",
                               [](SpatialKernelSolution const& s) { return arrayOf(s.kernelParameters); })
        .def_property_readonly("backgroundParameters",
                               [](SpatialKernelSolution const& s) { return arrayOf(s.backgroundParameters); })
        .def_readonly("conditionNumber", &SpatialKernelSolution::conditionNumber)
        .def_readonly("method", &SpatialKernelSolution::method)
        .def_property_readonly("covariance", [](SpatialKernelSolution const& s) { return arrayOf(s.covariance); })
        .def_readonly("nUnknowns", &SpatialKernelSolution::nUnknowns);
    module.def(
        "solveSpatialKernel",
        [](std::vector<DoubleArray> const& matrices, std::vector<DoubleArray> const& rightHandSides,
           std::vector<double> const& x, std::vector<double> const& y, Index nBasis,
           SpatialFunction const& kernelFunction, std::optional<SpatialFunction> const& backgroundFunction,
           bool constantFirstTerm, ConditionNumberType conditionNumberType,
           std::optional<std::vector<DoubleArray>> const& noiseMatrices) {
            if (matrices.size() != rightHandSides.size() || matrices.size() != x.size() ||
                matrices.size() != y.size()) {
                throw py::value_error("matrices, right-hand sides and positions differ in number");
            }
            if (noiseMatrices && noiseMatrices->size() != matrices.size()) {
                throw py::value_error(std::to_string(matrices.size()) + " matrices and " +
                                      std::to_string(noiseMatrices->size()) + " noise matrices");
            }
            std::vector<NormalEquations> equations;
            equations.reserve(matrices.size());
            std::vector<Eigen::MatrixXd> noise;
            noise.reserve(matrices.size());
            std::vector<CandidateEquations> candidates;
            for (std::size_t i = 0; i < matrices.size(); ++i) {
                equations.push_back({matrixOf(matrices[i], "matrix"), vectorOf(rightHandSides[i], "rightHandSide")});
                candidates.push_back({x[i], y[i], &equations.back()});
                if (noiseMatrices) {
                    noise.push_back(matrixOf((*noiseMatrices)[i], "noiseMatrix"));
                    candidates.back().noiseMatrix = &noise.back();
                }
            }
            SpatialKernelControl control;
            control.constantFirstTerm = constantFirstTerm;
            control.conditionNumberType = conditionNumberType;
            py::gil_scoped_release const release;
            return solveSpatialKernel(candidates, nBasis, kernelFunction, backgroundFunction, control);
        },
        py::arg("matrices"), py::arg("rightHandSides"), py::arg("x"), py::arg("y"), py::arg("nBasis"),
        py::arg("kernelFunction"), py::arg("backgroundFunction"), py::kw_only(), py::arg("constantFirstTerm"),
        py::arg("conditionNumberType"), py::arg("noiseMatrices") = py::none());
    module.def(
        "solveSpatialKernelFromStamps",
        [](std::vector<StampTuple> const& templates, std::vector<StampTuple> const& sciences,
           PreparedBasis const& basis, CandidateFitControl const& fitControl, std::vector<double> const& x,
           std::vector<double> const& y, SpatialFunction const& kernelFunction,
           std::optional<SpatialFunction> const& backgroundFunction, bool constantFirstTerm,
           ConditionNumberType conditionNumberType, Regularization const* regularization,
           std::optional<std::vector<double>> const& strengths, int nThreads) {
            auto const stamps = stampsOf(templates, sciences);
            SpatialKernelControl control;
            control.constantFirstTerm = constantFirstTerm;
            control.conditionNumberType = conditionNumberType;
            auto const given = strengths.value_or(std::vector<double>());
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return solveSpatialKernelFromStamps(stamps, x, y, basis, fitControl, kernelFunction, backgroundFunction,
                                                control, regularization, given, execution);
        },
        py::arg("templates"), py::arg("sciences"), py::arg("basis"), py::arg("control"), py::arg("x"), py::arg("y"),
        py::arg("kernelFunction"), py::arg("backgroundFunction"), py::kw_only(), py::arg("constantFirstTerm"),
        py::arg("conditionNumberType"), py::arg("regularization") = py::none(), py::arg("strengths") = py::none(),
        py::arg("nThreads") = 1);

    module.def(
        "principalComponents",
        [](DoubleArray const& images) {
            if (images.ndim() != 3) {
                throw py::value_error("images have shape (n, height, width), not " + std::to_string(images.ndim()) +
                                      " dimensions");
            }
            KernelBasis stack = basisOf(images);
            PrincipalComponents components = principalComponents(stack.images);
            stack.images = std::move(components.images);
            return py::make_tuple(arrayOf(components.values), arrayOf(stack));
        },
        py::arg("images"));
}

}  // namespace psfmatch::python

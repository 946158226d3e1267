#include <pybind11/stl.h>

#include <limits>

#include "arrays.h"
#include "module.h"
#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/adaptiveMoments.h"

namespace psfmatch::python {

namespace {

std::vector<double> listOf(DoubleArray const& values) {
    return {values.data(), values.data() + values.size()};
}

}  // namespace

void bindStatistics(py::module_& module) {
    py::class_<ClippedStatistics>(module, "ClippedStatistics")
        .def_readonly("mean", &ClippedStatistics::mean)
        .def_readonly("median", &ClippedStatistics::median)
        .def_readonly("stdev", &ClippedStatistics::stdev)
        .def_readonly("count", &ClippedStatistics::count);
    module.def(
        "clippedStatistics",
        [](DoubleArray const& values, double nSigma, int nIterations) {
            auto const list = listOf(values);
            return withoutLock([&] { return clippedStatistics(list, {nSigma, nIterations}); });
        },
        py::arg("values"), py::kw_only(), py::arg("nSigma") = 3.0, py::arg("nIterations") = 3);

    py::class_<ResidualStatistics>(module, "ResidualStatistics")
        .def_readonly("mean", &ResidualStatistics::mean)
        .def_readonly("rms", &ResidualStatistics::rms)
        .def_readonly("count", &ResidualStatistics::count);
    module.def(
        "residualStatistics",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits,
           Index coreRadius) {
            auto const view = maskedViewOf(image, variance, mask);
            return withoutLock([&] { return residualStatistics(view, badBits, coreRadius); });
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::kw_only(),
        py::arg("coreRadius") = -1);

    module.def(
        "adaptiveMoments",
        [](DoubleArray const& stamps, std::vector<double> const& x, std::vector<double> const& y, double sigma,
           int maxIterations, double maxShift, int nThreads) {
            if (stamps.ndim() != 3) {
                throw py::value_error("stamps have shape (n, height, width), not " + std::to_string(stamps.ndim()) +
                                      " dimensions");
            }
            Index const height = stamps.shape(1);
            Index const width = stamps.shape(2);
            ConstImageView<double> const view(stamps.data(), stamps.shape(0), height * width,
                                              Eigen::OuterStride<>(height * width));
            auto const execution = interruptible(nThreads);
            std::vector<SecondMoments> found;
            {
                py::gil_scoped_release const release;
                found = adaptiveMoments(view, height, width, x, y, {sigma, maxIterations, maxShift}, execution);
            }
            py::array_t<double> result({static_cast<py::ssize_t>(found.size()), py::ssize_t{3}});
            double* next = result.mutable_data();
            for (SecondMoments const& moments : found) {
                *next++ = moments.xx;
                *next++ = moments.yy;
                *next++ = moments.xy;
            }
            return result;
        },
        py::arg("stamps"), py::arg("x"), py::arg("y"), py::kw_only(), py::arg("sigma") = 1.5,
        py::arg("maxIterations") = 50, py::arg("maxShift") = std::numeric_limits<double>::infinity(),
        py::arg("nThreads") = 1);

    py::native_enum<SolverMethod>(module, "SolverMethod", "enum.Enum")
        .value("none", SolverMethod::none)
        .value("ldlt", SolverMethod::ldlt)
        .value("llt", SolverMethod::llt)
        .value("eigenvector", SolverMethod::eigenvector)
        .finalize();
    py::native_enum<ConditionNumberType>(module, "ConditionNumberType", "enum.Enum")
        .value("eigenvalue", ConditionNumberType::eigenvalue)
        .value("svd", ConditionNumberType::svd)
        .finalize();
    module.def(
        "conditionNumber",
        [](DoubleArray const& matrix, ConditionNumberType type) {
            Eigen::MatrixXd const given = matrixOf(matrix, "matrix");
            return withoutLock([&] { return conditionNumber(given, type); });
        },
        py::arg("matrix"), py::arg("kind"));
}

}  // namespace psfmatch::python

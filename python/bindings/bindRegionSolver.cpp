#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/RegionSolver.h"

namespace psfmatch::python {

namespace {

// A solver and the threads of its calls.
struct ThreadedSolver {
    std::unique_ptr<RegionSolver> solver;
    int nThreads;

    // A call without the interpreter's lock.
    template <typename Function>
    auto call(Function const& function) const {
        auto const execution = interruptible(nThreads);
        py::gil_scoped_release const release;
        return function(*solver, execution);
    }
};

ThreadedSolver makeSolver(std::shared_ptr<RegionStamps> stamps, DoubleArray const& x, DoubleArray const& y,
                          DoubleArray const& basisList, SpatialModel spatialModel, Frame const& frame,
                          double kernelNorm, double threshold, Index growth,
                          std::optional<DoubleArray> const& noiseCorrelation, int nThreads) {
    RegionModel model{vectorOf(x, "x"),
                      vectorOf(y, "y"),
                      basisOf(basisList),
                      spatialModel,
                      frame,
                      kernelNorm,
                      {threshold, growth},
                      {}};
    if (noiseCorrelation) {
        model.noiseCorrelation = matrixOf(*noiseCorrelation, "noiseCorrelation");
    }
    auto const execution = interruptible(nThreads);
    py::gil_scoped_release const release;
    return {std::make_unique<RegionSolver>(std::move(stamps), std::move(model), execution), nThreads};
}

}  // namespace

void bindRegionSolver(py::module_& module) {
    py::class_<ThreadedSolver>(module, "RegionSolver")
        .def(py::init(&makeSolver), py::arg("stamps").none(false), py::arg("x"), py::arg("y"), py::arg("basisList"),
             py::arg("spatialModel"), py::arg("frame"), py::arg("kernelNorm"), py::kw_only(),
             py::arg("threshold") = OutlierControl{}.threshold, py::arg("growth") = OutlierControl{}.growth,
             py::arg("noiseCorrelation") = py::none(), py::arg("nThreads") = 1)
        .def("__len__", [](ThreadedSolver const& self) { return self.solver->size(); })
        .def_property_readonly("x", [](ThreadedSolver const& self) { return arrayOf(self.solver->model().x); })
        .def_property_readonly("y", [](ThreadedSolver const& self) { return arrayOf(self.solver->model().y); })
        .def_property_readonly("basisList",
                               [](ThreadedSolver const& self) { return arrayOf(self.solver->model().basis); })
        .def_property_readonly("nPasses", [](ThreadedSolver const& self) { return self.solver->nPasses(); })
        .def_property_readonly(
            "fit", [](ThreadedSolver const& self) -> RegionFit const& { return self.solver->fit(); },
            py::return_value_policy::reference_internal)
        .def_property_readonly(
            "usableFraction",
            [](ThreadedSolver const& self) { return arrayOf(self.solver->fit().stamps->usableFraction()); })
        .def(
            "usualModel",
            [](ThreadedSolver const& self, std::vector<Index> images) {
                return self.call(
                    [&](RegionSolver& solver, Execution const&) { return solver.usualModel(std::move(images)); });
            },
            py::arg("images"))
        .def(
            "prepare",
            [](ThreadedSolver const& self, SpatialFunction const& function) {
                self.call([&](RegionSolver& solver, auto const& execution) { solver.prepare(function, execution); });
            },
            py::arg("function"))
        .def(
            "polynomials", [](ThreadedSolver const& self, int order) { return self.solver->polynomials(order); },
            py::arg("order"))
        .def(
            "chiSquares",
            [](ThreadedSolver const& self, SpatialModelOptions const& options) {
                return arrayOf(self.call([&](RegionSolver& solver, auto const& execution) {
                    return solver.chiSquares(options, execution);
                }));
            },
            py::arg("options"))
        .def(
            "hasJudged",
            [](ThreadedSolver const& self, SpatialModelOptions const& options) {
                return self.call([&](RegionSolver& solver, auto const&) { return solver.hasJudged(options); });
            },
            py::arg("options"))
        .def(
            "chiSquaresBy",
            [](ThreadedSolver const& self, ThreadedSolver const& other, SpatialModelOptions const& options) {
                return arrayOf(self.call([&](RegionSolver& solver, auto const& execution) {
                    return solver.chiSquaresBy(*other.solver, options, execution);
                }));
            },
            py::arg("other"), py::arg("options"))
        .def(
            "reject",
            [](ThreadedSolver const& self, SpatialModelOptions const& options, bool isRejecting) {
                return self.call([&](RegionSolver& solver, auto const& execution) {
                    return solver.reject(options, isRejecting, execution);
                });
            },
            py::arg("options"), py::arg("isRejecting") = true)
        .def(
            "brightPixels",
            [](ThreadedSolver const& self, SpatialModelOptions const& options) {
                BrightScatter const found = self.call([&](RegionSolver& solver, auto const& execution) {
                    return solver.brightPixels(options, execution);
                });
                return std::tuple(found.scatter, found.pull, found.nRegions);
            },
            py::arg("options"))
        .def(
            "summary",
            [](ThreadedSolver const& self, SpatialModelOptions const& options) {
                return self.call(
                    [&](RegionSolver& solver, auto const& execution) { return solver.summary(options, execution); });
            },
            py::arg("options"))
        .def(
            "solve",
            [](ThreadedSolver const& self, SpatialModelOptions const& options, bool withCovariance) {
                return self.call([&](RegionSolver& solver, auto const& execution) {
                    return solver.solve(options, withCovariance, execution);
                });
            },
            py::arg("options"), py::kw_only(), py::arg("withCovariance") = false)
        .def(
            "lightGain",
            [](ThreadedSolver const& self, SpatialSolution const& solution) {
                return self.call(
                    [&](RegionSolver& solver, auto const& execution) { return solver.lightGain(solution, execution); });
            },
            py::arg("solution"));
}

}  // namespace psfmatch::python

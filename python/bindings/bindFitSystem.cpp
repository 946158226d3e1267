#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/StampEquations.h"

namespace psfmatch::python {

namespace {

StampEquations equationsOf(py::array_t<double, py::array::c_style | py::array::forcecast> const& matrices,
                           DoubleArray const& rightHandSides, DoubleArray const& squares, DoubleArray const& noise) {
    StampEquations equations;
    equations.rightHandSides = matrixOf(rightHandSides, "rightHandSides");
    Index const n = equations.size();
    Index const m = equations.nUnknowns();
    if (matrices.ndim() != 3 || matrices.shape(0) != n || matrices.shape(1) != m || matrices.shape(2) != m) {
        throw py::value_error("matrices must have the shape (" + std::to_string(n) + ", " + std::to_string(m) + ", " +
                              std::to_string(m) + ") of the right-hand sides");
    }
    equations.matrices = Eigen::Map<RowMatrix const>(matrices.data(), n, m * m);
    equations.squares = vectorOf(squares, "squares");
    equations.noise = vectorOf(noise, "noise");
    if (equations.squares.size() != n || equations.noise.size() != n) {
        throw py::value_error(std::to_string(n) + " right-hand sides, " + std::to_string(equations.squares.size()) +
                              " squares and " + std::to_string(equations.noise.size()) + " sums of noise");
    }
    return equations;
}

}  // namespace

void bindFitSystem(py::module_& module) {
    py::class_<StampEquations>(module, "StampEquations")
        .def(py::init(&equationsOf), py::arg("matrices"), py::arg("rightHandSides"), py::arg("squares"),
             py::arg("noise"))
        .def("__len__", &StampEquations::size)
        .def_property_readonly("matrices",
                               [](StampEquations const& equations) {
                                   Index const m = equations.nUnknowns();
                                   return py::array_t<double>({equations.size(), m, m}, equations.matrices.data());
                               })
        .def_property_readonly(
            "rightHandSides",
            [](StampEquations const& equations) { return arrayOf(Eigen::MatrixXd(equations.rightHandSides)); })
        .def_property_readonly("squares", [](StampEquations const& equations) { return arrayOf(equations.squares); })
        .def_property_readonly("noise", [](StampEquations const& equations) { return arrayOf(equations.noise); });
}

}  // namespace psfmatch::python

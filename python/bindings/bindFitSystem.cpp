#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/SpatialComparison.h"
#include "psfmatch/fit/SpatialSystem.h"
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

// A system and the threads of its calls.
struct ThreadedSystem {
    SpatialSystem system;
    int nThreads;
};

using IndexVector = py::array_t<Index, py::array::c_style | py::array::forcecast>;
using BoolVector = py::array_t<bool, py::array::c_style | py::array::forcecast>;

// Whole numbers only: flags or fractions are no folds.
std::vector<Index> foldsOf(py::array const& folds) {
    if (folds.ndim() != 1 || folds.dtype().kind() != 'i') {
        throw py::value_error("folds must be whole numbers (stamps), not " + std::string(py::str(folds.dtype())) +
                              " in " + std::to_string(folds.ndim()) + " dimensions");
    }
    auto const numbers = folds.cast<IndexVector>();
    return {numbers.data(), numbers.data() + numbers.size()};
}

std::vector<char> flagsOf(std::optional<BoolVector> const& flags, Index nStamps) {
    if (!flags) {
        return {};
    }
    if (flags->ndim() != 1 || flags->size() != nStamps) {
        throw py::value_error("`without` must hold one flag for each of " + std::to_string(nStamps) + " stamps");
    }
    return {flags->data(), flags->data() + flags->size()};
}

py::object arrayOrNone(Eigen::MatrixXd const& matrix) {
    return matrix.size() == 0 ? py::object(py::none()) : py::object(arrayOf(matrix));
}

py::array_t<double> rowsOf(RowMatrix const& matrix) {
    return py::array_t<double>({matrix.rows(), matrix.cols()}, matrix.data());
}

py::tuple tupleOf(SpatialModelOptions const& options) {
    return py::make_tuple(py::tuple(py::cast(options.images)), options.kernel, options.background, options.shapeScale,
                          options.variationScale, options.widthScale, options.scale);
}

// Orders stand for the polynomials of the frame.
py::object replaced(SpatialModelOptions const& options, py::kwargs const& changes) {
    py::dict const fields(py::arg("images") = options.images, py::arg("kernel") = options.kernel,
                          py::arg("background") = options.background, py::arg("shapeScale") = options.shapeScale,
                          py::arg("variationScale") = options.variationScale,
                          py::arg("widthScale") = options.widthScale, py::arg("scale") = options.scale);
    for (auto const& [key, value] : changes) {
        auto const name = key.cast<std::string>();
        if (name == "kernelOrder") {
            fields["kernel"] = options.kernel.ofOrder(value.cast<int>());
        } else if (name == "backgroundOrder") {
            fields["background"] = options.background.ofOrder(value.cast<int>());
        } else {
            fields[key] = value;
        }
    }
    return py::type::of<SpatialModelOptions>()(**fields);
}

void bindSolutions(py::module_& module) {
    py::class_<SpatialModelOptions>(module, "SpatialModelOptions")
        .def(py::init([](std::vector<Index> const& images, SpatialFunction const& kernel,
                         SpatialFunction const& background, double shapeScale, double variationScale, double widthScale,
                         SpatialFunction const& scale) {
                 return SpatialModelOptions{images, kernel, background, shapeScale, variationScale, widthScale, scale};
             }),
             py::arg("images"), py::arg("kernel"), py::arg("background"), py::arg("shapeScale"),
             py::arg("variationScale"), py::arg("widthScale") = 0.0, py::arg("scale") = SpatialFunction())
        .def_property_readonly("images",
                               [](SpatialModelOptions const& options) { return py::tuple(py::cast(options.images)); })
        .def_readonly("kernel", &SpatialModelOptions::kernel)
        .def_readonly("background", &SpatialModelOptions::background)
        .def_readonly("scale", &SpatialModelOptions::scale)
        .def_property_readonly("whole", &SpatialModelOptions::whole)
        .def_property_readonly("kernelOrder", [](SpatialModelOptions const& options) { return options.kernel.order(); })
        .def_property_readonly("backgroundOrder",
                               [](SpatialModelOptions const& options) { return options.background.order(); })
        .def_readonly("shapeScale", &SpatialModelOptions::shapeScale)
        .def_readonly("variationScale", &SpatialModelOptions::variationScale)
        .def_readonly("widthScale", &SpatialModelOptions::widthScale)
        .def_property_readonly("nParameters", &SpatialModelOptions::nParameters)
        .def("replaced", &replaced)
        .def(
            "__eq__",
            [](SpatialModelOptions const& options, SpatialModelOptions const& other) { return options == other; },
            py::is_operator())
        .def("__hash__", [](SpatialModelOptions const& options) { return py::hash(tupleOf(options)); })
        .def("__repr__",
             [](SpatialModelOptions const& options) {
                 return "SpatialModelOptions" + std::string(py::repr(tupleOf(options)));
             })
        .def("__reduce__", [](SpatialModelOptions const& options) {
            return py::make_tuple(py::type::of<SpatialModelOptions>(), tupleOf(options));
        });
    py::class_<SpatialSolution>(module, "SpatialSolution")
        .def_property_readonly("kernel", [](SpatialSolution const& solution) { return arrayOf(solution.kernel); })
        .def_property_readonly("background",
                               [](SpatialSolution const& solution) { return arrayOf(solution.background); })
        .def_readonly("kernelFunction", &SpatialSolution::kernelFunction)
        .def_readonly("backgroundFunction", &SpatialSolution::backgroundFunction)
        .def_readonly("conditionNumber", &SpatialSolution::conditionNumber)
        .def_readonly("kernelSumError", &SpatialSolution::kernelSumError)
        .def_property_readonly("kernelCovariance",
                               [](SpatialSolution const& solution) { return arrayOrNone(solution.kernelCovariance); })
        .def_property_readonly(
            "backgroundCovariance",
            [](SpatialSolution const& solution) { return arrayOrNone(solution.backgroundCovariance); })
        .def("part", &partOf, py::arg("images"));
}

void bindSystem(py::module_& module) {
    py::class_<ThreadedSystem>(module, "SpatialSystem")
        .def(py::init([](StampEquations const& equations, DoubleArray const& x, DoubleArray const& y,
                         py::array const& folds, SpatialFunction const& function, DoubleArray const& basisList,
                         double kernelNorm, std::optional<DoubleArray> const& noiseImages, int nThreads) {
                 auto const xs = vectorOf(x, "x");
                 auto const ys = vectorOf(y, "y");
                 auto const numbers = foldsOf(folds);
                 auto const basis = basisOf(basisList);
                 KernelBasis const noise = noiseImages ? basisOf(*noiseImages) : KernelBasis{};
                 auto const execution = interruptible(nThreads);
                 py::gil_scoped_release const release;
                 return ThreadedSystem{SpatialSystem(equations, xs, ys, numbers, function, basis, kernelNorm, execution,
                                                     {}, noiseImages ? &noise : nullptr),
                                       nThreads};
             }),
             py::arg("equations"), py::arg("x"), py::arg("y"), py::arg("folds"), py::arg("function"),
             py::arg("basisList"), py::arg("kernelNorm"), py::kw_only(), py::arg("noiseImages") = py::none(),
             py::arg("nThreads") = 1)
        .def("__len__", [](ThreadedSystem const& self) { return self.system.size(); })
        .def_property_readonly("nFolds", [](ThreadedSystem const& self) { return self.system.nFolds(); })
        .def(
            "solve",
            [](ThreadedSystem const& self, SpatialModelOptions const& options, bool withCovariance,
               std::optional<BoolVector> const& without) {
                auto const flags = flagsOf(without, self.system.size());
                auto const execution = interruptible(self.nThreads);
                py::gil_scoped_release const release;
                return self.system.solve(options, withCovariance, flags, execution);
            },
            py::arg("options"), py::kw_only(), py::arg("withCovariance") = false, py::arg("without") = py::none())
        .def(
            "heldOut",
            [](ThreadedSystem const& self, SpatialModelOptions const& options) {
                auto const execution = interruptible(self.nThreads);
                StampValues values;
                {
                    py::gil_scoped_release const release;
                    values = self.system.heldOut(options, execution);
                }
                return py::make_tuple(rowsOf(values.coefficients), arrayOf(values.backgrounds),
                                      arrayOf(values.chiSquares));
            },
            py::arg("options"))
        .def(
            "at",
            [](ThreadedSystem const& self, SpatialSolution const& solution) {
                StampValues const values = withoutLock([&] { return self.system.at(solution); });
                return py::make_tuple(rowsOf(values.coefficients), arrayOf(values.backgrounds));
            },
            py::arg("solution"))
        .def(
            "chiSquares",
            [](ThreadedSystem const& self, DoubleArray const& coefficients, DoubleArray const& backgrounds) {
                RowMatrix const rows = matrixOf(coefficients, "coefficients");
                auto const values = vectorOf(backgrounds, "backgrounds");
                auto const execution = interruptible(self.nThreads);
                Eigen::VectorXd result;
                {
                    py::gil_scoped_release const release;
                    result = self.system.chiSquares(rows, values, execution);
                }
                return arrayOf(result);
            },
            py::arg("coefficients"), py::arg("backgrounds"))
        .def(
            "lightGain",
            [](ThreadedSystem const& self, SpatialSolution const& solution) {
                auto const execution = interruptible(self.nThreads);
                py::gil_scoped_release const release;
                return self.system.lightGain(solution, execution);
            },
            py::arg("solution"));
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
    bindSolutions(module);
    bindSystem(module);
    module.def(
        "pairedGain",
        [](DoubleArray const& first, DoubleArray const& second) {
            auto const one = vectorOf(first, "first");
            auto const other = vectorOf(second, "second");
            py::gil_scoped_release const release;
            PairedGain const found = pairedGain(one, other);
            return std::tuple(found.gain, found.error);
        },
        py::arg("first"), py::arg("second"));
}

}  // namespace psfmatch::python

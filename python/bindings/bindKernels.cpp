#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"
#include "psfmatch/kernel/Regularization.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch::python {

namespace {

py::tuple tupleOf(Frame const& frame) {
    return py::make_tuple(frame.xCentre, frame.yCentre, frame.xScale, frame.yScale);
}

py::tuple tupleOf(SpatialFunction const& function) {
    std::vector<double> const numbers = function.form().numbers();
    return py::make_tuple(function.form().name(), py::tuple(py::cast(numbers)));
}

// A value: equal, hashed and pickled by the arguments that it is made of.
template <typename Value, typename Class>
void bindAsValue(Class& bound) {
    bound.def(
             "__eq__", [](Value const& one, Value const& other) { return one == other; }, py::is_operator())
        .def("__hash__", [](Value const& value) { return py::hash(tupleOf(value)); })
        .def("__reduce__", [](Value const& value) { return py::make_tuple(py::type::of<Value>(), tupleOf(value)); });
}

}  // namespace

void bindKernels(py::module_& module) {
    py::native_enum<SpatialModel>(module, "SpatialModel", "enum.Enum")
        .value("chebyshev1", SpatialModel::chebyshev1)
        .value("polynomial", SpatialModel::polynomial)
        .finalize();
    py::class_<Frame> frame(module, "Frame");
    frame
        .def(py::init<double, double, double, double>(), py::arg("xCentre") = 0.0, py::arg("yCentre") = 0.0,
             py::arg("xScale") = 1.0, py::arg("yScale") = 1.0)
        .def_readonly("xCentre", &Frame::xCentre)
        .def_readonly("yCentre", &Frame::yCentre)
        .def_readonly("xScale", &Frame::xScale)
        .def_readonly("yScale", &Frame::yScale);
    bindAsValue<Frame>(frame);
    module.def(
        "frameOf", [](Index x0, Index y0, Index width, Index height) { return frameOf({x0, y0, width, height}); },
        py::arg("x0"), py::arg("y0"), py::arg("width"), py::arg("height"));

    py::class_<SpatialFunction> spatialFunction(module, "SpatialFunction");
    bindAsValue<SpatialFunction>(spatialFunction);
    spatialFunction
        .def(py::init<SpatialModel, int, Frame const&>(), py::arg("model"), py::arg("order"), py::arg("frame"))
        .def(py::init(&makeSpatialFunction), py::arg("name"), py::arg("numbers"))
        .def_static("bSplines", &makeBSplines, py::arg("degree"), py::arg("xKnots"), py::arg("yKnots"),
                    py::arg("frame"))
        .def("joined", &joined, py::arg("other"))
        .def("ofOrder", &SpatialFunction::ofOrder, py::arg("order"))
        .def_property_readonly("name", [](SpatialFunction const& function) { return function.form().name(); })
        .def_property_readonly(
            "numbers", [](SpatialFunction const& function) { return py::tuple(py::cast(function.form().numbers())); })
        .def_property_readonly("told", [](SpatialFunction const& function) { return function.form().told(); })
        .def_property_readonly("order", &SpatialFunction::order)
        .def_property_readonly("frame", &SpatialFunction::frame)
        .def_property_readonly("size", &SpatialFunction::size)
        .def("__repr__",
             [](SpatialFunction const& function) {
                 return "SpatialFunction" + std::string(py::repr(tupleOf(function)));
             })
        .def(
            "evaluate",
            [](SpatialFunction const& function, DoubleArray const& x, DoubleArray const& y) {
                Eigen::VectorXd const xs = vectorOf(x, "x");
                Eigen::VectorXd const ys = vectorOf(y, "y");
                if (xs.size() != ys.size()) {
                    throw py::value_error(std::to_string(xs.size()) + " x for " + std::to_string(ys.size()) +
                                          " y positions");
                }
                return arrayOf(withoutLock([&] {
                    Eigen::MatrixXd values(xs.size(), function.size());
                    for (Index i = 0; i < xs.size(); ++i) {
                        values.row(i) = function.evaluate(xs[i], ys[i]).transpose();
                    }
                    return values;
                }));
            },
            py::arg("x"), py::arg("y"));
    module.def(
        "changeFrame",
        [](DoubleArray const& coefficients, SpatialFunction const& from, Frame const& to) {
            Eigen::MatrixXd const given = matrixOf(coefficients, "coefficients");
            return arrayOf(withoutLock([&] { return changeFrame(given, from, to); }));
        },
        py::arg("coefficients"), py::arg("function"), py::arg("frame"));

    module.def(
        "makeAlardLuptonBasis",
        [](Index halfWidth, std::vector<double> const& sigmas, std::vector<int> const& degrees, bool hermite) {
            auto const polynomials = hermite ? Polynomials::hermite : Polynomials::monomials;
            return arrayOf(withoutLock([&] { return makeAlardLuptonBasis(halfWidth, sigmas, degrees, polynomials); }));
        },
        py::arg("halfWidth"), py::arg("sigmas"), py::arg("degrees"), py::arg("hermite") = false);
    module.def(
        "alardLuptonImages",
        [](std::vector<int> const& degrees, std::vector<int> const& within) {
            return py::tuple(py::cast(withoutLock([&] { return alardLuptonImages(degrees, within); })));
        },
        py::arg("degrees"), py::arg("within"));
    module.def(
        "renormalizeBasis",
        [](DoubleArray const& basis) {
            KernelBasis const given = basisOf(basis);
            return arrayOf(withoutLock([&] { return renormalize(given); }));
        },
        py::arg("basis"));

    module.def(
        "makeDeltaFunctionBasis",
        [](Index width, Index height) {
            return arrayOf(withoutLock([&] { return makeDeltaFunctionBasis(width, height); }));
        },
        py::arg("width"), py::arg("height"));

    py::native_enum<RegularizationKind>(module, "RegularizationKind", "enum.Enum")
        .value("centralDifference", RegularizationKind::centralDifference)
        .value("forwardDifference", RegularizationKind::forwardDifference)
        .finalize();
    module.def(
        "makeRegularizationMatrix",
        [](Index width, Index height, RegularizationKind kind, int stencil, std::vector<int> const& orders,
           double borderPenalty) {
            return arrayOf(withoutLock(
                [&] { return makeRegularizationMatrix(width, height, {kind, stencil, orders, borderPenalty}); }));
        },
        py::arg("width"), py::arg("height"), py::kw_only(), py::arg("kind"), py::arg("stencil") = 9,
        py::arg("orders") = std::vector<int>{1, 2}, py::arg("borderPenalty") = 3.0);
    py::native_enum<LambdaType>(module, "LambdaType", "enum.Enum")
        .value("absolute", LambdaType::absolute)
        .value("relative", LambdaType::relative)
        .value("minimizeBiasedRisk", LambdaType::minimizeBiasedRisk)
        .value("minimizeUnbiasedRisk", LambdaType::minimizeUnbiasedRisk)
        .finalize();
    py::class_<Regularization>(module, "Regularization")
        .def(py::init([](DoubleArray const& matrix, LambdaType lambdaType, double lambdaValue, double lambdaScaling,
                         std::vector<double> const& lambdas, double maxConditionNumber) {
                 Regularization regularization{
                     matrixOf(matrix, "matrix"), lambdaType, lambdaValue, lambdaScaling, lambdas, maxConditionNumber};
                 withoutLock([&] { validate(regularization, regularization.matrix.rows()); });
                 return regularization;
             }),
             py::arg("matrix"), py::kw_only(), py::arg("lambdaType") = LambdaType::absolute,
             py::arg("lambdaValue") = 0.2, py::arg("lambdaScaling") = 1e-4, py::arg("lambdas") = std::vector<double>(),
             py::arg("maxConditionNumber") = 5e6)
        .def_property_readonly("matrix", [](Regularization const& self) { return arrayOf(self.matrix); })
        .def_readonly("lambdaType", &Regularization::lambdaType)
        .def_readonly("lambdaValue", &Regularization::lambdaValue)
        .def_readonly("lambdaScaling", &Regularization::lambdaScaling)
        .def_readonly("lambdas", &Regularization::lambdas)
        .def_readonly("maxConditionNumber", &Regularization::maxConditionNumber);

    py::class_<PreparedBasis>(module, "PreparedBasis")
        .def(py::init([](DoubleArray const& basis) {
                 KernelBasis given = basisOf(basis);
                 return withoutLock([&] { return prepare(std::move(given)); });
             }),
             py::arg("basis"))
        .def_property_readonly("size", [](PreparedBasis const& self) { return self.basis.size(); })
        .def_property_readonly("isSeparable", [](PreparedBasis const& self) { return self.separable.has_value(); })
        .def_property_readonly("isDeltaFunction", [](PreparedBasis const& self) { return self.deltas.has_value(); });
}

}  // namespace psfmatch::python

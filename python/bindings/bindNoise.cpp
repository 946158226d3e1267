#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"
#include "psfmatch/image/CellGrid.h"
#include "psfmatch/image/VariancePlane.h"
#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/KernelUncertainty.h"
#include "psfmatch/kernel/NoiseCovariance.h"
#include "psfmatch/sources/ErrorFloor.h"
#include "psfmatch/sources/PhotonNoise.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

LinearCombinationKernel kernelOf(DoubleArray const& basis, DoubleArray const& parameters,
                                 SpatialFunction const& spatial) {
    return {basisOf(basis), spatial, matrixOf(parameters, "parameters")};
}

void bindCellGrid(py::module_& module) {
    py::class_<CellGrid>(module, "CellGrid",
                         "Typical values (ny, nx) in cells of an image, whose centres lie at x (nx,) and y (ny,), "
                         "parent pixels.")
        .def(py::init([](DoubleArray const& values, DoubleArray const& x, DoubleArray const& y) {
                 CellGrid grid{matrixOf(values, "values"), vectorOf(x, "x"), vectorOf(y, "y")};
                 if (grid.values.rows() != grid.y.size() || grid.values.cols() != grid.x.size() ||
                     grid.values.size() == 0) {
                     throw py::value_error("values (ny, nx) do not belong to x (nx,) and y (ny,)");
                 }
                 return grid;
             }),
             py::arg("values"), py::arg("x"), py::arg("y"))
        .def_property_readonly("values", [](CellGrid const& grid) { return arrayOf(grid.values); })
        .def_property_readonly("x", [](CellGrid const& grid) { return arrayOf(Eigen::VectorXd(grid.x)); })
        .def_property_readonly("y", [](CellGrid const& grid) { return arrayOf(Eigen::VectorXd(grid.y)); })
        .def_property_readonly("isKnown", &CellGrid::isKnown, "Whether any cell has a value above zero.")
        .def(
            "at",
            [](CellGrid const& grid, DoubleArray const& x, DoubleArray const& y) {
                Eigen::VectorXd const xs = vectorOf(x, "x");
                Eigen::VectorXd const ys = vectorOf(y, "y");
                if (xs.size() != ys.size()) {
                    throw py::value_error("x and y differ in length");
                }
                return arrayOf(withoutLock([&] {
                    Eigen::VectorXd values(xs.size());
                    for (Index i = 0; i < xs.size(); ++i) {
                        values[i] = grid.at(xs[i], ys[i]);
                    }
                    return values;
                }));
            },
            py::arg("x"), py::arg("y"),
            "Return values at positions x and y (n,): linear between centres of cells, constant beyond.");
    module.def(
        "measureCells",
        [](py::array const& plane, py::array const& variance, py::array const& mask, MaskPixel badBits, bool isVariance,
           Index x0, Index y0, int nThreads) {
            MaskedImageView const view = maskedViewOf(plane, variance, mask);
            CellGridControl const control{badBits, isVariance, x0, y0};
            auto const execution = interruptible(nThreads);
            return withoutLock([&] { return measureCells(view, view.image, control, execution); });
        },
        py::arg("plane"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::kw_only(),
        py::arg("isVariance"), py::arg("x0"), py::arg("y0"), py::arg("nThreads") = 1);
}

PointProfile profileOf(StampTuple const& difference, StampTuple const& image, double sigma, double scale,
                       bool isMinuend) {
    return {sigma, scale, isMinuend, badBitsOf(difference), badBitsOf(image)};
}

void bindErrorFloor(py::module_& module) {
    module.def(
        "errorFloor",
        [](StampTuple const& difference, StampTuple const& image, BlankSky const& sky, double sigma, double scale,
           bool isMinuend, int nThreads) {
            std::array<MaskedImageView, 2> const views{viewsOf(difference), viewsOf(image)};
            PointProfile const profile = profileOf(difference, image, sigma, scale, isMinuend);
            auto const execution = interruptible(nThreads);
            ErrorFloor const found =
                withoutLock([&] { return errorFloor(views[0], views[1], sky, profile, {}, execution); });
            return py::make_tuple(found.share, found.pull, found.pullError, found.skyPull, found.nSources,
                                  found.nPlaces);
        },
        py::arg("difference"), py::arg("image"), py::arg("sky"), py::kw_only(), py::arg("sigma"),
        py::arg("scale") = 1.0, py::arg("isMinuend") = true, py::arg("nThreads") = 1);
    module.def(
        "errorFloorPlane",
        [](StampTuple const& difference, StampTuple const& image, double share, double sigma, double scale,
           bool isMinuend, int nThreads) {
            std::array<MaskedImageView, 2> const views{viewsOf(difference), viewsOf(image)};
            PointProfile const profile = profileOf(difference, image, sigma, scale, isMinuend);
            auto const execution = interruptible(nThreads);
            return arrayOf(withoutLock([&] { return errorFloorPlane(views[0], views[1], share, profile, execution); }));
        },
        py::arg("difference"), py::arg("image"), py::kw_only(), py::arg("share"), py::arg("sigma"),
        py::arg("scale") = 1.0, py::arg("isMinuend") = true, py::arg("nThreads") = 1);
}

void bindPhotonNoise(py::module_& module) {
    module.def(
        "photonNoise",
        [](StampTuple const& difference, StampTuple const& image, double scale, bool isMinuend, int nThreads) {
            std::array<MaskedImageView, 2> const views{viewsOf(difference), viewsOf(image)};
            PhotonNoiseControl control;
            control.scale = scale;
            control.isMinuend = isMinuend;
            control.badBits = badBitsOf(difference);
            control.imageBits = badBitsOf(image);
            auto const execution = interruptible(nThreads);
            PhotonNoise const found = withoutLock([&] { return photonNoise(views[0], views[1], control, execution); });
            return py::make_tuple(found.perCount, found.perCountError, found.share, found.nPixels);
        },
        py::arg("difference"), py::arg("image"), py::kw_only(), py::arg("scale") = 1.0, py::arg("isMinuend") = true,
        py::arg("nThreads") = 1);
    module.def(
        "withPhotonNoise",
        [](StampTuple const& image, double perCount, double leastSigmas, int nThreads) {
            MaskedImageView const view = viewsOf(image);
            MaskPixel const badBits = badBitsOf(image);
            auto const execution = interruptible(nThreads);
            return arrayOf(
                withoutLock([&] { return withPhotonNoise(view, perCount, leastSigmas, badBits, execution); }));
        },
        py::arg("image"), py::kw_only(), py::arg("perCount"), py::arg("leastSigmas"), py::arg("nThreads") = 1);
}

void bindVariancePlane(py::module_& module) {
    module.def(
        "multipliedPlane",
        [](py::array const& variance, float factor, int nThreads) {
            auto const given = viewOf<float>(variance, "variance");
            py::array_t<float> result({given.rows(), given.cols()});
            auto const own = mutableViewOf<float>(result, "result");
            auto const execution = interruptible(nThreads);
            withoutLock([&] { multiplyPlane(given, factor, own, execution); });
            return result;
        },
        py::arg("variance"), py::arg("factor"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "addPhotons",
        [](py::array const& image, py::array variance, float level, float least, float gain, int nThreads) {
            auto const light = viewOf<float>(image, "image");
            auto const plane = mutableViewOf<float>(variance, "variance");
            auto const execution = interruptible(nThreads);
            withoutLock([&] { addPhotons(light, level, least, gain, plane, execution); });
        },
        py::arg("image"), py::arg("variance"), py::kw_only(), py::arg("level"), py::arg("least"), py::arg("gain"),
        py::arg("nThreads") = 1);
}

}  // namespace

void bindNoise(py::module_& module) {
    bindCellGrid(module);
    bindErrorFloor(module);
    bindPhotonNoise(module);
    bindVariancePlane(module);
    module.def(
        "composed",
        [](DoubleArray const& first, DoubleArray const& second, int nThreads) {
            KernelBasis const a = basisOf(first);
            KernelBasis const b = basisOf(second);
            auto const execution = interruptible(nThreads);
            return arrayOf(withoutLock([&] { return composed(a, b, execution); }));
        },
        py::arg("first"), py::arg("second"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "noiseCovariance",
        [](DoubleArray const& weights, py::array const& variance, Index row, Index column, Index maxLag) {
            if (weights.ndim() != 2) {
                throw py::value_error("weights have two dimensions");
            }
            ConstImageView<double> const factors(weights.data(), weights.shape(0), weights.shape(1),
                                                 Eigen::OuterStride<>(weights.shape(1)));
            auto const plane = viewOf<float>(variance, "variance");
            return arrayOf(withoutLock([&] { return noiseCovariance(factors, plane, row, column, maxLag); }));
        },
        py::arg("weights"), py::arg("variance"), py::kw_only(), py::arg("row"), py::arg("column"), py::arg("maxLag"));
    module.def(
        "kernelUncertainty",
        [](StampTuple const& image, py::array const& noise, DoubleArray const& basis, DoubleArray const& parameters,
           SpatialFunction const& spatial, DoubleArray const& covariance, py::object const& correction, Index x0,
           Index y0, double divisor, double minShare, int nThreads) {
            MaskedImageView const view = viewsOf(image);
            auto const differenceVariance = viewOf<float>(noise, "noise");
            LinearCombinationKernel const kernel = kernelOf(basis, parameters, spatial);
            Eigen::MatrixXd const errors = matrixOf(covariance, "covariance");
            LinearCombinationKernel phi;
            if (!correction.is_none()) {
                auto const [images, weights, function] =
                    correction.cast<std::tuple<DoubleArray, DoubleArray, SpatialFunction>>();
                phi = kernelOf(images, weights, function);
            }
            KernelUncertaintyControl const control{badBitsOf(image), divisor, minShare};
            auto const execution = interruptible(nThreads);
            return arrayOf(withoutLock([&] {
                return kernelUncertainty(view, differenceVariance, kernel, errors,
                                         correction.is_none() ? nullptr : &phi, x0, y0, control, execution);
            }));
        },
        py::arg("image"), py::arg("noise"), py::arg("basis"), py::arg("parameters"), py::arg("spatial"),
        py::arg("covariance"), py::arg("correction"), py::arg("x0"), py::arg("y0"), py::kw_only(), py::arg("divisor"),
        py::arg("minShare"), py::arg("nThreads") = 1);
}

}  // namespace psfmatch::python

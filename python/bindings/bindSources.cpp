#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"
#include "psfmatch/image/SkySurface.h"
#include "psfmatch/image/background.h"
#include "psfmatch/image/badPixels.h"
#include "psfmatch/sources/sources.h"

namespace psfmatch::python {

namespace {

// A structured array of numpy, a copy.
template <typename Record>
py::array_t<Record> arrayOf(std::vector<Record> const& records) {
    return py::array_t<Record>(static_cast<py::ssize_t>(records.size()), records.data());
}

py::tuple tupleOf(FoundSources const& found) {
    return py::make_tuple(arrayOf(found.sources), arrayOf(found.runs), found.footprintCount);
}

py::array_t<float> arrayOfFloats(OwnedImage<float> const& image) {
    py::array_t<float> array({image.rows(), image.cols()});
    Eigen::Map<OwnedImage<float>>(array.mutable_data(), image.rows(), image.cols()) = image;
    return array;
}

OwnedImage<float> copyOf(py::array const& array, char const* name) {
    return viewOf<float>(array, name);
}

SkyGrid gridOf(py::array const& values, py::array const& variances, std::vector<Index> edgesX,
               std::vector<Index> edgesY) {
    return {viewOf<double>(values, "values"), viewOf<double>(variances, "variances"), std::move(edgesX),
            std::move(edgesY)};
}

void bindSkySurface(py::module_& module) {
    py::native_enum<SkyCurve>(module, "SkyCurve", "enum.Enum")
        .value("CONSTANT", SkyCurve::constant)
        .value("LINEAR", SkyCurve::linear)
        .value("NATURAL_SPLINE", SkyCurve::naturalSpline)
        .value("AKIMA_SPLINE", SkyCurve::akimaSpline)
        .finalize();
    module.def(
        "skySurface",
        [](py::array const& values, py::array const& variances, std::vector<Index> edgesX, std::vector<Index> edgesY,
           int order, bool isWeighted, SkyCurve alongX, SkyCurve alongY) {
            SkyGrid const grid = gridOf(values, variances, std::move(edgesX), std::move(edgesY));
            SkySurface const surface =
                withoutLock([&] { return skySurface(grid, {order, isWeighted, alongX, alongY}); });
            return py::make_tuple(arrayOfFloats(surface.rows), arrayOfFloats(surface.columns));
        },
        py::arg("values"), py::arg("variances"), py::arg("edgesX"), py::arg("edgesY"), py::kw_only(),
        py::arg("order") = -1, py::arg("isWeighted") = false, py::arg("alongX") = SkyCurve::linear,
        py::arg("alongY") = SkyCurve::linear);
    module.def(
        "skyAt",
        [](py::array const& values, py::array const& variances, std::vector<Index> edgesX, std::vector<Index> edgesY,
           DoubleArray const& x, DoubleArray const& y, int order, bool isWeighted, SkyCurve alongX, SkyCurve alongY) {
            SkyGrid const grid = gridOf(values, variances, std::move(edgesX), std::move(edgesY));
            auto const xs = spanOf(x);
            auto const ys = spanOf(y);
            auto const sky = withoutLock([&] { return skyAt(grid, {order, isWeighted, alongX, alongY}, xs, ys); });
            return py::array_t<double>(static_cast<py::ssize_t>(sky.size()), sky.data());
        },
        py::arg("values"), py::arg("variances"), py::arg("edgesX"), py::arg("edgesY"), py::arg("x"), py::arg("y"),
        py::kw_only(), py::arg("order") = -1, py::arg("isWeighted") = false, py::arg("alongX") = SkyCurve::linear,
        py::arg("alongY") = SkyCurve::linear);
    module.def(
        "skyLevel",
        [](py::array const& rows, py::array const& columns, Index step) {
            auto const factors = copyOf(rows, "rows");
            auto const functions = copyOf(columns, "columns");
            return withoutLock([&] { return skyLevel(factors, functions, step); });
        },
        py::arg("rows"), py::arg("columns"), py::kw_only(), py::arg("step"));
}

}  // namespace

void bindSources(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(PixelRun, y, x0, x1, footprint);
    PYBIND11_NUMPY_DTYPE(Source, x, y, flux, peak, threshold, a, b, xPeak, yPeak, nPixels, footprint, flags);

    py::class_<FilledPixels>(module, "FilledPixels").def("__len__", [](FilledPixels const& filled) {
        return filled.pixels.size();
    });
    module.def(
        "fillBadPixels",
        [](py::array const& image, py::array const& variance, py::array const& mask, MaskPixel badBits, int nThreads) {
            auto const view = maskedViewOf(image, variance, mask);
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return fillBadPixels(view, badBits, execution);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("badBits"), py::kw_only(),
        py::arg("nThreads") = 1);
    module.def(
        "findSources",
        [](py::array const& image, py::array const& variance, FilledPixels const& filled, std::vector<double> profile,
           double threshold, bool perPixel, double minStdev, bool findPositive, bool findNegative, Index minPixels,
           int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const variances = viewOf<float>(variance, "variance");
            SourceControl control;
            control.profile = std::move(profile);
            control.threshold = threshold;
            control.perPixel = perPixel;
            control.minStdev = minStdev;
            control.findPositive = findPositive;
            control.findNegative = findNegative;
            control.minPixels = minPixels;
            auto const execution = interruptible(nThreads);
            FoundSourcesOfBothSigns found;
            {
                py::gil_scoped_release const release;
                found = findSources(pixels, variances, filled, control, execution);
            }
            return py::make_tuple(tupleOf(found.positive), tupleOf(found.negative));
        },
        py::arg("image"), py::arg("variance"), py::arg("filled"), py::kw_only(), py::arg("profile"),
        py::arg("threshold"), py::arg("perPixel") = false, py::arg("minStdev") = 0.0, py::arg("findPositive") = true,
        py::arg("findNegative") = false, py::arg("minPixels") = 1, py::arg("nThreads") = 1);
    module.def(
        "smoothedSamples",
        [](py::array const& image, FilledPixels const& filled, std::vector<double> const& profile, Index rowStep,
           Index columnStep, int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const execution = interruptible(nThreads);
            OwnedImage<float> samples;
            {
                py::gil_scoped_release const release;
                samples = smoothedSamples(pixels, filled, profile, rowStep, columnStep, execution);
            }
            return arrayOfFloats(samples);
        },
        py::arg("image"), py::arg("filled"), py::kw_only(), py::arg("profile"), py::arg("rowStep"),
        py::arg("columnStep"), py::arg("nThreads") = 1);

    py::native_enum<SuperPixelStatistic>(module, "SuperPixelStatistic", "enum.Enum")
        .value("MEANCLIP", SuperPixelStatistic::meanClip)
        .value("MEAN", SuperPixelStatistic::mean)
        .value("MEDIAN", SuperPixelStatistic::median)
        .finalize();
    module.def(
        "superPixelStatistics",
        [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
           std::vector<Index> edgesX, std::vector<Index> edgesY, Index stepX, Index stepY,
           SuperPixelStatistic statistic, int nThreads) {
            SuperPixelControl const control{std::move(edgesX), std::move(edgesY), stepX, stepY, statistic};
            auto const execution = interruptible(nThreads);
            SuperPixels found;
            if (variance.is_none() != mask.is_none()) {
                throw py::type_error("variance and mask must both be given, or neither");
            }
            if (variance.is_none()) {
                auto const view = viewOf<float>(image, "image");
                py::gil_scoped_release const release;
                found = superPixelStatistics(view, control, execution);
            } else {
                auto const view = maskedViewOf(image, py::cast<py::array>(variance), py::cast<py::array>(mask));
                py::gil_scoped_release const release;
                found = superPixelStatistics(view, badBits, control, execution);
            }
            return py::make_tuple(arrayOf(found.values), arrayOf(found.variances));
        },
        py::arg("image"), py::arg("variance") = py::none(), py::arg("mask") = py::none(), py::arg("badBits") = 0,
        py::kw_only(), py::arg("edgesX"), py::arg("edgesY"), py::arg("stepX") = 1, py::arg("stepY") = 1,
        py::arg("statistic") = SuperPixelStatistic::meanClip, py::arg("nThreads") = 1);
    module.def(
        "subtractSurface",
        [](py::array const& image, py::array const& rows, py::array const& columns, int nThreads) {
            auto const input = viewOf<float>(image, "image");
            auto const factors = copyOf(rows, "rows");
            auto const functions = copyOf(columns, "columns");
            py::array output = py::array_t<float>(std::vector<py::ssize_t>{input.rows(), input.cols()});
            auto const target = mutableViewOf<float>(output, "image");
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                subtractSurface(input, factors, functions, execution, target);
            }
            return output;
        },
        py::arg("image"), py::arg("rows"), py::arg("columns"), py::kw_only(), py::arg("nThreads") = 1);
    bindSkySurface(module);
}

}  // namespace psfmatch::python

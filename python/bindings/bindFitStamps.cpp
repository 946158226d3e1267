#include <pybind11/stl.h>

#include <memory>
#include <vector>

#include "arrays.h"
#include "module.h"
#include "psfmatch/fit/RegionFit.h"
#include "psfmatch/fit/RegionOutliers.h"
#include "psfmatch/fit/RegionPlaces.h"
#include "psfmatch/fit/RegionResiduals.h"
#include "psfmatch/fit/RegionStamps.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

using PositionArray = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using FlagArray = py::array_t<bool, py::array::c_style | py::array::forcecast>;

std::span<std::int64_t const> positionsOf(PositionArray const& array, char const* name) {
    if (array.ndim() != 1) {
        throw py::value_error(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, must have 1");
    }
    return {array.data(), static_cast<std::size_t>(array.shape(0))};
}

// (regions, height, width), without the ends of the rows
template <typename Target, typename Pixel>
py::array_t<Target> stackOf(RegionShape const& shape, OwnedImage<Pixel> const& plane) {
    py::array_t<Target> array({plane.rows(), shape.height, shape.width});
    Target* to = array.mutable_data();
    for (Index k = 0; k < plane.rows(); ++k) {
        for (Index y = 0; y < shape.height; ++y) {
            Pixel const* const row = plane.row(k).data() + y * shape.stride;
            to = std::transform(row, row + shape.width, to, [](Pixel p) { return static_cast<Target>(p); });
        }
    }
    return array;
}

RegionFlags regionFlagsOf(FlagArray const& array) {
    if (array.ndim() != 3) {
        throw py::value_error("flags have " + std::to_string(array.ndim()) +
                              " dimensions, must be (regions, height, width)");
    }
    RegionShape const shape = regionShape(array.shape(1), array.shape(2));
    RegionFlags flags{shape, RegionBytes::Zero(array.shape(0), shape.size())};
    bool const* from = array.data();
    for (Index k = 0; k < flags.flags.rows(); ++k) {
        for (Index y = 0; y < shape.height; ++y, from += shape.width) {
            std::copy_n(from, shape.width, flags.flags.row(k).data() + y * shape.stride);
        }
    }
    return flags;
}

std::shared_ptr<RegionStamps> readStamps(StampTuple const& templateImage, StampTuple const& science,
                                         PositionArray const& x, PositionArray const& y, Index halfWidth,
                                         Index kernelHeight, Index kernelWidth, MaskPixel saturatedBits,
                                         Index growTemplateBad, int nThreads) {
    MaskedImageView const templateView = viewsOf(templateImage);
    MaskedImageView const scienceView = viewsOf(science);
    auto const xs = positionsOf(x, "x");
    auto const ys = positionsOf(y, "y");
    RegionStampControl const control{
        halfWidth,     kernelHeight,   kernelWidth, std::get<3>(templateImage), std::get<3>(science),
        saturatedBits, growTemplateBad};
    auto const execution = interruptible(nThreads);
    py::gil_scoped_release const release;
    return std::make_shared<RegionStamps>(readRegionStamps(templateView, scienceView, xs, ys, control, execution));
}

// The science image with its sky, 0 where not usable.
RegionValues scienceOf(RegionStamps const& stamps) {
    auto const sky = static_cast<float>(stamps.scienceSky);
    return (stamps.usable != 0).select(stamps.science + sky, 0.0F);
}

void bindStamps(py::module_& module) {
    py::class_<RegionFlags>(module, "RegionFlags")
        .def(py::init(&regionFlagsOf), py::arg("flags"))
        .def("__len__", [](RegionFlags const& self) { return self.flags.rows(); })
        .def("asarray", [](RegionFlags const& self) { return stackOf<bool>(self.shape, self.flags); })
        .def(
            "__eq__", [](RegionFlags const& self, RegionFlags const& other) { return self == other; },
            py::is_operator())
        .def_property_readonly("fraction", &RegionFlags::fraction)
        .attr("__hash__") = py::none();
    py::class_<RegionStamps, std::shared_ptr<RegionStamps>>(module, "RegionStamps")
        .def(py::init(&readStamps), py::arg("template"), py::arg("science"), py::arg("x"), py::arg("y"),
             py::arg("halfWidth"), py::arg("kernelHeight"), py::arg("kernelWidth"), py::kw_only(),
             py::arg("saturatedBits") = 0, py::arg("growTemplateBad") = 2, py::arg("nThreads") = 1)
        .def("__len__", &RegionStamps::size)
        .def_property_readonly("height", [](RegionStamps const& self) { return self.shape.height; })
        .def_property_readonly("width", [](RegionStamps const& self) { return self.shape.width; })
        .def_property_readonly("usableFraction",
                               [](RegionStamps const& self) { return arrayOf(self.usableFraction()); })
        .def_property_readonly("usable",
                               [](RegionStamps const& self) { return stackOf<bool>(self.shape, self.usable); })
        .def_property_readonly("science",
                               [](RegionStamps const& self) { return stackOf<float>(self.shape, scienceOf(self)); })
        .def_property_readonly(
            "scienceVariance",
            [](RegionStamps const& self) { return stackOf<float>(self.shape, self.scienceVariance); })
        .def_property_readonly("templateVariance",
                               [](RegionStamps const& self) { return stackOf<float>(self.shape, self.varianceHere); });
    module.def(
        "tilePlaces",
        [](StampTuple const& image, Index halfWidth, Index margin, Index maxTiles, int nThreads) {
            MaskedImageView const view = viewsOf(image);
            auto const execution = interruptible(nThreads);
            RegionPlaces places;
            {
                py::gil_scoped_release const release;
                places = tilePlaces(view, std::get<3>(image), {halfWidth, margin, maxTiles}, execution);
            }
            return PositionArray({places.rows(), Index{2}}, places.data());
        },
        py::arg("image"), py::arg("halfWidth"), py::arg("margin"), py::arg("maxTiles"), py::kw_only(),
        py::arg("nThreads") = 1);
    module.def(
        "regionFolds",
        [](DoubleArray const& x, DoubleArray const& y) {
            auto const xs = vectorOf(x, "x");
            auto const ys = vectorOf(y, "y");
            std::vector<Index> const folds = withoutLock([&] { return regionFolds(xs, ys); });
            return PositionArray(static_cast<py::ssize_t>(folds.size()), folds.data());
        },
        py::arg("x"), py::arg("y"));
}

void bindResiduals(py::module_& module) {
    py::class_<RegionSummary>(module, "RegionSummary")
        .def_property_readonly("signal", [](RegionSummary const& self) { return arrayOf(self.signal); })
        .def_property_readonly("mean", [](RegionSummary const& self) { return arrayOf(self.mean); })
        .def_property_readonly("rms", [](RegionSummary const& self) { return arrayOf(self.rms); })
        .def_property_readonly("chiSquare", [](RegionSummary const& self) { return arrayOf(self.chiSquare); })
        .def_property_readonly("nPixels",
                               [](RegionSummary const& self) {
                                   return py::array_t<std::int64_t>(static_cast<py::ssize_t>(self.nPixels.size()),
                                                                    self.nPixels.data());
                               })
        .def_property_readonly("keptFraction", [](RegionSummary const& self) { return arrayOf(self.keptFraction); });
    py::class_<RegionResiduals>(module, "RegionResiduals")
        .def("__len__", &RegionResiduals::size)
        .def_property_readonly("pull",
                               [](RegionResiduals const& self) { return stackOf<float>(self.shape, self.pull); })
        .def_property_readonly("signal",
                               [](RegionResiduals const& self) { return stackOf<float>(self.shape, self.signal); })
        .def_property_readonly("variance",
                               [](RegionResiduals const& self) { return stackOf<float>(self.shape, self.variance); })
        .def_property_readonly("usable",
                               [](RegionResiduals const& self) { return stackOf<bool>(self.shape, self.usable); })
        .def(
            "brightScatter",
            [](RegionResiduals const& self, RegionFit const& fit, double kernelNorm, double brightSignal,
               double largestPull) {
                py::gil_scoped_release const release;
                BrightScatter const found = brightScatter(self, *fit.stamps, kernelNorm, brightSignal, largestPull);
                return std::tuple(found.scatter, found.pull, found.nRegions);
            },
            py::arg("fit"), py::arg("kernelNorm"), py::arg("brightSignal") = 5.0, py::arg("largestPull") = 5.0)
        .def(
            "summary",
            [](RegionResiduals const& self, RegionFlags const* rejected) {
                py::gil_scoped_release const release;
                return summarize(self, rejected);
            },
            py::arg("rejected"));
    module.def(
        "findOutliers",
        [](RegionResiduals const& residuals, double threshold, Index growth, int nThreads) {
            auto const execution = interruptible(nThreads);
            py::gil_scoped_release const release;
            return findOutliers(residuals, {threshold, growth}, execution);
        },
        py::arg("residuals"), py::kw_only(), py::arg("threshold"), py::arg("growth"), py::arg("nThreads") = 1);
}

}  // namespace

void bindFitStamps(py::module_& module) {
    bindStamps(module);
    bindResiduals(module);
    py::class_<RegionFit>(module, "RegionFit")
        .def(py::init([](std::shared_ptr<RegionStamps> stamps, PreparedBasis const& basis,
                         std::optional<DoubleArray> const& noiseImages, int nThreads) {
                 KernelBasis const noise = noiseImages ? basisOf(*noiseImages) : KernelBasis{};
                 auto const execution = interruptible(nThreads);
                 py::gil_scoped_release const release;
                 return makeRegionFit(std::move(stamps), basis, execution, InstructionSet::automatic,
                                      noiseImages ? &noise : nullptr);
             }),
             py::arg("stamps").none(false), py::arg("basis"), py::kw_only(), py::arg("noiseImages") = py::none(),
             py::arg("nThreads") = 1)
        .def("__len__", &RegionFit::size)
        .def_readonly("equations", &RegionFit::equations)
        .def_property_readonly("weightCounts",
                               [](RegionFit const& self) {
                                   auto const counts = self.weightCounts();
                                   return py::array_t<std::int64_t>(static_cast<py::ssize_t>(counts.size()),
                                                                    counts.data());
                               })
        .def_property_readonly("rejected", [](RegionFit const& self) { return self.rejected; })
        .def_property_readonly("rejectedFraction", [](RegionFit const& self) { return self.rejected.fraction(); })
        .def(
            "judge",
            [](RegionFit const& self, DoubleArray const& coefficients, DoubleArray const& backgrounds, int nThreads) {
                RowMatrix const rows = matrixOf(coefficients, "coefficients");
                Eigen::VectorXd const levels = vectorOf(backgrounds, "backgrounds");
                auto const execution = interruptible(nThreads);
                py::gil_scoped_release const release;
                return judge(self, rows, levels, execution);
            },
            py::arg("coefficients"), py::arg("backgrounds"), py::kw_only(), py::arg("nThreads") = 1)
        .def(
            "reweigh",
            [](RegionFit& self, RegionResiduals const& residuals, RegionFlags const* rejected, int nThreads) {
                auto const execution = interruptible(nThreads);
                py::gil_scoped_release const release;
                return reweigh(self, residuals.variance, rejected, execution);
            },
            py::arg("residuals"), py::arg("rejected"), py::kw_only(), py::arg("nThreads") = 1);
}

}  // namespace psfmatch::python

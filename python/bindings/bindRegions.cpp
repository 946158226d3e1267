#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"
#include "psfmatch/PixelRegions.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

// Rows of regions as (regions, height, width).
template <typename Pixel>
py::array_t<Pixel> stackOf(OwnedImage<Pixel> const& plane, Index height, Index width) {
    py::array_t<Pixel> array({plane.rows(), height, width});
    std::copy_n(plane.data(), plane.size(), array.mutable_data());
    return array;
}

RegionPlane weightsOf(py::array_t<float, py::array::c_style | py::array::forcecast> const& weights) {
    if (weights.ndim() != 3) {
        throw py::value_error("weights have " + std::to_string(weights.ndim()) +
                              " dimensions, must be (regions, height, width)");
    }
    return Eigen::Map<RegionPlane const>(weights.data(), weights.shape(0), weights.shape(1) * weights.shape(2));
}

}  // namespace

void bindRegions(py::module_& module) {
    module.def(
        "readRegions",
        [](std::vector<StampPair const*> const& pairs, Index kernelHeight, Index kernelWidth,
           CandidateFitControl const& control, int nThreads) {
            auto const stamps = stampsOf(pairs);
            auto const execution = interruptible(nThreads);
            PixelRegions regions;
            {
                py::gil_scoped_release const release;
                regions = readRegions(stamps, kernelHeight, kernelWidth, control, execution);
            }
            return py::make_tuple(stackOf(regions.science, regions.height, regions.width),
                                  stackOf(regions.scienceVariance, regions.height, regions.width),
                                  stackOf(regions.templateVariance, regions.height, regions.width),
                                  stackOf(regions.usable, regions.height, regions.width));
        },
        py::arg("stamps"), py::arg("kernelHeight"), py::arg("kernelWidth"), py::arg("control"), py::kw_only(),
        py::arg("nThreads") = 1);
    module.def(
        "makeRegionEquations",
        [](std::vector<StampPair const*> const& pairs, PreparedBasis const& basis,
           py::array_t<float, py::array::c_style | py::array::forcecast> const& weights,
           CandidateFitControl const& control, int nThreads) {
            auto const stamps = stampsOf(pairs);
            RegionPlane const plane = weightsOf(weights);
            auto const execution = interruptible(nThreads);
            RegionEquations equations;
            {
                py::gil_scoped_release const release;
                equations = makeRegionEquations(stamps, basis, plane, control, execution);
            }
            Index const m = equations.rightHandSides.cols();
            return py::make_tuple(py::array_t<double>({plane.rows(), m, m}, equations.matrices.data()),
                                  py::array_t<double>({plane.rows(), m}, equations.rightHandSides.data()));
        },
        py::arg("stamps"), py::arg("basis"), py::arg("weights"), py::arg("control"), py::kw_only(),
        py::arg("nThreads") = 1);
    module.def(
        "convolveRegions",
        [](std::vector<StampPair const*> const& pairs, DoubleArray const& basisImages, DoubleArray const& coefficients,
           CandidateFitControl const& control, int nThreads) {
            auto const stamps = stampsOf(pairs);
            KernelBasis const basis = basisOf(basisImages);
            RowMatrix const rows = matrixOf(coefficients, "coefficients");
            auto const execution = interruptible(nThreads);
            RegionModels models;
            {
                py::gil_scoped_release const release;
                models = convolveRegions(stamps, basis, rows, control, execution);
            }
            Index const height = stamps.empty() ? 0 : stamps.front().scienceStamp.image.rows() - basis.height + 1;
            Index const width = stamps.empty() ? 0 : stamps.front().scienceStamp.image.cols() - basis.width + 1;
            return py::make_tuple(stackOf(models.image, height, width), stackOf(models.variance, height, width));
        },
        py::arg("stamps"), py::arg("basis"), py::arg("coefficients"), py::arg("control"), py::kw_only(),
        py::arg("nThreads") = 1);
}

}  // namespace psfmatch::python

#include <pybind11/stl.h>

#include <array>
#include <span>
#include <tuple>
#include <utility>

#include "arrays.h"
#include "module.h"
#include "outputPlanes.h"
#include "psfmatch/convolve/Correction.h"
#include "psfmatch/image/BorderLevels.h"
#include "psfmatch/sources/SaturationTraces.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

using BoxTuple = std::array<Index, 4>;  // x0, y0, width, height
using SideTuples = std::array<std::pair<double, double>, 4>;

void bindTraces(py::module_& module) {
    module.def(
        "borderLevels",
        [](StampTuple const& difference, int nThreads) {
            auto const view = viewsOf(difference);
            auto const execution = interruptible(nThreads);
            BorderLevelsControl control;
            control.badBits = badBitsOf(difference);
            BorderLevels const found = withoutLock([&] { return borderLevels(view, control, execution); });
            SideTuples sides;
            for (std::size_t i = 0; i < sides.size(); ++i) {
                sides[i] = {found.sides[i].middle, found.sides[i].slope};
            }
            Box const& area = found.area;
            return std::tuple(BoxTuple{area.x0, area.y0, area.width, area.height}, found.length, sides, found.noise);
        },
        py::arg("difference"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "subtractBorderLevels",
        [](py::array& image, BoxTuple const& area, double length, SideTuples const& sides, int nThreads) {
            auto const pixels = mutableViewOf<float>(image, "image");
            auto const execution = interruptible(nThreads);
            BorderLevels levels{{area[0], area[1], area[2], area[3]}, length};
            for (std::size_t i = 0; i < sides.size(); ++i) {
                levels.sides[i] = {sides[i].first, sides[i].second};
            }
            withoutLock([&] { subtractBorderLevels(levels, pixels, execution); });
        },
        py::arg("image"), py::kw_only(), py::arg("area"), py::arg("length"), py::arg("sides"), py::arg("nThreads") = 1);
    module.def(
        "saturationTraces",
        [](StampTuple const& difference, MaskPixel saturated, Index maxGrowth, int nThreads) {
            auto const view = viewsOf(difference);
            auto const execution = interruptible(nThreads);
            SaturationTracesControl control;
            control.badBits = badBitsOf(difference);
            control.saturatedBits = saturated;
            control.maxGrowth = maxGrowth;
            auto const found = withoutLock([&] { return saturationTraces(view, control, execution); });
            auto const copyOf = [](std::vector<Index> const& places) {
                return py::array_t<Index>(static_cast<py::ssize_t>(places.size()), places.data());
            };
            return py::make_tuple(copyOf(found.ringPlaces), copyOf(found.linePlaces), found.nStars, found.nRings,
                                  found.nLined);
        },
        py::arg("difference"), py::kw_only(), py::arg("saturated"), py::arg("maxGrowth"), py::arg("nThreads") = 1);
}

}  // namespace

void bindFinish(py::module_& module) {
    bindTraces(module);
    module.def(
        "kernelCoefficients",
        [](DoubleArray const& parameters, SpatialFunction const& spatial, DoubleArray const& x, DoubleArray const& y) {
            LinearCombinationKernel const kernel{{}, spatial, matrixOf(parameters, "parameters")};
            return arrayOf(withoutLock([&] { return coefficientsAt(kernel, spanOf(x), spanOf(y)); }));
        },
        py::arg("parameters"), py::arg("spatial"), py::arg("x"), py::arg("y"));
    module.def(
        "kernelImages",
        [](DoubleArray const& basis, DoubleArray const& parameters, SpatialFunction const& spatial,
           DoubleArray const& x, DoubleArray const& y) {
            LinearCombinationKernel const kernel{basisOf(basis), spatial, matrixOf(parameters, "parameters")};
            KernelBasis images;
            {
                py::gil_scoped_release const release;
                images = kernelImages(kernel, spanOf(x), spanOf(y));
            }
            return arrayOf(images);
        },
        py::arg("basis"), py::arg("parameters"), py::arg("spatial"), py::arg("x"), py::arg("y"));
    module.def(
        "correctDifference",
        [](py::array const& image, py::array const& variance, py::array const& mask, py::array const& unconvolved,
           py::array const& convolved, py::object const& factors, DoubleArray const& basis,
           DoubleArray const& parameters, SpatialFunction const& spatial, Index x0, Index y0, double divisor,
           double maskedKernelFraction, MaskPixel badBits, MaskPixel edgeBit, MaskPixel noDataBit, int nThreads) {
            MaskedImageView const difference = maskedViewOf(image, variance, mask);
            auto const unconvolvedVariance = viewOf<float>(unconvolved, "unconvolved");
            auto const convolvedVariance = viewOf<float>(convolved, "convolved");
            VarianceFactors parts;
            bool const hasFactors = !factors.is_none();
            if (hasFactors) {
                auto const [beta, gamma, alongX, sumOfSquares] =
                    factors.cast<std::tuple<DoubleArray, DoubleArray, DoubleArray, double>>();
                parts = {matrixOf(beta, "beta"), matrixOf(gamma, "gamma"), matrixOf(alongX, "alongX"), sumOfSquares};
            }
            LinearCombinationKernel const correction{basisOf(basis), spatial, matrixOf(parameters, "parameters")};
            CorrectionControl const control{divisor, maskedKernelFraction, badBits, edgeBit, noDataBit};
            OutputPlanes output(difference.image.rows(), difference.image.cols());
            MaskedImageTarget const target = output.target();
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                correctDifference(difference, unconvolvedVariance, convolvedVariance, hasFactors ? &parts : nullptr,
                                  correction, x0, y0, control, execution, target);
            }
            return output.arrays();
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("unconvolved"), py::arg("convolved"),
        py::arg("factors"), py::arg("basis"), py::arg("parameters"), py::arg("spatial"), py::arg("x0"), py::arg("y0"),
        py::kw_only(), py::arg("divisor"), py::arg("maskedKernelFraction"), py::arg("badBits"), py::arg("edgeBit"),
        py::arg("noDataBit"), py::arg("nThreads"));
}

}  // namespace psfmatch::python

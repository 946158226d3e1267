#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "module.h"
#include "psfmatch/sources/ConstantBlocks.h"
#include "psfmatch/sources/SharpPixels.h"
#include "stampPair.h"

namespace psfmatch::python {

namespace {

template <typename Value>
py::array_t<Value> copyOf(std::vector<Value> const& values) {
    return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace

void bindDefects(py::module_& module) {
    module.def(
        "constantBlocks",
        [](py::array const& image, py::array const& mask, MaskPixel badBits, int nThreads) {
            auto const pixels = viewOf<float>(image, "image");
            auto const planes = viewOf<MaskPixel>(mask, "mask");
            auto const execution = interruptible(nThreads);
            ConstantBlocksControl control;
            control.badBits = badBits;
            ConstantBlocks const found =
                withoutLock([&] { return constantBlocks(pixels, planes, control, execution); });
            std::vector<std::tuple<double, Index>> blocks;
            for (ConstantBlock const& block : found.blocks) {
                blocks.emplace_back(block.value, block.nPixels);
            }
            return py::make_tuple(copyOf(found.places), blocks, found.side);
        },
        py::arg("image"), py::arg("mask"), py::kw_only(), py::arg("badBits"), py::arg("nThreads") = 1);
    module.def(
        "sharpPixels",
        [](StampTuple const& image, double mostContrast, int nThreads) {
            auto const view = viewsOf(image);
            auto const execution = interruptible(nThreads);
            SharpPixelsControl control;
            control.mostContrast = mostContrast;
            control.badBits = badBitsOf(image);
            SharpPixels const found = withoutLock([&] { return sharpPixels(view, control, execution); });
            std::vector<std::uint8_t> kinds(found.kinds.size());
            std::transform(found.kinds.begin(), found.kinds.end(), kinds.begin(),
                           [](SharpKind kind) { return static_cast<std::uint8_t>(kind); });
            return py::make_tuple(copyOf(found.places), copyOf(kinds), found.contrast, found.nStars);
        },
        py::arg("image"), py::kw_only(), py::arg("mostContrast") = SharpPixelsControl{}.mostContrast,
        py::arg("nThreads") = 1);
}

}  // namespace psfmatch::python

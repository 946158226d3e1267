#include "arrays.h"
#include "module.h"
#include "psfmatch/warp.h"

namespace psfmatch::python {

void bindWarp(py::module_& module) {
    py::native_enum<WarpingKernel>(module, "WarpingKernel", "enum.Enum")
        .value("bilinear", WarpingKernel::bilinear)
        .value("lanczos3", WarpingKernel::lanczos3)
        .value("lanczos4", WarpingKernel::lanczos4)
        .value("lanczos5", WarpingKernel::lanczos5)
        .finalize();
    module.attr("maxAreaWidth") = maxAreaWidth;
    module.def(
        "warp",
        [](py::array const& image, py::array const& variance, py::array const& mask, py::array const& x,
           py::array const& y, Index spacing, Index height, Index width, WarpingKernel kernel, WarpingKernel maskKernel,
           MaskPixel growBits, int cacheSize, bool keepCentroids, double areaWidth, MaskPixel badBits,
           double maskedKernelFraction, MaskPixel noDataBit, InstructionSet instructionSet, int nThreads) {
            MaskedImageView const source = maskedViewOf(image, variance, mask);
            PositionLattice const positions{spacing, viewOf<double>(x, "x"), viewOf<double>(y, "y")};
            WarpControl control;
            control.kernel = kernel;
            control.maskKernel = maskKernel;
            control.growBits = growBits;
            control.cacheSize = cacheSize;
            control.keepCentroids = keepCentroids;
            control.areaWidth = areaWidth;
            control.badBits = badBits;
            control.maskedKernelFraction = maskedKernelFraction;
            control.noDataBit = noDataBit;
            control.instructionSet = instructionSet;
            std::vector<py::ssize_t> const shape{height, width};
            py::array outImage = py::array_t<float>(shape);
            py::array outVariance = py::array_t<float>(shape);
            py::array outMask = py::array_t<MaskPixel>(shape);
            MaskedImageTarget const target{mutableViewOf<float>(outImage, "image"),
                                           mutableViewOf<float>(outVariance, "variance"),
                                           mutableViewOf<MaskPixel>(outMask, "mask")};
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                warp(source, positions, control, execution, target);
            }
            return py::make_tuple(outImage, outVariance, outMask);
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("x"), py::arg("y"), py::kw_only(),
        py::arg("spacing"), py::arg("height"), py::arg("width"), py::arg("kernel"), py::arg("maskKernel"),
        py::arg("growBits"), py::arg("cacheSize"), py::arg("keepCentroids"), py::arg("areaWidth"), py::arg("badBits"),
        py::arg("maskedKernelFraction"), py::arg("noDataBit"), py::arg("instructionSet"), py::arg("nThreads"));
}

}  // namespace psfmatch::python

#include "arrays.h"
#include "module.h"
#include "outputPlanes.h"
#include "psfmatch/warp/warp.h"

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
           double maskedKernelFraction, double safeKernelFraction, MaskPixel noDataBit, InstructionSet instructionSet,
           int nThreads) {
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
            control.safeKernelFraction = safeKernelFraction;
            control.noDataBit = noDataBit;
            control.instructionSet = instructionSet;
            OutputPlanes output(height, width);
            MaskedImageTarget const target = output.target();
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                warp(source, positions, control, execution, target);
            }
            return output.arrays();
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("x"), py::arg("y"), py::kw_only(),
        py::arg("spacing"), py::arg("height"), py::arg("width"), py::arg("kernel"), py::arg("maskKernel"),
        py::arg("growBits"), py::arg("cacheSize"), py::arg("keepCentroids"), py::arg("areaWidth"), py::arg("badBits"),
        py::arg("maskedKernelFraction"), py::arg("safeKernelFraction"), py::arg("noDataBit"), py::arg("instructionSet"),
        py::arg("nThreads"));
}

}  // namespace psfmatch::python

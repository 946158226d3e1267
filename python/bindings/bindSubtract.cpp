#include "arrays.h"
#include "module.h"
#include "outputPlanes.h"
#include "psfmatch/convolve/subtract.h"

namespace psfmatch::python {

void bindSubtract(py::module_& module) {
    module.def(
        "subtract",
        [](py::array const& image, py::array const& variance, py::array const& mask, py::array const& otherImage,
           py::array const& otherVariance, py::array const& otherMask, DoubleArray const& background,
           SpatialFunction const& spatial, Index x0, Index y0, double divisor, MaskPixel ownBits, MaskPixel otherBits,
           MaskPixel noDataBit, int nThreads) {
            MaskedImageView const minuend = maskedViewOf(image, variance, mask);
            MaskedImageView const subtrahend = maskedViewOf(otherImage, otherVariance, otherMask);
            Eigen::VectorXd const coefficients = vectorOf(background, "background");
            SubtractionControl const control{divisor, ownBits, otherBits, noDataBit};
            OutputPlanes output(minuend.image.rows(), minuend.image.cols());
            MaskedImageTarget const target = output.target();
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                subtract(minuend, subtrahend, coefficients, spatial, x0, y0, control, execution, target);
            }
            return output.arrays();
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("otherImage"), py::arg("otherVariance"),
        py::arg("otherMask"), py::arg("background"), py::arg("spatial"), py::arg("x0"), py::arg("y0"), py::kw_only(),
        py::arg("divisor"), py::arg("ownBits"), py::arg("otherBits"), py::arg("noDataBit"), py::arg("nThreads"));
}

}  // namespace psfmatch::python

#include <span>
#include <tuple>

#include "arrays.h"
#include "module.h"
#include "outputPlanes.h"
#include "psfmatch/convolve/Correction.h"

namespace psfmatch::python {

void bindFinish(py::module_& module) {
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

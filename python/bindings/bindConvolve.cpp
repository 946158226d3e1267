#include "arrays.h"
#include "module.h"
#include "outputPlanes.h"
#include "psfmatch/base/pages.h"
#include "psfmatch/convolve/convolve.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"

namespace psfmatch::python {

void bindConvolve(py::module_& module) {
    py::native_enum<InstructionSet>(module, "InstructionSet", "enum.Enum")
        .value("automatic", InstructionSet::automatic)
        .value("baseline", InstructionSet::baseline)
        .value("avx2", InstructionSet::avx2)
        .finalize();
    module.def("isSupported", &isSupported, py::arg("instructionSet"));
    module.def(
        "providePages",
        [](py::array plane, int nThreads) {
            if ((plane.flags() & py::array::c_style) == 0) {
                throw py::value_error("the plane's rows must follow each other without gaps");
            }
            void* const start = plane.mutable_data();
            auto const size = static_cast<std::size_t>(plane.nbytes());
            Execution const execution = interruptible(nThreads);
            withoutLock([&] { providePages(start, size, execution); });
        },
        py::arg("plane"), py::kw_only(), py::arg("nThreads") = 1);
    module.def(
        "convolve",
        [](py::array const& image, py::array const& variance, py::array const& mask, DoubleArray const& basis,
           DoubleArray const& parameters, SpatialFunction const& spatial, Index x0, Index y0, bool copyEdge,
           bool normalize, double maskedKernelFraction, double safeKernelFraction, MaskPixel badBits, MaskPixel edgeBit,
           MaskPixel noDataBit, MaskPixel interpolatedBit, InstructionSet instructionSet, int nThreads) {
            MaskedImageView const input = maskedViewOf(image, variance, mask);
            LinearCombinationKernel const kernel{basisOf(basis), spatial, matrixOf(parameters, "parameters")};
            ConvolutionControl control;
            control.copyEdge = copyEdge;
            control.normalize = normalize;
            control.maskedKernelFraction = maskedKernelFraction;
            control.safeKernelFraction = safeKernelFraction;
            control.badBits = badBits;
            control.edgeBit = edgeBit;
            control.noDataBit = noDataBit;
            control.interpolatedBit = interpolatedBit;
            control.instructionSet = instructionSet;
            OutputPlanes output(input.image.rows(), input.image.cols());
            MaskedImageTarget const target = output.target();
            auto const execution = interruptible(nThreads);
            {
                py::gil_scoped_release const release;
                convolve(input, kernel, x0, y0, control, execution, target);
            }
            return output.arrays();
        },
        py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("basis"), py::arg("parameters"),
        py::arg("spatial"), py::arg("x0"), py::arg("y0"), py::kw_only(), py::arg("copyEdge"), py::arg("normalize"),
        py::arg("maskedKernelFraction"), py::arg("safeKernelFraction"), py::arg("badBits"), py::arg("edgeBit"),
        py::arg("noDataBit"), py::arg("interpolatedBit"), py::arg("instructionSet"), py::arg("nThreads"));
}

}  // namespace psfmatch::python

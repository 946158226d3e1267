#include "psfmatch/convolve.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "convolveMask.h"
#include "convolveRows.h"
#include "convolveTile.h"
#include "psfmatch/badPixels.h"
#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

using namespace detail;

// Input and output; variance and mask absent (null) for an image alone.
struct Planes {
    MaskedImageView const& input;
    MaskedImageTarget const& output;
    bool imageOnly;
};

bool canRunAvx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    return rowFunctionsAvx2().accumulate != nullptr && __builtin_cpu_supports("avx2") != 0 &&
           __builtin_cpu_supports("fma") != 0;
#else
    return false;
#endif
}

RowFunctions chooseRowFunctions(InstructionSet instructionSet) {
    if (!isSupported(instructionSet)) {
        throw std::invalid_argument("AVX2 and FMA are not available on this processor or in this build");
    }
    bool const avx2 = instructionSet != InstructionSet::baseline && canRunAvx2();
    return avx2 ? rowFunctionsAvx2() : rowFunctionsBaseline();
}

std::string shapeText(Index height, Index width) {
    return "(" + std::to_string(height) + ", " + std::to_string(width) + ")";
}

template <typename View>
void requireShape(View const& view, MaskedImageView const& input, char const* name) {
    if (view.rows() != input.image.rows() || view.cols() != input.image.cols()) {
        throw std::invalid_argument(std::string(name) + " has shape " + shapeText(view.rows(), view.cols()) +
                                    ", the image to convolve " +
                                    shapeText(input.image.rows(), input.image.cols()));
    }
}

template <typename In, typename Out>
void requireApart(In const& in, Out const& out) {
    auto const last = [](auto const& view) { return view.data() + (view.rows() - 1) * view.outerStride() + view.cols(); };
    std::less_equal<void const*> const notAfter;
    if (!notAfter(last(in), out.data()) && !notAfter(last(out), in.data())) {
        throw std::invalid_argument("input and output of a convolution overlap in memory");
    }
}

void validate(Planes const& planes, LinearCombinationKernel const& kernel, ConvolutionControl const& control) {
    psfmatch::validate(kernel);
    if (!kernel.parameters.allFinite()) {
        throw NumericalError("the kernel's parameters are not all finite");
    }
    MaskedImageView const& input = planes.input;
    if (input.image.rows() < kernel.basis.height || input.image.cols() < kernel.basis.width) {
        throw std::invalid_argument("an image of shape " + shapeText(input.image.rows(), input.image.cols()) +
                                    " is smaller than the kernel of shape " +
                                    shapeText(kernel.basis.height, kernel.basis.width));
    }
    if (!(control.maskedKernelFraction >= 0.0 && control.maskedKernelFraction < 1.0)) {
        throw std::invalid_argument("maskedKernelFraction is " + std::to_string(control.maskedKernelFraction) +
                                    ", must be at least 0 and less than 1");
    }
    requireShape(planes.output.image, input, "output image");
    requireApart(input.image, planes.output.image);
    if (!planes.imageOnly) {
        requireShape(input.variance, input, "variance");
        requireShape(input.mask, input, "mask");
        requireShape(planes.output.variance, input, "output variance");
        requireShape(planes.output.mask, input, "output mask");
        requireApart(input.variance, planes.output.variance);
        requireApart(input.mask, planes.output.mask);
        requireApart(input.image, planes.output.variance);
        requireApart(input.variance, planes.output.image);
    }
}

// One pixel the kernel does not fit around.
void writeEdgePixel(Planes const& planes, ConvolutionControl const& control, Index y, Index x) {
    auto const& [input, output, imageOnly] = planes;
    Index const at = y * output.image.outerStride() + x;
    float* const image = const_cast<float*>(output.image.data());
    (void)at;
    (void)image;
    (void)control;
    (void)input;
    (void)imageOnly;
}

}  // namespace

}  // namespace psfmatch

#include "psfmatch/convolve/convolve.h"

#include <functional>
#include <stdexcept>
#include <string>

#include "convolve/convolveItems.h"
#include "psfmatch/base/exceptions.h"
#include "psfmatch/base/pages.h"

namespace psfmatch {

namespace detail {

namespace {

template <typename Pixel>
Plane<Pixel> planeOf(ConstImageView<Pixel> const& input, ImageView<Pixel>& output, Index height, Index width,
                     char const* name) {
    auto const check = [&](Index rows, Index cols, char const* role) {
        if (rows != height || cols != width) {
            throw std::invalid_argument("the " + std::string(role) + " " + name + " has shape " +
                                        shapeText(rows, cols) + ", the image to convolve " + shapeText(height, width));
        }
    };
    check(input.rows(), input.cols(), "input");
    check(output.rows(), output.cols(), "output");
    return {input.data(), input.outerStride(), output.data(), output.outerStride(), height, width};
}

template <typename In, typename Out>
void requireApart(Plane<In> const& in, Plane<Out> const& out, Index height, Index width) {
    std::less<void const*> const before;
    if (before(in.input, out.outputAt(height - 1, width)) && before(out.output, in.inputAt(height - 1, width))) {
        throw std::invalid_argument("input and output of a convolution overlap in memory");
    }
}

void requireFraction(double value, char const* name) {
    if (!(value >= 0.0 && value < 1.0)) {
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                    ", must be at least 0 and less than 1");
    }
}

void validate(Planes const& planes, LinearCombinationKernel const& kernel, ConvolutionControl const& control) {
    psfmatch::validate(kernel);
    if (!kernel.parameters.allFinite()) {
        throw NumericalError("the kernel's parameters are not all finite");
    }
    if (planes.height < kernel.basis.height || planes.width < kernel.basis.width) {
        throw std::invalid_argument("an image of shape " + shapeText(planes.height, planes.width) +
                                    " is smaller than the kernel of shape " +
                                    shapeText(kernel.basis.height, kernel.basis.width));
    }
    requireFraction(control.maskedKernelFraction, "maskedKernelFraction");
    requireFraction(control.safeKernelFraction, "safeKernelFraction");
    requireApart(planes.image, planes.image, planes.height, planes.width);
    if (planes.mask.input != nullptr) {
        requireApart(planes.image, planes.variance, planes.height, planes.width);
        requireApart(planes.variance, planes.image, planes.height, planes.width);
        requireApart(planes.variance, planes.variance, planes.height, planes.width);
        requireApart(planes.mask, planes.mask, planes.height, planes.width);
    }
}

}  // namespace

}  // namespace detail

void convolve(MaskedImageView const& input, LinearCombinationKernel const& kernel, Index x0, Index y0,
              ConvolutionControl const& control, Execution const& execution, MaskedImageTarget output) {
    Index const height = input.image.rows();
    Index const width = input.image.cols();
    detail::Planes const planes{height, width, detail::planeOf(input.image, output.image, height, width, "image"),
                                detail::planeOf(input.variance, output.variance, height, width, "variance"),
                                detail::planeOf(input.mask, output.mask, height, width, "mask")};
    detail::validate(planes, kernel, control);
    providePages(output, execution);
    FilledPixels const fill = control.fillBad ? fillBadPixels(input, control.badBits, execution) : FilledPixels{};
    detail::convolvePlanes(planes, kernel, x0, y0, control, execution, fill);
}

void convolve(ConstImageView<float> const& image, LinearCombinationKernel const& kernel, Index x0, Index y0,
              ConvolutionControl const& control, Execution const& execution, ImageView<float> output) {
    Index const height = image.rows();
    Index const width = image.cols();
    detail::Planes const planes{height, width, detail::planeOf(image, output, height, width, "image"), {}, {}};
    detail::validate(planes, kernel, control);
    providePages(output, execution);
    FilledPixels const fill = control.fillBad ? fillBadPixels(image, execution) : FilledPixels{};
    detail::convolvePlanes(planes, kernel, x0, y0, control, execution, fill);
}

}  // namespace psfmatch

// The convolution without Python's allocations, the plain loop and the ceilings, as C functions that Python calls
// through ctypes: so one process can measure all of them in turns. Arrays are C order, [y, x]; an exception ends
// the process with its message.
#include "ceilings.h"
#include "plainLoop.h"
#include "psfmatch/convolve/convolve.h"

namespace {

using psfmatch::ConstImageView;
using psfmatch::ImageView;
using psfmatch::Index;
using psfmatch::MaskPixel;

template <typename Pixel>
ConstImageView<Pixel> viewOf(Pixel const* pixels, Index height, Index width) {
    return {pixels, height, width, Eigen::OuterStride<>(width)};
}

template <typename Pixel>
ImageView<Pixel> viewOf(Pixel* pixels, Index height, Index width) {
    return {pixels, height, width, Eigen::OuterStride<>(width)};
}

// The planes of an image, of one shape; the output's are there already.
struct Planes {
    Index height;
    Index width;
    float const* image;
    float const* variance;
    MaskPixel const* mask;
    float* outImage;
    float* outVariance;
    MaskPixel* outMask;
};

struct Kernel {
    Index n;
    Index height;
    Index width;
    double const* basis;  // (n, height, width)
    int chebyshev;        // else raw polynomials
    int order;
    double const* parameters;  // (n, (order + 1)(order + 2) / 2)
    double const* frame;       // xCentre, yCentre, xScale, yScale
};

psfmatch::LinearCombinationKernel kernelOf(Kernel const& given) {
    psfmatch::LinearCombinationKernel kernel;
    kernel.basis.images = Eigen::Map<psfmatch::RowMatrix const>(given.basis, given.n, given.height * given.width);
    kernel.basis.height = given.height;
    kernel.basis.width = given.width;
    kernel.spatial = {given.chebyshev != 0 ? psfmatch::SpatialModel::chebyshev1 : psfmatch::SpatialModel::polynomial,
                      given.order,
                      {given.frame[0], given.frame[1], given.frame[2], given.frame[3]}};
    kernel.parameters =
        Eigen::Map<psfmatch::RowMatrix const>(given.parameters, given.n, static_cast<Index>(kernel.spatial.size()));
    return kernel;
}

}  // namespace

extern "C" {

char const* benchCompiler() {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}

int benchIsSupported(int instructionSet) {
    return isSupported(static_cast<psfmatch::InstructionSet>(instructionSet)) ? 1 : 0;
}

double benchMultiplyAddRate(int instructionSet, int nThreads) {
    return psfmatch::bench::multiplyAddRate(static_cast<psfmatch::InstructionSet>(instructionSet), nThreads);
}

double benchCopyRate(int nThreads) {
    return psfmatch::bench::copyRate(nThreads);
}

void benchPlainLoop(Planes const* planes, Index side, double const* kernel, Index firstRow, Index lastRow) {
    psfmatch::bench::plainLoop(viewOf(planes->image, planes->height, planes->width),
                               viewOf(planes->variance, planes->height, planes->width), viewOf(kernel, side, side),
                               firstRow, lastRow, viewOf(planes->outImage, planes->height, planes->width),
                               viewOf(planes->outVariance, planes->height, planes->width));
}

void benchConvolve(Planes const* planes, Kernel const* kernel, int imageOnly, MaskPixel badBits, int method,
                   int instructionSet, int nThreads) {
    auto const [height, width, image, variance, mask, outImage, outVariance, outMask] = *planes;
    psfmatch::ConvolutionControl control;
    control.badBits = badBits;
    control.method = static_cast<psfmatch::ConvolutionMethod>(method);
    control.instructionSet = static_cast<psfmatch::InstructionSet>(instructionSet);
    if (imageOnly != 0) {
        convolve(viewOf(image, height, width), kernelOf(*kernel), 0, 0, control, {nThreads, {}},
                 viewOf(outImage, height, width));
    } else {
        convolve({viewOf(image, height, width), viewOf(variance, height, width), viewOf(mask, height, width)},
                 kernelOf(*kernel), 0, 0, control, {nThreads, {}},
                 {viewOf(outImage, height, width), viewOf(outVariance, height, width), viewOf(outMask, height, width)});
    }
}
}

// Convolution of image, variance and mask with a kernel that may vary over the image:
//   out(x, y) = sum over j, i of K(x, y)[j, i] in(x - cx + i, y - cy + j),  cx = (width - 1) / 2, cy likewise,
// a correlation, the kernel taken at the output pixel exactly, good to 1e-5 of the largest result within a kernel box;
// the variance is the sum of K^2 var, to 1e-3. Covariance between output pixels is left out.
#pragma once

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"

namespace psfmatch {

// How the sums over the kernel are done, in float32: one by one, or by Fourier transforms of tiles (overlap-save),
// where pixels that are not finite, or too bright beside the rest of their tile, are still summed one by one.
enum class ConvolutionMethod { automatic, direct, transforms };

struct ConvolutionControl {
    // Pixels too near the edge for the kernel: copied from the input with edgeBit (and noDataBit where their values
    // are bad), else NaN with infinite variance and noDataBit alone.
    bool copyEdge = false;
    bool normalize = false;  // divide by the kernel's sum at each pixel

    // Bad pixels (badPixels.h) are filled from their neighbours first. An output pixel receives a plane of badBits
    // only where filled pixels of that plane hold more than this fraction of the sum of |K|, in [0, 1), and
    // interpolatedBit where all filled pixels together do. Pixels bad for their values alone count as noDataBit.
    // With 0 every plane spreads over the whole footprint, as planes outside badBits always do: the rectangle of
    // a varying kernel, the non-zero pixels of a fixed one.
    double maskedKernelFraction = 0.01;
    // Pixels that are filled safely (badPixels.h) count beside others only where all filled pixels together hold more
    // than this fraction, in [0, 1). Not above maskedKernelFraction: they count as all others do.
    double safeKernelFraction = 0.0;
    MaskPixel badBits = 0;
    // false: pixels are used as they are, NaN spreads, and so do all planes.
    bool fillBad = true;

    MaskPixel interpolatedBit = 1 << 2;
    MaskPixel edgeBit = 1 << 4;
    MaskPixel noDataBit = 1 << 8;

    ConvolutionMethod method = ConvolutionMethod::automatic;  // the faster one
    InstructionSet instructionSet = InstructionSet::automatic;
};

// The output has the input's shape and lies apart from it in memory.
// Throws std::invalid_argument for shapes that do not belong together, an image smaller than the kernel, an
// impossible option or a kernel too large for transforms that are asked for; NumericalError for a kernel that is not
// finite, or a kernel sum of 0 to divide by.
void convolve(MaskedImageView const& input, LinearCombinationKernel const& kernel, Index x0,
              Index y0,  // position of input pixel [0, 0] in the parent frame
              ConvolutionControl const& control, Execution const& execution, MaskedImageTarget output);

// The image alone: only non-finite pixels are bad, and the mask options have no meaning.
void convolve(ConstImageView<float> const& image, LinearCombinationKernel const& kernel, Index x0, Index y0,
              ConvolutionControl const& control, Execution const& execution, ImageView<float> output);

}  // namespace psfmatch

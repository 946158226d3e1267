// Resampling of image, variance and mask onto another pixel grid, with Lanczos or bilinear weights that sum to one:
//   value = area * sum of w in,  variance = area^2 * sum of w^2 var,  area = source pixels per output pixel,
// so that flux is kept (Duchon 1979, J. Appl. Meteorol. 18, 1016, for the weights). Where the output's pixels are much
// larger than the source's, the weights are those of the kernel averaged over the area of an output pixel. Covariance
// between output pixels is left out.
#pragma once

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

enum class WarpingKernel { bilinear, lanczos3, lanczos4, lanczos5 };

// Pixels on each side of the middle: N of lanczosN, 1 of bilinear.
[[nodiscard]] int order(WarpingKernel kernel);

struct WarpControl {
    WarpingKernel kernel = WarpingKernel::lanczos3;
    WarpingKernel maskKernel = WarpingKernel::bilinear;  // not larger than kernel

    // Mask planes are collected where the mask kernel has weight, those of growBits over the image kernel's box.
    MaskPixel growBits = 1 << 4;

    // Positions within a pixel are rounded down to 1 / cacheSize; 0: used as they are.
    int cacheSize = 1000000;

    // Change Lanczos weights smoothly so that their moments of order 1 to 4 about the position vanish, or are
    // those of the area. Plain weights
    // move the centroid of a star by up to 0.02 px (order 3).
    bool keepCentroids = false;

    // Side (source pixels) of the square over which the source is averaged, 0 or at least 1 and at most maxAreaWidth.
    double areaWidth = 0.0;

    // Bad pixels (badPixels.h) are filled from their neighbours first. Where filled pixels hold more than this fraction
    // of the sum of |w|, the output gets all bad planes under the kernel; where filled pixels that are bad for their
    // values alone, or carry noDataBit, do so, it is NaN with infinite variance and noDataBit.
    MaskPixel badBits = 0;
    double maskedKernelFraction = 0.01;
    // Pixels that are filled safely (badPixels.h) count so much less that one alone may hold this fraction, and the
    // mask kernel does not spread their bad planes. Not above maskedKernelFraction: they count as all others do.
    double safeKernelFraction = 0.0;

    MaskPixel noDataBit = 1 << 8;

    InstructionSet instructionSet = InstructionSet::automatic;
};

inline constexpr double maxAreaWidth = 16.0;

// Source positions (array pixels, 0 is the centre of the first) of every `spacing`-th output pixel in x and y; in
// between they are interpolated linearly. The last row and column lie on or beyond the last pixel: ((height - 1) /
// spacing + 2, (width - 1) / spacing + 2) for an output of (height, width). Not finite where there is no position.
struct PositionLattice {
    Index spacing = 1;
    ConstImageView<double> x;
    ConstImageView<double> y;
};

// Output pixels without a position, or whose kernel reaches beyond the source, become NaN with infinite variance and
// noDataBit alone. Throws std::invalid_argument for shapes that do not belong together or an impossible option. The
// result does not depend on the number of threads.
void warp(MaskedImageView const& source, PositionLattice const& positions, WarpControl const& control,
          Execution const& execution, MaskedImageTarget output);

}  // namespace psfmatch

// What the uncertainty of a fitted kernel does to a difference: a systematic error near bright stars. The matched image
// is sum_is a_is f_s(x) (B_i (*) T)(x); with C the covariance of the a_is and g their factors, its variance for that
// reason is g^T C g. Tiles of the image in which it cannot matter are left at zero, and of the independent ways in
// which the kernel may be wrong those that show in the image's own bright sources are taken.
#pragma once

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"

namespace psfmatch {

struct KernelUncertaintyControl {
    MaskPixel badBits = 0;       // planes whose pixels of the image do not count
    double divisor = 1.0;        // of the difference's values
    double minShare = 0.01;      // of the difference's variance, below which a tile is left out
    Index tileSide = 32;         // pixels
    Index blockSide = 8;         // of the blocks in which light near a tile is summed; divides the tile's side
    double brightSigmas = 5.0;   // of the image's noise: pixels above count when tiles are chosen
    Index nExamples = 8;         // brightest tiles, on which the errors of the kernel are judged
    Index nPeaks = 32;           // pixels of each example on which the largest error is looked for
    double safety = 4.0;         // variance of a source over that of the median example, at equal light, at most
    double lostVariance = 0.01;  // share of the examples' variance that the ways left out may hold
};

// Plane (height, width), image units squared. The kernel's parameters are not used; `covariance` is that of all of
// them, (n p, n p), those of one basis image together. `convolved` is the image before the kernel is applied; its
// clipped means in cells are taken off as sky. `correction` may be null. (x0, y0): of pixel [0, 0] in the parent frame.
// Throws std::invalid_argument for shapes that do not belong together.
[[nodiscard]] OwnedImage<float> kernelUncertainty(MaskedImageView const& convolved,
                                                  ConstImageView<float> const& variance,  // of the difference
                                                  LinearCombinationKernel const& kernel,
                                                  Eigen::MatrixXd const& covariance,
                                                  LinearCombinationKernel const* correction, Index x0, Index y0,
                                                  KernelUncertaintyControl const& control,
                                                  Execution const& execution = {});

}  // namespace psfmatch

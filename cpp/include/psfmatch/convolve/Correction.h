// A difference image through the kernel that makes its noise white: values, variances and mask.
// With v_n and v_c the variances of the image that was not convolved and of the other one, k the kernel it was
// convolved with and phi the correction, the variance is v_n (*) phi^2 + v_c (*) q^2, q = phi (*) k, squared pixel by
// pixel. The second term is given, or follows from v_c (*) k^2, which the difference's own variance holds.
#pragma once

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"

namespace psfmatch {

// v_c (*) q^2 as beta v_c (*) k^2 + gamma v_c, where beta(y, x) = sum over i of betaOfRow(y, i) alongX(i, x), and
// gamma likewise. Where v_c cannot be used, v_c (*) k^2 over the sum of k^2 stands in for it.
struct VarianceFactors {
    RowMatrix betaOfRow;   // (height, n)
    RowMatrix gammaOfRow;  // (height, n)
    RowMatrix alongX;      // (n, width)
    double sumOfSquares = 1.0;
};

struct CorrectionControl {
    double divisor = 1.0;  // of the difference's variance: what its values were divided by, squared
    // A pixel gets the planes of a bad one that holds more than this fraction of sum |phi| (that of the centre).
    double maskedKernelFraction = 0.05;
    MaskPixel badBits = 0;
    MaskPixel edgeBit = 1 << 4;    // what lies beyond the border carries
    MaskPixel noDataBit = 1 << 8;  // carried by pixels bad for their values alone
    InstructionSet instructionSet = InstructionSet::automatic;
};

// Pixels are bad for their planes, their values, or a variance of either plane that is negative or not finite. They
// keep value and variance, and lend nothing to others: like all beyond the border, they count as the median of the good
// pixels without variance. With `factors` convolvedVariance is v_c, without it v_c (*) q^2 before the division.
// Throws std::invalid_argument for shapes that do not belong together, and as convolve.
void correctDifference(MaskedImageView const& difference,
                       ConstImageView<float> const& unconvolvedVariance,  // v_n, (height, width)
                       ConstImageView<float> const& convolvedVariance,    // (height, width)
                       VarianceFactors const* factors,                    // may be null
                       LinearCombinationKernel const& correction, Index x0,
                       Index y0,  // position of pixel [0, 0] in the parent frame
                       CorrectionControl const& control, Execution const& execution, MaskedImageTarget output);

}  // namespace psfmatch

// Difference of two images on the same pixels, less a smooth background, in one pass over all planes:
//   image = (minuend - subtrahend - background(x, y)) / divisor,
//   variance = (minuend + subtrahend) / divisor^2,  mask = minuend | subtrahend.
// Values are formed in float64 and rounded once. Covariance between pixels, or between the images, is left out.
#pragma once

#include <Eigen/Core>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

struct SubtractionControl {
    double divisor = 1.0;
    MaskPixel minuendBits = ~0;     // planes of the minuend that the result takes over
    MaskPixel subtrahendBits = ~0;  // and of the subtrahend
    // Set where a pixel of either image is bad for its values (badPixels.h), and where the difference is not finite or
    // its variance not positive and finite. If no variance of the whole result is, it says nothing and is not asked.
    MaskPixel noDataBit = 1 << 8;
};

// Throws std::invalid_argument for shapes or numbers of coefficients that do not belong together, and for a divisor
// that is 0 or not finite.
void subtract(MaskedImageView const& minuend, MaskedImageView const& subtrahend,
              Eigen::VectorXd const& background,  // (spatial.size()), image units
              SpatialFunction const& spatial, Index x0,
              Index y0,  // position of pixel [0, 0] in the parent frame
              SubtractionControl const& control, Execution const& execution, MaskedImageTarget output);

}  // namespace psfmatch

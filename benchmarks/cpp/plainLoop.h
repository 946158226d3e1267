// The convolution as everybody writes it first, to compare with: a loop over y and x with the kernel sum innermost,
// one fixed kernel, double precision, one thread.
#pragma once

#include "psfmatch/base/types.h"

namespace psfmatch::bench {

// Output rows firstRow .. lastRow - 1 of image and variance, as far as the kernel lies inside the input.
void plainLoop(ConstImageView<float> const& image, ConstImageView<float> const& variance,
               ConstImageView<double> const& kernel, Index firstRow, Index lastRow, ImageView<float> outImage,
               ImageView<float> outVariance);

}  // namespace psfmatch::bench

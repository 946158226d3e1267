// Covariance of the noise of neighbouring pixels of a sum of independent pixels, such as one through a kernel.
#pragma once

#include "psfmatch/base/types.h"

namespace psfmatch {

// Sum over pixels w of variance(w) weights(w) weights(w - d) for lags d = (dy, dx) of up to maxLag: row maxLag + dy,
// column maxLag + dx, (2 maxLag + 1, 2 maxLag + 1), image units squared. The weights (h, w) lie about the pixel (row,
// column) of the variance plane, which goes on beyond its border as it is there; what is no variance counts as the
// median of those under the weights, NaN without any.
[[nodiscard]] OwnedImage<double> noiseCovariance(ConstImageView<double> const& weights,
                                                 ConstImageView<float> const& variance, Index row, Index column,
                                                 Index maxLag);

}  // namespace psfmatch

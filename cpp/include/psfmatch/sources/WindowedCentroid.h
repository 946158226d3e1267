// Centroid under a Gaussian window that follows it: the place of a kernel's core, where a moment alone would tell of
// the noise of its wings.
#pragma once

#include "psfmatch/base/types.h"

namespace psfmatch {

struct Centroid {
    double x;  // from the middle pixel, (height / 2, width / 2), px
    double y;
};

// sigma: of the window, px. The product of window and core lies between them, half way if they are alike, so each of
// the passes goes 1.5 times as far. NaN where the pixels under the window sum to zero or are not finite; never farther
// than half a stamp from the middle.
[[nodiscard]] Centroid windowedCentroid(ConstImageView<double> const& stamp, double sigma, int nPasses);

}  // namespace psfmatch

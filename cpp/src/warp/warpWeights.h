// One-dimensional resampling weights as functions of the position within a pixel, tabulated.
#pragma once

#include <vector>

#include "psfmatch/warp/warp.h"

namespace psfmatch::detail {

// Weights of the nTaps pixels about a position whose fraction of a pixel is (node + t) / nodes, 0 <= t < 1:
//   coefficients[node][0] + t * (coefficients[node][1] + t * coefficients[node][2]),
// vectors of `lanes` numbers of which those beyond nTaps are 0. Good to 2e-8.
struct WeightTable {
    static constexpr int nodes = 256;
    int nTaps = 0;  // even; the first pixel is floor(position) - (nTaps / 2 - 1)
    int lanes = 0;
    std::vector<float> coefficients;
};

// Number of pixels under a kernel that is averaged over areaWidth source pixels.
[[nodiscard]] int tapCount(WarpingKernel kernel, double areaWidth);

// The weights of tapCount pixels at a fraction in [0, 1]; they sum to one.
[[nodiscard]] std::vector<double> resamplingWeights(WarpingKernel kernel, bool keepCentroids, double areaWidth,
                                                    double fraction);

[[nodiscard]] WeightTable makeWeightTable(WarpingKernel kernel, bool keepCentroids, double areaWidth);

}  // namespace psfmatch::detail

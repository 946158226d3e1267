// The variance of a convolved region, K^2 (x) variance of the template, to 1e-3 of the sum of K^2: the squared kernel
// as a few products of a column and a row. Where neighbours share noise of a correlation r: K (r * K) for K^2.
#pragma once

#include <vector>

#include "psfmatch/fit/RegionStamps.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

struct VarianceSpace {
    std::vector<float> squares;  // of the kernel's pixels, the whole, then the part that counts
    std::vector<float> columns;
    std::vector<float> rows;
    std::vector<float> planes;
};

// Overwrites `variance` (shape.size()) of region k; `kernel` has the size that the stamps were cut for. `smoothed`: the
// kernel smoothed by the correlation of the noise, itself where that is white.
void convolveVariance(RowFunctions const& functions, RegionStamps const& stamps, Index k, float const* kernel,
                      float const* smoothed, VarianceSpace& space, float* variance);

}  // namespace psfmatch::detail

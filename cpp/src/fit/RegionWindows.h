// Sums and largest values over square windows about every pixel of a region, within the region.
#pragma once

#include <vector>

#include "psfmatch/fit/RegionStamps.h"

namespace psfmatch::detail {

// Side (pixels) of the box over which residuals and first variances are smoothed: about the core of a star.
inline constexpr Index smoothing = 5;

// Memory of one worker.
struct WindowSpace {
    std::vector<float> row;
    std::vector<float> rows;
};

// Overwrites `values` (shape.size()), whatever lies in the ends of the rows; sides are odd.
void boxSum(RegionShape const& shape, Index side, float* values, WindowSpace& space);
void boxMax(RegionShape const& shape, Index side, float* values, WindowSpace& space);

}  // namespace psfmatch::detail

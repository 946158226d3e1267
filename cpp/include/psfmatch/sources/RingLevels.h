// The level of the sky in rings about places: the mean of the pixels within three robust standard deviations (1.4826
// times the median deviation) of the median, clipped twice over, and its error by their own scatter.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct RingControl {
    double inner = 0.0;  // radii about the nearest pixel, pixels; both belong to the ring
    double outer = 0.0;
    Index minPixels = 20;
};

// Image units; both NaN where the ring has too few pixels that can be used.
struct RingLevel {
    double level = std::numeric_limits<double>::quiet_NaN();
    double error = std::numeric_limits<double>::quiet_NaN();
};

// Of pixels with a positive weight; rings may reach beyond the image. Throws std::invalid_argument for images or lists
// of different sizes, and unless 0 <= inner <= outer.
[[nodiscard]] std::vector<RingLevel> ringLevels(ConstImageView<float> const& image, ConstImageView<float> const& weight,
                                                std::span<double const> x,  // (n) pixels of the image
                                                std::span<double const> y, RingControl const& control,
                                                Execution const& execution = {});

}  // namespace psfmatch

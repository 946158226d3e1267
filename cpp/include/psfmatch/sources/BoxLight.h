// How much light sources have in a box about each, above the median of the pixels beside it, and its error from the
// variances of the box's own pixels. Bad pixels (badPixels.h) are left out; boxes may reach beyond the image.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct BoxLightControl {
    Index halfBox = 7;     // half width of the box, pixels
    Index skyRing = 5;     // pixels beside it on each side whose median is the sky
    Index minPixels = 30;  // good ones in the box, and beside it
};

// Image units; both NaN where too few pixels are good.
struct BoxLight {
    double light = std::numeric_limits<double>::quiet_NaN();
    double error = std::numeric_limits<double>::quiet_NaN();
};

// Throws std::invalid_argument for planes or lists of different sizes, or sizes below zero.
[[nodiscard]] std::vector<BoxLight> boxLight(MaskedImageView const& image, MaskPixel badBits,
                                             std::span<double const> x,  // (n) pixels of the image
                                             std::span<double const> y, BoxLightControl const& control = {},
                                             Execution const& execution = {});

}  // namespace psfmatch

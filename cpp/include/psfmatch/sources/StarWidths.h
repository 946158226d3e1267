// The FWHM of the stars of an image: 2.3548 (Ixx Iyy - Ixy^2)^(1/4) of the adaptive moments (adaptiveMoments.h) of the
// square about each, less its sky, which is the median of the two outermost rows and columns on all sides. Near the
// edge of the image the square is smaller. All sources of a list in one call, straight from the image.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct StarWidthControl {
    Index radius = 15;     // half width of the square, pixels
    Index coreRadius = 3;  // no bad pixel may lie so near; a centre that moves farther has gone to a neighbour
    Index leastReach = 5;  // sources nearer to the edge, pixels, are not measured
};

// FWHM in pixels of n sources; NaN where one cannot be measured. Bad pixels (badPixels.h) count as sky.
// Throws std::invalid_argument for planes or lists of different sizes and impossible options.
[[nodiscard]] std::vector<double> starWidths(MaskedImageView const& image, MaskPixel badBits,
                                             std::span<double const> x,  // (n) pixels of the image; NaN is let pass
                                             std::span<double const> y, StarWidthControl const& control = {},
                                             Execution const& execution = {});

}  // namespace psfmatch

// The sources of one or several registered images laid upon one another: what all of them have in common, with the
// signal-to-noise ratio of all together. Squares about the nearest pixels are added with a weight each; a convolution
// that takes one image to another takes its stack to that of the other, whatever the sources are.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct StackControl {
    Index radius = 15;     // half width of the squares, pixels
    Index coreRadius = 3;  // no bad pixel of any image may lie so near, pixels
    double maxBad = 0.1;   // share of a square that may be bad, or beyond the border; it counts as sky in all images
};

struct SourceStack {
    OwnedImage<double> image;  // (2 radius + 1)^2, image units: sum of weight x (pixel - sky of the square)
    double variance = 0.0;     // of a pixel of the stack, the mean over the square
    double fwhm;               // pixels, of the adaptive moments, less what whole pixels add; NaN without a width
};

struct StackedSources {
    std::vector<SourceStack> stacks;  // one for each image
    Index nUsed = 0;                  // sources with a good square in all images
};

// Bad pixels: badPixels.h. The sky of a square is the median of its two outermost rows and columns on all sides.
// Throws std::invalid_argument for images or lists of different sizes, or impossible options.
[[nodiscard]] StackedSources stackSources(std::span<MaskedImageView const> images, std::span<MaskPixel const> badBits,
                                          std::span<double const> x,  // (n) pixels; those not finite are left out
                                          std::span<double const> y, std::span<double const> weights,
                                          StackControl const& control = {}, Execution const& execution = {});

}  // namespace psfmatch

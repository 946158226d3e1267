// How many pixels are good in each of two images on one grid, and in both.
#pragma once

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct PixelCoverage {
    Index nFirst = 0;
    Index nSecond = 0;
    Index nBoth = 0;
    Box box = {};  // smallest about the pixels good in both; empty without any
};

// Bad pixels are those of badPixels.h. Throws std::invalid_argument if shapes differ.
[[nodiscard]] PixelCoverage countCoverage(MaskedImageView const& first, MaskPixel firstBadBits,
                                          MaskedImageView const& second, MaskPixel secondBadBits,
                                          Execution const& execution = {});

}  // namespace psfmatch

// What the noise and the errors on light are told by: pixels of a difference that count, and the sky below the light.
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/image/CellGrid.h"

namespace psfmatch {

inline constexpr float largestPixel = std::numeric_limits<float>::max();
inline constexpr double widthError = 1.167;  // of a robust width of n Gaussian values, times its square root of n

inline void requireOneShape(MaskedImageView const& difference, MaskedImageView const& image) {
    if (!haveOneShape(difference.image, difference.variance, difference.mask, image.image, image.variance,
                      image.mask)) {
        throw std::invalid_argument("difference and image must have one shape");
    }
}

inline bool isGood(MaskedImageView const& input, MaskPixel badBits, Index y, Index x) {
    float const variance = input.variance(y, x);
    return (input.mask(y, x) & badBits) == 0 && std::abs(input.image(y, x)) <= largestPixel && variance > 0.0F &&
           variance <= largestPixel;
}

inline CellGrid skyOf(MaskedImageView const& image, MaskPixel badBits, Execution const& execution) {
    CellGridControl cells;
    cells.badBits = badBits;
    cells.samples = 1024;  // of each cell: its level is known to a thirtieth of a pixel's noise
    return measureCells(image, image.image, cells, execution);
}

}  // namespace psfmatch

// Which pixels cannot be used, and values to put in their place before a convolution, so that one defect does not
// spoil a whole kernel footprint. A fill is a guess from the nearest good pixels along the row and the column; it
// does not model the sky, and its variance says only how much those neighbours disagree.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// A pixel is bad where a bad plane is set, image or variance are not finite, or the variance is negative.
[[nodiscard]] inline bool isBad(float image, float variance, MaskPixel mask, MaskPixel badBits) {
    constexpr float largest = std::numeric_limits<float>::max();
    // Without short circuits: this must vectorise.
    return ((mask & badBits) != 0) | !(std::abs(image) <= largest) | !((variance >= 0.0F) & (variance <= largest));
}

struct FilledPixel {
    std::int32_t x = 0;
    float value = 0.0F;
    float variance = 0.0F;
    MaskPixel planes = 0;  // the bad planes set at the pixel; 0: bad for its values alone
    // It stands alone where the light does not bend: the nearest good pixels of its row and column are beside it, but
    // for one at most that is two pixels away, its four diagonal neighbours are good, and their mean is the fill within
    // twice the noise of both. Then the fill is off by hardly more than the noise of a pixel.
    bool isSafe = false;
};

// The bad pixels of an image and what replaces them, row after row, x ascending within a row. Only bad pixels take
// up memory, 20 bytes each.
struct FilledPixels {
    std::vector<Index> rowStart;      // (height + 1)
    std::vector<FilledPixel> pixels;  // rowStart[y] .. rowStart[y + 1] - 1 belong to row y

    [[nodiscard]] bool empty() const { return pixels.empty(); }
    [[nodiscard]] std::span<FilledPixel const> row(Index y) const;  // empty beyond the image
};

// value: mean of the nearest good pixels to the left, right, below and above (as many as there are), weighted by
// 1 / distance. variance: that of the mean plus the weighted scatter of those values, and not less than the
// largest of their variances. A pixel without a good one in its row or column takes the mean of all good pixels,
// and their mean variance plus scatter; if no pixel is good, all are 0 with variance 0. The result does not depend
// on the number of threads.
[[nodiscard]] FilledPixels fillBadPixels(MaskedImageView const& input, MaskPixel badBits,
                                         Execution const& execution = {});

// The same for an image alone: only non-finite pixels are bad, all variances are taken as 0.
[[nodiscard]] FilledPixels fillBadPixels(ConstImageView<float> const& image, Execution const& execution = {});

// Writes the fill into copies of the planes it was made from: (height, width) both.
void writeFill(FilledPixels const& fill, ImageView<float> image, ImageView<float> variance);

}  // namespace psfmatch

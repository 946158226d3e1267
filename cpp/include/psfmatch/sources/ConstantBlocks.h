// Blocks of one value: pixels that hold no data, filled with 0, -999, -32768 or anything else.
//
// Noise gives neighbours different values. How often it does not - whole counts of a low sky - is measured on the pairs
// outside the blocks, and says how large a square of equal pixels chance never makes. Clipped stars, whose rims are
// bright, are no such blocks, nor is the sky of an image without noise.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct ConstantBlocksControl {
    MaskPixel badBits = 0;       // planes whose pixels do not count
    Index minSide = 3;           // of the least square, pixels
    Index maxSide = 32;          // where chance makes larger ones, nothing is found
    double falseSquares = 0.01;  // that chance makes in an image
};

struct ConstantBlock {
    float value = 0.0F;
    Index nPixels = 0;
};

struct ConstantBlocks {
    std::vector<Index> places;          // row * width + column, ascending
    std::vector<ConstantBlock> blocks;  // the largest first
    Index side = 0;                     // of the least square, pixels; 0: no pair of pixels is equal
};

[[nodiscard]] ConstantBlocks constantBlocks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                                            ConstantBlocksControl const& control, Execution const& execution = {});

}  // namespace psfmatch

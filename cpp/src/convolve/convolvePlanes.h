// The planes that a convolution reads and writes, as plain pointers; internal to convolve.cpp.
#pragma once

#include <algorithm>

#include "psfmatch/base/types.h"

namespace psfmatch::detail {

template <typename Pixel>
struct Plane {
    Pixel const* input = nullptr;  // null: absent
    Index inputStride = 0;
    Pixel* output = nullptr;
    Index outputStride = 0;
    Index height = 0;
    Index width = 0;
    // Results are wanted for all pixels, made of `outside` where the kernel reaches beyond the image.
    bool isExtended = false;
    Pixel outside{};

    [[nodiscard]] Pixel* outputAt(Index y, Index x) const { return output + y * outputStride + x; }
    [[nodiscard]] Pixel const* inputAt(Index y, Index x) const { return input + y * inputStride + x; }

    // Columns x to x + count of row y of the input, any of which may lie outside.
    void copyInput(Index y, Index x, int count, Pixel* target) const {
        Index const begin = y >= 0 && y < height ? std::clamp<Index>(-x, 0, count) : count;
        Index const end = std::clamp<Index>(width - x, begin, count);
        std::fill(target, target + begin, outside);
        if (end > begin) {
            std::copy_n(inputAt(y, x + begin), end - begin, target + begin);
        }
        std::fill(target + end, target + count, outside);
    }
};

struct Planes {
    Index height = 0;
    Index width = 0;
    Plane<float> image;
    Plane<float> variance;
    Plane<MaskPixel> mask;

    [[nodiscard]] bool hasVariance() const { return variance.input != nullptr; }
    [[nodiscard]] bool hasMask() const { return mask.input != nullptr; }
};

// A rectangle of output pixels.
struct Tile {
    Index x0 = 0;  // first output pixel, counted from the corner of the image
    Index y0 = 0;
    int width = 0;
    int height = 0;
};

}  // namespace psfmatch::detail

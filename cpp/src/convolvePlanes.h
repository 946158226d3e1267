// The planes that a convolution reads and writes, as plain pointers; internal to convolve.cpp.
#pragma once

#include "psfmatch/types.h"

namespace psfmatch::detail {

template <typename Pixel>
struct Plane {
    Pixel const* input = nullptr;  // null: absent
    Index inputStride = 0;
    Pixel* output = nullptr;
    Index outputStride = 0;

    [[nodiscard]] Pixel* outputAt(Index y, Index x) const { return output + y * outputStride + x; }
    [[nodiscard]] Pixel const* inputAt(Index y, Index x) const { return input + y * inputStride + x; }
};

struct Planes {
    Index height = 0;
    Index width = 0;
    Plane<float> image;
    Plane<float> variance;
    Plane<MaskPixel> mask;
};

// A rectangle of output pixels.
struct Tile {
    Index x0 = 0;  // first output pixel, counted from the corner of the image
    Index y0 = 0;
    int width = 0;
    int height = 0;
};

}  // namespace psfmatch::detail

// Views of images and the box of pixels they cover. Arrays are [y, x], row major, rows `outerStride` pixels
// apart; integer coordinates are pixel centres. Nothing here owns pixels.
#pragma once

#include <Eigen/Core>
#include <cstdint>

namespace psfmatch {

using Index = Eigen::Index;
using MaskPixel = std::int32_t;

template <typename Pixel>
using ImageView = Eigen::Map<Eigen::Array<Pixel, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
                             Eigen::OuterStride<>>;

template <typename Pixel>
using ConstImageView = Eigen::Map<Eigen::Array<Pixel, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const,
                                  Eigen::Unaligned, Eigen::OuterStride<>>;

template <typename Pixel>
using OwnedImage = Eigen::Array<Pixel, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Whether arrays have one shape (height, width).
template <typename First, typename... Others>
[[nodiscard]] bool haveOneShape(First const& first, Others const&... others) {
    return ((others.rows() == first.rows() && others.cols() == first.cols()) && ...);
}

// A rectangle of whole pixels; its area reaches from x0 - 0.5 to x0 + width - 0.5.
struct Box {
    Index x0 = 0;
    Index y0 = 0;
    Index width = 0;
    Index height = 0;
};

// Image, variance and mask of one shape (height, width).
struct MaskedImageView {
    ConstImageView<float> image;
    ConstImageView<float> variance;  // image units squared
    ConstImageView<MaskPixel> mask;  // bit planes
};

// Where a result goes: planes of one shape, apart from the input in memory.
struct MaskedImageTarget {
    ImageView<float> image;
    ImageView<float> variance;
    ImageView<MaskPixel> mask;
};

}  // namespace psfmatch

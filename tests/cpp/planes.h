// Planes of an image, or of a difference and the image that was not convolved, on the same pixels.
#pragma once

#include "psfmatch/base/types.h"

namespace psfmatch::test {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

template <typename Pixel>
ImageView<Pixel> mutableViewOf(OwnedImage<Pixel>& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

// Zeros with the variance 1, nothing flagged.
struct LitPair {
    OwnedImage<float> image;
    OwnedImage<float> difference;
    OwnedImage<float> variance;
    OwnedImage<MaskPixel> mask;

    explicit LitPair(Index side)
        : image(OwnedImage<float>::Zero(side, side)),
          difference(image),
          variance(OwnedImage<float>::Ones(side, side)),
          mask(OwnedImage<MaskPixel>::Zero(side, side)) {}

    [[nodiscard]] MaskedImageView imageView() const { return {viewOf(image), viewOf(variance), viewOf(mask)}; }
    [[nodiscard]] MaskedImageView differenceView() const {
        return {viewOf(difference), viewOf(variance), viewOf(mask)};
    }
};

}  // namespace psfmatch::test

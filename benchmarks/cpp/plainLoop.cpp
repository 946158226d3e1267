#include "plainLoop.h"

#include <algorithm>

namespace psfmatch::bench {

namespace {

void correlate(ConstImageView<float> const& in, ConstImageView<double> const& kernel, Index firstRow, Index lastRow,
               ImageView<float>& out) {
    Index const h = kernel.rows();
    Index const w = kernel.cols();
    for (Index y = std::max(firstRow, h / 2); y < std::min(lastRow, in.rows() - h / 2); ++y) {
        for (Index x = w / 2; x < in.cols() - w / 2; ++x) {
            double sum = 0.0;
            for (Index v = 0; v < h; ++v) {
                for (Index u = 0; u < w; ++u) {
                    sum += kernel(v, u) * static_cast<double>(in(y - h / 2 + v, x - w / 2 + u));
                }
            }
            out(y, x) = static_cast<float>(sum);
        }
    }
}

}  // namespace

void plainLoop(ConstImageView<float> const& image, ConstImageView<float> const& variance,
               ConstImageView<double> const& kernel, Index firstRow, Index lastRow, ImageView<float> outImage,
               ImageView<float> outVariance) {
    correlate(image, kernel, firstRow, lastRow, outImage);
    OwnedImage<double> const squares = kernel.square();
    correlate(variance, {squares.data(), squares.rows(), squares.cols(), Eigen::OuterStride<>(squares.cols())},
              firstRow, lastRow, outVariance);
}

}  // namespace psfmatch::bench

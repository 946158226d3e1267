#include "psfmatch/kernel/NoiseCovariance.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"

namespace psfmatch {

namespace {

// The variances under weights of a shape.
OwnedImage<double> variancesAround(ConstImageView<float> const& variance, Index row, Index column, Index height,
                                   Index width) {
    OwnedImage<double> around(height, width);
    std::vector<double> usable;
    auto const isUsable = [](double value) { return std::isfinite(value) && value >= 0.0; };
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            around(y, x) = variance(std::clamp<Index>(row + y - height / 2, 0, variance.rows() - 1),
                                    std::clamp<Index>(column + x - width / 2, 0, variance.cols() - 1));
            if (isUsable(around(y, x))) {
                usable.push_back(around(y, x));
            }
        }
    }
    std::vector<double> scratch;
    double const typical = quantileOf<double>(usable, 0.5, scratch);
    return around.unaryExpr([&](double value) { return isUsable(value) ? value : typical; });
}

}  // namespace

OwnedImage<double> noiseCovariance(ConstImageView<double> const& weights, ConstImageView<float> const& variance,
                                   Index row, Index column, Index maxLag) {
    if (maxLag < 0) {
        throw std::invalid_argument("maxLag is " + std::to_string(maxLag) + ": it must not be negative");
    }
    Index const height = weights.rows();
    Index const width = weights.cols();
    OwnedImage<double> const weighted = weights * variancesAround(variance, row, column, height, width);
    Index const side = 2 * maxLag + 1;
    OwnedImage<double> covariance = OwnedImage<double>::Zero(side, side);
    for (Index dy = -std::min(maxLag, height - 1); dy <= std::min(maxLag, height - 1); ++dy) {
        for (Index dx = -std::min(maxLag, width - 1); dx <= std::min(maxLag, width - 1); ++dx) {
            Index const rows = height - std::abs(dy);
            Index const columns = width - std::abs(dx);
            covariance(maxLag + dy, maxLag + dx) =
                (weighted.block(std::max<Index>(dy, 0), std::max<Index>(dx, 0), rows, columns) *
                 weights.block(std::max<Index>(-dy, 0), std::max<Index>(-dx, 0), rows, columns))
                    .sum();
        }
    }
    return covariance;
}

}  // namespace psfmatch

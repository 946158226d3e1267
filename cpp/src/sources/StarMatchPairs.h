// Pairs of stars that lie together, and the transform that takes the ones to the others.
#pragma once

#include <vector>

#include "psfmatch/sources/StarMatch.h"

namespace psfmatch::detail {

using Positions = Eigen::MatrixX2d;

struct StarPairs {
    std::vector<Eigen::Index> first;
    std::vector<Eigen::Index> second;

    [[nodiscard]] std::size_t size() const { return first.size(); }
};

struct RobustTransform {
    AffineMatrix matrix;
    double scatter;  // pixels, per axis
    int nFixed;      // pairs that fix it
};

constexpr int minSimilarity = 4;  // pairs from which rotation and scale are followed; fewer tell a shift alone

[[nodiscard]] Positions applied(AffineMatrix const& matrix, Positions const& positions);

// Stars that are each other's nearest, within a tolerance (pixels), in the order of the first list.
[[nodiscard]] StarPairs nearestPairs(Positions const& first, Positions const& second, double tolerance);

// The transform of pairs (k, 2), outliers left out: a shift, with rotation and scale, or affine, as their number
// allows.
[[nodiscard]] RobustTransform fitRobust(Positions const& first, Positions const& second, AffineMatrix const& guess);

// Median of values that are brought into another order.
[[nodiscard]] double middleOf(std::vector<double>& values);

}  // namespace psfmatch::detail

// What the measurements of stars share: checks of their arguments, the pixel of a position, work in parts of a list,
// and inverses of small normal matrices.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch::detail {

constexpr Index starsPerItem = 8;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

inline void requirePlanes(MaskedImageView const& image) {
    if (!haveOneShape(image.image, image.variance, image.mask)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
}

inline void requirePairs(std::span<double const> x, std::span<double const> y) {
    if (x.size() != y.size()) {
        throw std::invalid_argument(std::to_string(x.size()) + " values of x and " + std::to_string(y.size()) +
                                    " of y make no positions");
    }
}

// The whole pixel nearest to a coordinate. Of what is not finite, or beyond any image, one outside of all.
[[nodiscard]] inline Index nearestPixel(double coordinate) {
    constexpr double limit = 1e9;
    return std::abs(coordinate) < limit ? static_cast<Index>(std::floor(coordinate + 0.5)) : -static_cast<Index>(limit);
}

// Calls body(i, space) for i = 0 .. count - 1; each writes only its own results. Every worker has a copy of `space`, of
// full size: it is made by the calling thread, for memory that a thread asks for itself is fresh and must be cleared by
// the system first.
template <typename Space, typename Body>
void forEachStar(std::size_t count, Execution const& execution, Space const& space, Body const& body) {
    struct alignas(cacheLine) Padded {
        Space space;
    };
    auto const n = static_cast<Index>(count);
    Index const nItems = (n + starsPerItem - 1) / starsPerItem;
    std::vector<Padded> spaces(static_cast<std::size_t>(workerCount(nItems, execution)), Padded{space});
    parallelForBrief(nItems, execution, [&](Index item, int worker) {
        for (Index i = item * starsPerItem; i < std::min(n, (item + 1) * starsPerItem); ++i) {
            body(static_cast<std::size_t>(i), spaces[static_cast<std::size_t>(worker)].space);
        }
    });
}

// The same for what needs no scratch space: body(i).
template <typename Body>
void forEachStar(std::size_t count, Execution const& execution, Body const& body) {
    struct None {};
    forEachStar(count, execution, None{}, [&](std::size_t i, None&) { body(i); });
}

// Inverse of a symmetric positive matrix, by way of that scaled to a diagonal of 1; NaN where its smallest eigenvalue
// is below 1e-10.
template <int n>
[[nodiscard]] Eigen::Matrix<double, n, n> inverseOf(Eigen::Matrix<double, n, n> const& matrix) {
    using Matrix = Eigen::Matrix<double, n, n>;
    constexpr double least = 1e-10;
    Eigen::Matrix<double, n, 1> const scale = matrix.diagonal().array().sqrt().inverse();
    Matrix const scaled = scale.asDiagonal() * matrix * scale.asDiagonal();
    if (!scaled.allFinite()) {
        return Matrix::Constant(nan);
    }
    // No eigenvalue of the inverse is above its norm.
    Matrix inverse = scaled.inverse();
    if (!(inverse.norm() * least < 1.0)) {
        Eigen::SelfAdjointEigenSolver<Matrix> const solver(scaled);
        if (!(solver.eigenvalues()(0) > least)) {
            return Matrix::Constant(nan);
        }
        inverse = solver.eigenvectors() * solver.eigenvalues().cwiseInverse().asDiagonal() *
                  solver.eigenvectors().transpose();
    }
    return scale.asDiagonal() * inverse * scale.asDiagonal();
}

}  // namespace psfmatch::detail

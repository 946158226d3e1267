// Which stars of one list are which of another. All displacements between the brightest stars of both vote in a grid,
// once for each of a few rotations and scales; where many agree is the transform. From there pairs of nearest
// neighbours and a fit by least squares take turns, closer each time. What is found is compared with chance.
#pragma once

#include <Eigen/Core>
#include <limits>
#include <vector>

namespace psfmatch {

using AffineMatrix = Eigen::Matrix<double, 2, 3>;  // takes (x, y, 1) to (x', y')

struct StarMatch {
    std::vector<Eigen::Index> first;  // (k) indices of stars that belong together
    std::vector<Eigen::Index> second;
    double chance = std::numeric_limits<double>::infinity();  // expected number of as many pairs by accident
};

struct StarMatchControl {
    double area = 0.0;       // square pixels over which the stars are spread
    double maxOffset = 0.0;  // largest displacement along each axis, pixels
    double maxChance = 1e-3;
};

// The pairs of stars that one affine transform takes into each other: those that chance explains least. Positions are
// (n, 2), pixels, brightest first. Throws std::invalid_argument unless area and maxOffset are positive.
[[nodiscard]] StarMatch matchStars(Eigen::MatrixX2d const& first, Eigen::MatrixX2d const& second,
                                   StarMatchControl const& control);

}  // namespace psfmatch

// What registration has left over at stars. A star that lies at (dx, dy) from its place in the matched image M leaves
// D = -dx M_x - dy M_y + c M + b in the difference, to first order. The four factors of (M_x, M_y, M, 1) are fitted on
// the square about each star with weights 1 / variance; derivatives are differences over eleven pixels, exact for
// polynomials of degree 10.
#pragma once

#include <Eigen/Core>
#include <span>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct StarShiftControl {
    Index radius = 6;      // half width of the squares, pixels
    Index minPixels = 20;  // fewer good ones do not hold four numbers
    double minGood = 0.7;  // share of a square's pixels that must be good
};

// Factors of M_x, M_y, M and 1, and one sigma of each, (n, 4); NaN where not measured.
struct StarShifts {
    Eigen::MatrixXd values;
    Eigen::MatrixXd errors;
};

// Pixels whose planes meet badBits, whose variance is not positive and finite, or where M, within five pixels along its
// axes, is not finite are left out. Throws std::invalid_argument for planes or lists of different sizes.
[[nodiscard]] StarShifts starShifts(MaskedImageView const& difference, ConstImageView<float> const& matched,
                                    MaskPixel badBits,
                                    std::span<double const> x,  // (n) pixels of the difference
                                    std::span<double const> y, StarShiftControl const& control = {},
                                    Execution const& execution = {});

}  // namespace psfmatch

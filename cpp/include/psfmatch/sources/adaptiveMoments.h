// Adaptive second moments (Bernstein & Jarvis 2002, AJ 123, 583): those of an object under the Gaussian that matches
// the object itself, found by iteration.
#pragma once

#include <limits>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

struct SecondMoments {
    double xx = std::numeric_limits<double>::quiet_NaN();  // square pixels
    double yy = std::numeric_limits<double>::quiet_NaN();
    double xy = std::numeric_limits<double>::quiet_NaN();
};

struct AdaptiveMomentsControl {
    double sigma = 1.5;  // pixels, of the first weight
    int maxIterations = 50;
    double maxShift = std::numeric_limits<double>::infinity();  // pixels that the centre may move from its first guess
};

// The moments of n objects; NaN where the iteration does not converge or leaves the stamp.
// Throws std::invalid_argument for sizes that do not belong together.
[[nodiscard]] std::vector<SecondMoments> adaptiveMoments(
    ConstImageView<double> const& stamps,  // (n, height * width), each a stamp row after row without its background
    Index height, Index width,
    std::vector<double> const& x,  // (n) first guesses of the centres, pixels of the stamp
    std::vector<double> const& y, AdaptiveMomentsControl const& control = {}, Execution const& execution = {});

}  // namespace psfmatch

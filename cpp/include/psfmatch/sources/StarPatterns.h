// Which stars of one list are which of another, wherever the two images lie: turned, mirrored, shifted and scaled at
// will. Triangles of the brightest stars, whose shapes none of that changes (Groth 1986, AJ 91, 1244), propose
// transforms; how many bright stars then fall on stars tells the good ones, and their pairs are found as those of
// `matchStars`.
#pragma once

#include "psfmatch/sources/StarMatch.h"

namespace psfmatch {

struct StarPatternControl {
    double area = 0.0;       // square pixels over which the second list is spread
    double minScale = 0.45;  // pixels of the second image for one of the first
    double maxScale = 2.2;
    double maxChance = 1e-3;
};

struct PatternMatch {
    StarMatch match;
    AffineMatrix matrix = AffineMatrix::Identity();  // from the first list to the second
};

// The pairs of stars that one transform, mirrored or not, takes into each other: those that chance explains least.
// Positions are (n, 2), pixels, brightest first. Throws std::invalid_argument unless the area is positive and the
// scales are in order.
[[nodiscard]] PatternMatch matchPatterns(Eigen::MatrixX2d const& first, Eigen::MatrixX2d const& second,
                                         StarPatternControl const& control);

}  // namespace psfmatch

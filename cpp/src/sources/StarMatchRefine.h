// From a first guess of a transform to all pairs of stars that follow from it, and how often chance would give as many.
#pragma once

#include "sources/StarMatchPairs.h"

namespace psfmatch::detail {

struct RefinedPairs {
    StarPairs pairs;
    AffineMatrix matrix;  // from the first list to the second
    double tolerance;     // pixels, within which the pairs agree
    int nFixed;           // pairs that fix the transform
};

constexpr double minBin = 3.0;  // pixels; what a guess is good to at best

// Pairs of nearest neighbours and a fit to them take turns, closer each time; the n brightest of each list begin.
// `area` is that of the second list, square pixels.
[[nodiscard]] RefinedPairs refinePairs(Positions const& first, Positions const& second, AffineMatrix guess,
                                       Eigen::Index n, double area);

// How often as many pairs agree by accident: nFixed of nPairs possible pairs fix a transform, of which there are so
// many; the others then agree as often as a Poisson distribution of the expected number says.
[[nodiscard]] double chanceOf(double nPairs, int nFixed, std::size_t nFound, double expected);

}  // namespace psfmatch::detail

#include "sources/StarMatchRefine.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace psfmatch::detail {

namespace {

using Eigen::Index;

constexpr double minTolerance = 1.0;
constexpr double wideTolerance = 3.0;  // a transform fitted in a part of the field picks up the rest within this
constexpr int nRounds = 8;

RobustTransform transformOf(StarPairs const& pairs, Positions const& first, Positions const& second,
                            AffineMatrix const& guess) {
    return fitRobust(first(pairs.first, Eigen::all), second(pairs.second, Eigen::all), guess);
}

}  // namespace

double chanceOf(double nPairs, int nFixed, std::size_t nFound, double expected) {
    double const k = static_cast<double>(nFound) - nFixed;
    if (k <= expected || k < 1.0) {
        return std::numeric_limits<double>::infinity();
    }
    double const tail = k * std::log(expected) - expected - std::lgamma(k + 1.0) - std::log1p(-expected / (k + 1.0));
    return std::exp(std::min(700.0, nFixed * std::log(nPairs) + tail));
}

RefinedPairs refinePairs(Positions const& first, Positions const& second, AffineMatrix guess, Index n, double area) {
    AffineMatrix matrix = guess;
    double const spacing = std::sqrt(area / static_cast<double>(n));
    double tolerance = 2.0 * std::max(minBin, std::min(0.01 * std::sqrt(area), 0.1 * spacing));
    StarPairs pairs = nearestPairs(applied(matrix, first.topRows(std::min(n, first.rows()))),
                                   second.topRows(std::min(n, second.rows())), tolerance);
    int nFixed = 1;
    for (int round = 0; round < nRounds && pairs.size() > 0; ++round) {
        RobustTransform const fit = transformOf(pairs, first, second, matrix);
        matrix = fit.matrix;
        nFixed = fit.nFixed;
        tolerance = std::max(minTolerance, std::min(4.0 * fit.scatter, 0.7 * tolerance));
        pairs = nearestPairs(applied(matrix, first), second, tolerance);
        if (tolerance == minTolerance) {
            break;
        }
    }
    for (int round = 0; round < nRounds && pairs.size() >= 2; ++round) {
        StarPairs const wide = nearestPairs(applied(matrix, first), second, wideTolerance);
        RobustTransform const fit = transformOf(wide, first, second, matrix);
        // What is left of a distortion is part of the match.
        double const wideEnough = std::max(minTolerance, std::min(4.0 * fit.scatter, wideTolerance));
        StarPairs const found = nearestPairs(applied(fit.matrix, first), second, wideEnough);
        if (found.size() <= pairs.size()) {
            break;
        }
        pairs = found;
        matrix = fit.matrix;
        nFixed = fit.nFixed;
        tolerance = wideEnough;
    }
    return {pairs, matrix, tolerance, nFixed};
}

}  // namespace psfmatch::detail

#include "psfmatch/sources/StarMatch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>

#include "sources/StarMatchRefine.h"

namespace psfmatch {

namespace {

using detail::minBin;
using detail::Positions;
using Eigen::Index;

constexpr std::array<Index, 2> nBright = {100, 300};  // stars that vote; the second where the first find nothing
constexpr double maxAngle = 0.021;                    // radians; 1.2 degrees
constexpr double maxStretch = 0.012;
constexpr int nPeaks = 3;         // places where most displacements agree that are followed up
constexpr double minShare = 0.5;  // of the shorter list: a match with fewer pairs may be a part of a better one

struct Peak {
    Index votes;
    Eigen::Vector2d shift;
};

// Votes for, and medians of, the displacements in those 2x2 bins (pixels) where most agree.
std::vector<Peak> findPeaks(Positions const& first, Positions const& second, double size, double maxOffset) {
    std::vector<Eigen::Vector2d> moves;
    for (Index i = 0; i < first.rows(); ++i) {
        for (Index j = 0; j < second.rows(); ++j) {
            Eigen::Vector2d const move = (second.row(j) - first.row(i)).transpose();
            if (std::abs(move(0)) <= maxOffset && std::abs(move(1)) <= maxOffset) {
                moves.push_back(move);
            }
        }
    }
    std::vector<Peak> peaks;
    auto const n = static_cast<Index>(std::ceil(2.0 * maxOffset / size)) + 1;
    auto const binOf = [&](double move) { return static_cast<Index>(std::floor((move + maxOffset) / size)); };
    Eigen::Array<Index, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> counts =
        Eigen::Array<Index, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>::Zero(n, n);
    for (Eigen::Vector2d const& move : moves) {
        ++counts(binOf(move(1)), binOf(move(0)));
    }
    Index const m = n - 1;
    Eigen::Array<Index, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> pooled =
        counts.topLeftCorner(m, m) + counts.bottomLeftCorner(m, m) + counts.topRightCorner(m, m) +
        counts.bottomRightCorner(m, m);
    for (int peak = 0; peak < nPeaks && pooled.size() > 0; ++peak) {
        Index const at = std::max_element(pooled.data(), pooled.data() + pooled.size()) - pooled.data();
        Index const row = at / m;
        Index const column = at % m;
        Index const votes = pooled(row, column);
        if (votes == 0) {
            break;
        }
        std::vector<double> x;
        std::vector<double> y;
        for (Eigen::Vector2d const& move : moves) {
            Index const dx = binOf(move(0)) - column;
            Index const dy = binOf(move(1)) - row;
            if ((dx == 0 || dx == 1) && (dy == 0 || dy == 1)) {
                x.push_back(move(0));
                y.push_back(move(1));
            }
        }
        peaks.push_back({votes, {detail::middleOf(x), detail::middleOf(y)}});
        Index const y0 = std::max<Index>(0, row - 1);
        Index const x0 = std::max<Index>(0, column - 1);
        pooled.block(y0, x0, std::min(m, row + 2) - y0, std::min(m, column + 2) - x0) = 0;
    }
    return peaks;
}

std::vector<double> stepsTo(double largest, double step) {
    auto const n = static_cast<int>(std::ceil(largest / step));
    std::vector<double> steps;
    for (int i = -n; i <= n; ++i) {
        steps.push_back(largest * i / n);
    }
    return steps;
}

// Transforms about which most displacements agree, the best first.
std::vector<AffineMatrix> vote(Positions const& first, Positions const& second, StarMatchControl const& control) {
    double const side = std::sqrt(control.area);
    auto const nMost = static_cast<double>(std::max(first.rows(), second.rows()));
    double const size = std::max(minBin, std::min(0.01 * side, 0.1 * std::sqrt(control.area / nMost)));
    Eigen::RowVector2d const lowest = first.colwise().minCoeff();
    Eigen::RowVector2d const highest = first.colwise().maxCoeff();
    Eigen::RowVector2d const centre = 0.5 * (lowest + highest);
    // Neighbouring rotations move the farthest stars by two bins against each other.
    double const step = 4.0 * size / std::max((highest - lowest).norm(), 4.0 * size / maxAngle);
    // Few stars tell a shift alone.
    bool const isFew = std::min(first.rows(), second.rows()) < detail::minSimilarity;
    std::vector<double> const angles = isFew ? std::vector{0.0} : stepsTo(maxAngle, step);
    std::vector<double> const stretches = isFew ? std::vector{0.0} : stepsTo(maxStretch, step);
    struct Guess {
        Index votes;
        double change;
        AffineMatrix matrix;
    };
    std::vector<Guess> guesses;
    for (double const angle : angles) {
        for (double const stretch : stretches) {
            double const a = (1.0 + stretch) * std::cos(angle);
            double const b = (1.0 + stretch) * std::sin(angle);
            AffineMatrix matrix;
            matrix.leftCols<2>() << a, -b, b, a;
            matrix.col(2) = centre.transpose() - matrix.leftCols<2>() * centre.transpose();
            Positions const turned = ((first.rowwise() - centre) * matrix.leftCols<2>().transpose()).rowwise() + centre;
            for (Peak const& peak : findPeaks(turned, second, size, control.maxOffset)) {
                AffineMatrix moved = matrix;
                moved.col(2) += peak.shift;
                guesses.push_back({peak.votes, std::abs(angle) + std::abs(stretch), moved});
            }
        }
    }
    // Of equal votes those without rotation and scale come first.
    std::stable_sort(guesses.begin(), guesses.end(), [](Guess const& one, Guess const& other) {
        return std::pair(-one.votes, one.change) < std::pair(-other.votes, other.change);
    });
    std::vector<AffineMatrix> matrices;
    for (std::size_t i = 0; i < std::min<std::size_t>(nPeaks, guesses.size()); ++i) {
        matrices.push_back(guesses[i].matrix);
    }
    return matrices;
}

// The pairs that follow from a first guess of the transform.
StarMatch refine(Positions const& first, Positions const& second, AffineMatrix const& guess, Index n,
                 StarMatchControl const& control) {
    detail::RefinedPairs refined = detail::refinePairs(first, second, guess, n, control.area);
    double const nPairs = static_cast<double>(first.rows()) * static_cast<double>(second.rows());
    double const expected = nPairs * std::numbers::pi * refined.tolerance * refined.tolerance / control.area;
    double const chance = detail::chanceOf(nPairs, refined.nFixed, refined.pairs.size(), expected);
    return {std::move(refined.pairs.first), std::move(refined.pairs.second), chance};
}

}  // namespace

StarMatch matchStars(Eigen::MatrixX2d const& first, Eigen::MatrixX2d const& second, StarMatchControl const& control) {
    if (!(control.area > 0.0) || !(control.maxOffset > 0.0)) {
        throw std::invalid_argument("stars on an area of " + std::to_string(control.area) +
                                    " square pixels, displaced by " + std::to_string(control.maxOffset));
    }
    StarMatch best;
    if (first.rows() == 0 || second.rows() == 0) {
        return best;
    }
    for (Index const n : nBright) {
        Positions const bright = first.topRows(std::min(n, first.rows()));
        for (AffineMatrix const& matrix : vote(bright, second.topRows(std::min(n, second.rows())), control)) {
            StarMatch found = refine(first, second, matrix, n, control);
            bool const isLessByChance =
                found.chance < best.chance || (found.chance == best.chance && found.first.size() > best.first.size());
            if (isLessByChance) {
                best = std::move(found);
            }
        }
        auto const nFound = static_cast<double>(best.first.size());
        bool const isFound = best.first.size() >= 2 && best.chance < control.maxChance;
        bool const isMost = nFound >= minShare * static_cast<double>(std::min(first.rows(), second.rows()));
        if ((isFound && isMost) || std::max(first.rows(), second.rows()) <= n) {
            break;
        }
    }
    return best;
}

}  // namespace psfmatch

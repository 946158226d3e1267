#include "sources/StarMatchPairs.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>

#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/LinearFit.h"

namespace psfmatch::detail {

namespace {

using Eigen::Index;

constexpr int minAffine = 8;  // pairs from which all linear terms are followed
constexpr int nFits = 5;
constexpr double clippingScatter = 3.0;
constexpr double leastDistance = 0.1;  // pixels; pairs nearer than this are never outliers
constexpr double sigmaPerMedian = 1.4826;

// Indices by ascending y.
std::vector<Index> byRow(Positions const& positions) {
    std::vector<Index> order(static_cast<std::size_t>(positions.rows()));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return positions(a, 1) < positions(b, 1); });
    return order;
}

// The nearest of others, of equal ones the first, of each position; -1: none within the tolerance.
std::vector<Index> nearestOf(Positions const& positions, Positions const& others, std::vector<Index> const& order,
                             double tolerance) {
    std::vector<Index> nearest(static_cast<std::size_t>(positions.rows()), -1);
    for (Index i = 0; i < positions.rows(); ++i) {
        double const x = positions(i, 0);
        double const y = positions(i, 1);
        double best = tolerance * tolerance;
        auto at = std::lower_bound(order.begin(), order.end(), y - tolerance,
                                   [&](Index star, double limit) { return others(star, 1) < limit; });
        Index& found = nearest[static_cast<std::size_t>(i)];
        for (; at != order.end() && others(*at, 1) <= y + tolerance; ++at) {
            double const dx = others(*at, 0) - x;
            double const dy = others(*at, 1) - y;
            double const square = dx * dx + dy * dy;
            if (square < best || (square == best && (found < 0 || *at < found))) {
                best = square;
                found = *at;
            }
        }
    }
    return nearest;
}

AffineMatrix fitSimilarity(Positions const& first, Positions const& second) {
    Eigen::RowVector2d const middle = first.colwise().mean();
    Eigen::RowVector2d const target = second.colwise().mean();
    std::complex<double> product = 0.0;
    double norm = 0.0;
    for (Index i = 0; i < first.rows(); ++i) {
        std::complex<double> const p(first(i, 0) - middle(0), first(i, 1) - middle(1));
        std::complex<double> const q(second(i, 0) - target(0), second(i, 1) - target(1));
        product += std::conj(p) * q;
        norm += std::norm(p);
    }
    std::complex<double> const factor = product / std::max(norm, 1e-300);
    AffineMatrix matrix;
    matrix.leftCols<2>() << factor.real(), -factor.imag(), factor.imag(), factor.real();
    matrix.col(2) = target.transpose() - matrix.leftCols<2>() * middle.transpose();
    return matrix;
}

AffineMatrix fitShift(Positions const& first, Positions const& second, AffineMatrix matrix) {
    Positions const left = second - first * matrix.leftCols<2>().transpose();
    for (Index axis = 0; axis < 2; ++axis) {
        std::vector<double> values(left.col(axis).begin(), left.col(axis).end());
        matrix(axis, 2) = middleOf(values);
    }
    return matrix;
}

AffineMatrix fitAffine(Positions const& first, Positions const& second) {
    Eigen::MatrixXd terms(first.rows(), 3);
    terms << first, Eigen::VectorXd::Ones(first.rows());
    return fitLinear(terms, second, {}).coefficients;
}

}  // namespace

double middleOf(std::vector<double>& values) {
    return values.empty() ? std::numeric_limits<double>::quiet_NaN() : medianOf(values);
}

Positions applied(AffineMatrix const& matrix, Positions const& positions) {
    return (positions * matrix.leftCols<2>().transpose()).rowwise() + matrix.col(2).transpose();
}

StarPairs nearestPairs(Positions const& first, Positions const& second, double tolerance) {
    std::vector<Index> const forth = nearestOf(first, second, byRow(second), tolerance);
    std::vector<Index> const back = nearestOf(second, first, byRow(first), tolerance);
    StarPairs pairs;
    for (Index i = 0; i < first.rows(); ++i) {
        Index const other = forth[static_cast<std::size_t>(i)];
        if (other >= 0 && back[static_cast<std::size_t>(other)] == i) {
            pairs.first.push_back(i);
            pairs.second.push_back(other);
        }
    }
    return pairs;
}

RobustTransform fitRobust(Positions const& first, Positions const& second, AffineMatrix const& guess) {
    RobustTransform fit{guess, std::numeric_limits<double>::infinity(), 1};
    std::vector<Index> used(static_cast<std::size_t>(first.rows()));
    std::iota(used.begin(), used.end(), Index{0});
    for (int pass = 0; pass < nFits; ++pass) {
        Positions const start = first(used, Eigen::all);
        Positions const end = second(used, Eigen::all);
        auto const k = static_cast<int>(used.size());
        if (k < minSimilarity) {
            fit = {fitShift(start, end, guess), fit.scatter, 1};
        } else if (k < minAffine) {
            fit = {fitSimilarity(start, end), fit.scatter, 2};
        } else {
            fit = {fitAffine(start, end), fit.scatter, 3};
        }
        Eigen::VectorXd const distance = (second - applied(fit.matrix, first)).cwiseAbs().rowwise().maxCoeff();
        std::vector<double> ofUsed;
        for (Index const i : used) {
            ofUsed.push_back(distance(i));
        }
        fit.scatter = sigmaPerMedian * middleOf(ofUsed);
        std::vector<Index> kept;
        for (Index i = 0; i < distance.size(); ++i) {
            if (distance(i) <= std::max(clippingScatter * fit.scatter, leastDistance)) {
                kept.push_back(i);
            }
        }
        if (kept == used || kept.size() < 2) {
            break;
        }
        used = kept;
    }
    return fit;
}

}  // namespace psfmatch::detail

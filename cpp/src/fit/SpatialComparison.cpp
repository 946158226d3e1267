#include "psfmatch/fit/SpatialComparison.h"

#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/image/statistics.h"

namespace psfmatch {

using Eigen::VectorXd;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Part of the stamps at either end whose differences are cut, where there are many.
constexpr double trimmed = 0.01;
constexpr Index manyStamps = 50;

void requirePlaces(PlacedSystem const& placed) {
    if (placed.x.size() != placed.system.size() || placed.y.size() != placed.system.size()) {
        throw std::invalid_argument(std::to_string(placed.x.size()) + " x and " + std::to_string(placed.y.size()) +
                                    " y of " + std::to_string(placed.system.size()) + " stamps");
    }
}

}  // namespace

PairedGain pairedGain(VectorXd const& first, VectorXd const& second) {
    if (first.size() != second.size()) {
        throw std::invalid_argument("chi-squares of " + std::to_string(first.size()) + " and " +
                                    std::to_string(second.size()) + " stamps");
    }
    if (!second.allFinite() || !first.allFinite()) {
        return {second.allFinite() ? infinity : -infinity, 0.0};
    }
    VectorXd difference = first - second;
    if (difference.size() >= manyStamps) {
        std::vector<double> const values(difference.begin(), difference.end());
        difference = difference.cwiseMax(quantile(values, trimmed)).cwiseMin(quantile(values, 1.0 - trimmed)).eval();
    }
    return {difference.sum(), difference.norm()};
}

VectorXd chiSquaresBy(PlacedSystem const& judged, std::vector<Index> const& folds, PlacedSystem const& other,
                      double reach, SpatialModelOptions const& options, Execution const& execution) {
    requirePlaces(judged);
    requirePlaces(other);
    Index const n = judged.system.size();
    if (static_cast<Index>(folds.size()) != n) {
        throw std::invalid_argument(std::to_string(folds.size()) + " folds of " + std::to_string(n) + " stamps");
    }
    VectorXd chiSquares = VectorXd::Constant(n, infinity);
    for (Index const fold : std::set<Index>(folds.begin(), folds.end())) {
        std::vector<char> near(static_cast<std::size_t>(other.x.size()), 0);
        for (Index k = 0; k < n; ++k) {
            for (Index j = 0; folds[static_cast<std::size_t>(k)] == fold && j < other.x.size(); ++j) {
                near[static_cast<std::size_t>(j)] |= static_cast<char>(std::abs(other.x[j] - judged.x[k]) < reach &&
                                                                       std::abs(other.y[j] - judged.y[k]) < reach);
            }
        }
        try {
            StampValues const values = judged.system.at(other.system.solve(options, false, near, execution));
            VectorXd const all = judged.system.chiSquares(values.coefficients, values.backgrounds, execution);
            for (Index k = 0; k < n; ++k) {
                if (folds[static_cast<std::size_t>(k)] == fold) {
                    chiSquares[k] = all[k];
                }
            }
        } catch (NumericalError const&) {
            // Infinite, as told.
        }
    }
    return chiSquares;
}

SpatialSolution partOf(SpatialSolution const& solution, std::vector<Index> const& images) {
    Index const p = solution.kernel.cols();
    std::vector<Index> places;
    for (Index const image : images) {
        if (image < 0 || image >= solution.kernel.rows()) {
            throw std::invalid_argument("image " + std::to_string(image) + " of a solution of " +
                                        std::to_string(solution.kernel.rows()));
        }
        for (Index term = 0; term < p; ++term) {
            places.push_back(image * p + term);
        }
    }
    SpatialSolution part = solution;
    part.kernel = solution.kernel(images, Eigen::all);
    if (solution.kernelCovariance.size() != 0) {
        part.kernelCovariance = solution.kernelCovariance(places, places);
    }
    return part;
}

}  // namespace psfmatch

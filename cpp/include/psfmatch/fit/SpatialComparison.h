// Which of two models serves stamps better that neither has seen, and the part of a solution that is a model's own.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/fit/SpatialSystem.h"

namespace psfmatch {

struct PairedGain {
    double gain = 0.0;   // by how much the second chi-squares are lower, in all
    double error = 0.0;  // standard error of that: root of the sum of the squares of the differences
};

// Of chi-squares of the same stamps under two models. Of fifty stamps or more the extreme hundredth of the differences
// at either end is cut to the next: variable stars are no model's fault. A model without solution has infinite
// chi-squares, and is worse than any other without error.
[[nodiscard]] PairedGain pairedGain(Eigen::VectorXd const& first, Eigen::VectorXd const& second);

// Stamps, where their middles lie (pixels), and which are withheld together.
struct PlacedSystem {
    SpatialSystem const& system;
    Eigen::VectorXd const& x;
    Eigen::VectorXd const& y;
};

// Chi-squares of stamps fold by fold (`folds`, one a stamp) under the solution from stamps of another kind, without
// those of them that lie nearer than `reach` (pixels, along both axes) to one of the fold. Infinite where what is left
// has no solution. Both systems are of one basis and one highest order.
[[nodiscard]] Eigen::VectorXd chiSquaresBy(PlacedSystem const& judged, std::vector<Index> const& folds,
                                           PlacedSystem const& other, double reach, SpatialModelOptions const& options,
                                           Execution const& execution = {});

// A solution over some images of the basis alone, in their sequence: kernel (m, p), covariance (m p, m p).
[[nodiscard]] SpatialSolution partOf(SpatialSolution const& solution, std::vector<Index> const& images);

}  // namespace psfmatch

// Least squares of a few terms with an error for each value, and the scatter that a fit has beyond those errors.
#pragma once

#include <Eigen/Core>

namespace psfmatch {

struct LinearFit {
    Eigen::MatrixXd coefficients;  // (m, p)
    Eigen::MatrixXd errors;        // (m, p), one sigma
};

// Fits p terms to m sets of values, each for itself, by QR with pivots: of terms that depend on each other the smallest
// coefficients are taken. Throws std::invalid_argument for sizes that do not belong together.
[[nodiscard]] LinearFit fitLinear(Eigen::MatrixXd const& terms,       // (n, p)
                                  Eigen::MatrixXd const& values,      // (n, m)
                                  Eigen::MatrixXd const& variances);  // (n, m), positive; or (0, 0): all alike

// The variance that makes the mean of squares / (variances + it), over as many numbers less the nParameters fitted, 1:
// 0 if it is not above 1 without any. Throws std::invalid_argument for sizes that differ.
[[nodiscard]] double excessVariance(Eigen::ArrayXd const& squares, Eigen::ArrayXd const& variances, int nParameters);

}  // namespace psfmatch

// Weighted least squares of few unknowns by an orthogonal decomposition: what the data leave open stays zero.
#pragma once

#include <Eigen/Core>

namespace psfmatch {

struct LeastSquares {
    Eigen::VectorXd solution;    // (n), the shortest where several do as well
    Eigen::MatrixXd covariance;  // (n, n), pseudo-inverse of the normal equations
};

// terms (m, n), values and their standard deviations (m); std::invalid_argument for other shapes or deviations that are
// not positive.
[[nodiscard]] LeastSquares leastSquares(Eigen::MatrixXd const& terms, Eigen::VectorXd const& values,
                                        Eigen::VectorXd const& errors);

}  // namespace psfmatch

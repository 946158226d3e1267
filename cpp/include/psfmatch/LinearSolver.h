// Solution of symmetric positive (semi)definite systems, the normal equations of the fits. The matrix is scaled
// to a unit diagonal first; LDLT solves what is well posed, otherwise eigenvectors with negligible eigenvalues
// are left out, which gives the smallest solution in the scaled unknowns.
#pragma once

#include <Eigen/Core>

namespace psfmatch {

enum class SolverMethod { none, ldlt, eigenvector };

enum class ConditionNumberType { eigenvalue, svd };

struct Solution {
    Eigen::VectorXd coefficients;
    SolverMethod method = SolverMethod::none;
    double conditionNumber = 0.0;  // of the scaled matrix, estimated in the 1-norm (LDLT) or by eigenvalues
};

struct SolverControl {
    // LDLT is accepted while its reciprocal condition estimate of the scaled matrix is above this.
    double minReciprocalCondition = 1e-13;
    // Eigenvalues of the scaled matrix below this fraction of the largest are left out.
    double minEigenvalueFraction = 1e-12;
};

// Solves matrix x = rightHandSide; throws SolutionError if no finite solution exists.
[[nodiscard]] Solution solveSymmetric(Eigen::MatrixXd const& matrix,         // (n, n), both triangles filled
                                      Eigen::VectorXd const& rightHandSide,  // (n)
                                      SolverControl const& control = {});

// Largest over smallest eigenvalue (signed: negative for a matrix that is numerically indefinite) or singular
// value of the matrix as it is.
[[nodiscard]] double conditionNumber(Eigen::MatrixXd const& matrix, ConditionNumberType type);

}  // namespace psfmatch

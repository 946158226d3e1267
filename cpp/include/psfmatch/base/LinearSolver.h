// Solution of symmetric positive (semi)definite systems, the normal equations of the fits. The matrix is scaled
// to a unit diagonal first; a Cholesky factorisation (LDLT, for larger systems the blocked LLT) solves what is well
// posed, otherwise eigenvectors with negligible eigenvalues are left out, which gives the smallest solution in the
// scaled unknowns.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "psfmatch/base/instructionSet.h"
#include "psfmatch/base/parallel.h"

namespace psfmatch {

enum class SolverMethod { none, ldlt, llt, eigenvector };

enum class ConditionNumberType { eigenvalue, svd };

struct Solution {
    Eigen::VectorXd coefficients;
    SolverMethod method = SolverMethod::none;
    double conditionNumber = 0.0;  // of the scaled matrix, estimated in the 1-norm (Cholesky) or by eigenvalues
};

struct SolverControl {
    // Cholesky is accepted while its reciprocal condition estimate of the scaled matrix is above this.
    double minReciprocalCondition = 1e-13;
    // Eigenvalues of the scaled matrix below this fraction of the largest are left out.
    double minEigenvalueFraction = 1e-12;
    InstructionSet instructionSet = InstructionSet::automatic;
};

// A matrix made ready to be solved with: that of one method is filled.
struct SymmetricFactor {
    SolverMethod method = SolverMethod::none;
    double conditionNumber = 0.0;  // as Solution::conditionNumber
    Eigen::VectorXd scale;         // (n): the matrix that is factored is scale M scale
    Eigen::LDLT<Eigen::MatrixXd> ldlt;
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> llt;  // (n, n): lower triangle
    Eigen::MatrixXd vectors;                                                     // (n, n): eigenvectors
    Eigen::VectorXd inverseValues;  // (n): of the eigenvalues, 0 where negligible
};

// Throws SolutionError for a matrix that is zero or not finite.
[[nodiscard]] SymmetricFactor factorize(Eigen::MatrixXd const& matrix,  // (n, n), both triangles filled
                                        SolverControl const& control = {});

// The same by Cholesky's factor alone, from the lower triangle (n, n), without an estimate of the condition, whose
// number is then NaN; for many systems that are known to be well posed. False, and no factor, where a pivot is not
// above minReciprocalCondition or not finite. The factor's memory is used again.
[[nodiscard]] bool factorizeLower(Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const& matrix,
                                  SymmetricFactor& factor, SolverControl const& control = {});

// X of matrix X = rightHandSides: (n, k), or (n)
[[nodiscard]] Eigen::MatrixXd solve(SymmetricFactor const& factor, Eigen::MatrixXd const& rightHandSides);
[[nodiscard]] Eigen::VectorXd solveVector(SymmetricFactor const& factor, Eigen::VectorXd const& rightHandSide);

// matrix^-1 inner matrix^-1, the covariance of a solution whose right-hand side has the covariance `inner`.
// Some columns at a time, so that large ones can be shared between threads, and interrupted.
[[nodiscard]] Eigen::MatrixXd sandwich(SymmetricFactor const& factor, Eigen::MatrixXd const& inner,
                                       Execution const& execution = {});

// Solves matrix x = rightHandSide; throws SolutionError if no finite solution exists.
[[nodiscard]] Solution solveSymmetric(Eigen::MatrixXd const& matrix,         // (n, n), both triangles filled
                                      Eigen::VectorXd const& rightHandSide,  // (n)
                                      SolverControl const& control = {});

// The same with a factor already at hand.
[[nodiscard]] Solution solveSymmetric(SymmetricFactor const& factor, Eigen::VectorXd const& rightHandSide);

// Largest over smallest eigenvalue (signed: negative for a matrix that is numerically indefinite) or singular
// value of the matrix as it is. Of well-posed systems of more than 256 unknowns to a few per cent, by iteration.
[[nodiscard]] double conditionNumber(Eigen::MatrixXd const& matrix, ConditionNumberType type);

// The same with a factor already at hand.
[[nodiscard]] double conditionNumber(Eigen::MatrixXd const& matrix, ConditionNumberType type,
                                     SymmetricFactor const& factor);

}  // namespace psfmatch

#include "psfmatch/LinearSolver.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

void requireSquare(Eigen::MatrixXd const& matrix) {
    if (matrix.rows() != matrix.cols() || matrix.rows() == 0) {
        throw std::invalid_argument("a symmetric system needs a square matrix, not " + std::to_string(matrix.rows()) +
                                    "x" + std::to_string(matrix.cols()));
    }
}

Eigen::VectorXd eigenvalues(Eigen::MatrixXd const& matrix) {
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(matrix, Eigen::EigenvaluesOnly);
    if (solver.info() != Eigen::Success) {
        throw SolutionError("eigenvalues of a " + std::to_string(matrix.rows()) + "x" + std::to_string(matrix.rows()) +
                            " matrix did not converge");
    }
    return solver.eigenvalues();
}

}  // namespace

Solution solveSymmetric(Eigen::MatrixXd const& matrix, Eigen::VectorXd const& rightHandSide,
                        SolverControl const& control) {
    requireSquare(matrix);
    Eigen::Index const n = matrix.rows();
    if (rightHandSide.size() != n) {
        throw std::invalid_argument("right-hand side has " + std::to_string(rightHandSide.size()) +
                                    " elements for a matrix of " + std::to_string(n) + " rows");
    }
    if (!matrix.allFinite() || !rightHandSide.allFinite()) {
        throw SolutionError("normal equations of " + std::to_string(n) +
                            " unknowns hold NaN or infinity: bad pixels entered the fit");
    }
    // An unknown that no pixel constrains has a zero on the diagonal; it stays unscaled and comes out as zero.
    Eigen::VectorXd const scale =
        matrix.diagonal().unaryExpr([](double d) { return d > 0.0 ? 1.0 / std::sqrt(d) : 1.0; });
    Eigen::MatrixXd const scaled = scale.asDiagonal() * matrix * scale.asDiagonal();
    Eigen::VectorXd const scaledSide = scale.cwiseProduct(rightHandSide);

    Solution solution;
    Eigen::LDLT<Eigen::MatrixXd> const ldlt(scaled);
    // rcond() passes over pivots that are exactly zero. The smallest eigenvalue is below the smallest pivot and, the
    // diagonal being 1, the largest is at least 1: such a pivot alone tells of a bad condition.
    bool const regular = ldlt.info() == Eigen::Success && ldlt.isPositive() &&
                         ldlt.vectorD().minCoeff() > control.minReciprocalCondition;
    if (regular) {
        double const reciprocal = ldlt.rcond();
        if (reciprocal > control.minReciprocalCondition) {
            solution.method = SolverMethod::ldlt;
            solution.conditionNumber = 1.0 / reciprocal;
            solution.coefficients = scale.cwiseProduct(ldlt.solve(scaledSide));
        }
    }
    if (solution.method == SolverMethod::none) {
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(scaled);
        if (solver.info() != Eigen::Success) {
            throw SolutionError("eigen-decomposition of " + std::to_string(n) + " unknowns did not converge");
        }
        Eigen::VectorXd const& values = solver.eigenvalues();
        double const largest = values[n - 1];
        if (!(largest > 0.0)) {
            throw SolutionError("normal equations of " + std::to_string(n) +
                                " unknowns are zero: no pixel with weight constrains them");
        }
        double const threshold = control.minEigenvalueFraction * largest;
        Eigen::VectorXd const inverse =
            values.unaryExpr([threshold](double v) { return v > threshold ? 1.0 / v : 0.0; });
        solution.method = SolverMethod::eigenvector;
        solution.conditionNumber = values[0] > 0.0 ? largest / values[0] : std::numeric_limits<double>::infinity();
        solution.coefficients = scale.cwiseProduct(
            solver.eigenvectors() * inverse.cwiseProduct(solver.eigenvectors().transpose() * scaledSide));
    }
    if (!solution.coefficients.allFinite()) {
        Eigen::Index bad = 0;
        solution.coefficients.array().isFinite().cast<int>().minCoeff(&bad);
        throw SolutionError("coefficient " + std::to_string(bad) + " of " + std::to_string(n) +
                            " is not finite (condition number " + std::to_string(solution.conditionNumber) + ")");
    }
    return solution;
}

double conditionNumber(Eigen::MatrixXd const& matrix, ConditionNumberType type) {
    requireSquare(matrix);
    if (!matrix.allFinite()) {
        throw SolutionError("condition number of a matrix that holds NaN or infinity");
    }
    Eigen::VectorXd const values = eigenvalues(matrix);
    if (type == ConditionNumberType::eigenvalue) {
        return values[values.size() - 1] / values[0];
    }
    // The singular values of a symmetric matrix are the magnitudes of its eigenvalues.
    Eigen::VectorXd const magnitudes = values.cwiseAbs();
    return magnitudes.maxCoeff() / magnitudes.minCoeff();
}

}  // namespace psfmatch

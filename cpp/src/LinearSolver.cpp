#include "psfmatch/LinearSolver.h"

#include <Eigen/Eigenvalues>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/exceptions.h"

namespace psfmatch {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Up to here LDLT, which also sees a pivot that is barely positive, costs no more than the blocked LLT.
constexpr Eigen::Index largestForLdlt = 64;

// Up to here condition numbers are exact.
constexpr Eigen::Index largestForEigenvalues = 256;

void requireSquare(MatrixXd const& matrix) {
    if (matrix.rows() != matrix.cols() || matrix.rows() == 0) {
        throw std::invalid_argument("a symmetric system needs a square matrix, not " + std::to_string(matrix.rows()) +
                                    "x" + std::to_string(matrix.cols()));
    }
}

void requireFinite(bool finite, Eigen::Index n) {
    if (!finite) {
        throw SolutionError("normal equations of " + std::to_string(n) +
                            " unknowns hold NaN or infinity: bad pixels entered the fit");
    }
}

// The condition estimate of Eigen's decompositions passes over pivots that are exactly zero. The smallest eigenvalue
// is below the smallest pivot and, the diagonal being 1, the largest is at least 1: such a pivot alone tells of a bad
// condition.
void tryLdlt(MatrixXd const& scaled, double minReciprocalCondition, SymmetricFactor& factor) {
    factor.ldlt.compute(scaled);
    if (factor.ldlt.info() == Eigen::Success && factor.ldlt.isPositive() &&
        factor.ldlt.vectorD().minCoeff() > minReciprocalCondition) {
        double const reciprocal = factor.ldlt.rcond();
        if (reciprocal > minReciprocalCondition) {
            factor.method = SolverMethod::ldlt;
            factor.conditionNumber = 1.0 / reciprocal;
        }
    }
}

void tryLlt(MatrixXd const& scaled, double minReciprocalCondition, SymmetricFactor& factor) {
    factor.llt.compute(scaled);
    if (factor.llt.info() == Eigen::Success &&
        factor.llt.matrixLLT().diagonal().cwiseAbs2().minCoeff() > minReciprocalCondition) {
        double const reciprocal = factor.llt.rcond();
        if (reciprocal > minReciprocalCondition) {
            factor.method = SolverMethod::llt;
            factor.conditionNumber = 1.0 / reciprocal;
        }
    }
}

void useEigenvectors(MatrixXd const& scaled, double minEigenvalueFraction, SymmetricFactor& factor) {
    Eigen::Index const n = scaled.rows();
    Eigen::SelfAdjointEigenSolver<MatrixXd> const solver(scaled);
    if (solver.info() != Eigen::Success) {
        throw SolutionError("eigen-decomposition of " + std::to_string(n) + " unknowns did not converge");
    }
    VectorXd const& values = solver.eigenvalues();
    double const largest = values[n - 1];
    if (!(largest > 0.0)) {
        throw SolutionError("normal equations of " + std::to_string(n) +
                            " unknowns are zero: no pixel with weight constrains them");
    }
    double const threshold = minEigenvalueFraction * largest;
    factor.method = SolverMethod::eigenvector;
    factor.vectors = solver.eigenvectors();
    factor.inverseValues = values.unaryExpr([threshold](double v) { return v > threshold ? 1.0 / v : 0.0; });
    factor.conditionNumber = values[0] > 0.0 ? largest / values[0] : std::numeric_limits<double>::infinity();
}

}  // namespace

SymmetricFactor factorize(MatrixXd const& matrix, SolverControl const& control) {
    requireSquare(matrix);
    requireFinite(matrix.allFinite(), matrix.rows());
    SymmetricFactor factor;
    // An unknown that no pixel constrains has a zero on the diagonal; it stays unscaled and comes out as zero.
    factor.scale = matrix.diagonal().unaryExpr([](double d) { return d > 0.0 ? 1.0 / std::sqrt(d) : 1.0; });
    MatrixXd const scaled = factor.scale.asDiagonal() * matrix * factor.scale.asDiagonal();
    if (matrix.rows() <= largestForLdlt) {
        tryLdlt(scaled, control.minReciprocalCondition, factor);
    } else {
        tryLlt(scaled, control.minReciprocalCondition, factor);
    }
    if (factor.method == SolverMethod::none) {
        useEigenvectors(scaled, control.minEigenvalueFraction, factor);
    }
    return factor;
}

MatrixXd solve(SymmetricFactor const& factor, MatrixXd const& rightHandSides) {
    MatrixXd const scaled = factor.scale.asDiagonal() * rightHandSides;
    switch (factor.method) {
        case SolverMethod::ldlt:
            return factor.scale.asDiagonal() * factor.ldlt.solve(scaled);
        case SolverMethod::llt:
            return factor.scale.asDiagonal() * factor.llt.solve(scaled);
        case SolverMethod::eigenvector:
            return factor.scale.asDiagonal() *
                   (factor.vectors * (factor.inverseValues.asDiagonal() * (factor.vectors.transpose() * scaled)));
        case SolverMethod::none:
            break;
    }
    throw std::invalid_argument("a system is solved with a matrix that has not been factored");
}

MatrixXd sandwich(SymmetricFactor const& factor, MatrixXd const& inner) {
    MatrixXd const half = solve(factor, inner);
    return solve(factor, half.transpose());
}

Solution solveSymmetric(MatrixXd const& matrix, VectorXd const& rightHandSide, SolverControl const& control) {
    requireSquare(matrix);
    if (rightHandSide.size() != matrix.rows()) {
        throw std::invalid_argument("right-hand side has " + std::to_string(rightHandSide.size()) +
                                    " elements for a matrix of " + std::to_string(matrix.rows()) + " rows");
    }
    requireFinite(rightHandSide.allFinite(), matrix.rows());
    return solveSymmetric(factorize(matrix, control), rightHandSide);
}

Solution solveSymmetric(SymmetricFactor const& factor, VectorXd const& rightHandSide) {
    requireFinite(rightHandSide.allFinite(), rightHandSide.size());
    Solution solution{solve(factor, rightHandSide), factor.method, factor.conditionNumber};
    if (!solution.coefficients.allFinite()) {
        Eigen::Index bad = 0;
        solution.coefficients.array().isFinite().cast<int>().minCoeff(&bad);
        throw SolutionError("coefficient " + std::to_string(bad) + " of " +
                            std::to_string(solution.coefficients.size()) + " is not finite (condition number " +
                            std::to_string(solution.conditionNumber) + ")");
    }
    return solution;
}

double conditionNumber(MatrixXd const& matrix, ConditionNumberType type) {
    requireSquare(matrix);
    if (!matrix.allFinite()) {
        throw SolutionError("condition number of a matrix that holds NaN or infinity");
    }
    Eigen::SelfAdjointEigenSolver<MatrixXd> const solver(matrix, Eigen::EigenvaluesOnly);
    if (solver.info() != Eigen::Success) {
        throw SolutionError("eigenvalues of a " + std::to_string(matrix.rows()) + "x" + std::to_string(matrix.rows()) +
                            " matrix did not converge");
    }
    VectorXd const& values = solver.eigenvalues();
    if (type == ConditionNumberType::eigenvalue) {
        return values[values.size() - 1] / values[0];
    }
    // The singular values of a symmetric matrix are the magnitudes of its eigenvalues.
    VectorXd const magnitudes = values.cwiseAbs();
    return magnitudes.maxCoeff() / magnitudes.minCoeff();
}

double conditionNumber(MatrixXd const& matrix, ConditionNumberType type, SymmetricFactor const& factor) {
    bool const factored = factor.method == SolverMethod::ldlt || factor.method == SolverMethod::llt;
    if (matrix.rows() <= largestForEigenvalues || !factored) {
        return conditionNumber(matrix, type);
    }
    // Power iteration with the matrix and with its inverse, from a start without symmetry.
    auto const largestValue = [n = matrix.rows()](auto const& apply) {
        VectorXd vector = VectorXd::NullaryExpr(
            n, [](Eigen::Index i) { return 1.0 + 0.5 * std::sin(1.0 + 1.7 * static_cast<double>(i * i % 1009)); });
        vector.normalize();
        double value = 0.0;
        for (int iteration = 0; iteration < 100; ++iteration) {
            VectorXd const next = apply(vector);
            double const norm = next.norm();
            bool const settled = std::abs(norm - value) < 1e-3 * norm;
            value = norm;
            vector = next / norm;
            if (settled) {
                break;
            }
        }
        return value;
    };
    double const largest = largestValue([&](VectorXd const& v) -> VectorXd { return matrix * v; });
    double const inverseSmallest = largestValue([&](VectorXd const& v) -> VectorXd { return solve(factor, v); });
    return largest * inverseSmallest;
}

}  // namespace psfmatch

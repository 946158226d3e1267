#include "psfmatch/base/LinearSolver.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"
#include "simd/rowFunctions.h"

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

// An unknown that no pixel constrains has a zero on the diagonal; it stays unscaled and comes out as zero.
VectorXd inverseRootOfDiagonal(MatrixXd const& matrix) {
    return matrix.diagonal().unaryExpr([](double d) { return d > 0.0 ? 1.0 / std::sqrt(d) : 1.0; });
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

using LowerFactor = decltype(SymmetricFactor::llt);

// A vector's own type makes its substitution several times quicker than that of a matrix of one column.
template <typename Sides>
Sides solveCholesky(LowerFactor const& lower, Sides rightHandSides) {
    lower.triangularView<Eigen::Lower>().solveInPlace(rightHandSides);
    lower.transpose().triangularView<Eigen::Upper>().solveInPlace(rightHandSides);
    return rightHandSides;
}

// Estimate of the 1-norm of the inverse, by a walk over the corners of the unit ball (Hager 1984; Higham 1988).
double inverseNorm(LowerFactor const& lower) {
    Eigen::Index const n = lower.rows();
    VectorXd vector = VectorXd::Constant(n, 1.0 / static_cast<double>(n));
    double norm = 0.0;
    Eigen::Index corner = -1;
    for (int step = 0; step < 5; ++step) {
        VectorXd const image = solveCholesky<VectorXd>(lower, vector);
        double const reached = image.lpNorm<1>();
        if (!(reached > norm)) {
            break;
        }
        norm = reached;
        VectorXd const signs = image.unaryExpr([](double v) { return v < 0.0 ? -1.0 : 1.0; });
        VectorXd const gradient = solveCholesky<VectorXd>(lower, signs);
        Eigen::Index steepest = 0;
        double const slope = gradient.cwiseAbs().maxCoeff(&steepest);
        if (steepest == corner || (corner < 0 && slope <= gradient.dot(vector))) {
            break;
        }
        corner = steepest;
        vector = VectorXd::Unit(n, corner);
    }
    return norm;
}

void tryLlt(MatrixXd const& scaled, SolverControl const& control, SymmetricFactor& factor) {
    // Symmetric: columns may be taken for rows.
    factor.llt = Eigen::Map<LowerFactor const>(scaled.data(), scaled.rows(), scaled.cols());
    if (detail::chooseRowFunctions(control.instructionSet)
            .factorCholesky(factor.llt.data(), static_cast<int>(scaled.rows()), control.minReciprocalCondition)) {
        double const norm = scaled.cwiseAbs().colwise().sum().maxCoeff();
        double const number = norm * inverseNorm(factor.llt);
        if (1.0 / number > control.minReciprocalCondition) {
            factor.method = SolverMethod::llt;
            factor.conditionNumber = number;
            return;
        }
    }
    factor.llt.resize(0, 0);
}

// The largest eigenvalue of a positive symmetric operator, by Lanczos' method.
template <typename Operator>
double largestEigenvalue(Eigen::Index n, Operator const& apply) {
    constexpr Eigen::Index maxSteps = 24;
    MatrixXd vectors(n, maxSteps);
    VectorXd diagonal(maxSteps);
    VectorXd beside(maxSteps);
    // A start without symmetry, the same in every run.
    VectorXd vector = VectorXd::NullaryExpr(
        n, [](Eigen::Index i) { return 1.0 + std::sin(1.7 * static_cast<double>((i * i) % 1009)); });
    vector.normalize();
    double value = 0.0;
    for (Eigen::Index k = 0; k < std::min(n, maxSteps); ++k) {
        vectors.col(k) = vector;
        VectorXd next = apply(vector);
        diagonal[k] = next.dot(vector);
        auto const basis = vectors.leftCols(k + 1);
        next -= basis * (basis.transpose() * next);
        next -= basis * (basis.transpose() * next);
        beside[k] = next.norm();
        Eigen::SelfAdjointEigenSolver<MatrixXd> solver;
        solver.computeFromTridiagonal(diagonal.head(k + 1), beside.head(k), Eigen::EigenvaluesOnly);
        double const estimate = solver.eigenvalues()[k];
        bool const settled = k > 3 && estimate - value < 1e-4 * estimate;
        value = estimate;
        if (settled || beside[k] <= 1e-14 * estimate) {
            break;
        }
        vector = next / beside[k];
    }
    return value;
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

double exactConditionNumber(MatrixXd const& matrix, ConditionNumberType type) {
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

}  // namespace

SymmetricFactor factorize(MatrixXd const& matrix, SolverControl const& control) {
    requireSquare(matrix);
    requireFinite(matrix.allFinite(), matrix.rows());
    SymmetricFactor factor;
    factor.scale = inverseRootOfDiagonal(matrix);
    MatrixXd const scaled = factor.scale.asDiagonal() * matrix * factor.scale.asDiagonal();
    if (matrix.rows() <= largestForLdlt) {
        tryLdlt(scaled, control.minReciprocalCondition, factor);
    } else {
        tryLlt(scaled, control, factor);
    }
    if (factor.method == SolverMethod::none) {
        useEigenvectors(scaled, control.minEigenvalueFraction, factor);
    }
    return factor;
}

bool factorizeLower(LowerFactor const& matrix, SymmetricFactor& factor, SolverControl const& control) {
    Eigen::Index const n = matrix.rows();
    factor.method = SolverMethod::none;
    factor.conditionNumber = std::numeric_limits<double>::quiet_NaN();
    factor.scale = matrix.diagonal().unaryExpr([](double d) { return d > 0.0 ? 1.0 / std::sqrt(d) : 1.0; });
    factor.llt.resize(n, n);
    for (Eigen::Index i = 0; i < n; ++i) {
        factor.llt.row(i).head(i + 1) =
            factor.scale[i] * matrix.row(i).head(i + 1).cwiseProduct(factor.scale.head(i + 1).transpose());
    }
    if (n > 0 && detail::chooseRowFunctions(control.instructionSet)
                     .factorCholesky(factor.llt.data(), static_cast<int>(n), control.minReciprocalCondition)) {
        factor.method = SolverMethod::llt;
    }
    return factor.method == SolverMethod::llt;
}

namespace {

template <typename Sides>
Sides solveWith(SymmetricFactor const& factor, Sides const& rightHandSides) {
    Sides const scaled = factor.scale.asDiagonal() * rightHandSides;
    switch (factor.method) {
        case SolverMethod::ldlt:
            return factor.scale.asDiagonal() * Sides(factor.ldlt.solve(scaled));
        case SolverMethod::llt:
            return factor.scale.asDiagonal() * solveCholesky<Sides>(factor.llt, scaled);
        case SolverMethod::eigenvector: {
            Sides const components = factor.vectors.transpose() * scaled;
            return factor.scale.asDiagonal() * Sides(factor.vectors * (factor.inverseValues.asDiagonal() * components));
        }
        case SolverMethod::none:
            break;
    }
    throw std::invalid_argument("a system is solved with a matrix that has not been factored");
}

}  // namespace

MatrixXd solve(SymmetricFactor const& factor, MatrixXd const& rightHandSides) {
    return solveWith(factor, rightHandSides);
}

VectorXd solveVector(SymmetricFactor const& factor, VectorXd const& rightHandSide) {
    return solveWith(factor, rightHandSide);
}

MatrixXd sandwich(SymmetricFactor const& factor, MatrixXd const& inner, Execution const& execution) {
    constexpr Eigen::Index width = 64;
    Eigen::Index const n = inner.cols();
    auto const solveByPieces = [&](MatrixXd const& sides) {
        MatrixXd result(n, n);
        parallelForBrief((n + width - 1) / width, execution, [&](Eigen::Index piece, int) {
            Eigen::Index const first = piece * width;
            Eigen::Index const count = std::min(width, n - first);
            result.middleCols(first, count) = solve(factor, sides.middleCols(first, count));
        });
        return result;
    };
    return solveByPieces(solveByPieces(inner).transpose());
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
    Solution solution{solveVector(factor, rightHandSide), factor.method, factor.conditionNumber};
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
    if (matrix.rows() > largestForEigenvalues) {
        SymmetricFactor factor;
        factor.scale = inverseRootOfDiagonal(matrix);
        tryLlt(factor.scale.asDiagonal() * matrix * factor.scale.asDiagonal(), {}, factor);
        if (factor.method == SolverMethod::llt) {
            return conditionNumber(matrix, type, factor);
        }
    }
    return exactConditionNumber(matrix, type);
}

double conditionNumber(MatrixXd const& matrix, ConditionNumberType type, SymmetricFactor const& factor) {
    if (matrix.rows() <= largestForEigenvalues || factor.method != SolverMethod::llt) {
        return exactConditionNumber(matrix, type);
    }
    double const largest = largestEigenvalue(
        matrix.rows(), [&](VectorXd const& v) -> VectorXd { return matrix.selfadjointView<Eigen::Lower>() * v; });
    double const inverseSmallest =
        largestEigenvalue(matrix.rows(), [&](VectorXd const& v) -> VectorXd { return solveVector(factor, v); });
    return largest * inverseSmallest;
}

}  // namespace psfmatch

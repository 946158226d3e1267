// The choice of lambda. With R = M + t H = L L^T and L^-1 M L^-T = U diag(m) U^T, the basis Z = L^-T U makes M, H
// and every (M + lambda H)^-1 diagonal, so that after one decomposition a lambda costs a matrix-vector product.
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "psfmatch/base/exceptions.h"
#include "psfmatch/kernel/Regularization.h"

namespace psfmatch {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

Eigen::SelfAdjointEigenSolver<MatrixXd> decompose(MatrixXd const& matrix) {
    Eigen::SelfAdjointEigenSolver<MatrixXd> solver(matrix);
    if (solver.info() != Eigen::Success) {
        throw SolutionError("eigen-decomposition for the risk of " + std::to_string(matrix.rows()) +
                            " unknowns did not converge");
    }
    return solver;
}

// Z with Z^T R Z = 1 on the directions that R constrains, and the values m of Z^T M Z.
struct Basis {
    MatrixXd vectors;  // (m, k): Z
    VectorXd values;   // (k), 0 to 1
};

Basis diagonalize(MatrixXd const& matrix, MatrixXd const& total) {
    Index const n = matrix.rows();
    Eigen::LLT<MatrixXd> const cholesky(total);
    MatrixXd whitener;  // W with W^T R W = 1
    if (cholesky.info() == Eigen::Success && cholesky.rcond() > 1e-13) {
        whitener = cholesky.matrixU().solve(MatrixXd::Identity(n, n));
    } else {
        // Directions that neither pixels nor H constrain do not enter the risk.
        auto const solver = decompose(total);
        double const threshold = 1e-12 * solver.eigenvalues()[n - 1];
        Index const kept = (solver.eigenvalues().array() > threshold).count();
        whitener = solver.eigenvectors().rightCols(kept) *
                   solver.eigenvalues().tail(kept).cwiseSqrt().cwiseInverse().asDiagonal();
    }
    MatrixXd const half = matrix.selfadjointView<Eigen::Lower>() * whitener;
    MatrixXd const whitened = whitener.transpose() * half;
    auto const solver = decompose(whitened);
    return {whitener * solver.eigenvectors(), solver.eigenvalues().cwiseMax(0.0).cwiseMin(1.0)};
}

// Whether all of M^+ is the inverse: no eigenvalue is truncated, none is zero but for rounding.
bool isWellPosed(MatrixXd const& matrix, double maxConditionNumber) {
    constexpr double cautious = 1e10;
    Eigen::LLT<MatrixXd> const cholesky(matrix);
    if (cholesky.info() != Eigen::Success || !(cholesky.rcond() * cautious > 1.0)) {
        return false;
    }
    // For a symmetric matrix the condition number in the 1-norm, which is estimated, is not below that by eigenvalues.
    return cholesky.rcond() * maxConditionNumber > 3.0;
}

double leastRisk(Regularization const& regularization, MatrixXd const& matrix, VectorXd const& rightHandSide) {
    Index const n = matrix.rows();
    MatrixXd penalty = regularized(MatrixXd::Zero(n, n), regularization, 1.0);
    double const balance = penalty.trace() > 0.0 ? matrix.trace() / penalty.trace() : 1.0;
    Basis const basis = diagonalize(matrix, matrix + balance * penalty);

    bool const biased = regularization.lambdaType == LambdaType::minimizeBiasedRisk;
    double const limit = biased ? regularization.maxConditionNumber : std::numeric_limits<double>::infinity();
    VectorXd const side = basis.vectors.transpose() * rightHandSide;
    MatrixXd projected = basis.vectors;  // V^T Z, whose products are those of P Z
    VectorXd reference(side.size());     // Z^T M^+ B
    if (isWellPosed(matrix, limit)) {
        reference = basis.vectors.transpose() * (basis.vectors * side.cwiseQuotient(basis.values));
    } else {
        auto const spectrum = decompose(matrix);
        VectorXd const& values = spectrum.eigenvalues();
        double const largest = values[n - 1];
        double const rounding = static_cast<double>(n) * std::numeric_limits<double>::epsilon() * largest;
        double const threshold = std::max(rounding, largest / limit);
        VectorXd const inverse = values.unaryExpr([threshold](double v) { return v > threshold ? 1.0 / v : 0.0; });
        reference =
            basis.vectors.transpose() *
            (spectrum.eigenvectors() * inverse.cwiseProduct(spectrum.eigenvectors().transpose() * rightHandSide));
        Index const rank = (values.array() > rounding).count();
        if (rank < n) {
            projected = spectrum.eigenvectors().rightCols(rank).transpose() * basis.vectors;
        }
    }

    VectorXd const norms = projected.colwise().squaredNorm();
    double best = std::numeric_limits<double>::infinity();
    double strength = regularization.lambdas.front();
    for (double const lambda : regularization.lambdas) {
        // Where lambda is zero, directions without pixels are left out, as they are in M^+.
        VectorXd const weight = basis.values.unaryExpr([&](double v) {
            double const total = v + lambda * (1.0 - v) / balance;
            return total > std::numeric_limits<double>::epsilon() * static_cast<double>(n) ? 1.0 / total : 0.0;
        });
        VectorXd const amplitude = weight.cwiseProduct(side);
        double const risk =
            (projected * amplitude).squaredNorm() + 2.0 * (norms.dot(weight) - amplitude.dot(reference));
        if (risk < best) {
            best = risk;
            strength = lambda;
        }
    }
    return strength;
}

}  // namespace

double regularizationStrength(Regularization const& regularization, MatrixXd const& matrix,
                              VectorXd const& rightHandSide) {
    switch (regularization.lambdaType) {
        case LambdaType::absolute:
            return regularization.lambdaValue;
        case LambdaType::relative:
            return regularization.lambdaScaling * matrix.trace() / regularization.matrix.trace();
        case LambdaType::minimizeBiasedRisk:
        case LambdaType::minimizeUnbiasedRisk:
            break;
    }
    if (!matrix.allFinite() || !rightHandSide.allFinite()) {
        throw SolutionError("normal equations of " + std::to_string(matrix.rows()) +
                            " unknowns hold NaN or infinity: bad pixels entered the fit");
    }
    if (!(matrix.trace() > 0.0)) {
        throw SolutionError("normal equations of " + std::to_string(matrix.rows()) +
                            " unknowns are zero: the template has no light");
    }
    return leastRisk(regularization, matrix, rightHandSide);
}

}  // namespace psfmatch

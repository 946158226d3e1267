#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/base/exceptions.h"
#include "psfmatch/fit/SpatialSystem.h"

namespace psfmatch {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

// The noise's share of a normal matrix in any direction beyond which it is no white noise, and the rounding of float32
// in units of the diagonal, with which that is not to be mistaken.
constexpr double mostNoise = 3.0;
constexpr double rounding = 1e-6;

}  // namespace

VectorXd wideningOf(VectorXd const& coefficients, KernelBasis const& basis, MatrixXd const& gram) {
    Index const n = basis.size();
    VectorXd widening = VectorXd::Zero(n);
    if (n < 2) {
        return widening;
    }
    // Beyond its border the kernel is zero.
    RowMatrix padded = RowMatrix::Zero(basis.height + 2, basis.width + 2);
    Eigen::RowVectorXd const pixels = coefficients.transpose() * basis.images;
    auto const kernel = Eigen::Map<RowMatrix const>(pixels.data(), basis.height, basis.width);
    padded.block(1, 1, basis.height, basis.width) = kernel;
    RowMatrix const laplacian =
        padded.block(1, 2, basis.height, basis.width) + padded.block(1, 0, basis.height, basis.width) +
        padded.block(2, 1, basis.height, basis.width) + padded.block(0, 1, basis.height, basis.width) - 4.0 * kernel;
    auto const others = basis.images.bottomRows(n - 1);
    VectorXd const side = others * Eigen::Map<VectorXd const>(laplacian.data(), laplacian.size());
    if (!(side.cwiseAbs().maxCoeff() > 0.0)) {
        return widening;
    }
    // Images that are nearly sums of others are left to these.
    VectorXd const change = solveSymmetric(gram.bottomRightCorner(n - 1, n - 1), side,
                                           {.minReciprocalCondition = 1e-12, .minEigenvalueFraction = 1e-12})
                                .coefficients;
    double const norm = (change.transpose() * others).norm();
    if (norm > 0.0) {
        widening.tail(n - 1) = change / norm;
    }
    return widening;
}

MatrixXd precisionOf(MatrixXd const& gram, double scale, VectorXd const& widening, double widthScale) {
    Index const n = gram.rows() - 1;
    MatrixXd precision = MatrixXd::Zero(n + 1, n + 1);
    if (!(scale > 0.0) || n == 0) {
        return precision;
    }
    auto const inner = gram.bottomRightCorner(n, n);
    precision.bottomRightCorner(n, n) = inner / (scale * scale);
    if (widthScale > 0.0 && widening.size() > 0 && !widening.isZero(0.0)) {
        // Inverse of the sum of both covariances (Sherman and Morrison 1950).
        VectorXd const along = inner * widening.tail(n);
        double const ratio = scale / widthScale;
        precision.bottomRightCorner(n, n) -= along * along.transpose() / (scale * scale * (1.0 + ratio * ratio));
    }
    return precision;
}

void boundNoise(MatrixXd const& whole, double scale, MatrixXd& noise) {
    MatrixXd sum = whole / scale;
    sum.diagonal() *= 1.0 + rounding;
    if (!(sum.diagonal().minCoeff() > 0.0) || (mostNoise * sum - noise).llt().info() == Eigen::Success) {
        return;
    }
    Eigen::GeneralizedSelfAdjointEigenSolver<MatrixXd> const solver(noise, sum);
    if (solver.info() == Eigen::Success) {
        MatrixXd const sides = sum * solver.eigenvectors();
        noise = sides * solver.eigenvalues().cwiseMin(1.0).asDiagonal() * sides.transpose();
    }
}

}  // namespace psfmatch

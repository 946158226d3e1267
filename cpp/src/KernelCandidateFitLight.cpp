#include "KernelCandidateFitLight.h"

#include <algorithm>
#include <cmath>

namespace psfmatch::detail {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Part of the columns' sum of squares that is rounding: of their values, 1e-6.
constexpr double negligible = 1e-12;

// Rows: 1, x, y at the fitted pixels, from -1 to 1.
Eigen::Matrix<double, 3, Eigen::Dynamic, Eigen::RowMajor> planeOf(PreparedStamp const& stamp) {
    Eigen::Matrix<double, 3, Eigen::Dynamic, Eigen::RowMajor> plane(3, stamp.width * stamp.height);
    plane.row(0).setOnes();
    for (Index y = 0; y < stamp.height; ++y) {
        plane.row(1).segment(y * stamp.width, stamp.width) = VectorXd::LinSpaced(stamp.width, -1.0, 1.0);
        plane.row(2)
            .segment(y * stamp.width, stamp.width)
            .setConstant(2.0 * static_cast<double>(y) / static_cast<double>(std::max<Index>(1, stamp.height - 1)) -
                         1.0);
    }
    return plane;
}

}  // namespace

std::optional<NormalEquations> withoutPlane(NormalEquations const& equations, VectorXd const& weights,
                                            FitSetup const& setup, Workspace const& workspace) {
    Index const n = setup.nBasis();
    auto const plane = planeOf(workspace.stamp);
    auto const weighted = (plane * weights.asDiagonal()).eval();
    MatrixXd const cross = weighted * workspace.columns.topRows(n).transpose();
    SymmetricFactor const factor = factorize(weighted * plane.transpose(), setup.control.solver);
    MatrixXd const eliminated = solve(factor, cross);
    NormalEquations result{equations.matrix.topLeftCorner(n, n), equations.rightHandSide.head(n)};
    double const before = result.matrix.trace();
    result.matrix.noalias() -= cross.transpose() * eliminated;
    result.rightHandSide.noalias() -= eliminated.transpose() * (weighted * workspace.stamp.science);
    // Not finite equations are told by what solves them.
    if (result.matrix.trace() <= negligible * before) {
        return std::nullopt;
    }
    return result;
}

LightSum lightSumOf(NormalEquations const& equations, double strength, FitSetup const& setup) {
    SolverControl solver = setup.control.solver;
    solver.instructionSet = setup.control.instructionSet;
    SymmetricFactor const factor =
        setup.regularization == nullptr
            ? factorize(equations.matrix, solver)
            : factorize(regularized(equations.matrix, *setup.regularization, strength), solver);
    VectorXd const sums = solveVector(factor, setup.coreSums);
    return {sums.dot(equations.rightHandSide), std::sqrt(std::max(0.0, sums.dot(setup.coreSums)))};
}

}  // namespace psfmatch::detail

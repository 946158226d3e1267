// Smoothness asked of a delta-function kernel: the fit solves (M + lambda H) a = B, with H = B^T B of a finite
// difference operator on the kernel's pixels, and lambda given, scaled to M, or of least predicted risk (Becker et
// al. 2012, MNRAS 425, 1341).
#pragma once

#include <Eigen/Core>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

enum class RegularizationKind { centralDifference, forwardDifference };

struct RegularizationMatrixControl {
    RegularizationKind kind = RegularizationKind::centralDifference;
    int stencil = 9;                   // points of the Laplacian of the central differences, 5 or 9
    std::vector<int> orders = {1, 2};  // derivatives of the forward differences, each 1 to 3, added up
    double borderPenalty = 3.0;        // the operator's diagonal where its stencil leaves the kernel
};

// H for the pixels of a kernel, row by row: (width * height, width * height). Throws std::invalid_argument for
// options the operator in use does not have.
[[nodiscard]] Eigen::MatrixXd makeRegularizationMatrix(Index width, Index height,
                                                       RegularizationMatrixControl const& control = {});

enum class LambdaType { absolute, relative, minimizeBiasedRisk, minimizeUnbiasedRisk };

struct Regularization {
    Eigen::MatrixXd matrix;  // (n, n): H
    LambdaType lambdaType = LambdaType::absolute;
    double lambdaValue = 0.2;         // absolute: lambda itself, in units of M / H
    double lambdaScaling = 1e-4;      // relative: lambda in units of trace(M) / trace(H)
    std::vector<double> lambdas;      // risk: the values to choose from
    double maxConditionNumber = 5e6;  // biased risk: eigenvalues of M below largest / this are not inverted
};

// Throws std::invalid_argument unless the matrix is square of nBasis rows and finite, and there is a lambda.
void validate(Regularization const& regularization, Index nBasis);

// The lambda for one candidate's equations, whose unknowns may be one more (the background) than H has rows. With
// the risk types the first lambda of least
//     a^T P a + 2 (trace(P (M + lambda H)^-1) - a^T M^+ B),   a = (M + lambda H)^-1 B,
// P projecting on the row space of M, and M^+ its pseudo-inverse, truncated at maxConditionNumber for the biased
// risk.
[[nodiscard]] double regularizationStrength(Regularization const& regularization,
                                            Eigen::MatrixXd const& matrix,          // (m, m), m = n or n + 1
                                            Eigen::VectorXd const& rightHandSide);  // (m)

// matrix + strength H; a background row and column beyond H stay as they are.
[[nodiscard]] Eigen::MatrixXd regularized(Eigen::MatrixXd matrix, Regularization const& regularization,
                                          double strength);

}  // namespace psfmatch

// The normal equations of one candidate, for its own fit and again for the spatial fit of bases so large that their
// equations are not kept.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "fit/KernelCandidateFitStamp.h"
#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/kernel/Regularization.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

// Memory of one worker that is kept from candidate to candidate.
struct Workspace {
    RowMatrix scratch;
    RowMatrix columns;
    std::vector<double> values;
    PreparedStamp stamp;
};

// What every fit of a pass has in common.
struct FitSetup {
    PreparedBasis const& basis;
    CandidateFitControl const& control;
    Regularization const* regularization = nullptr;  // or none
    RowFunctions functions;
    Eigen::VectorXd basisSums;  // (n): of each basis image

    [[nodiscard]] Index nBasis() const { return basis.basis.size(); }
    [[nodiscard]] Index nUnknowns() const { return nBasis() + (control.fitBackground ? 1 : 0); }
};

// Checks the regularisation against the basis; throws std::invalid_argument.
[[nodiscard]] FitSetup setupFit(PreparedBasis const& basis, CandidateFitControl const& control,
                                Regularization const* regularization);

// Prepares workspace.stamp and writes the design matrix into workspace.columns: (unknowns, fitted pixels).
void prepareColumns(CandidateStamp const& candidate, FitSetup const& setup, Workspace& workspace);

// Weights of the first fit.
[[nodiscard]] Eigen::VectorXd firstWeights(CandidateStamp const& candidate, FitSetup const& setup,
                                           Workspace& workspace);

struct KernelFit {
    NormalEquations equations;  // without regularisation
    double strength = 0.0;      // of the regularisation
    SymmetricFactor factor;     // of the matrix with regularisation
    Solution solution;
};

[[nodiscard]] NormalEquations equationsOf(Eigen::VectorXd const& weights, FitSetup const& setup, Workspace& workspace);

// Solves with the given strength of the regularisation, else with one chosen by its rule.
[[nodiscard]] KernelFit solveKernel(NormalEquations equations, FitSetup const& setup,
                                    std::optional<double> strength = std::nullopt);

// coefficients: as many as the basis has images
[[nodiscard]] OwnedImage<double> kernelOf(RowFunctions const& functions, KernelBasis const& basis,
                                          double const* coefficients);

// Covariance of the equations' right-hand side: C^T W Sigma W C with Sigma = diag(var_S) + A diag(var_T) A^T the
// covariance of science - K (x) template, A being the correlation by the fitted kernel K.
[[nodiscard]] Eigen::MatrixXd noiseMatrixOf(Workspace const& workspace, Eigen::VectorXd const& weights,
                                            OwnedImage<double> const& kernel, FitSetup const& setup);

struct RebuiltEquations {
    NormalEquations equations;    // with regularisation
    Eigen::MatrixXd noiseMatrix;  // where control.covariance asks for it
};

// The equations that the candidate's own fit ended with, built again from its stamps.
[[nodiscard]] RebuiltEquations rebuildEquations(CandidateStamp const& candidate, FitSetup const& setup,
                                                std::optional<double> strength, Workspace& workspace);

}  // namespace psfmatch::detail

// The spatially varying kernel and background from the normal equations of all candidates: each coefficient
// becomes a spatial function, and every stamp takes the values at its centre (Alard 2000, A&AS 144, 363).
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "psfmatch/base/LinearSolver.h"
#include "psfmatch/base/parallel.h"
#include "psfmatch/fit/KernelCandidateFit.h"
#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/kernel/Regularization.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

// One candidate's equations, which live elsewhere.
struct CandidateEquations {
    double x = 0.0;  // centre, pixels
    double y = 0.0;
    Index nUnknowns = 0;
    double const* matrix = nullptr;         // (nUnknowns, nUnknowns), symmetric
    double const* rightHandSide = nullptr;  // (nUnknowns)
    double const* noiseMatrix = nullptr;    // like the matrix, of CandidateFit; given for all candidates or for none
};

struct SpatialKernelControl {
    // The first basis image carries the flux ratio; a constant coefficient keeps it the same over the field, else it
    // has the functions of the others, or its own.
    bool constantFirstTerm = true;
    std::optional<SpatialFunction> scaleFunction = std::nullopt;  // not with a constant first term
    ConditionNumberType conditionNumberType = ConditionNumberType::eigenvalue;
    SolverControl solver = {};
};

struct SpatialKernelSolution {
    SpatialFunction kernelFunction;        // of all coefficients
    std::vector<Index> scalePlaces;        // of the functions of the first among those
    std::vector<Index> kernelPlaces;       // of those of the others
    Eigen::MatrixXd kernelParameters;      // (n, p); row 0 is (a_0, 0, ...) with a constant first term
    Eigen::VectorXd backgroundParameters;  // (q), or (1) of zero when no background is fitted
    double conditionNumber = 0.0;          // of the assembled matrix as it is (see conditionNumber())
    // (nUnknowns, nUnknowns) where noise matrices are given: of [a_0 (as many values as it has functions); a_1; ...;
    // background (q values)]
    Eigen::MatrixXd covariance;
    SolverMethod method = SolverMethod::none;
    Index nUnknowns = 0;
};

// The equations have as many unknowns as basis images, plus one when a background function is given.
// No candidate is a SolutionError. Results do not depend on the number of threads.
[[nodiscard]] SpatialKernelSolution solveSpatialKernel(std::vector<CandidateEquations> const& candidates, Index nBasis,
                                                       SpatialFunction const& kernelFunction,
                                                       std::optional<SpatialFunction> const& backgroundFunction,
                                                       SpatialKernelControl const& control = {},
                                                       Execution const& execution = {});

// The same for a basis whose equations are too large to be kept: those of each candidate's own fit with the same
// control are built again from its stamps, a few candidates at a time, each with its own strength of the
// regularisation (an empty list: chosen by its rule). With control.covariance the covariance is computed too. Results
// do not depend on the number of threads.
[[nodiscard]] SpatialKernelSolution solveSpatialKernelFromStamps(
    std::vector<CandidateStamp> const& stamps, std::vector<double> const& x,  // centres, pixels
    std::vector<double> const& y, PreparedBasis const& basis, CandidateFitControl const& fitControl,
    SpatialFunction const& kernelFunction, std::optional<SpatialFunction> const& backgroundFunction,
    SpatialKernelControl const& control, Regularization const* regularization, std::vector<double> const& strengths,
    Execution const& execution);

}  // namespace psfmatch

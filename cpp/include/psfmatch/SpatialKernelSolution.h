// The spatially varying kernel and background from the normal equations of all candidates: each coefficient
// becomes a spatial function, and every stamp takes the values at its centre (Alard 2000, A&AS 144, 363).
#pragma once

#include <Eigen/Core>
#include <optional>
#include <vector>

#include "psfmatch/LinearSolver.h"
#include "psfmatch/NormalEquations.h"
#include "psfmatch/SpatialFunction.h"

namespace psfmatch {

struct CandidateEquations {
    double x = 0.0;  // centre, pixels
    double y = 0.0;
    NormalEquations const* equations = nullptr;
};

struct SpatialKernelControl {
    // The first basis image carries the flux ratio; a constant coefficient keeps it the same over the field.
    bool constantFirstTerm = true;
    ConditionNumberType conditionNumberType = ConditionNumberType::eigenvalue;
    SolverControl solver = {};
};

struct SpatialKernelSolution {
    Eigen::MatrixXd kernelParameters;      // (n, p); row 0 is (a_0, 0, ...) with a constant first term
    Eigen::VectorXd backgroundParameters;  // (q), or (1) of zero when no background is fitted
    double conditionNumber = 0.0;          // of the assembled matrix as it is
    SolverMethod method = SolverMethod::none;
    Index nUnknowns = 0;
};

// The equations have as many unknowns as basis images, plus one when a background function is given.
// No candidate is a SolutionError.
[[nodiscard]] SpatialKernelSolution solveSpatialKernel(std::vector<CandidateEquations> const& candidates, Index nBasis,
                                                       SpatialFunction const& kernelFunction,
                                                       std::optional<SpatialFunction> const& backgroundFunction,
                                                       SpatialKernelControl const& control = {});

}  // namespace psfmatch

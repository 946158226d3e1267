// What a candidate's fit says by light alone: with a plane of its own in the stamp, so that no sky of the images and
// no slope of it counts as light that the kernel has explained.
#pragma once

#include <Eigen/Core>
#include <optional>

#include "KernelCandidateFitEquations.h"

namespace psfmatch::detail {

// The kernel's part of the equations of a fit with a plane, from which the plane's unknowns are eliminated: (n)
// unknowns. Nothing where the template, whatever the kernel, is a plane: it shows no light.
[[nodiscard]] std::optional<NormalEquations> withoutPlane(NormalEquations const& equations,
                                                          Eigen::VectorXd const& weights, FitSetup const& setup,
                                                          Workspace const& workspace);

struct LightSum {
    double value = 0.0;  // sum of the kernel's pixels without its wings, which a sky could well do without
    double error = 0.0;  // its standard deviation, as far as the weights are inverse variances
};

// What equations without a plane give, with the strength of the regularisation that the fit had.
[[nodiscard]] LightSum lightSumOf(NormalEquations const& equations, double strength, FitSetup const& setup);

}  // namespace psfmatch::detail

// What a transient in the middle of a stamp may be: columns that are fitted beside the kernel's.
#pragma once

#include "fit/StampAttempt.h"

namespace psfmatch {

inline constexpr double middleLightRadius = 3.5;  // px, where the flux of the middle is summed

// The source there by another factor; empty where the template has no light there. `light` is the convolved template.
[[nodiscard]] StampExtra scaledExtra(StampGround const& ground, Eigen::VectorXd const& light,
                                     Eigen::VectorXd const& residuals);

// A new point, its shift and its wings. It has the template's PSF, convolved as everything is: never narrower than the
// kernel. Of kernels up to `nSteps` wider or narrower, `choice` becomes the one that goes best with it.
[[nodiscard]] StampExtra pointExtra(StampGround const& ground, StampTry const& base, Eigen::VectorXd const& residuals,
                                    Index nSteps, StampChoice& choice);

}  // namespace psfmatch

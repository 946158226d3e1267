// Principal components of a stack of kernel images: the few images whose combinations resemble all of them best.
#pragma once

#include <Eigen/Core>

#include "psfmatch/base/types.h"
#include "psfmatch/kernel/KernelBasis.h"

namespace psfmatch {

struct PrincipalComponents {
    Eigen::VectorXd values;  // (k), falling: eigenvalues of R_ij = <image_i, image_j> / N
    RowMatrix images;        // (k, pixels): sum over i of Q_ik image_i, divided by their extreme value
};

// Of N images, one a row, at most 100 components, each with an extreme value of +1. Eigenvalues that rounding alone
// accounts for are zero, and so are their images. One image is its own component, with eigenvalue 1. None is a
// std::invalid_argument. Any mean is to be subtracted before.
[[nodiscard]] PrincipalComponents principalComponents(RowMatrix const& images);  // (N, pixels)

}  // namespace psfmatch

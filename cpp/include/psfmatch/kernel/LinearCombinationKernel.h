// The matching kernel: K(x, y; u, v) = sum_i a_i(x, y) K_i(u, v), with K_i a stack of basis images and a_i a
// spatial function of the position of the *output* pixel. Kernels are applied as correlations (convolve.h).
#pragma once

#include <Eigen/Core>
#include <span>

#include "psfmatch/kernel/KernelBasis.h"
#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

struct LinearCombinationKernel {
    KernelBasis basis;           // n images
    SpatialFunction spatial;     // p functions; one alone is a kernel that does not vary
    Eigen::MatrixXd parameters;  // (n, p)

    [[nodiscard]] bool isVarying() const { return spatial.size() > 1; }
};

// Checks that the shapes belong together; throws std::invalid_argument.
void validate(LinearCombinationKernel const& kernel);

// Row s is the image sum_i parameters(i, s) K_i, so that K(x, y) = sum_s f_s(x, y) term_s: (p, height * width)
[[nodiscard]] RowMatrix termImages(LinearCombinationKernel const& kernel);

// The coefficients a_i at N positions (pixels of the parent frame), and the kernels: (N, n), and N images. Throws
// std::invalid_argument for positions of two lengths.
[[nodiscard]] Eigen::MatrixXd coefficientsAt(LinearCombinationKernel const& kernel, std::span<double const> x,
                                             std::span<double const> y);
[[nodiscard]] KernelBasis kernelImages(LinearCombinationKernel const& kernel, std::span<double const> x,
                                       std::span<double const> y);

// The kernel's pixels for the output position (x, y) in pixels of the parent frame: (height, width)
[[nodiscard]] OwnedImage<double> kernelImage(LinearCombinationKernel const& kernel, double x, double y);

// Sum of those pixels: the flux ratio at (x, y).
[[nodiscard]] double kernelSum(LinearCombinationKernel const& kernel, double x, double y);

}  // namespace psfmatch

#include "psfmatch/kernel/LinearCombinationKernel.h"

#include <stdexcept>
#include <string>

namespace psfmatch {

void validate(LinearCombinationKernel const& kernel) {
    validate(kernel.basis);
    if (kernel.parameters.rows() != kernel.basis.size() || kernel.parameters.cols() != kernel.spatial.size()) {
        throw std::invalid_argument(
            "a kernel of " + std::to_string(kernel.basis.size()) + " basis images and spatial functions of " +
            kernel.spatial.form().told() + " needs parameters of shape (" + std::to_string(kernel.basis.size()) + ", " +
            std::to_string(kernel.spatial.size()) + "), not (" + std::to_string(kernel.parameters.rows()) + ", " +
            std::to_string(kernel.parameters.cols()) + ")");
    }
}

RowMatrix termImages(LinearCombinationKernel const& kernel) {
    return kernel.parameters.transpose() * kernel.basis.images;
}

Eigen::MatrixXd coefficientsAt(LinearCombinationKernel const& kernel, std::span<double const> x,
                               std::span<double const> y) {
    if (x.size() != y.size()) {
        throw std::invalid_argument(std::to_string(x.size()) + " x for " + std::to_string(y.size()) + " y positions");
    }
    Eigen::MatrixXd coefficients(static_cast<Index>(x.size()), kernel.parameters.rows());
    for (std::size_t i = 0; i < x.size(); ++i) {
        coefficients.row(static_cast<Index>(i)) = (kernel.parameters * kernel.spatial.evaluate(x[i], y[i])).transpose();
    }
    return coefficients;
}

KernelBasis kernelImages(LinearCombinationKernel const& kernel, std::span<double const> x, std::span<double const> y) {
    return {coefficientsAt(kernel, x, y) * kernel.basis.images, kernel.basis.height, kernel.basis.width};
}

OwnedImage<double> kernelImage(LinearCombinationKernel const& kernel, double x, double y) {
    Eigen::VectorXd const coefficients = kernel.parameters * kernel.spatial.evaluate(x, y);
    OwnedImage<double> image(kernel.basis.height, kernel.basis.width);
    Eigen::Map<Eigen::VectorXd>(image.data(), image.size()) = kernel.basis.images.transpose() * coefficients;
    return image;
}

double kernelSum(LinearCombinationKernel const& kernel, double x, double y) {
    return kernelImage(kernel, x, y).sum();
}

}  // namespace psfmatch

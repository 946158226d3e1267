#include "psfmatch/fit/KernelPca.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

constexpr Index maxComponents = 100;

// Divides every image by the element of largest magnitude, the positive one of equals.
void normalize(RowMatrix& images) {
    for (Index i = 0; i < images.rows(); ++i) {
        double const low = images.row(i).minCoeff();
        double const high = images.row(i).maxCoeff();
        double const extreme = std::abs(low) > high ? low : high;
        if (extreme != 0.0) {
            images.row(i) /= extreme;
        }
    }
}

}  // namespace

PrincipalComponents principalComponents(RowMatrix const& images) {
    Index const count = images.rows();
    if (count < 1 || images.cols() < 1) {
        throw std::invalid_argument("principal components of no image: no candidate has a kernel");
    }
    if (!images.allFinite()) {
        throw NumericalError("principal components of " + std::to_string(count) + " images that hold NaN or infinity");
    }
    PrincipalComponents result;
    if (count == 1) {
        result.values = Eigen::VectorXd::Ones(1);
        result.images = images;
        normalize(result.images);
        return result;
    }
    Eigen::MatrixXd const products = (images * images.transpose()) / static_cast<double>(count);
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> const solver(products);
    if (solver.info() != Eigen::Success) {
        throw NumericalError("principal components of " + std::to_string(count) + " images did not converge");
    }
    Index const kept = std::min(count, maxComponents);
    result.values = solver.eigenvalues().tail(kept).reverse();
    result.images = solver.eigenvectors().rightCols(kept).rowwise().reverse().transpose() * images;
    double const rounding =
        static_cast<double>(count) * std::numeric_limits<double>::epsilon() * std::max(result.values[0], 0.0);
    for (Index k = 0; k < kept; ++k) {
        if (result.values[k] <= rounding) {
            result.values[k] = 0.0;
            result.images.row(k).setZero();
        }
    }
    normalize(result.images);
    return result;
}

}  // namespace psfmatch

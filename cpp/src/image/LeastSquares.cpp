#include "psfmatch/image/LeastSquares.h"

#include <Eigen/QR>
#include <stdexcept>
#include <string>

namespace psfmatch {

LeastSquares leastSquares(Eigen::MatrixXd const& terms, Eigen::VectorXd const& values, Eigen::VectorXd const& errors) {
    if (terms.rows() != values.size() || values.size() != errors.size() || terms.size() == 0) {
        throw std::invalid_argument(std::to_string(terms.rows()) + " rows of terms with " +
                                    std::to_string(values.size()) + " values and " + std::to_string(errors.size()) +
                                    " errors");
    }
    if (!(errors.array() > 0.0).all()) {
        throw std::invalid_argument("errors must be positive");
    }
    Eigen::ArrayXd const weights = errors.array().inverse();
    Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd> const decomposition(
        (terms.array().colwise() * weights).matrix());
    Eigen::MatrixXd const inverse = decomposition.pseudoInverse();
    return {inverse * (values.array() * weights).matrix(), inverse * inverse.transpose()};
}

}  // namespace psfmatch

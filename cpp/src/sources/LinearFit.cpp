#include "psfmatch/sources/LinearFit.h"

#include <Eigen/QR>
#include <algorithm>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

constexpr double leastVariance = 1e-8;
constexpr int nHalvings = 60;

}  // namespace

LinearFit fitLinear(Eigen::MatrixXd const& terms, Eigen::MatrixXd const& values, Eigen::MatrixXd const& variances) {
    bool const isWeighted = variances.size() > 0;
    if (terms.rows() != values.rows() || terms.cols() < 1 ||
        (isWeighted && (variances.rows() != values.rows() || variances.cols() != values.cols()))) {
        throw std::invalid_argument(std::to_string(terms.rows()) + " rows of terms, " + std::to_string(values.rows()) +
                                    " of values and " + std::to_string(variances.rows()) + " of variances");
    }
    LinearFit fit{Eigen::MatrixXd(values.cols(), terms.cols()), Eigen::MatrixXd(values.cols(), terms.cols())};
    for (Eigen::Index set = 0; set < values.cols(); ++set) {
        Eigen::VectorXd roots = Eigen::VectorXd::Ones(terms.rows());
        if (isWeighted) {
            roots = variances.col(set).cwiseSqrt().cwiseInverse();
        }
        Eigen::MatrixXd const weighted = roots.asDiagonal() * terms;
        // Terms of one size: the rank must not depend on their units.
        Eigen::VectorXd scale = weighted.colwise().norm();
        scale = (scale.array() > 0.0).select(scale, 1.0);
        // Small matrices from here: A = Q R, and R may lack rank.
        Eigen::HouseholderQR<Eigen::MatrixXd> const tall(weighted * scale.cwiseInverse().asDiagonal());
        Eigen::Index const n = std::min(terms.rows(), terms.cols());
        Eigen::MatrixXd const triangle = tall.matrixQR().topRows(n).triangularView<Eigen::Upper>();
        Eigen::VectorXd right = roots.cwiseProduct(values.col(set));
        right.applyOnTheLeft(tall.householderQ().adjoint());
        Eigen::MatrixXd const inverse =
            Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd>(triangle).pseudoInverse();
        fit.coefficients.row(set) = (inverse * right.head(n)).cwiseQuotient(scale).transpose();
        fit.errors.row(set) = inverse.rowwise().norm().cwiseQuotient(scale).transpose();
    }
    return fit;
}

double excessVariance(Eigen::ArrayXd const& squares, Eigen::ArrayXd const& variances, int nParameters) {
    if (squares.size() != variances.size() || squares.size() < 1) {
        throw std::invalid_argument(std::to_string(squares.size()) + " squares with " +
                                    std::to_string(variances.size()) + " variances");
    }
    auto const n = static_cast<double>(squares.size());
    double const scale = n / std::max(n - nParameters, 1.0);
    if (scale * (squares / variances.max(leastVariance)).mean() <= 1.0) {
        return 0.0;
    }
    double low = 0.0;
    double high = scale * squares.maxCoeff() + 1e-12;
    for (int i = 0; i < nHalvings; ++i) {
        double const middle = 0.5 * (low + high);
        (scale * (squares / (variances + middle)).mean() > 1.0 ? low : high) = middle;
    }
    return high;
}

}  // namespace psfmatch

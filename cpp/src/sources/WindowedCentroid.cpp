#include "psfmatch/sources/WindowedCentroid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace psfmatch {

Centroid windowedCentroid(ConstImageView<double> const& stamp, double sigma, int nPasses) {
    if (!(sigma > 0.0)) {
        throw std::invalid_argument("the width of the window must be positive");
    }
    constexpr double overreach = 1.5;
    auto const axis = [](Index size) {
        return (Eigen::ArrayXd::LinSpaced(size, 0.0, static_cast<double>(size - 1)) - static_cast<double>(size / 2))
            .eval();
    };
    Eigen::ArrayXd const x = axis(stamp.cols());
    Eigen::ArrayXd const y = axis(stamp.rows());
    auto const reachX = 0.5 * static_cast<double>(stamp.cols());
    auto const reachY = 0.5 * static_cast<double>(stamp.rows());
    Centroid found{0.0, 0.0};
    for (int pass = 0; pass < nPasses; ++pass) {
        Eigen::ArrayXd const along = (-(x - found.x).square() / (2.0 * sigma * sigma)).exp();
        Eigen::ArrayXd const down = (-(y - found.y).square() / (2.0 * sigma * sigma)).exp();
        double total = 0.0;
        double momentX = 0.0;
        double momentY = 0.0;
        for (Index row = 0; row < stamp.rows(); ++row) {
            double sum = 0.0;
            double moment = 0.0;
            for (Index column = 0; column < stamp.cols(); ++column) {
                double const weighted = along[column] * stamp(row, column);
                sum += weighted;
                moment += weighted * x[column];
            }
            total += down[row] * sum;
            momentX += down[row] * moment;
            momentY += down[row] * sum * y[row];
        }
        if (!std::isfinite(total) || total == 0.0) {
            return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
        }
        found.x = std::clamp(found.x + overreach * (momentX / total - found.x), -reachX, reachX);
        found.y = std::clamp(found.y + overreach * (momentY / total - found.y), -reachY, reachY);
    }
    return found;
}

}  // namespace psfmatch

#include "psfmatch/kernel/SpatialForm.h"

#include <algorithm>
#include <stdexcept>

namespace psfmatch {

Frame frameOf(Box const& box) {
    if (box.width < 1 || box.height < 1) {
        throw std::invalid_argument("a frame needs a box of at least 1x1 pixel");
    }
    auto const width = static_cast<double>(box.width);
    auto const height = static_cast<double>(box.height);
    return {static_cast<double>(box.x0) + 0.5 * (width - 1.0), static_cast<double>(box.y0) + 0.5 * (height - 1.0),
            0.5 * width, 0.5 * height};
}

std::vector<double> SpatialForm::breaks(Axis /*axis*/) const {
    return {};
}

std::vector<Index> SpatialForm::placesIn(SpatialForm const& /*whole*/) const {
    return {};
}

Eigen::VectorXd SpatialForm::evaluate(double x, double y) const {
    Eigen::VectorXd const alongX = axisValues(Axis::x, x, x);
    Eigen::VectorXd const alongY = axisValues(Axis::y, y, y);
    Eigen::VectorXd values(size());
    for (Index s = 0; s < size(); ++s) {
        Term const& term = terms_[static_cast<std::size_t>(s)];
        values[s] = alongX[term.x] * alongY[term.y];
    }
    return values;
}

Eigen::VectorXd SpatialForm::moments(double x, double y) const {
    Eigen::VectorXd const values = evaluate(x, y);
    Eigen::VectorXd products(momentCount(size(), size()));
    double* next = products.data();
    for (Index s = 0; s < size(); ++s) {
        for (Index t = 0; t <= s; ++t) {
            *next++ = values[s] * values[t];
        }
    }
    return products;
}

Index SpatialForm::momentCount(Index p, Index q) const {
    Index const most = std::max(p, q);
    return most * (most + 1) / 2;
}

std::array<Index, 4> SpatialForm::product(Index s, Index t) const {
    Index const high = std::max(s, t);
    Index const moment = high * (high + 1) / 2 + std::min(s, t);
    return {moment, moment, moment, moment};
}

}  // namespace psfmatch

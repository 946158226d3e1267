#include "psfmatch/kernel/SpatialFunction.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

Eigen::VectorXd axisValues(SpatialModel model, int order, double u) {
    Eigen::VectorXd values(order + 1);
    values[0] = 1.0;
    for (int degree = 1; degree <= order; ++degree) {
        bool const recurrence = model == SpatialModel::chebyshev1 && degree > 1;
        values[degree] = recurrence ? 2.0 * u * values[degree - 1] - values[degree - 2] : u * values[degree - 1];
    }
    return values;
}

int totalDegree(int term) {
    int degree = 0;
    while ((degree + 1) * (degree + 2) / 2 <= term) {
        ++degree;
    }
    return degree;
}

// Row d: the d-th power of the old scaled coordinate, written in powers of the new one.
Eigen::MatrixXd powersInNewAxis(int order, double centreFrom, double scaleFrom, double centreTo, double scaleTo) {
    double const a = scaleTo / scaleFrom;  // u_from = a u_to + b
    double const b = (centreTo - centreFrom) / scaleFrom;
    Eigen::MatrixXd powers = Eigen::MatrixXd::Zero(order + 1, order + 1);
    powers(0, 0) = 1.0;
    for (int d = 1; d <= order; ++d) {
        for (int k = 0; k < d; ++k) {
            powers(d, k) += b * powers(d - 1, k);
            powers(d, k + 1) += a * powers(d - 1, k);
        }
    }
    return powers;
}

}  // namespace

Frame frameOf(Box const& box) {
    if (box.width < 1 || box.height < 1) {
        throw std::invalid_argument("a frame needs a box of at least 1x1 pixel");
    }
    auto const width = static_cast<double>(box.width);
    auto const height = static_cast<double>(box.height);
    return {static_cast<double>(box.x0) + 0.5 * (width - 1.0), static_cast<double>(box.y0) + 0.5 * (height - 1.0),
            0.5 * width, 0.5 * height};
}

int SpatialFunction::yDegree(int term) {
    int const degree = totalDegree(term);
    return term - degree * (degree + 1) / 2;
}

int SpatialFunction::xDegree(int term) {
    return totalDegree(term) - yDegree(term);
}

Eigen::VectorXd SpatialFunction::xValues(double x) const {
    return axisValues(model, order, (x - frame.xCentre) / frame.xScale);
}

Eigen::VectorXd SpatialFunction::yValues(double y) const {
    return axisValues(model, order, (y - frame.yCentre) / frame.yScale);
}

Eigen::VectorXd SpatialFunction::evaluate(double x, double y) const {
    Eigen::VectorXd const alongX = xValues(x);
    Eigen::VectorXd const alongY = yValues(y);
    Eigen::VectorXd values(size());
    int term = 0;
    for (int degree = 0; degree <= order; ++degree) {
        for (int j = 0; j <= degree; ++j) {
            values[term++] = alongX[degree - j] * alongY[j];
        }
    }
    return values;
}

Eigen::MatrixXd changeFrame(Eigen::MatrixXd const& coefficients, SpatialFunction const& from, Frame const& to) {
    if (from.model != SpatialModel::polynomial) {
        throw std::invalid_argument("only polynomials can change their frame; Chebyshev sums are tied to theirs");
    }
    if (coefficients.cols() != from.size()) {
        throw std::invalid_argument("a polynomial of order " + std::to_string(from.order) + " has " +
                                    std::to_string(from.size()) + " coefficients, not " +
                                    std::to_string(coefficients.cols()));
    }
    Eigen::MatrixXd const xPowers =
        powersInNewAxis(from.order, from.frame.xCentre, from.frame.xScale, to.xCentre, to.xScale);
    Eigen::MatrixXd const yPowers =
        powersInNewAxis(from.order, from.frame.yCentre, from.frame.yScale, to.yCentre, to.yScale);
    Eigen::MatrixXd transform(from.size(), from.size());
    for (int s = 0; s < from.size(); ++s) {
        for (int t = 0; t < from.size(); ++t) {
            transform(s, t) = xPowers(SpatialFunction::xDegree(s), SpatialFunction::xDegree(t)) *
                              yPowers(SpatialFunction::yDegree(s), SpatialFunction::yDegree(t));
        }
    }
    return coefficients * transform;
}

}  // namespace psfmatch

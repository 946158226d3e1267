#include "kernel/SpatialPolynomials.h"

#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

Index termCount(int order) {
    return static_cast<Index>(order + 1) * (order + 2) / 2;
}

std::vector<SpatialForm::Term> termsOf(int order) {
    std::vector<SpatialForm::Term> terms;
    for (Index degree = 0; degree <= order; ++degree) {
        for (Index y = 0; y <= degree; ++y) {
            terms.push_back({degree - y, y});
        }
    }
    return terms;
}

Index numberOf(Index x, Index y) {
    return (x + y) * (x + y + 1) / 2 + y;
}

Eigen::VectorXd valuesAt(SpatialModel model, int order, double u) {
    Eigen::VectorXd values(order + 1);
    values[0] = 1.0;
    for (int degree = 1; degree <= order; ++degree) {
        bool const recurrence = model == SpatialModel::chebyshev1 && degree > 1;
        values[degree] = recurrence ? 2.0 * u * values[degree - 1] - values[degree - 2] : u * values[degree - 1];
    }
    return values;
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

namespace detail {

std::string nameOf(SpatialModel model) {
    return model == SpatialModel::chebyshev1 ? "chebyshev1" : "polynomial";
}

SpatialPolynomials::SpatialPolynomials(SpatialModel model, int order, Frame const& frame)
    : SpatialForm(termsOf(order)), model_(model), order_(order), frame_(frame) {
    if (order < 0) {
        throw std::invalid_argument("spatial order is " + std::to_string(order) + ", must be >= 0");
    }
}

std::string SpatialPolynomials::name() const {
    return nameOf(model_);
}

std::vector<double> SpatialPolynomials::numbers() const {
    return {static_cast<double>(order_), frame_.xCentre, frame_.yCentre, frame_.xScale, frame_.yScale};
}

std::string SpatialPolynomials::told() const {
    return "order " + std::to_string(order_);
}

Eigen::VectorXd SpatialPolynomials::axisValues(Axis axis, double position, double /*within*/) const {
    bool const isX = axis == Axis::x;
    double const centre = isX ? frame_.xCentre : frame_.yCentre;
    return valuesAt(model_, order_, (position - centre) / (isX ? frame_.xScale : frame_.yScale));
}

int SpatialPolynomials::roughness(Index term) const {
    Term const& degrees = terms()[static_cast<std::size_t>(term)];
    return static_cast<int>(degrees.x + degrees.y);
}

std::vector<Index> SpatialPolynomials::placesIn(SpatialForm const& whole) const {
    auto const* const others = dynamic_cast<SpatialPolynomials const*>(&whole);
    if (others == nullptr || others->model_ != model_ || others->order_ < order_ || others->frame_ != frame_) {
        return {};
    }
    std::vector<Index> places(terms().size());
    std::iota(places.begin(), places.end(), 0);
    return places;
}

Eigen::VectorXd SpatialPolynomials::moments(double x, double y) const {
    return SpatialPolynomials(model_, 2 * order_, frame_).evaluate(x, y);
}

Index SpatialPolynomials::momentCount(Index p, Index q) const {
    return p == 0 || q == 0 ? 0 : termCount(roughness(p - 1) + roughness(q - 1));
}

std::array<Index, 4> SpatialPolynomials::product(Index s, Index t) const {
    auto const [xs, ys] = terms()[static_cast<std::size_t>(s)];
    auto const [xt, yt] = terms()[static_cast<std::size_t>(t)];
    bool const isPolynomial = model_ == SpatialModel::polynomial;
    Index const xHigh = xs + xt;
    Index const yHigh = ys + yt;
    Index const xLow = isPolynomial ? xHigh : std::abs(xs - xt);
    Index const yLow = isPolynomial ? yHigh : std::abs(ys - yt);
    return {numberOf(xHigh, yHigh), numberOf(xLow, yHigh), numberOf(xHigh, yLow), numberOf(xLow, yLow)};
}

}  // namespace detail

Eigen::MatrixXd changeFrame(Eigen::MatrixXd const& coefficients, SpatialFunction const& from, Frame const& to) {
    if (from.form().name() != detail::nameOf(SpatialModel::polynomial)) {
        throw std::invalid_argument("only polynomials can change their frame; Chebyshev sums are tied to theirs");
    }
    if (coefficients.cols() != from.size()) {
        throw std::invalid_argument("a polynomial of " + from.form().told() + " has " + std::to_string(from.size()) +
                                    " coefficients, not " + std::to_string(coefficients.cols()));
    }
    Frame const old = from.frame();
    Eigen::MatrixXd const xPowers = powersInNewAxis(from.order(), old.xCentre, old.xScale, to.xCentre, to.xScale);
    Eigen::MatrixXd const yPowers = powersInNewAxis(from.order(), old.yCentre, old.yScale, to.yCentre, to.yScale);
    Eigen::MatrixXd transform(from.size(), from.size());
    auto const& terms = from.form().terms();
    for (std::size_t s = 0; s < terms.size(); ++s) {
        for (std::size_t t = 0; t < terms.size(); ++t) {
            transform(static_cast<Index>(s), static_cast<Index>(t)) =
                xPowers(terms[s].x, terms[t].x) * yPowers(terms[s].y, terms[t].y);
        }
    }
    return coefficients * transform;
}

}  // namespace psfmatch

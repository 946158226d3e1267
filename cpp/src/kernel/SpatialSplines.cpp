// Tensor products of B-splines over the field, by the recursion of de Boor (1972, J. Approx. Theory 6, 50).
#include <algorithm>
#include <stdexcept>
#include <string>

#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch {

namespace {

using Eigen::VectorXd;

// The end knots are there degree + 1 times, so that so many pieces and no more reach them.
std::vector<double> clamped(int degree, std::vector<double> const& inner) {
    std::vector<double> knots(static_cast<std::size_t>(degree) + 1, -1.0);
    knots.insert(knots.end(), inner.begin(), inner.end());
    knots.insert(knots.end(), static_cast<std::size_t>(degree) + 1, 1.0);
    return knots;
}

Index functionCount(int degree, std::vector<double> const& inner) {
    return static_cast<Index>(inner.size()) + degree + 1;
}

std::vector<SpatialForm::Term> termsOf(Index nx, Index ny) {
    std::vector<SpatialForm::Term> terms{{0, 0}};
    for (Index x = 1; x < nx; ++x) {
        terms.push_back({x, 0});
    }
    for (Index y = 1; y < ny; ++y) {
        terms.push_back({0, y});
    }
    for (Index y = 1; y < ny; ++y) {
        for (Index x = 1; x < nx; ++x) {
            terms.push_back({x, y});
        }
    }
    return terms;
}

class SpatialSplines : public SpatialForm {
public:
    SpatialSplines(int degree, std::vector<double> const& xKnots, std::vector<double> const& yKnots, Frame const& frame)
        : SpatialForm(termsOf(functionCount(degree, xKnots), functionCount(degree, yKnots))),
          degree_(degree),
          xKnots_(xKnots),
          yKnots_(yKnots),
          frame_(frame) {}

    [[nodiscard]] std::string name() const override { return "bspline"; }

    [[nodiscard]] std::vector<double> numbers() const override {
        std::vector<double> all{
            static_cast<double>(degree_),       frame_.xCentre, frame_.yCentre, frame_.xScale, frame_.yScale,
            static_cast<double>(xKnots_.size())};
        all.insert(all.end(), xKnots_.begin(), xKnots_.end());
        all.insert(all.end(), yKnots_.begin(), yKnots_.end());
        return all;
    }

    [[nodiscard]] std::string told() const override {
        return "B-splines of degree " + std::to_string(degree_) + " with " + std::to_string(xKnots_.size()) + " and " +
               std::to_string(yKnots_.size()) + " knots within the field";
    }

    [[nodiscard]] VectorXd axisValues(Axis axis, double position, double within) const override {
        bool const isX = axis == Axis::x;
        double const centre = isX ? frame_.xCentre : frame_.yCentre;
        double const scale = isX ? frame_.xScale : frame_.yScale;
        auto const& inner = isX ? xKnots_ : yKnots_;
        auto const piece = std::upper_bound(inner.begin(), inner.end(), (within - centre) / scale) - inner.begin();
        VectorXd const pieces = splinesAt(clamped(degree_, inner), degree_ + piece, (position - centre) / scale);
        VectorXd values = VectorXd::Constant(functionCount(degree_, inner), -1.0);
        // Sums of the B-splines from each on: 1 as far as to the first that is not 0 here, 0 after the last.
        values.head(piece + 1).setOnes();
        double sum = 0.0;
        for (Index j = degree_; j > 0; --j) {
            sum += pieces[j];
            values[piece + j] = 2.0 * sum - 1.0;
        }
        return values;
    }

    [[nodiscard]] int axisDegree(Index function) const override { return function == 0 ? 0 : degree_; }
    [[nodiscard]] int axisDegree() const override { return degree_; }

    [[nodiscard]] std::vector<double> breaks(Axis axis) const override {
        bool const isX = axis == Axis::x;
        std::vector<double> positions = isX ? xKnots_ : yKnots_;
        for (double& position : positions) {
            position = isX ? frame_.xCentre + position * frame_.xScale : frame_.yCentre + position * frame_.yScale;
        }
        return positions;
    }

    [[nodiscard]] Frame frame() const override { return frame_; }

    [[nodiscard]] int roughness(Index term) const override {
        Term const& factors = terms()[static_cast<std::size_t>(term)];
        return (factors.x > 0 ? 1 : 0) + (factors.y > 0 ? 1 : 0);
    }

private:
    // The degree + 1 B-splines that are not 0 between the knots `last` and last + 1, continued to u.
    [[nodiscard]] VectorXd splinesAt(std::vector<double> const& knots, Index last, double u) const {
        VectorXd values = VectorXd::Zero(degree_ + 1);
        values[0] = 1.0;
        for (Index d = 1; d <= degree_; ++d) {
            double carried = 0.0;
            for (Index j = 0; j < d; ++j) {
                double const right = knots[static_cast<std::size_t>(last + j + 1)];
                double const left = knots[static_cast<std::size_t>(last + j + 1 - d)];
                double const part = values[j] / (right - left);
                values[j] = carried + (right - u) * part;
                carried = (u - left) * part;
            }
            values[d] = carried;
        }
        return values;
    }

    int degree_;
    std::vector<double> xKnots_;
    std::vector<double> yKnots_;
    Frame frame_;
};

void requireKnots(std::vector<double> const& knots) {
    double before = -1.0;
    for (double const knot : knots) {
        if (!(knot > before && knot < 1.0)) {
            throw std::invalid_argument("knots of B-splines must rise within -1 and 1, the borders of the field, not " +
                                        std::to_string(before) + ", " + std::to_string(knot));
        }
        before = knot;
    }
}

}  // namespace

SpatialFunction makeBSplines(int degree, std::vector<double> const& xKnots, std::vector<double> const& yKnots,
                             Frame const& frame) {
    if (degree < 0) {
        throw std::invalid_argument("degree of B-splines is " + std::to_string(degree) + ", must be >= 0");
    }
    requireKnots(xKnots);
    requireKnots(yKnots);
    return SpatialFunction(std::make_shared<SpatialSplines>(degree, xKnots, yKnots, frame));
}

}  // namespace psfmatch

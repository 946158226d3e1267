// Polynomials of position: products of Chebyshev polynomials of the first kind, or monomials; internal to the group.
#pragma once

#include "psfmatch/kernel/SpatialFunction.h"

namespace psfmatch::detail {

class SpatialPolynomials : public SpatialForm {
public:
    SpatialPolynomials(SpatialModel model, int order, Frame const& frame);

    [[nodiscard]] std::string name() const override;
    [[nodiscard]] std::vector<double> numbers() const override;
    [[nodiscard]] std::string told() const override;
    [[nodiscard]] Eigen::VectorXd axisValues(Axis axis, double position, double within) const override;
    [[nodiscard]] int axisDegree(Index function) const override { return static_cast<int>(function); }
    [[nodiscard]] int axisDegree() const override { return order_; }
    [[nodiscard]] Frame frame() const override { return frame_; }
    [[nodiscard]] int roughness(Index term) const override;
    [[nodiscard]] std::vector<Index> placesIn(SpatialForm const& whole) const override;

    // Products of two monomials are a monomial, those of two Chebyshev polynomials T_a T_b = (T_(a+b) + T_|a-b|) / 2:
    // those of up to twice the order hold all, 15 for 21 pairs at order 2.
    [[nodiscard]] Eigen::VectorXd moments(double x, double y) const override;
    [[nodiscard]] Index momentCount(Index p, Index q) const override;
    [[nodiscard]] std::array<Index, 4> product(Index s, Index t) const override;

    [[nodiscard]] SpatialModel model() const { return model_; }

private:
    SpatialModel model_;
    int order_;
    Frame frame_;
};

[[nodiscard]] std::string nameOf(SpatialModel model);

}  // namespace psfmatch::detail

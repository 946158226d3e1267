// Functions of position on the image: sums of monomials or of products of Chebyshev polynomials of the first
// kind, total degree at most `order`, in the sequence 1; x, y; x^2, xy, y^2; ... Both are evaluated in scaled
// coordinates u = (x - xCentre) / xScale, v likewise, so that their normal equations stay well conditioned
// wherever on the sky (at whatever xy0) the image lies.
#pragma once

#include <Eigen/Core>

#include "psfmatch/base/types.h"

namespace psfmatch {

enum class SpatialModel { chebyshev1, polynomial };

struct Frame {
    double xCentre = 0.0;  // pixels
    double yCentre = 0.0;
    double xScale = 1.0;  // pixels per unit of the scaled coordinate
    double yScale = 1.0;

    bool operator==(Frame const&) const = default;
};

// The frame in which the area of the box (half a pixel beyond its outer pixel centres) is [-1, 1] squared.
[[nodiscard]] Frame frameOf(Box const& box);

struct SpatialFunction {
    SpatialModel model = SpatialModel::chebyshev1;
    int order = 0;
    Frame frame = {};

    [[nodiscard]] int size() const { return (order + 1) * (order + 2) / 2; }

    // Values of all functions at one position (pixels): (size())
    [[nodiscard]] Eigen::VectorXd evaluate(double x, double y) const;

    // Values of the one-dimensional factors of degree 0..order: function s is
    // axisValues(x)[xDegree(s)] * axisValues(y)[yDegree(s)].
    [[nodiscard]] Eigen::VectorXd xValues(double x) const;  // (order + 1)
    [[nodiscard]] Eigen::VectorXd yValues(double y) const;  // (order + 1)
    [[nodiscard]] static int xDegree(int term);
    [[nodiscard]] static int yDegree(int term);

    bool operator==(SpatialFunction const&) const = default;
};

// The same polynomials with their coefficients (n, size()) for another frame, e.g. raw pixel coordinates.
// Only for SpatialModel::polynomial.
[[nodiscard]] Eigen::MatrixXd changeFrame(Eigen::MatrixXd const& coefficients,  // (n, from.size())
                                          SpatialFunction const& from, Frame const& to);

}  // namespace psfmatch

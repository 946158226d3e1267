// Functions of position on the image, a value that is handed about: Chebyshev sums and polynomials, B-splines over the
// field, and the functions of two of them together. What they are is told by a SpatialForm.
#pragma once

#include <Eigen/Core>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/kernel/SpatialForm.h"

namespace psfmatch {

// Sums of products of Chebyshev polynomials of the first kind, or of monomials.
enum class SpatialModel { chebyshev1, polynomial };

class SpatialFunction {
public:
    SpatialFunction() : SpatialFunction(SpatialModel::chebyshev1, 0, {}) {}  // 1 everywhere

    // Polynomials of total degree at most `order`, in the sequence 1; x, y; x^2, xy, y^2; ..., in scaled coordinates
    // u = (x - xCentre) / xScale, v likewise, so that their normal equations stay well conditioned wherever on the sky
    // (at whatever xy0) the image lies. std::invalid_argument below order 0.
    SpatialFunction(SpatialModel model, int order, Frame const& frame);

    explicit SpatialFunction(std::shared_ptr<SpatialForm const> form) : form_(std::move(form)) {}

    [[nodiscard]] SpatialForm const& form() const { return *form_; }
    [[nodiscard]] Index size() const { return form_->size(); }
    [[nodiscard]] Frame frame() const { return form_->frame(); }

    // Values of all functions at one position (pixels): (size())
    [[nodiscard]] Eigen::VectorXd evaluate(double x, double y) const { return form_->evaluate(x, y); }

    // Polynomials of an order in the same frame: of the same kind if these are polynomials, else Chebyshev's.
    [[nodiscard]] SpatialFunction ofOrder(int order) const;

    // Degree of the polynomials in one coordinate, of B-splines that of the pieces.
    [[nodiscard]] int order() const { return form_->axisDegree(); }

    // Which functions of `whole` these are: none if any is not among them.
    [[nodiscard]] std::optional<std::vector<Index>> placesIn(SpatialFunction const& whole) const;

    // Of one kind, and equal in all numbers.
    bool operator==(SpatialFunction const& other) const;

private:
    std::shared_ptr<SpatialForm const> form_;
};

// B-splines of a degree over the field, with knots within (-1, 1) of the frame, rising: tensor products of the
// functions 1 and 2 C_j - 1 of x and y, where C_j is the sum of the B-splines from number j on, which rises from 0 to 1
// (Ramsay 1988, Stat. Sci. 3, 425). First 1, then the functions of x, those of y, and the products. Beyond the frame
// the outer pieces go on. std::invalid_argument for a negative degree or knots that do not rise within the frame.
[[nodiscard]] SpatialFunction makeBSplines(int degree, std::vector<double> const& xKnots,
                                           std::vector<double> const& yKnots, Frame const& frame);

// The functions of both, those of the second that the first has not after the others.
[[nodiscard]] SpatialFunction joined(SpatialFunction const& first, SpatialFunction const& second);

// What `name()` and `numbers()` of a form tell; std::invalid_argument for what none does.
[[nodiscard]] SpatialFunction makeSpatialFunction(std::string const& name, std::vector<double> const& numbers);

// The same polynomials with their coefficients (n, size()) for another frame, e.g. raw pixel coordinates.
// Only for SpatialModel::polynomial.
[[nodiscard]] Eigen::MatrixXd changeFrame(Eigen::MatrixXd const& coefficients,  // (n, from.size())
                                          SpatialFunction const& from, Frame const& to);

}  // namespace psfmatch

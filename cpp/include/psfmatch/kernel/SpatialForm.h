// What a function of position must know to vary a kernel or a background: a new way to vary is one class of this kind.
// All are sums over products of one function of x and one of y, each a polynomial between `breaks`. From these alone
// follow values, the expansion over a tile (convolveExpansion.h) and the sums of the fit (SpatialSums.h).
#pragma once

#include <Eigen/Core>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

struct Frame {
    double xCentre = 0.0;  // pixels
    double yCentre = 0.0;
    double xScale = 1.0;  // pixels per unit of the scaled coordinate
    double yScale = 1.0;

    bool operator==(Frame const&) const = default;
};

// The frame in which the area of the box (half a pixel beyond its outer pixel centres) is [-1, 1] squared.
[[nodiscard]] Frame frameOf(Box const& box);

enum class Axis { x, y };

class SpatialForm {
public:
    // Numbers of the functions of x and of y whose product is one function of position.
    struct Term {
        Index x = 0;
        Index y = 0;
    };

    SpatialForm(SpatialForm const&) = delete;
    SpatialForm& operator=(SpatialForm const&) = delete;
    virtual ~SpatialForm() = default;

    // Kind, and all numbers by which `makeSpatialFunction` makes the same again.
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::vector<double> numbers() const = 0;

    // In a sentence, after "of".
    [[nodiscard]] virtual std::string told() const = 0;

    // Of all functions of position, in their sequence; the first is 1 everywhere.
    [[nodiscard]] std::vector<Term> const& terms() const { return terms_; }

    // Values of the functions of one coordinate, the first of which is 1. They are those of the polynomials between the
    // breaks about `within`, continued to `position`.
    [[nodiscard]] virtual Eigen::VectorXd axisValues(Axis axis, double position, double within) const = 0;

    // Degree of one of them between the breaks, and the highest.
    [[nodiscard]] virtual int axisDegree(Index function) const = 0;
    [[nodiscard]] virtual int axisDegree() const = 0;

    // Positions (pixels, rising) at which the functions of a coordinate are no polynomials.
    [[nodiscard]] virtual std::vector<double> breaks(Axis axis) const;

    [[nodiscard]] virtual Frame frame() const = 0;

    // How far from constant: 0 for the first function, 1 for the least; each step is expected to be half as large.
    [[nodiscard]] virtual int roughness(Index term) const = 0;

    // Whether all are polynomials, those of one total degree after another, so that the first ones of a higher order
    // are those of a lower; which places its terms have among those of `whole`, empty: none.
    [[nodiscard]] virtual std::vector<Index> placesIn(SpatialForm const& whole) const;

    // The product of two functions of position is a quarter of the sum of four moments, which may be the same:
    // values of all moments at a position, how many of the first ones hold the products of the first p functions with
    // the first q, and which four. Here every product is a moment of its own.
    [[nodiscard]] virtual Eigen::VectorXd moments(double x, double y) const;
    [[nodiscard]] virtual Index momentCount(Index p, Index q) const;
    [[nodiscard]] virtual std::array<Index, 4> product(Index s, Index t) const;

    [[nodiscard]] Index size() const { return static_cast<Index>(terms_.size()); }
    [[nodiscard]] Eigen::VectorXd evaluate(double x, double y) const;  // (size())

protected:
    explicit SpatialForm(std::vector<Term> terms) : terms_(std::move(terms)) {}

private:
    std::vector<Term> terms_;
};

}  // namespace psfmatch

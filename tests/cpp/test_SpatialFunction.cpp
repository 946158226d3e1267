// Chebyshev sums and polynomials of position, and changes of their frame.
#include <doctest/doctest.h>

#include <Eigen/QR>
#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "psfmatch/kernel/SpatialFunction.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;
using psfmatch::Box;
using psfmatch::changeFrame;
using psfmatch::Frame;
using psfmatch::frameOf;
using psfmatch::SpatialFunction;
using psfmatch::SpatialModel;

namespace {

constexpr Frame rawPixels{};

// Degrees (of x, of y) of the functions up to order 3: total degree rises, then the power of y.
std::vector<std::pair<int, int>> const degrees{{0, 0}, {1, 0}, {0, 1}, {2, 0}, {1, 1},
                                               {0, 2}, {3, 0}, {2, 1}, {1, 2}, {0, 3}};

// Positions in a box, each a whole or half pixel so that differences to the centre of the box are exact.
std::vector<std::pair<double, double>> positionsIn(Box const& box, int count) {
    std::mt19937 random(1);
    auto const along = [&](psfmatch::Index start, psfmatch::Index length) {
        return static_cast<double>(start) + 0.5 * static_cast<double>(random() % static_cast<unsigned>(2 * length));
    };
    std::vector<std::pair<double, double>> positions;
    for (int n = 0; n < count; ++n) {
        double const x = along(box.x0, box.width);
        positions.emplace_back(x, along(box.y0, box.height));
    }
    return positions;
}

MatrixXd randomCoefficients(Eigen::Index n, Eigen::Index p, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    return MatrixXd::NullaryExpr(n, p, [&] { return uniform(random); });
}

}  // namespace

TEST_CASE("the frame of a box reaches half a pixel beyond its outer pixel centres") {
    Frame const frame = frameOf({10, -20, 100, 51});
    CHECK(frame.xCentre == 59.5);
    CHECK(frame.yCentre == 5.0);
    CHECK(frame.xScale == 50.0);
    CHECK(frame.yScale == 25.5);
    SpatialFunction const function{SpatialModel::polynomial, 1, frame};
    CHECK(function.evaluate(9.5, 30.5) == Eigen::Vector3d(1.0, -1.0, 1.0));
    CHECK(function.evaluate(109.5, -20.5) == Eigen::Vector3d(1.0, 1.0, -1.0));
    Frame const pixel = frameOf({3, 4, 1, 1});
    CHECK(pixel.xCentre == 3.0);
    CHECK(pixel.xScale == 0.5);
}

TEST_CASE("number and sequence of the functions") {
    for (int const order : {0, 1, 2, 3}) {
        SpatialFunction const function{SpatialModel::polynomial, order, rawPixels};
        CHECK(function.size() == (order + 1) * (order + 2) / 2);
    }
    auto const terms = SpatialFunction(SpatialModel::polynomial, 3, rawPixels).form().terms();
    for (std::size_t term = 0; term < 10; ++term) {
        CAPTURE(term);
        CHECK(terms[term].x == degrees[term].first);
        CHECK(terms[term].y == degrees[term].second);
    }
    SpatialFunction const polynomial{SpatialModel::polynomial, 2, rawPixels};
    VectorXd expected(6);
    expected << 1.0, 3.0, 5.0, 9.0, 15.0, 25.0;
    CHECK(polynomial.evaluate(3.0, 5.0) == expected);
    SpatialFunction const chebyshev{SpatialModel::chebyshev1, 2, rawPixels};
    expected << 1.0, 3.0, 5.0, 17.0, 15.0, 49.0;
    CHECK(chebyshev.evaluate(3.0, 5.0) == expected);
}

TEST_CASE("values agree with powers and cosines") {
    Box const box{-37, 1200, 333, 512};
    for (int const order : {0, 1, 2, 3, 6}) {
        SpatialFunction const polynomial{SpatialModel::polynomial, order, frameOf(box)};
        SpatialFunction const chebyshev{SpatialModel::chebyshev1, order, frameOf(box)};
        for (auto const& [x, y] : positionsIn(box, 50)) {
            double const u = (x - 129.0) / 166.5;
            double const v = (y - 1455.5) / 256.0;
            VectorXd const powers = polynomial.evaluate(x, y);
            VectorXd const cosines = chebyshev.evaluate(x, y);
            for (int term = 0; term < polynomial.size(); ++term) {
                auto const [ofX, ofY] = polynomial.form().terms()[static_cast<std::size_t>(term)];
                auto const i = static_cast<int>(ofX);
                auto const j = static_cast<int>(ofY);
                CHECK(powers[term] == doctest::Approx(std::pow(u, i) * std::pow(v, j)).epsilon(1e-12));
                double const expected = std::cos(i * std::acos(u)) * std::cos(j * std::acos(v));
                CHECK(std::abs(cosines[term] - expected) < 1e-12);
                for (auto const* values : {&powers, &cosines}) {
                    auto const& form = (values == &powers ? polynomial : chebyshev).form();
                    CHECK((*values)[term] ==
                          form.axisValues(psfmatch::Axis::x, x, x)[i] * form.axisValues(psfmatch::Axis::y, y, y)[j]);
                }
            }
        }
    }
}

TEST_CASE("values do not change when box and position move together") {
    Box const here{0, 0, 2048, 1489};
    Box const there{100000, -70000, 2048, 1489};
    for (SpatialModel const model : {SpatialModel::chebyshev1, SpatialModel::polynomial}) {
        SpatialFunction const function{model, 3, frameOf(here)};
        SpatialFunction const moved{model, 3, frameOf(there)};
        for (auto const& [x, y] : positionsIn(here, 20)) {
            CHECK(moved.evaluate(x + 100000.0, y - 70000.0) == function.evaluate(x, y));
        }
    }
}

TEST_CASE("both models span the same functions") {
    Box const box{5, 6, 700, 300};
    auto const positions = positionsIn(box, 60);
    for (int const order : {1, 2, 4}) {
        SpatialFunction const polynomial{SpatialModel::polynomial, order, frameOf(box)};
        SpatialFunction const chebyshev{SpatialModel::chebyshev1, order, frameOf(box)};
        MatrixXd powers(60, polynomial.size());
        MatrixXd cosines(60, polynomial.size());
        for (int n = 0; n < 60; ++n) {
            auto const& [x, y] = positions[static_cast<std::size_t>(n)];
            powers.row(n) = polynomial.evaluate(x, y);
            cosines.row(n) = chebyshev.evaluate(x, y);
        }
        MatrixXd const transform = powers.householderQr().solve(cosines);
        CHECK((powers * transform - cosines).cwiseAbs().maxCoeff() < 1e-12);
        CHECK((transform - transform.array().round().matrix()).cwiseAbs().maxCoeff() < 1e-10);  // integers
    }
}

TEST_CASE("(x - 1e5)^2 in raw pixels is 1e10 - 2e5 x + x^2") {
    SpatialFunction const about{SpatialModel::polynomial, 2, {1e5, -3.0, 1.0, 1.0}};
    MatrixXd coefficients(2, 6);
    coefficients << 0.0, 0.0, 0.0, 1.0, 0.0, 0.0,  // (x - 1e5)^2
        0.0, 0.0, 0.0, 0.0, 1.0, 0.0;              // (x - 1e5) (y + 3)
    MatrixXd expected(2, 6);
    expected << 1e10, -2e5, 0.0, 1.0, 0.0, 0.0,  //
        -3e5, 3.0, -1e5, 0.0, 1.0, 0.0;
    CHECK(changeFrame(coefficients, about, rawPixels) == expected);
}

TEST_CASE("a polynomial keeps its values in every frame") {
    Box const box{300, 400, 2048, 4096};
    std::vector<Frame> const frames{frameOf(box), frameOf({0, 0, 100, 100}), Frame{1000.0, 1000.0, 2000.0, 500.0}};
    for (int const order : {0, 1, 2, 3}) {
        for (Frame const& from : frames) {
            for (Frame const& to : frames) {
                SpatialFunction const old{SpatialModel::polynomial, order, from};
                SpatialFunction const changed{SpatialModel::polynomial, order, to};
                MatrixXd const coefficients = randomCoefficients(5, old.size(), 3);
                MatrixXd const result = changeFrame(coefficients, old, to);
                for (auto const& [x, y] : positionsIn(box, 10)) {
                    // The terms reach 90^3 = 7e5 in the frame of 100 pixels, each with a rounding of 1e-16.
                    VectorXd const expected = coefficients * old.evaluate(x, y);
                    double const scale = std::max(1.0, old.evaluate(x, y).cwiseAbs().maxCoeff());
                    CHECK((result * changed.evaluate(x, y) - expected).cwiseAbs().maxCoeff() < 1e-12 * scale);
                }
            }
        }
    }
}

TEST_CASE("raw coefficients at xy0 = 1e5 and back") {
    for (int const order : {0, 1, 2}) {
        CAPTURE(order);
        SpatialFunction const scaled{SpatialModel::polynomial, order, frameOf({100000, 100000, 2048, 2048})};
        SpatialFunction const raw{SpatialModel::polynomial, order, rawPixels};
        MatrixXd const coefficients = randomCoefficients(7, scaled.size(), 4);
        MatrixXd const rawCoefficients = changeFrame(coefficients, scaled, rawPixels);
        // Constants grow by (1e5 / 1024)^order = 1e4 for order 2, and so does their rounding: 1e4 * 2e-16 * few.
        double const tolerance = 2e-15 * std::pow(100.0, order);
        CHECK((changeFrame(rawCoefficients, raw, scaled.frame()) - coefficients).cwiseAbs().maxCoeff() <
              10.0 * tolerance);
        for (auto const& [x, y] : positionsIn({100000, 100000, 2048, 2048}, 20)) {
            VectorXd const expected = coefficients * scaled.evaluate(x, y);
            CHECK((rawCoefficients * raw.evaluate(x, y) - expected).cwiseAbs().maxCoeff() < 10.0 * tolerance);
        }
    }
}

TEST_CASE("boxes and coefficients that do not fit are refused") {
    CHECK_THROWS_WITH_AS((void)frameOf({0, 0, 0, 5}), doctest::Contains("at least 1x1 pixel"), std::invalid_argument);
    CHECK_THROWS_AS((void)frameOf({0, 0, 5, -1}), std::invalid_argument);
    SpatialFunction const chebyshev{SpatialModel::chebyshev1, 1, rawPixels};
    CHECK_THROWS_WITH_AS((void)changeFrame(MatrixXd::Zero(1, 3), chebyshev, rawPixels),
                         doctest::Contains("only polynomials can change their frame"), std::invalid_argument);
    SpatialFunction const polynomial{SpatialModel::polynomial, 2, rawPixels};
    CHECK_THROWS_WITH_AS((void)changeFrame(MatrixXd::Zero(4, 5), polynomial, rawPixels),
                         "a polynomial of order 2 has 6 coefficients, not 5", std::invalid_argument);
}

namespace {

// B-spline number j of a degree on knots, by its definition.
double splineAt(std::vector<double> const& knots, std::size_t j, int degree, double u) {
    if (degree == 0) {
        return knots[j] <= u && u < knots[j + 1] ? 1.0 : 0.0;
    }
    auto const d = static_cast<std::size_t>(degree);
    auto const share = [](double part, double whole) { return whole > 0.0 ? part / whole : 0.0; };
    return share(u - knots[j], knots[j + d] - knots[j]) * splineAt(knots, j, degree - 1, u) +
           share(knots[j + d + 1] - u, knots[j + d + 1] - knots[j + 1]) * splineAt(knots, j + 1, degree - 1, u);
}

}  // namespace

TEST_CASE("B-splines are sums of those of the definition, products of both coordinates") {
    Box const box{-37, 1200, 333, 512};
    std::vector<double> const xKnots{-0.4, 0.1, 0.5};
    std::vector<double> const yKnots{0.3};
    for (int const degree : {0, 1, 2, 3}) {
        CAPTURE(degree);
        SpatialFunction const function = psfmatch::makeBSplines(degree, xKnots, yKnots, frameOf(box));
        auto const along = [&](std::vector<double> const& inner, double u) {
            auto const d = static_cast<std::size_t>(degree);
            std::vector<double> knots(d + 1, -1.0);
            knots.insert(knots.end(), inner.begin(), inner.end());
            knots.insert(knots.end(), d + 1, 1.0);
            std::vector<double> values;
            for (std::size_t first = 0; first < inner.size() + d + 1; ++first) {
                double sum = 0.0;
                for (std::size_t j = first; j < inner.size() + d + 1; ++j) {
                    sum += splineAt(knots, j, degree, u);
                }
                values.push_back(first == 0 ? 1.0 : 2.0 * sum - 1.0);
            }
            return values;
        };
        CHECK(function.size() == (4 + degree) * (2 + degree));
        for (auto const& [x, y] : positionsIn(box, 60)) {
            VectorXd const values = function.evaluate(x, y);
            auto const ofX = along(xKnots, (x - 129.0) / 166.5);
            auto const ofY = along(yKnots, (y - 1455.5) / 256.0);
            for (Eigen::Index s = 0; s < function.size(); ++s) {
                auto const term = function.form().terms()[static_cast<std::size_t>(s)];
                double const expected = ofX[static_cast<std::size_t>(term.x)] * ofY[static_cast<std::size_t>(term.y)];
                CHECK(std::abs(values[s] - expected) < 1e-12);
            }
        }
        auto const& form = function.form();
        CHECK(psfmatch::makeSpatialFunction(form.name(), form.numbers()) == function);
    }
    for (std::vector<double> const& knots : {std::vector{0.2, 0.2}, std::vector{-1.0}, std::vector{std::nan("")}}) {
        CHECK_THROWS_WITH_AS((void)psfmatch::makeBSplines(3, knots, {}, rawPixels), doctest::Contains("must rise"),
                             std::invalid_argument);
    }
    CHECK_THROWS_AS((void)psfmatch::makeBSplines(-1, {}, {}, rawPixels), std::invalid_argument);
}

TEST_CASE("functions of two kinds together, and which are among others") {
    Frame const frame = frameOf({0, 0, 200, 100});
    SpatialFunction const plane{SpatialModel::chebyshev1, 1, frame};
    SpatialFunction const parabola = plane.ofOrder(2);
    SpatialFunction const steps = psfmatch::makeBSplines(0, {0.0}, {}, frame);
    CHECK(psfmatch::joined(plane, parabola) == parabola);
    CHECK(psfmatch::joined(steps, SpatialFunction{}) == steps);
    SpatialFunction const both = psfmatch::joined(parabola, steps);
    REQUIRE(both.size() == 7);
    VectorXd expected(7);
    expected << parabola.evaluate(150.0, 20.0), 1.0;
    CHECK(both.evaluate(150.0, 20.0) == expected);
    CHECK(*plane.placesIn(both) == std::vector<Eigen::Index>{0, 1, 2});
    CHECK(*steps.placesIn(both) == std::vector<Eigen::Index>{0, 6});
    CHECK(*psfmatch::joined(steps, plane).placesIn(both) == std::vector<Eigen::Index>{0, 6, 1, 2});
    CHECK_FALSE(parabola.ofOrder(3).placesIn(both));
    CHECK_FALSE(parabola.placesIn(plane));
    for (SpatialFunction const& each : {both, psfmatch::joined(both, psfmatch::makeBSplines(1, {}, {0.5}, frame))}) {
        SpatialFunction const again = psfmatch::makeSpatialFunction(each.form().name(), each.form().numbers());
        CHECK(again.evaluate(33.0, 44.0) == each.evaluate(33.0, 44.0));
        CHECK(again == each);
    }
    CHECK_THROWS_AS((void)psfmatch::makeSpatialFunction("rings", {}), std::invalid_argument);
    CHECK_THROWS_AS((void)psfmatch::makeSpatialFunction("chebyshev1", {1.5, 0.0, 0.0, 1.0, 1.0}),
                    std::invalid_argument);
    CHECK_THROWS_AS((void)psfmatch::makeSpatialFunction("chebyshev1+bspline", {5.0}), std::invalid_argument);
}

// The profile of stars against its integrals over pixels, its slopes against differences, and the drawing of stars.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "psfmatch/sources/StarProfile.h"

using namespace psfmatch;

namespace {

// Every pixel of a square about the nearest one, row by row.
struct Square {
    explicit Square(Index half) : dx((2 * half + 1) * (2 * half + 1)), dy(dx.size()) {
        Index n = 0;
        for (Index y = -half; y <= half; ++y) {
            for (Index x = -half; x <= half; ++x) {
                dx(n) = static_cast<double>(x);
                dy(n++) = static_cast<double>(y);
            }
        }
    }
    Eigen::ArrayXd dx, dy;
};

// The formula at the head of StarProfile.h at one point.
double pointValue(StarShape const& shape, double u, double v) {
    double const r2 = (u * u * (1.0 - shape.e1) + v * v * (1.0 + shape.e1) - 2.0 * shape.e2 * u * v) /
                      std::sqrt(1.0 - shape.e1 * shape.e1 - shape.e2 * shape.e2);
    double const b = shape.inverseBeta;
    auto const moffat = [&](double width) {
        double const c = 4.0 * (std::pow(2.0, b) - 1.0) / (b * width * width);
        return (1.0 - b) * c / std::numbers::pi * std::pow(1.0 + b * c * r2, -1.0 / b);
    };
    double const width = std::exp(shape.logFwhm);
    return (1.0 - shape.share) * moffat(width) + shape.share * moffat(width * std::exp(shape.logRatio));
}

double& number(StarShape& shape, Index k) {
    double* const all[] = {&shape.inverseBeta, &shape.share, &shape.logRatio, &shape.logFwhm, &shape.e1, &shape.e2};
    return *all[k];
}

StarShape const elliptical{0.35, 0.2, 0.6, std::log(3.2), 0.1, -0.07};

}  // namespace

TEST_CASE("pixels hold the integral of the profile over them") {
    for (StarShape const& shape : {elliptical, StarShape{0.25, 0.0, 0.7, std::log(2.5), 0.0, 0.0},
                                   StarShape{0.4, 0.0, 0.7, std::log(5.5), -0.1, 0.1}}) {
        Square const square(9);
        StarProfile profile;
        profile.evaluate(shape, square.dx, square.dy, 0.31, -0.44, StarFreedom::flux);
        double const peak = profile.values().col(0).maxCoeff();
        constexpr int fine = 40;
        for (Index i = 0; i < square.dx.size(); ++i) {
            double sum = 0.0;
            for (int j = 0; j < fine * fine; ++j) {
                double const u = (j % fine + 0.5) / fine - 0.5;
                double const v = (j / fine + 0.5) / fine - 0.5;
                sum += pointValue(shape, square.dx(i) + u - 0.31, square.dy(i) + v + 0.44);
            }
            // What Gauss and Legendre's points leave of the sixth derivative, and four of them of the fourth.
            CHECK(std::abs(profile.values()(i, 0) - sum / (fine * fine)) < 2e-4 * peak);
        }
    }
}

TEST_CASE("all light is one") {
    for (double const fwhm : {2.0, 3.5, 6.0}) {
        for (double const b : {0.0, 0.25}) {
            Square const square(90);
            StarProfile profile;
            profile.evaluate({b, 0.0, 0.7, std::log(fwhm), 0.05, 0.1}, square.dx, square.dy, 0.2, 0.4,
                             StarFreedom::flux);
            // Beyond lies (1 + b q)^(1 - 1/b) = 6e-6 of the widest; where points get fewer, 1e-4.
            CHECK(profile.values().col(0).sum() == doctest::Approx(1.0).epsilon(2e-4));
        }
    }
}

TEST_CASE("slopes are those of differences") {
    Square const square(14);
    StarProfile profile;
    profile.evaluate(elliptical, square.dx, square.dy, 0.31, -0.44, StarFreedom::shape);
    StarProfile::Values const slopes = profile.values();
    double const step = 1e-5;
    for (Index k = 0; k < 2 + shapeSize; ++k) {
        Eigen::ArrayXd ends[2];
        for (int side : {0, 1}) {
            double const d = side == 0 ? -step : step;
            StarShape shape = elliptical;
            if (k >= 2) {
                number(shape, k - 2) += d;
            }
            profile.evaluate(shape, square.dx, square.dy, 0.31 + (k == 0 ? d : 0.0), -0.44 + (k == 1 ? d : 0.0),
                             StarFreedom::flux);
            ends[side] = profile.values().col(0);
        }
        Eigen::ArrayXd const expected = (ends[1] - ends[0]) / (2.0 * step);
        // Third derivatives times step^2 / 6, and rounding over the step.
        CHECK((slopes.col(1 + k) - expected).abs().maxCoeff() < 1e-8 * expected.abs().maxCoeff() + 1e-11);
    }
    profile.evaluate(elliptical, square.dx, square.dy, 0.31, -0.44, StarFreedom::place);
    CHECK((profile.values().leftCols(3) == slopes.leftCols(3)).all());
    StarShape single = elliptical;
    single.share = 0.0;
    profile.evaluate(single, square.dx, square.dy, 0.0, 0.0, StarFreedom::shape);
    CHECK(profile.values().col(4).abs().maxCoeff() == 0.0);
    CHECK(profile.values().col(5).abs().maxCoeff() == 0.0);
}

TEST_CASE("a Gaussian is the limit of the profile") {
    Square const square(8);
    StarProfile profile;
    profile.evaluate({0.0, 0.0, 0.7, std::log(3.0), 0.0, 0.0}, square.dx, square.dy, 0.0, 0.0, StarFreedom::shape);
    double const sigma = 3.0 / (2.0 * std::sqrt(2.0 * std::numbers::ln2));
    double const over = std::erf(0.5 / (std::numbers::sqrt2 * sigma));
    CHECK(profile.values()(square.dx.size() / 2, 0) == doctest::Approx(over * over).epsilon(2e-3));
    CHECK(profile.values().allFinite());
}

TEST_CASE("stars are drawn within their radii, the same for any number of threads") {
    std::vector<Star> const stars = {{30.3, 40.8, 100.0, 5.0},
                                     {31.9, 38.2, -20.0, 0.0},
                                     {-2.4, 69.7, 50.0, 0.0},
                                     {500.0, 3.0, 1.0, 0.0},
                                     {std::nan(""), 3.0, 1.0, 0.0}};
    std::vector<StarShape> const shapes(stars.size(), elliptical);
    std::vector<double> const radii = {9.5, 4.0, 12.0, 5.0, 5.0};
    OwnedImage<float> drawn[2];
    for (int k : {0, 1}) {
        drawn[k] = OwnedImage<float>::Zero(70, 80);
        drawStars({drawn[k].data(), 70, 80, Eigen::OuterStride<>(80)}, stars, shapes, radii, {1 + 2 * k, {}});
    }
    CHECK((drawn[0] == drawn[1]).all());
    StarProfile profile;
    OwnedImage<double> expected = OwnedImage<double>::Zero(70, 80);
    Square const square(12);
    for (std::size_t i = 0; i < 3; ++i) {
        double const column = std::floor(stars[i].x + 0.5);
        double const row = std::floor(stars[i].y + 0.5);
        profile.evaluate(shapes[i], square.dx, square.dy, stars[i].x - column, stars[i].y - row, StarFreedom::flux);
        for (Index k = 0; k < square.dx.size(); ++k) {
            auto const x = static_cast<Index>(column + square.dx(k));
            auto const y = static_cast<Index>(row + square.dy(k));
            if (x >= 0 && x < 80 && y >= 0 && y < 70 && std::hypot(square.dx(k), square.dy(k)) <= radii[i]) {
                expected(y, x) += stars[i].flux * profile.values()(k, 0);
            }
        }
    }
    CHECK((drawn[0].cast<double>() - expected).abs().maxCoeff() < 1e-6 * expected.maxCoeff());
}

TEST_CASE("what is no shape is refused") {
    Square const square(2);
    StarProfile profile;
    for (StarShape const& shape : {StarShape{1.0, 0.0, 0.7, 1.0, 0.0, 0.0}, StarShape{0.3, 0.0, 0.7, 1.0, 0.8, 0.7},
                                   StarShape{0.3, 0.0, 0.7, std::nan(""), 0.0, 0.0}}) {
        CHECK_THROWS_AS(profile.evaluate(shape, square.dx, square.dy, 0.0, 0.0, StarFreedom::flux),
                        std::invalid_argument);
    }
    OwnedImage<float> image = OwnedImage<float>::Zero(5, 5);
    std::vector<Star> const stars(2);
    std::vector<StarShape> const shapes(1);
    std::vector<double> const radii(2, 1.0);
    CHECK_THROWS_AS(drawStars({image.data(), 5, 5, Eigen::OuterStride<>(5)}, stars, shapes, radii),
                    std::invalid_argument);
}

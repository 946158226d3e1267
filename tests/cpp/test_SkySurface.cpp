// Surfaces through super-pixels: what is known to lie on them, and the definitions of the curves.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "psfmatch/image/SkySurface.h"

using psfmatch::Index;
using psfmatch::OwnedImage;
using psfmatch::skyAt;
using psfmatch::SkyCurve;
using psfmatch::SkyGrid;
using psfmatch::skyLevel;
using psfmatch::SkySurface;
using psfmatch::skySurface;
using psfmatch::SkySurfaceControl;

namespace {

double const missing = std::numeric_limits<double>::quiet_NaN();

// A grid of super-pixels of unequal sides, with the values of a function of pixels at their centres.
template <typename Function>
SkyGrid gridOf(Function const& function, Index nx = 9, Index ny = 8) {
    SkyGrid grid{OwnedImage<double>(ny, nx), OwnedImage<double>::Ones(ny, nx), {0}, {0}};
    for (Index i = 0; i < nx; ++i) {
        grid.edgesX.push_back(grid.edgesX.back() + 9 + 2 * (i % 2));
    }
    for (Index j = 0; j < ny; ++j) {
        grid.edgesY.push_back(grid.edgesY.back() + 7 + 2 * (j % 3));
    }
    auto const centre = [](std::vector<Index> const& edges, Index i) {
        auto const k = static_cast<std::size_t>(i);
        return 0.5 * static_cast<double>(edges[k] + edges[k + 1] - 1);
    };
    for (Index j = 0; j < ny; ++j) {
        for (Index i = 0; i < nx; ++i) {
            grid.values(j, i) = function(centre(grid.edgesX, i), centre(grid.edgesY, j));
        }
    }
    return grid;
}

double plane(double x, double y) {
    return 100.0 + 0.25 * x - 0.125 * y;
}

double valueOf(SkySurface const& surface, Index y, Index x) {
    return static_cast<double>(surface.rows.row(y).matrix().dot(surface.columns.col(x).matrix()));
}

}  // namespace

TEST_CASE("a plane lies on every surface, beyond the outer centres too") {
    SkyGrid const grid = gridOf(plane);
    std::vector<SkySurfaceControl> controls = {{1}, {3, true}, {6}};
    for (SkyCurve const curve : {SkyCurve::linear, SkyCurve::naturalSpline, SkyCurve::akimaSpline}) {
        controls.push_back({-1, false, curve, curve});
    }
    for (SkySurfaceControl const& control : controls) {
        SkySurface const surface = skySurface(grid, control);
        REQUIRE(surface.rows.rows() == grid.edgesY.back());
        REQUIRE(surface.columns.cols() == grid.edgesX.back());
        for (Index y = 0; y < surface.rows.rows(); y += 5) {
            for (Index x = 0; x < surface.columns.cols(); x += 7) {
                auto const [px, py] = std::pair(static_cast<double>(x), static_cast<double>(y));
                CHECK(valueOf(surface, y, x) == doctest::Approx(plane(px, py)).epsilon(1e-6));
                CHECK(skyAt(grid, control, std::vector{px}, std::vector{py})[0] ==
                      doctest::Approx(plane(px, py)).epsilon(1e-12));
            }
        }
    }
}

TEST_CASE("a polynomial of the total order is found, one above it is not") {
    auto const cubic = [](double x, double y) {
        double const u = x / 50.0 - 1.0;
        double const v = y / 40.0 - 1.0;
        return 5.0 + u * u * u - 2.0 * u * u * v + v;
    };
    SkyGrid const grid = gridOf(cubic);
    std::vector<double> const x = {0.0, 13.25, 80.0};
    std::vector<double> const y = {3.0, 50.5, 11.0};
    auto const found = skyAt(grid, {3}, x, y);
    auto const lower = skyAt(grid, {2}, x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(found[i] == doctest::Approx(cubic(x[i], y[i])).epsilon(1e-11));
        CHECK(std::abs(lower[i] - cubic(x[i], y[i])) > 1e-3);
    }
}

TEST_CASE("the weighted fit of a constant is the weighted mean") {
    SkyGrid grid = gridOf([](double x, double y) { return std::fmod(1.7 * x + 0.9 * y, 5.0); });
    double sum = 0.0;
    double weights = 0.0;
    double const least = 0.5;
    for (Index i = 0; i < grid.values.size(); ++i) {
        // One without scatter counts as the best of the others.
        grid.variances(i) = i == 4 ? 0.0 : least + 0.1 * static_cast<double>(i % 7);
        double const weight = 1.0 / std::max(grid.variances(i), least);
        sum += weight * grid.values(i);
        weights += weight;
    }
    std::vector<double> const here = {10.0};
    CHECK(skyAt(grid, {0, true}, here, here)[0] == doctest::Approx(sum / weights).epsilon(1e-12));
    CHECK(skyAt(grid, {0}, here, here)[0] == doctest::Approx(grid.values.mean()).epsilon(1e-12));
    grid.variances.setZero();
    CHECK(skyAt(grid, {0, true}, here, here)[0] == doctest::Approx(grid.values.mean()).epsilon(1e-12));
}

TEST_CASE("curves pass through the super-pixels and have the slopes of their definition") {
    auto const wild = [](double x, double y) { return std::sin(0.3 * x) * std::cos(0.2 * y) + 0.01 * x * y; };
    SkyGrid const grid = gridOf(wild);
    double const step = 1e-4;
    for (SkyCurve const curve : {SkyCurve::linear, SkyCurve::naturalSpline, SkyCurve::akimaSpline}) {
        SkySurfaceControl const control{-1, false, curve, curve};
        for (Index j = 0; j < grid.values.rows(); ++j) {
            double const y = 0.5 * static_cast<double>(grid.edgesY[static_cast<std::size_t>(j)] +
                                                       grid.edgesY[static_cast<std::size_t>(j + 1)] - 1);
            std::vector<double> knots;
            for (Index i = 0; i < grid.values.cols(); ++i) {
                knots.push_back(0.5 * static_cast<double>(grid.edgesX[static_cast<std::size_t>(i)] +
                                                          grid.edgesX[static_cast<std::size_t>(i + 1)] - 1));
                CHECK(skyAt(grid, control, std::vector{knots.back()}, std::vector{y})[0] ==
                      doctest::Approx(grid.values(j, i)).epsilon(1e-12));
            }
            auto const at = [&](double x) { return skyAt(grid, control, std::vector{x}, std::vector{y})[0]; };
            if (curve == SkyCurve::naturalSpline) {
                for (std::size_t i = 0; i < knots.size(); ++i) {
                    // Second differences on both sides of a knot, which err by the third derivative times the step.
                    double const h = 1e-2;
                    double const left = at(knots[i] - 2 * h) - 2.0 * at(knots[i] - h) + at(knots[i]);
                    double const right = at(knots[i]) - 2.0 * at(knots[i] + h) + at(knots[i] + 2 * h);
                    CHECK(left / (h * h) == doctest::Approx(right / (h * h)).epsilon(1e-2).scale(0.05));
                }
            }
            if (curve == SkyCurve::akimaSpline) {
                for (std::size_t i = 2; i + 2 < knots.size(); ++i) {
                    auto const secant = [&](std::size_t k) {
                        auto const n = static_cast<Index>(k);
                        return (grid.values(j, n + 1) - grid.values(j, n)) / (knots[k + 1] - knots[k]);
                    };
                    double const before = std::abs(secant(i - 1) - secant(i - 2));
                    double const after = std::abs(secant(i + 1) - secant(i));
                    double const slope = (after * secant(i - 1) + before * secant(i)) / (before + after);
                    double const found = (at(knots[i] + step) - at(knots[i] - step)) / (2.0 * step);
                    CHECK(found == doctest::Approx(slope).epsilon(1e-3).scale(0.1));
                }
            }
        }
    }
}

TEST_CASE("holes have the mean of their neighbours, and hardly hold a polynomial") {
    SkyGrid grid = gridOf(plane);
    SkyGrid const whole = grid;
    grid.values(3, 4) = missing;
    double sum = 0.0;
    for (Index j = 2; j <= 4; ++j) {
        for (Index i = 3; i <= 5; ++i) {
            sum += j == 3 && i == 4 ? 0.0 : whole.values(j, i);
        }
    }
    std::vector<double> const x = {0.5 * static_cast<double>(grid.edgesX[4] + grid.edgesX[5] - 1)};
    std::vector<double> const y = {0.5 * static_cast<double>(grid.edgesY[3] + grid.edgesY[4] - 1)};
    CHECK(skyAt(grid, {}, x, y)[0] == doctest::Approx(sum / 8.0).epsilon(1e-12));
    CHECK(skyAt(grid, {1}, x, y)[0] == doctest::Approx(plane(x[0], y[0])).epsilon(1e-6));
    // From without inwards, until all have a value.
    SkyGrid sparse = gridOf([](double, double) { return missing; });
    sparse.values(0, 0) = 7.0;
    CHECK(skyAt(sparse, {}, x, y)[0] == doctest::Approx(7.0));
    CHECK(skyAt(sparse, {0}, x, y)[0] == doctest::Approx(7.0));
}

TEST_CASE("the level is the median of the size, from a lattice") {
    SkySurface const surface = skySurface(gridOf([](double x, double y) { return -plane(x, y); }), {1});
    std::vector<double> values;
    for (Index y = 0; y < surface.rows.rows(); y += 8) {
        for (Index x = 0; x < surface.columns.cols(); x += 8) {
            values.push_back(plane(static_cast<double>(x), static_cast<double>(y)));
        }
    }
    std::sort(values.begin(), values.end());
    std::size_t const n = values.size();
    double const median = n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
    CHECK(skyLevel(surface.rows, surface.columns, 8) == doctest::Approx(median).epsilon(1e-6));
}

TEST_CASE("what makes no surface is refused") {
    SkyGrid const grid = gridOf(plane, 3, 8);
    std::vector<double> const one = {1.0};
    CHECK_THROWS_AS((void)skySurface(grid, {3}), std::invalid_argument);
    CHECK_THROWS_AS((void)skySurface(grid, {-1, false, SkyCurve::akimaSpline}), std::invalid_argument);
    CHECK_THROWS_AS((void)skyAt(grid, {}, one, {}), std::invalid_argument);
    SkyGrid wrong = grid;
    wrong.edgesX.pop_back();
    CHECK_THROWS_AS((void)skySurface(wrong, {}), std::invalid_argument);
    wrong = grid;
    wrong.edgesY[2] = wrong.edgesY[1];
    CHECK_THROWS_AS((void)skySurface(wrong, {}), std::invalid_argument);
    wrong = grid;
    wrong.variances.resize(0, 0);
    CHECK_THROWS_AS((void)skySurface(wrong, {0, true}), std::invalid_argument);
    CHECK_NOTHROW((void)skySurface(wrong, {0}));
    wrong.values.setConstant(missing);
    CHECK_THROWS_AS((void)skySurface(wrong, {}), std::invalid_argument);
    CHECK_THROWS_AS((void)skyLevel(OwnedImage<float>(2, 3), OwnedImage<float>(2, 3), 1), std::invalid_argument);
}

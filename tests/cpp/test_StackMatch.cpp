// The kernel between two stacks: of Gaussians without noise exactly, of noisy ones without bias, and known shifts.
#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <random>
#include <stdexcept>

#include "psfmatch/fit/StackMatch.h"

using namespace psfmatch;

namespace {

constexpr Index side = 41;

OwnedImage<double> gaussian(double flux, double variance, double x, double y) {
    return OwnedImage<double>::NullaryExpr(side, side, [&](Index row, Index column) {
        double const dx = static_cast<double>(column - side / 2) - x;
        double const dy = static_cast<double>(row - side / 2) - y;
        return flux / (2.0 * std::numbers::pi * variance) * std::exp(-0.5 * (dx * dx + dy * dy) / variance);
    });
}

StackPair pairOf(OwnedImage<double> const& first, OwnedImage<double> const& second, double noise, double fwhm,
                 double otherFwhm) {
    auto const view = [](OwnedImage<double> const& image) {
        return ConstImageView<double>(image.data(), side, side, Eigen::OuterStride<>(side));
    };
    StackPair pair{view(first), view(second)};
    pair.firstVariance = pair.secondVariance = noise * noise;
    pair.firstFwhm = fwhm;
    pair.secondFwhm = otherFwhm;
    return pair;
}

}  // namespace

TEST_CASE("a Gaussian kernel is found, and drawn as it convolves") {
    auto const first = gaussian(1000.0, 2.25, 0.0, 0.0);
    auto const second = gaussian(1300.0, 6.0, 0.4, -0.7);
    StackMatch const found = matchStacks(pairOf(first, second, 0.01, 3.5, 5.8));
    // What is faded out at the border is a part in 1e5 of the light.
    CHECK(found.ratio == doctest::Approx(1.3).epsilon(1e-3));
    CHECK(found.variance == doctest::Approx(3.75).epsilon(2e-3));
    CHECK(found.dx == doctest::Approx(0.4).epsilon(2e-3));
    CHECK(found.dy == doctest::Approx(-0.7).epsilon(2e-3));
    CHECK(found.power == 1.0);
    CHECK(found.kernel.sum() == doctest::Approx(found.ratio));
    Index const half = found.kernel.rows() / 2;
    OwnedImage<double> matched = OwnedImage<double>::Zero(side, side);
    for (Index y = half; y < side - half; ++y) {
        for (Index x = half; x < side - half; ++x) {
            matched(y, x) =
                (found.kernel.reverse() * first.block(y - half, x - half, 2 * half + 1, 2 * half + 1)).sum();
        }
    }
    Index const inner = side - 2 * half;
    auto const left = (matched - second).block(half, half, inner, inner);
    CHECK(left.abs().maxCoeff() < 2e-3 * second.maxCoeff());
}

TEST_CASE("a shift that is known stays, and nothing to do is a kernel of one pixel") {
    auto const first = gaussian(1000.0, 2.25, 0.0, 0.0);
    StackPair pair = pairOf(first, first, 0.01, 3.5, 3.5);
    pair.isShiftKnown = true;
    StackMatch const same = matchStacks(pair);
    CHECK(same.ratio == doctest::Approx(1.0));
    CHECK(same.variance == doctest::Approx(0.0));
    CHECK(same.kernel.rows() == 1);
    pair.dx = 0.3;
    StackMatch const moved = matchStacks(pair);
    CHECK(moved.dx == 0.3);
    CHECK(moved.dy == 0.0);
    CHECK(moved.shiftError == 0.0);
}

TEST_CASE("noise of the first stack does not lower the ratio") {
    // Both of S/N 25: a regression on the first would give 0.7 of the ratio with these 1681 pixels.
    std::mt19937 generator(3);
    double const flux = 25.0 * 2.0 * std::sqrt(std::numbers::pi) * 2.0;
    std::normal_distribution<double> normal;
    double sum = 0.0;
    double squares = 0.0;
    double errors = 0.0;
    double snr = 0.0;
    constexpr int n = 60;
    for (int i = 0; i < n; ++i) {
        OwnedImage<double> first = gaussian(flux, 4.0, 0.0, 0.0);
        OwnedImage<double> second = gaussian(flux, 4.0, 0.0, 0.0);
        for (Index k = 0; k < side * side; ++k) {
            first.data()[k] += normal(generator);
            second.data()[k] += normal(generator);
        }
        StackMatch const found = matchStacks(pairOf(first, second, 1.0, 4.71, 4.71));
        sum += std::log(found.ratio);
        squares += std::log(found.ratio) * std::log(found.ratio);
        errors += found.ratioError / found.ratio;
        snr += found.firstSnr;
        CHECK(std::abs(found.dx) < 5.0 * found.shiftError);
    }
    CHECK(snr / n == doctest::Approx(25.0).epsilon(0.1));
    double const scatter = std::sqrt(squares / n);
    CHECK(std::abs(sum / n) < 3.0 * scatter / std::sqrt(static_cast<double>(n)));
    // The error is that of the scatter within a half: widths at their limit make it smaller.
    CHECK(errors / n == doctest::Approx(scatter).epsilon(0.5));
}

TEST_CASE("no light is no kernel, and stacks that fit nothing are refused") {
    OwnedImage<double> const light = gaussian(1000.0, 2.25, 0.0, 0.0);
    OwnedImage<double> const dark = -light;
    CHECK(std::isnan(matchStacks(pairOf(light, dark, 1.0, 3.5, 3.5)).ratio));
    CHECK(matchStacks(pairOf(light, dark, 1.0, 3.5, 3.5)).kernel.size() == 0);
    CHECK_THROWS_AS((void)matchStacks(pairOf(light, light, 0.0, 3.5, 3.5)), std::invalid_argument);
    CHECK_THROWS_AS((void)matchStacks(pairOf(light, light, 1.0, std::nan(""), 3.5)), std::invalid_argument);
    StackPair pair = pairOf(light, light, 1.0, 3.5, 3.5);
    new (&pair.first) ConstImageView<double>(light.data(), side - 1, side - 1, Eigen::OuterStride<>(side));
    CHECK_THROWS_AS((void)matchStacks(pair), std::invalid_argument);
}

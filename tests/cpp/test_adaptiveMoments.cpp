// Adaptive moments of Gaussians, which are their own, and what has none.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/sources/adaptiveMoments.h"

using convolveReference::Image;
using psfmatch::adaptiveMoments;
using psfmatch::AdaptiveMomentsControl;
using psfmatch::ConstImageView;
using psfmatch::Index;
using psfmatch::SecondMoments;

namespace {

constexpr Index height = 31;
constexpr Index width = 37;

ConstImageView<double> viewOf(Image<double> const& stamps) {
    return {stamps.data(), stamps.rows(), stamps.cols(), Eigen::OuterStride<>(stamps.cols())};
}

// One Gaussian a row, about (18.3, 14.8).
Image<double> gaussians(std::vector<SecondMoments> const& moments) {
    Image<double> stamps(static_cast<Index>(moments.size()), height * width);
    for (Index i = 0; i < stamps.rows(); ++i) {
        SecondMoments const& m = moments[static_cast<std::size_t>(i)];
        double const determinant = m.xx * m.yy - m.xy * m.xy;
        for (Index pixel = 0; pixel < stamps.cols(); ++pixel) {
            double const dx = static_cast<double>(pixel % width) - 18.3;
            double const dy = static_cast<double>(pixel / width) - 14.8;
            stamps(i, pixel) =
                100.0 * std::exp(-0.5 * (m.yy * dx * dx + m.xx * dy * dy - 2.0 * m.xy * dx * dy) / determinant);
        }
    }
    return stamps;
}

}  // namespace

TEST_CASE("moments of Gaussians are their own, whatever the guess and the threads") {
    std::vector<SecondMoments> expected;
    for (int i = 0; i < 40; ++i) {
        double const xx = 1.2 + 0.15 * i;
        double const yy = 6.0 - 0.1 * i;
        expected.push_back({xx, yy, 0.02 * (i - 20) * std::sqrt(xx * yy)});
    }
    Image<double> const stamps = gaussians(expected);
    std::vector<double> const x(40, 17.6);
    std::vector<double> const y(40, 15.3);
    std::vector<SecondMoments> const found = adaptiveMoments(viewOf(stamps), height, width, x, y);
    std::vector<SecondMoments> const threaded = adaptiveMoments(viewOf(stamps), height, width, x, y, {}, {3, {}});
    for (std::size_t i = 0; i < expected.size(); ++i) {
        // Sums over pixels stand for integrals to exp(-2 pi^2 0.6) = 1e-5; the product with the weight has half the
        // moments. The iteration halves its error, 1e-6 of the trace at the end.
        CHECK(std::abs(found[i].xx - expected[i].xx) < 1e-3 * expected[i].xx);
        CHECK(std::abs(found[i].yy - expected[i].yy) < 1e-3 * expected[i].yy);
        CHECK(std::abs(found[i].xy - expected[i].xy) < 2e-3 * std::sqrt(expected[i].xx * expected[i].yy));
        CHECK(threaded[i].xx == found[i].xx);
        CHECK(threaded[i].yy == found[i].yy);
        CHECK(threaded[i].xy == found[i].xy);
    }
}

TEST_CASE("what has no adaptive moments") {
    Image<double> stamps = gaussians({{4.0, 4.0, 0.0}, {4.0, 4.0, 0.0}, {4.0, 4.0, 0.0}, {4.0, 4.0, 0.0}});
    stamps.row(0) *= -1.0;
    stamps.row(1).setZero();
    stamps(2, 5 * width + 5) = std::numeric_limits<double>::quiet_NaN();
    AdaptiveMomentsControl control;
    control.maxShift = 1.0;
    std::vector<double> const y(4, 14.8);
    std::vector<SecondMoments> found = adaptiveMoments(viewOf(stamps), height, width, {18, 18, 18, 17.4}, y, control);
    for (std::size_t const i : {0, 1, 2}) {
        CHECK(std::isnan(found[i].xx));
    }
    CHECK(found[3].xx == doctest::Approx(4.0).epsilon(1e-3));
    // Farther away than the centre may move.
    found = adaptiveMoments(viewOf(stamps), height, width, {18, 18, 18, 17.2}, y, control);
    CHECK(std::isnan(found[3].xx));
    control.maxShift = 2.0;
    control.maxIterations = 3;
    CHECK(std::isnan(adaptiveMoments(viewOf(stamps), height, width, {18, 18, 18, 17.4}, y, control)[3].xx));
    CHECK_THROWS_AS((void)adaptiveMoments(viewOf(stamps), height, width - 1, y, y), std::invalid_argument);
    CHECK_THROWS_AS((void)adaptiveMoments(viewOf(stamps), height, width, {1.0}, y), std::invalid_argument);
}

TEST_CASE("guesses without meaning give no moments") {
    Image<double> const stamps = gaussians({{4.0, 4.0, 0.0}});
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    for (double const sigma : {0.0, nan, 1e-200, 1e200}) {
        CAPTURE(sigma);
        AdaptiveMomentsControl control;
        control.sigma = sigma;
        CHECK(std::isnan(adaptiveMoments(viewOf(stamps), height, width, {18.0}, {14.8}, control)[0].xx));
    }
    CHECK(std::isnan(adaptiveMoments(viewOf(stamps), height, width, {nan}, {14.8})[0].xx));
    CHECK(std::isnan(adaptiveMoments(viewOf(stamps), height, width, {18.0}, {nan})[0].xx));
    // Noise under a weight of a fraction of a pixel shrinks it until nothing is left.
    std::mt19937 random(1);
    std::normal_distribution<double> noise(0.0, 1.0);
    Image<double> const grains = Image<double>::NullaryExpr(200, height * width, [&] { return noise(random); });
    AdaptiveMomentsControl control;
    control.sigma = 0.05;
    std::vector<double> const x(200, 18.0);
    std::vector<double> const y(200, 15.0);
    for (SecondMoments const& found : adaptiveMoments(viewOf(grains), height, width, x, y, control)) {
        CHECK((std::isnan(found.xx) || found.xx > 0.0));
    }
}

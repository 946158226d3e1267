#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/RingLevels.h"

using namespace psfmatch;

namespace {

ConstImageView<float> viewOf(OwnedImage<float> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

constexpr RingControl ring{6.0, 12.0, 20};
constexpr double inRing = 332.0;  // pixels of it, counted

// Noise of 1 about 5 per pixel.
OwnedImage<float> noise() {
    std::mt19937 generator(3);
    std::normal_distribution<float> normal(5.0F, 1.0F);
    OwnedImage<float> image(40, 50);
    for (Index i = 0; i < image.size(); ++i) {
        image.data()[i] = normal(generator);
    }
    return image;
}

}  // namespace

TEST_CASE("the level of a ring: that of two values, by hand") {
    OwnedImage<float> image = OwnedImage<float>::Constant(40, 50, 7.0F);
    image(20, 24) = 1e6F;  // within the ring's inner radius
    image(20, 33) = 1e6F;  // in it, among pixels without scatter: nothing is clipped
    OwnedImage<float> const weight = OwnedImage<float>::Ones(40, 50);
    std::array<double, 1> const x{24.4};
    std::array<double, 1> const y{19.6};
    auto const found = ringLevels(viewOf(image), viewOf(weight), x, y, ring);
    CHECK(found[0].level == doctest::Approx(7.0 + (1e6 - 7.0) / inRing).epsilon(1e-12));
    double const squares = std::pow(1e6 - 7.0, 2) * (1.0 - 1.0 / inRing);
    CHECK(found[0].error == doctest::Approx(std::sqrt(squares) / inRing).epsilon(1e-9));
}

TEST_CASE("outliers and pixels without weight leave the level alone, threads and the border too") {
    OwnedImage<float> image = noise();
    OwnedImage<float> weight = OwnedImage<float>::Ones(40, 50);
    std::array<double, 4> const x{24.0, 0.0, 49.0, NAN};
    std::array<double, 4> const y{20.0, 0.0, 20.0, 20.0};
    auto const before = ringLevels(viewOf(image), viewOf(weight), x, y, ring);
    // Mean of 332 of them: 1 / sqrt(332) = 0.055.
    CHECK(std::abs(before[0].level - 5.0) < 0.2);
    CHECK(before[0].error == doctest::Approx(0.055).epsilon(0.1));
    CHECK(before[1].error > 1.5 * before[0].error);
    CHECK(std::isnan(before[3].level));
    for (Index k = 0; k < 4; ++k) {
        image(20 + k, 33) = 1e4F;
    }
    image(12, 24) = std::numeric_limits<float>::quiet_NaN();
    image(28, 24) = -1e30F;
    weight(28, 24) = 0.0F;
    auto const after = ringLevels(viewOf(image), viewOf(weight), x, y, ring, {2});
    CHECK(std::abs(after[0].level - before[0].level) < 0.02);
    CHECK(after[1].level == before[1].level);
}

TEST_CASE("too few pixels have no level; lists and radii must fit") {
    OwnedImage<float> const image = noise();
    OwnedImage<float> const none = OwnedImage<float>::Zero(40, 50);
    std::array<double, 1> const one{20.0};
    std::array<double, 2> const two{20.0, 21.0};
    CHECK(std::isnan(ringLevels(viewOf(image), viewOf(none), one, one, ring)[0].error));
    CHECK_THROWS_AS((void)ringLevels(viewOf(image), viewOf(image), one, two, ring), std::invalid_argument);
    CHECK_THROWS_AS((void)ringLevels(viewOf(image), viewOf(image), one, one, {5.0, 4.0}), std::invalid_argument);
}

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/BrightPixels.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

// Stars cut off at a level on noise.
OwnedImage<float> field(double level, double noise = 5.0) {
    std::mt19937 generator(3);
    std::normal_distribution<double> normal(0.0, noise);
    std::uniform_real_distribution<double> place(10.0, 190.0);
    OwnedImage<float> image(200, 210);
    for (Index i = 0; i < image.size(); ++i) {
        image.data()[i] = static_cast<float>(200.0 + normal(generator));
    }
    for (int star = 0; star < 25; ++star) {
        double const x0 = place(generator);
        double const y0 = place(generator);
        double const peak = 1e5 * std::pow(0.8, star);
        for (Index y = 0; y < image.rows(); ++y) {
            for (Index x = 0; x < image.cols(); ++x) {
                double const square =
                    std::pow(static_cast<double>(x) - x0, 2) + std::pow(static_cast<double>(y) - y0, 2);
                image(y, x) += static_cast<float>(peak * std::exp(-square / 8.0));
            }
        }
    }
    return image.min(static_cast<float>(level));
}

}  // namespace

TEST_CASE("bright pixels and their plateau against loops") {
    OwnedImage<float> image = field(5e4);
    image(20, 30) = 7e4F;  // hot
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(image.rows(), image.cols());
    mask(0, 0) = 2;
    mask.block(100, 0, 2, 210).setConstant(1);
    BrightPixels const found = brightPixels(viewOf(image), viewOf(mask), {2, 1});
    // The wings of the stars lift and widen it a little.
    CHECK(std::abs(found.sky - 200.0) < 1.0);
    CHECK(std::abs(found.noise - 5.0) < 1.0);
    CHECK(found.nFlagged == 1);
    Index nAtLevel = 0;
    Index nCounted = 0;
    for (double const counts : found.counts) {
        nCounted += counts + found.sky >= 5e4 ? 1 : 0;
    }
    for (Index y = 1; y + 1 < image.rows(); ++y) {
        for (Index x = 1; x + 1 < image.cols(); ++x) {
            nAtLevel += image(y, x) == 5e4F && mask(y, x) == 0 ? 1 : 0;
        }
    }
    CHECK(nCounted == nAtLevel);
    auto const plateau = findPlateau(found);
    REQUIRE(plateau.has_value());
    CHECK(plateau->level == doctest::Approx(5e4).epsilon(1e-9));
    CHECK(plateau->nPixels == nAtLevel);
    CHECK(plateau->nUnflagged == nAtLevel);
    CHECK(plateau->nAbove == 0);
    CHECK(plateau->top == plateau->level);
    REQUIRE(found.places.size() == found.counts.size());
    for (std::size_t i = 0; i < found.places.size(); ++i) {
        Index const place = found.places[i];
        CHECK((i == 0 || place > found.places[i - 1]));
        CHECK(found.counts[i] == static_cast<double>(image(place / 210, place % 210)) - found.sky);
    }
    // Only what lies below it, and only what has no plane.
    PlateauControl below;
    below.most = 4.99e4;
    CHECK_FALSE(findPlateau(found, below).has_value());
    BrightPixels flagged = found;
    flagged.isFlagged.assign(flagged.counts.size(), 1);
    PlateauControl unflagged;
    unflagged.countsFlagged = false;
    CHECK(findPlateau(flagged)->nUnflagged == 0);
    CHECK_FALSE(findPlateau(flagged, unflagged).has_value());
    CHECK_FALSE(findPlateau(brightPixels(viewOf(field(1e9)), viewOf(mask), {2, 1})).has_value());
    CHECK_FALSE(findPlateau(BrightPixels{}).has_value());
    for (int const nThreads : {2, 7}) {
        CHECK(brightPixels(viewOf(image), viewOf(mask), {2, 1}, {nThreads}).counts == found.counts);
    }
}

TEST_CASE("a few stars' pixels below exact saturation do not lower the level") {
    // Fifteen clipped pixels above sixty that thin out slowly: a window of eight per cent holds more of both.
    BrightPixels pixels;
    pixels.sky = 0.0;
    pixels.noise = 1.0;
    for (int i = 0; i < 15; ++i) {
        pixels.counts.push_back(4095.0);
    }
    for (int i = 0; i < 60; ++i) {
        pixels.counts.push_back(4090.0 - 30.0 * i);
    }
    pixels.places.resize(pixels.counts.size());
    pixels.isFlagged.assign(pixels.counts.size(), 0);
    auto const plateau = findPlateau(pixels);
    REQUIRE(plateau.has_value());
    CHECK(plateau->level >= 0.99 * 4095.0);
    CHECK(plateau->top == 4095.0);
}

TEST_CASE("trails are flagged in clumps, and nothing else of their counts") {
    OwnedImage<float> image = OwnedImage<float>::Zero(80, 20);
    image.block(20, 5, 40, 1).setConstant(35.0F);  // over three strips of rows
    image(10, 10) = 35.0F;
    image(11, 11) = 35.5F;
    image(70, 3) = 60.0F;
    image.block(5, 15, 6, 1).setConstant(36.5F);  // above the trails
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(80, 20);
    OwnedImage<MaskPixel> flags(80, 20);
    ImageView<MaskPixel> const target(flags.data(), 80, 20, Eigen::OuterStride<>(20));
    SaturationControl control{2, 1, 50.0, false, 0.0, 34.0, 36.0, 3};
    for (int const nThreads : {1, 3}) {
        REQUIRE(flagSaturation(viewOf(image), viewOf(mask), control, {nThreads}, target));
        for (Index y = 0; y < 80; ++y) {
            for (Index x = 0; x < 20; ++x) {
                CHECK(flags(y, x) == ((x == 5 && y >= 20 && y < 60) || image(y, x) == 60.0F ? 2 : 0));
            }
        }
    }
    control.level = std::numeric_limits<double>::quiet_NaN();
    control.trailPixels = 41;
    CHECK_FALSE(flagSaturation(viewOf(image), viewOf(mask), control, {}, target));
    control.trailPixels = 2;
    REQUIRE(flagSaturation(viewOf(image), viewOf(mask), control, {}, target));
    CHECK((flags == 2).count() == 42);
}

TEST_CASE("flags of saturated pixels are discs, and hidden ones need a bright neighbour") {
    OwnedImage<float> image = OwnedImage<float>::Zero(15, 17);
    image(7, 8) = 10.0F;
    image(0, 16) = 11.0F;
    image(3, 3) = std::numeric_limits<float>::infinity();
    image(12, 2) = 10.0F;  // a defect, alone
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(15, 17);
    mask(12, 2) = 1;
    mask(14, 14) = 8;
    OwnedImage<MaskPixel> flags(15, 17);
    ImageView<MaskPixel> const target(flags.data(), 15, 17, Eigen::OuterStride<>(17));
    for (double const growth : {0.0, 1.0, 1.5, 3.0}) {
        SaturationControl control{2, 1, 10.0, true, growth};
        REQUIRE(flagSaturation(viewOf(image), viewOf(mask), control, {2}, target));
        for (Index y = 0; y < 15; ++y) {
            for (Index x = 0; x < 17; ++x) {
                bool const isNear = std::hypot(y - 7, x - 8) <= growth || std::hypot(y, x - 16) <= growth;
                CHECK(flags(y, x) == (mask(y, x) | (isNear ? 2 : 0)));
            }
        }
    }
    image(11, 2) = 6.0F;
    REQUIRE(flagSaturation(viewOf(image), viewOf(mask), {2, 1, 10.0, true, 0.0}, {}, target));
    CHECK(flags(12, 2) == 3);
    REQUIRE(flagSaturation(viewOf(image), viewOf(mask), {2, 1, 10.0, false, 0.0}, {}, target));
    CHECK(flags(12, 2) == 1);
    CHECK_FALSE(flagSaturation(viewOf(image), viewOf(mask), {2, 1}, {}, target));
    CHECK_FALSE(flagSaturation(viewOf(image), viewOf(mask), {8, 1}, {}, target));
    CHECK(flagSaturation(viewOf(image), viewOf(mask), {8, 1, std::nan(""), false, 1.0}, {}, target));
    CHECK((flags == 8).count() == 4);
    CHECK_THROWS_AS(
        static_cast<void>(flagSaturation(viewOf(image), viewOf(mask), {8, 1, 0.0, false, -1.0}, {}, target)),
        std::invalid_argument);
    CHECK(planesOf(viewOf(mask), {2}) == 9);
}

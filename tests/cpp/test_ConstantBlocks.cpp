#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>

#include "psfmatch/sources/ConstantBlocks.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

OwnedImage<float> noise(Index height, Index width, double level, double sigma, bool isWhole = false) {
    std::mt19937 generator(7);
    std::normal_distribution<double> normal(level, sigma);
    OwnedImage<float> image(height, width);
    for (Index i = 0; i < image.size(); ++i) {
        double const value = normal(generator);
        image.data()[i] = static_cast<float>(isWhole ? std::round(value) : value);
    }
    return image;
}

OwnedImage<MaskPixel> noMask(OwnedImage<float> const& image) {
    return OwnedImage<MaskPixel>::Zero(image.rows(), image.cols());
}

ConstantBlocks find(OwnedImage<float> const& image, OwnedImage<MaskPixel> const& mask, int nThreads = 1) {
    return constantBlocks(viewOf(image), viewOf(mask), {1}, {nThreads});
}

// Pixels of a value in or touching, side to side, a square of so many equal ones: every square looked at.
std::set<Index> blocksByLoops(OwnedImage<float> const& image, Index side) {
    std::set<Index> found;
    for (Index y = 0; y + side <= image.rows(); ++y) {
        for (Index x = 0; x + side <= image.cols(); ++x) {
            if ((image.block(y, x, side, side) == image(y, x)).all()) {
                for (Index j = y; j < y + side; ++j) {
                    for (Index i = x; i < x + side; ++i) {
                        found.insert(j * image.cols() + i);
                    }
                }
            }
        }
    }
    for (std::size_t before = 0; before != found.size();) {
        before = found.size();
        for (Index const place : std::set<Index>(found)) {
            for (Index const step : {Index{-1}, Index{1}, -image.cols(), image.cols()}) {
                Index const next = place + step;
                bool const isBeside = std::abs(step) > 1 || (next >= 0 && next / image.cols() == place / image.cols());
                if (isBeside && next >= 0 && next < image.size() && image.data()[next] == image.data()[place]) {
                    found.insert(next);
                }
            }
        }
    }
    return found;
}

}  // namespace

TEST_CASE("blocks of one value against loops") {
    OwnedImage<float> image = noise(300, 170, 100.0, 8.0);
    image.block(0, 0, 300, 11).setConstant(-999.0F);
    image.block(120, 60, 17, 40).setConstant(0.0F);      // across the strips of rows
    image.block(200, 100, 3, 3).setConstant(104.0F);     // within the sky's noise
    image.block(203, 102, 1, 5).setConstant(104.0F);     // touches it
    image.block(20, 100, 2, 12).setConstant(-32768.0F);  // no square of three
    OwnedImage<MaskPixel> const mask = noMask(image);
    ConstantBlocks const found = find(image, mask);
    CHECK(found.side == 3);
    std::set<Index> const expected = blocksByLoops(image, 3);
    CHECK(std::set<Index>(found.places.begin(), found.places.end()) == expected);
    CHECK(found.places.size() == expected.size());
    REQUIRE(found.blocks.size() == 3);
    CHECK(found.blocks[0].value == -999.0F);
    CHECK(found.blocks[0].nPixels == 3300);
    CHECK(found.blocks[2].nPixels == 14);
    for (int const nThreads : {2, 7}) {
        CHECK(find(image, mask, nThreads).places == found.places);
    }
}

TEST_CASE("what is masked or no number is in no block") {
    OwnedImage<float> image = noise(80, 90, 100.0, 8.0);
    OwnedImage<MaskPixel> mask = noMask(image);
    image.block(10, 10, 20, 20).setConstant(0.0F);
    mask.block(10, 10, 20, 18).setConstant(1);
    CHECK(find(image, mask).places.empty());
    image.block(40, 40, 10, 10).setConstant(std::numeric_limits<float>::quiet_NaN());
    image.block(60, 60, 10, 10).setConstant(std::numeric_limits<float>::infinity());
    CHECK(find(image, mask).places.empty());
}

TEST_CASE("chance makes no block of whole counts, however many neighbours are equal") {
    // 8, 28 and 81 % of pairs are equal.
    for (double const sigma : {3.5, 1.0, 0.3}) {
        OwnedImage<float> image = noise(400, 400, 10.0, sigma, true);
        CHECK(find(image, noMask(image)).places.empty());
        image.block(100, 50, 120, 90).setConstant(0.0F);
        ConstantBlocks const found = find(image, noMask(image));
        CHECK(found.places.size() == 120 * 90);
        CHECK(found.side >= 4);
    }
    // Of 99 % there is no telling.
    OwnedImage<float> image = noise(400, 400, 0.0, 0.19, true);
    image.block(100, 50, 60, 60).setConstant(0.0F);
    CHECK(find(image, noMask(image)).places.empty());
}

TEST_CASE("skies without noise are no blocks, but what jumps out of them is") {
    OwnedImage<float> image = OwnedImage<float>::Zero(200, 200);
    for (Index y = 0; y < 200; ++y) {
        for (Index x = 0; x < 200; ++x) {
            double const square =
                std::pow(static_cast<double>(x) - 90.3, 2) + std::pow(static_cast<double>(y) - 80.6, 2);
            image(y, x) = static_cast<float>(3000.0 * std::exp(-square / 18.0));
        }
    }
    CHECK(find(image, noMask(image)).places.empty());
    image += 100.0F;
    CHECK(find(image, noMask(image)).places.empty());
    image.block(0, 0, 200, 30).setConstant(-999.0F);
    CHECK(find(image, noMask(image)).places.size() == 6000);
    OwnedImage<float> const constant = OwnedImage<float>::Constant(50, 50, 3.0F);
    CHECK(find(constant, noMask(constant)).places.empty());
}

TEST_CASE("clipped stars are no blocks, bright fillings are") {
    OwnedImage<float> image = noise(200, 200, 100.0, 5.0);
    for (Index y = 0; y < 200; ++y) {
        for (Index x = 0; x < 200; ++x) {
            double const square =
                std::pow(static_cast<double>(x) - 60.0, 2) + std::pow(static_cast<double>(y) - 70.0, 2);
            image(y, x) += static_cast<float>(1e6 * std::exp(-square / 50.0));
        }
    }
    image = image.min(6e4F);
    CHECK((image == 6e4F).count() > 300);
    CHECK(find(image, noMask(image)).places.empty());
    image.block(120, 120, 60, 60).setConstant(65535.0F);
    CHECK(find(image, noMask(image)).places.size() == 3600);
}

TEST_CASE("small images, and controls that make no sense") {
    OwnedImage<float> const one = OwnedImage<float>::Constant(1, 1, 2.0F);
    CHECK(find(one, noMask(one)).places.empty());
    OwnedImage<float> const row = OwnedImage<float>::Constant(1, 60, 2.0F);
    CHECK(find(row, noMask(row)).places.empty());
    OwnedImage<MaskPixel> const mask = OwnedImage<MaskPixel>::Zero(2, 2);
    CHECK_THROWS_WITH_AS(static_cast<void>(find(one, mask)), "image and mask must have one shape",
                         std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(constantBlocks(viewOf(one), viewOf(noMask(one)), {0, 1, 32})),
                    std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(constantBlocks(viewOf(one), viewOf(noMask(one)), {0, 3, 300})),
                    std::invalid_argument);
}

// Which pixels are bad, and what fills them.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "convolveReference.h"

using namespace convolveReference;
using psfmatch::fillBadPixels;
using psfmatch::FilledPixels;
using psfmatch::isBad;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

MaskedImage filled(MaskedImage input, MaskPixel badBits) {
    FilledPixels const fill = fillBadPixels(input.views(), badBits);
    writeFill(fill, view(input.image), view(input.variance));
    return input;
}

MaskedImage gradient(Index height, Index width) {
    MaskedImage image(height, width);
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            image.image(y, x) = 3.0F + 2.0F * static_cast<float>(x) - 5.0F * static_cast<float>(y);
        }
    }
    return image;
}

}  // namespace

TEST_CASE("what makes a pixel bad") {
    CHECK_FALSE(isBad(1.0F, 1.0F, 0, ~0));
    CHECK_FALSE(isBad(-1e30F, 0.0F, 6, 1));
    CHECK(isBad(1.0F, 1.0F, 6, 2));
    CHECK(isBad(1.0F, 1.0F, static_cast<MaskPixel>(1U << 31), ~0));
    for (float const value : {notANumber, infinity, -infinity}) {
        CHECK(isBad(value, 1.0F, 0, 0));
        CHECK(isBad(1.0F, value, 0, 0));
    }
    CHECK(isBad(1.0F, -1e-30F, 0, 0));
}

TEST_CASE("a good image has nothing to fill") {
    MaskedImage const input = makeField(20, 30, 100.0F, 1);
    FilledPixels const fill = fillBadPixels(input.views(), 1);
    CHECK(fill.empty());
    CHECK(fill.rowStart.size() == 21);
    CHECK(fill.row(7).empty());
}

TEST_CASE("isolated pixels of a linear gradient are restored exactly") {
    MaskedImage const truth = gradient(40, 50);
    MaskedImage input = truth;
    for (Index n = 2; n < 38; n += 3) {
        input.image(n, n + 1) = notANumber;
        input.mask(n, n + 1) = 8;
    }
    MaskedImage const result = filled(input, 1);
    CHECK((result.image == truth.image).all());
    FilledPixels const fill = fillBadPixels(input.views(), 9);
    CHECK(fill.pixels.size() == 12);
    CHECK(fill.row(2).front().planes == 8);
    CHECK(fillBadPixels(input.views(), 1).row(2).front().planes == 0);
}

TEST_CASE("weights are 1 / distance to the nearest good pixel in each direction") {
    MaskedImage input(5, 7);
    input.image.setConstant(1.0F);
    input.mask.row(2).setConstant(1);
    input.mask(2, 0) = 0;
    input.mask(3, 4) = 1;
    input.image(2, 0) = 10.0F;
    input.image(1, 4) = 2.0F;
    input.image(4, 4) = 6.0F;
    input.variance(1, 4) = 4.0F;
    MaskedImage const result = filled(input, 1);
    // Left 10 at 4 pixels, none to the right, 2 at 1 and 6 at 2 pixels.
    double const sum = 0.25 + 1.0 + 0.5;
    double const mean = (0.25 * 10.0 + 1.0 * 2.0 + 0.5 * 6.0) / sum;
    double const propagated = (0.0625 + 4.0 + 0.25) / (sum * sum);
    double const scatter =
        (0.25 * (10.0 - mean) * (10.0 - mean) + (2.0 - mean) * (2.0 - mean) + 0.5 * (6.0 - mean) * (6.0 - mean)) / sum;
    CHECK(result.image(2, 4) == doctest::Approx(mean).epsilon(1e-6));
    CHECK(result.variance(2, 4) == doctest::Approx(propagated + scatter).epsilon(1e-6));
}

TEST_CASE("the variance is never below that of a contributor") {
    MaskedImage input = makeField(60, 60, 100.0F, 3);
    std::mt19937 random(2);
    for (int n = 0; n < 300; ++n) {
        input.mask(static_cast<Index>(random() % 60), static_cast<Index>(random() % 60)) = 2;
    }
    MaskedImage const result = filled(input, 2);
    for (Index y = 0; y < 60; ++y) {
        for (Index x = 0; x < 60; ++x) {
            if (input.mask(y, x) == 0) {
                CHECK(result.image(y, x) == input.image(y, x));
                CHECK(result.variance(y, x) == input.variance(y, x));
            } else {
                CHECK(result.variance(y, x) >= 100.0F);
            }
        }
    }
    MaskedImage equal(9, 9);  // no scatter, the mean of four has a quarter of the variance
    equal.mask(4, 4) = 2;
    equal.variance(4, 3) = 7.0F;
    CHECK(filled(equal, 2).variance(4, 4) == 7.0F);
}

TEST_CASE("corners, columns and clusters take what there is") {
    MaskedImage const truth = gradient(30, 30);
    MaskedImage input = truth;
    input.image(0, 0) = notANumber;
    input.image.col(12).setConstant(infinity);
    input.variance.block(20, 20, 5, 5).setConstant(-1.0F);
    MaskedImage const result = filled(input, 0);
    CHECK(result.image(0, 0) == doctest::Approx(0.5 * (truth.image(0, 1) + truth.image(1, 0))));
    for (Index y = 0; y < 30; ++y) {
        CHECK(result.image(y, 12) == truth.image(y, 12));  // only left and right
    }
    // The middle of the cluster is at the same distance from all four sides.
    CHECK(result.image(22, 22) == truth.image(22, 22));
    CHECK(result.image.allFinite());
}

TEST_CASE("without a good pixel in row and column the mean of the others is taken") {
    MaskedImage input(9, 9);
    input.image.setConstant(notANumber);
    input.image(1, 1) = 4.0F;
    input.image(1, 2) = 8.0F;
    MaskedImage const result = filled(input, 0);
    CHECK(result.image(5, 5) == 6.0F);
    CHECK(result.variance(5, 5) == 5.0F);  // 1, and a scatter of 4
    CHECK(result.image(1, 5) == 8.0F);

    input.image.setConstant(notANumber);
    MaskedImage const nothing = filled(input, 0);
    CHECK((nothing.image == 0.0F).all());
    CHECK((nothing.variance == 0.0F).all());
}

TEST_CASE("the number of threads changes nothing") {
    MaskedImage input = makeField(500, 80, 100.0F, 3);
    std::mt19937 random(5);
    for (int n = 0; n < 3000; ++n) {
        input.image(static_cast<Index>(random() % 500), static_cast<Index>(random() % 80)) = notANumber;
    }
    input.image.row(100).setConstant(notANumber);
    input.image.col(50).setConstant(notANumber);
    FilledPixels const one = fillBadPixels(input.views(), 0, {1, {}});
    for (int const nThreads : {2, 7}) {
        FilledPixels const other = fillBadPixels(input.views(), 0, {nThreads, {}});
        CHECK(other.rowStart == one.rowStart);
        REQUIRE(other.pixels.size() == one.pixels.size());
        for (std::size_t i = 0; i < one.pixels.size(); ++i) {
            // Bit by bit, but for what pads the end.
            CHECK(std::memcmp(&other.pixels[i], &one.pixels[i], offsetof(psfmatch::FilledPixel, isSafe)) == 0);
            CHECK(other.pixels[i].isSafe == one.pixels[i].isSafe);
        }
    }
}

TEST_CASE("an image alone") {
    MaskedImage input = gradient(20, 20);
    input.image(5, 6) = notANumber;
    FilledPixels const fill = fillBadPixels(view(std::as_const(input.image)));
    REQUIRE(fill.pixels.size() == 1);
    CHECK(fill.row(5)[0].x == 6);
    CHECK(fill.row(5)[0].value == gradient(20, 20).image(5, 6));
}

TEST_CASE("shapes that do not belong together") {
    MaskedImage const input(5, 5);
    MaskedImage const other(5, 6);
    CHECK_THROWS_WITH_AS((void)fillBadPixels({view(input.image), view(other.variance), view(input.mask)}, 0),
                         doctest::Contains("one shape"), std::invalid_argument);
    MaskedImage wrong(4, 5);
    CHECK_THROWS_WITH_AS(writeFill(fillBadPixels(input.views(), 0), view(wrong.image), view(wrong.variance)),
                         doctest::Contains("fill of 5 rows"), std::invalid_argument);
}

// Stacks of sources against sums written out, and what a bad pixel in either image does to both.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>

#include "psfmatch/image/statistics.h"
#include "psfmatch/sources/StackedSources.h"
#include "starReference.h"

using namespace psfmatch;
using convolveReference::MaskedImage;

namespace {

MaskedImage makePlanes(Index height, Index width, unsigned seed) {
    MaskedImage planes(height, width);
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (Index i = 0; i < planes.image.size(); ++i) {
        planes.image(i) = 50.0F + normal(generator);
        planes.variance(i) = 2.0F;
        planes.mask(i) = 0;
    }
    return planes;
}

// A star of so many counts, its Gaussian integrated over pixels by the rule of five points along each axis.
void paint(MaskedImage& planes, double x, double y, double flux, double sigma) {
    auto const reach = static_cast<Index>(std::ceil(8.0 * sigma)) + 1;
    auto const column = static_cast<Index>(std::lround(x));
    auto const row = static_cast<Index>(std::lround(y));
    auto const share = [sigma](double distance) {
        double sum = 0.0;
        for (int i = -2; i <= 2; ++i) {
            double const d = (distance + 0.2 * i) / sigma;
            sum += 0.2 * std::exp(-0.5 * d * d);
        }
        return sum / (std::sqrt(2.0 * std::numbers::pi) * sigma);
    };
    for (Index py = row - reach; py <= row + reach; ++py) {
        for (Index px = column - reach; px <= column + reach; ++px) {
            planes.image(py, px) +=
                static_cast<float>(flux * share(static_cast<double>(px) - x) * share(static_cast<double>(py) - y));
        }
    }
}

double skyOf(OwnedImage<double> const& square) {
    std::vector<double> rim;
    for (Index y = 0; y < square.rows(); ++y) {
        for (Index x = 0; x < square.cols(); ++x) {
            if (std::min({x, y, square.cols() - 1 - x, square.rows() - 1 - y}) < 2) {
                rim.push_back(square(y, x));
            }
        }
    }
    return medianOf(rim);
}

std::vector<double> const x = {20.2, 41.7, 3.0, std::numeric_limits<double>::quiet_NaN()};
std::vector<double> const y = {22.4, 30.1, 25.0, 10.0};
std::vector<double> const weights = {1.0, 2.5, 1.0, 1.0};

}  // namespace

TEST_CASE("a stack is the sum of the squares less their skies, times their weights") {
    MaskedImage const first = makePlanes(60, 70, 1);
    MaskedImage const second = makePlanes(60, 70, 2);
    std::vector<MaskedImageView> const images = {first.views(), second.views()};
    std::vector<MaskPixel> const bits = {1, 1};
    StackControl control;
    control.radius = 7;
    auto const found = stackSources(images, bits, x, y, weights, control);
    CHECK(found.nUsed == 2);  // the third lies too near the border, the fourth nowhere
    for (std::size_t k = 0; k < 2; ++k) {
        OwnedImage<double> expected = OwnedImage<double>::Zero(15, 15);
        for (std::size_t i = 0; i < 2; ++i) {
            OwnedImage<double> const square = OwnedImage<float>((k == 0 ? first : second).image)
                                                  .block(std::lround(y[i]) - 7, std::lround(x[i]) - 7, 15, 15)
                                                  .cast<double>();
            expected += weights[i] * (square - skyOf(square));
        }
        CHECK((found.stacks[k].image - expected).abs().maxCoeff() < 1e-10);
        CHECK(found.stacks[k].variance == doctest::Approx(2.0 * (1.0 + 2.5 * 2.5)));
    }
}

TEST_CASE("a bad pixel of one image is sky in both, and none may lie in the core") {
    MaskedImage first = makePlanes(60, 70, 1);
    MaskedImage second = makePlanes(60, 70, 2);
    first.mask(27, 20) = 1;                                          // 5 rows from the first source
    second.image(31, 41) = std::numeric_limits<float>::quiet_NaN();  // in the core of the second
    std::vector<MaskedImageView> const images = {first.views(), second.views()};
    std::vector<MaskPixel> const bits = {1, 1};
    StackControl control;
    control.radius = 7;
    auto const found = stackSources(images, bits, x, y, weights, control);
    CHECK(found.nUsed == 1);
    for (SourceStack const& stack : found.stacks) {
        CHECK(stack.image(12, 7) == 0.0);
        CHECK(stack.image.allFinite());
    }
    control.maxBad = 0.0;
    CHECK(stackSources(images, bits, x, y, weights, control).nUsed == 0);
}

TEST_CASE("the width of a stack is that of the stars, sharp ones included") {
    // Of 0.45 px no adaptive weight settles. Stars of S/N 85, which pixels of one width make wider by 1/12.
    for (double const sigma : {0.45, 0.8, 1.5, 4.0}) {
        std::vector<double> places;
        std::vector<double> rows;
        MaskedImage field = makePlanes(400, 400, 5);
        std::mt19937 generator(8);
        std::uniform_real_distribution<double> uniform(-0.5, 0.5);
        for (int row = 0; row < 6; ++row) {
            for (int column = 0; column < 6; ++column) {
                places.push_back(40.0 + 60.0 * column + uniform(generator));
                rows.push_back(40.0 + 60.0 * row + uniform(generator));
                paint(field, places.back(), rows.back(), 300.0 * sigma, sigma);
            }
        }
        std::vector<MaskedImageView> const images = {field.views()};
        std::vector<MaskPixel> const bits = {1};
        std::vector<double> const ones(places.size(), 1.0);
        StackControl control;
        control.radius = 20;
        auto const found = stackSources(images, bits, places, rows, ones, control);
        CHECK(found.nUsed == 36);
        double const expected = 2.3548 * std::sqrt(sigma * sigma + 1.0 / 12.0);
        CHECK(found.stacks[0].fwhm == doctest::Approx(expected).epsilon(0.05));
    }
}

TEST_CASE("stacks refuse what does not fit together") {
    MaskedImage const first = makePlanes(60, 70, 1);
    MaskedImage const other = makePlanes(60, 71, 1);
    std::vector<MaskPixel> const bits = {1, 1};
    std::vector<MaskedImageView> const images = {first.views(), other.views()};
    CHECK_THROWS_AS((void)stackSources(images, bits, x, y, weights), std::invalid_argument);
    std::vector<MaskedImageView> const alike = {first.views(), first.views()};
    CHECK_THROWS_AS((void)stackSources(alike, std::vector<MaskPixel>{1}, x, y, weights), std::invalid_argument);
    CHECK_THROWS_AS((void)stackSources(alike, bits, x, y, std::vector<double>{1.0}), std::invalid_argument);
    CHECK_THROWS_AS((void)stackSources({}, {}, x, y, weights), std::invalid_argument);
}

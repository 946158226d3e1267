#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/image/BlankSky.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Planes {
    OwnedImage<float> image;
    OwnedImage<float> variance;
    OwnedImage<MaskPixel> mask;

    [[nodiscard]] MaskedImageView view() const { return {viewOf(image), viewOf(variance), viewOf(mask)}; }
};

// Noise of a given width on a slope.
Planes noise(Index height, Index width, double sigma, unsigned seed = 1) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(0.0, sigma);
    Planes planes{OwnedImage<float>(height, width), OwnedImage<float>(height, width),
                  OwnedImage<MaskPixel>::Zero(height, width)};
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            planes.image(y, x) = static_cast<float>(100.0 + 0.05 * static_cast<double>(x) + normal(generator));
        }
    }
    planes.variance.setConstant(static_cast<float>(sigma * sigma));
    return planes;
}

}  // namespace

TEST_CASE("blank sky of noise on a slope has its width and is white") {
    Planes const planes = noise(400, 500, 3.0);
    BlankSky const sky = findBlankSky(planes.view(), 1);
    CHECK(sky.tops.size() == 6);
    CHECK(sky.lefts.size() == 7);
    // Noise alone makes few peaks of four sigma.
    CHECK(sky.nPixels > 0.95 * 42 * 64 * 64);
    double const width = pullWidth(sky) / std::sqrt(sky.freedom);
    // A width by quartiles errs by 1.17 / sqrt(n); four times that, and 0.1 % in variance for what peaks are left out
    CHECK(std::abs(width - 1.0) < 4.0 * 1.17 / std::sqrt(static_cast<double>(sky.nPixels)) + 0.001);
    BlankSkyWidths const all = widths(sky);
    CHECK(all.values == doctest::Approx(3.0 * all.pulls).epsilon(1e-5));
    CHECK(all.medianVariance == 9.0);
    LaggedProducts const products = laggedProducts(sky, 2);
    for (Index i = 0; i < 25; ++i) {
        double const expected = i == 12 ? 1.0 : sky.freedom - 1.0;
        CHECK(std::abs(products.means.data()[i] - expected) < 0.02);
    }
}

TEST_CASE("sources, single pixels and bad ones are left out") {
    Planes planes = noise(128, 128, 1.0);
    for (Index y = 40; y < 45; ++y) {
        for (Index x = 90; x < 95; ++x) {
            planes.image(y, x) += 6.0F;
        }
    }
    planes.image(100, 20) += 50.0F;
    planes.image(100, 60) = std::numeric_limits<float>::quiet_NaN();
    planes.mask(10, 10) = 3;
    planes.mask(10, 12) = 2;
    planes.variance(10, 14) = 0.0F;
    BlankSkyControl control;
    control.maxPixels = 128 * 128;
    BlankSky const sky = findBlankSky(planes.view(), 1, control);
    auto const isBlank = [&](Index y, Index x) {
        std::size_t const window = static_cast<std::size_t>(y / 64 * 2 + x / 64);
        return sky.isBlank[static_cast<Index>(window) * sky.windowSize() + y % 64 * 64 + x % 64] != 0;
    };
    for (Index y = 38; y < 47; ++y) {
        for (Index x = 88; x < 97; ++x) {
            CHECK_FALSE(isBlank(y, x));
        }
    }
    CHECK_FALSE(isBlank(100, 20));
    CHECK_FALSE(isBlank(100, 60));
    CHECK_FALSE(isBlank(10, 10));
    CHECK(isBlank(10, 12));
    CHECK_FALSE(isBlank(10, 14));
    for (Index i = 0; i < sky.isBlank.size(); ++i) {
        if (sky.isBlank[i] == 0) {
            CHECK(sky.values[i] == 0.0F);
            CHECK(sky.pulls[i] == 0.0F);
        }
    }
}

TEST_CASE("the sky of each cell is the plane of its blank pixels") {
    Planes const planes = noise(64, 64, 1.0);
    BlankSky const sky = findBlankSky(planes.view(), 0);
    REQUIRE(sky.nWindows() == 1);
    for (Index top = 0; top < 64; top += 32) {
        for (Index left = 0; left < 64; left += 32) {
            double sum = 0.0;
            double slope = 0.0;
            for (Index y = top; y < top + 32; ++y) {
                for (Index x = left; x < left + 32; ++x) {
                    double const value = sky.values[static_cast<std::size_t>(y * 64 + x)];
                    sum += value;
                    slope += value * static_cast<double>(x - left);
                }
            }
            // 1024 values rounded to 1e-5
            CHECK(std::abs(sum) < 0.02);
            CHECK(std::abs(slope) / 1024.0 < 0.2);
        }
    }
}

TEST_CASE("products of pairs and means of cells against loops") {
    Planes planes = noise(100, 90, 2.0);
    planes.image.block(20, 20, 8, 8) += 100.0F;
    BlankSkyControl control;
    control.maxPixels = 1;
    BlankSky const sky = findBlankSky(planes.view(), 0, control);
    LaggedProducts const found = laggedProducts(sky, 2);
    auto const at = [](Index y, Index x) { return y * 64 + x; };
    for (Index dy = -2; dy <= 2; ++dy) {
        for (Index dx = -2; dx <= 2; ++dx) {
            double sum = 0.0;
            double count = 0.0;
            for (Index y = std::max<Index>(0, -dy); y < 64 - std::max<Index>(0, dy); ++y) {
                for (Index x = std::max<Index>(0, -dx); x < 64 - std::max<Index>(0, dx); ++x) {
                    sum += static_cast<double>(sky.pulls[at(y, x)]) * sky.pulls[at(y + dy, x + dx)];
                    count += sky.isBlank[at(y, x)] & sky.isBlank[at(y + dy, x + dx)];
                }
            }
            CHECK(found.counts(2 + dy, 2 + dx) == count);
            // Sums of 64 floats
            CHECK(std::abs(found.means(2 + dy, 2 + dx) - sum / count) < 1e-6);
        }
    }
    CellMeans const cells = cellMeans(sky, 1);
    REQUIRE(cells.means.size() == 4);
    double sum = 0.0;
    double sumX = 0.0;
    double count = 0.0;
    for (Index y = 0; y < 32; ++y) {
        for (Index x = 0; x < 32; ++x) {
            double const weight = sky.isBlank[at(y, x)];
            sum += weight * planes.image(sky.tops[0] + y, sky.lefts[0] + x);
            sumX += weight * static_cast<double>(sky.lefts[0] + x);
            count += weight;
        }
    }
    CHECK(cells.means[0] == doctest::Approx(sum / count).epsilon(1e-12));
    CHECK(cells.x[0] == doctest::Approx(sumX / count).epsilon(1e-12));
    CHECK(cells.errors[0] == doctest::Approx(2.0 / std::sqrt(count)).epsilon(1e-12));
    CHECK(cellMeans(sky, 1000).means.size() < 4);
}

TEST_CASE("blank sky of a difference is that of the images' difference, on any number of threads") {
    Planes const first = noise(200, 300, 2.0, 1);
    Planes second = noise(200, 300, 1.0, 2);
    second.mask(50, 60) = 4;
    Planes difference{first.image - second.image, first.variance + second.variance, second.mask};
    BlankSky const expected = findBlankSky(difference.view(), 4);
    for (int const nThreads : {1, 2, 7}) {
        Execution execution;
        execution.nThreads = nThreads;
        BlankSky const sky = findBlankSky(first.view(), 4, second.view(), 4, {}, execution);
        CHECK((sky.values == expected.values).all());
        CHECK((sky.pulls == expected.pulls).all());
        CHECK((sky.isBlank == expected.isBlank).all());
    }
}

TEST_CASE("means of cells and whiteness on any number of threads; of rows of windows alone") {
    Planes const planes = noise(400, 300, 2.0, 5);
    BlankSkyControl control;
    control.maxPixels = 30'000;
    BlankSky const sky = findBlankSky(planes.view(), 0, control);
    REQUIRE(sky.tops.size() > 1);
    CellMeans const cells = cellMeans(sky, 1);
    Whiteness const white = whiteness(sky);
    for (int const nThreads : {2, 7}) {
        Execution execution;
        execution.nThreads = nThreads;
        CellMeans const others = cellMeans(sky, 1, execution);
        CHECK(others.x == cells.x);
        CHECK(others.y == cells.y);
        CHECK(others.means == cells.means);
        CHECK(others.errors == cells.errors);
        Whiteness const other = whiteness(sky, execution);
        CHECK(other.pullWidth == white.pullWidth);
        CHECK((other.correlations == white.correlations).all());
    }
    for (Index const step : {1, 2}) {
        Planes rows = planes;
        for (std::size_t i = 0; i < sky.tops.size(); i += static_cast<std::size_t>(step)) {
            Index const to = static_cast<Index>(i) / step * sky.height;
            rows.image.middleRows(to, sky.height) = planes.image.middleRows(sky.tops[i], sky.height);
        }
        BlankSky const found = blankSkyInRows(rows.view(), 0, sky, step);
        BlankSky const whole = blankSkyAt(planes.view(), 0, sky);
        REQUIRE(found.tops.size() ==
                (sky.tops.size() + static_cast<std::size_t>(step) - 1) / static_cast<std::size_t>(step));
        Index const size = static_cast<Index>(sky.lefts.size()) * sky.windowSize();
        for (Index row = 0; row < static_cast<Index>(found.tops.size()); ++row) {
            CHECK((found.pulls.segment(row * size, size) == whole.pulls.segment(row * step * size, size)).all());
            CHECK((found.isBlank.segment(row * size, size) == whole.isBlank.segment(row * step * size, size)).all());
        }
    }
    CHECK_THROWS_AS(static_cast<void>(blankSkyInRows(planes.view(), 0, sky, 0)), std::invalid_argument);
}

TEST_CASE("images without blank sky, and impossible ones") {
    Planes planes = noise(10, 12, 1.0);
    planes.mask.setConstant(1);
    BlankSky const sky = findBlankSky(planes.view(), 1);
    CHECK(sky.nPixels == 0);
    CHECK(std::isnan(pullWidth(sky)));
    CHECK(cellMeans(sky, 1).means.empty());
    CHECK(laggedProducts(sky, 1).counts.maxCoeff() == 0.0);
    Planes other = noise(10, 13, 1.0);
    CHECK_THROWS_WITH_AS(static_cast<void>(findBlankSky(planes.view(), 1, other.view(), 1)),
                         "image, variance and mask must have one shape with pixels", std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(laggedProducts(sky, -1)), std::invalid_argument);
}

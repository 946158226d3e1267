#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/Streaks.h"
#include "sources/LineSums.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

OwnedImage<float> noise(Index height, Index width, unsigned seed, float sigma = 1.0F) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0F, sigma);
    OwnedImage<float> image(height, width);
    std::generate_n(image.data(), image.size(), [&] { return normal(generator); });
    return image;
}

double distanceTo(double x, double y, Streak const& line) {
    double const length = std::hypot(line.x1 - line.x0, line.y1 - line.y0);
    return std::abs((y - line.y0) * (line.x1 - line.x0) - (x - line.x0) * (line.y1 - line.y0)) / length;
}

double shareAlong(double x, double y, Streak const& line) {
    double const dx = line.x1 - line.x0;
    double const dy = line.y1 - line.y0;
    return ((x - line.x0) * dx + (y - line.y0) * dy) / (dx * dx + dy * dy);
}

// Light of a Gaussian profile across.
void addLine(OwnedImage<float>& image, Streak const& line, double peak, double sigma) {
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            auto const column = static_cast<double>(x);
            auto const row = static_cast<double>(y);
            double const share = shareAlong(column, row, line);
            if (share >= 0.0 && share <= 1.0) {
                image(y, x) +=
                    static_cast<float>(peak * std::exp(-0.5 * std::pow(distanceTo(column, row, line) / sigma, 2)));
            }
        }
    }
}

struct Pair {
    explicit Pair(Index height = 260, Index width = 280)
        : image(noise(height, width, 1, 10.0F)),
          other(noise(height, width, 2, 5.0F)),
          mask(OwnedImage<MaskPixel>::Zero(height, width)),
          otherMask(mask) {}

    [[nodiscard]] StreakPair find(int nThreads = 1, double ratio = 1.0) const {
        StreakControl control;
        control.badBits = 1;
        control.otherBadBits = 2;
        control.fluxRatio = ratio;
        return findStreaks(viewOf(image), viewOf(mask), viewOf(other), viewOf(otherMask), control,
                           {.nThreads = nThreads});
    }

    OwnedImage<float> image;
    OwnedImage<float> other;
    OwnedImage<MaskPixel> mask;
    OwnedImage<MaskPixel> otherMask;
};

// Whether a streak lies on the line, within pixels across, and covers it but for the ends.
void checkIs(Streak const& found, Streak const& line, double across, double along) {
    CHECK(distanceTo(found.x0, found.y0, line) < across);
    CHECK(distanceTo(found.x1, found.y1, line) < across);
    double const length = std::hypot(line.x1 - line.x0, line.y1 - line.y0);
    double const one = shareAlong(found.x0, found.y0, line);
    double const two = shareAlong(found.x1, found.y1, line);
    double const low = std::min(one, two);
    double const high = std::max(one, two);
    CHECK(std::abs(low) * length < along);
    CHECK(std::abs(high - 1.0) * length < along);
}

}  // namespace

TEST_CASE("sums along digital lines: the one that is bright, at any angle, round the image or not") {
    for (auto const& [x0, y0, x1, y1] : {std::array{3.0, 0.0, 40.0, 63.0}, std::array{60.0, 0.0, 5.0, 63.0},
                                         std::array{0.0, 10.0, 79.0, 30.0}, std::array{0.0, 50.0, 79.0, 12.0}}) {
        OwnedImage<float> pulls = OwnedImage<float>::Zero(64, 80);
        bool const isSteep = std::abs(y1 - y0) > std::abs(x1 - x0);
        int const count = isSteep ? 64 : 80;
        for (int i = 0; i < count; ++i) {
            double const share = static_cast<double>(i) / (count - 1);
            pulls(std::lround(y0 + share * (y1 - y0)), std::lround(x0 + share * (x1 - x0))) = 1.0F;
        }
        auto const lines = detail::findLines(pulls, 2.0, {});
        REQUIRE(!lines.empty());
        // Of 8, the root of 64 pixels in a strip: digital lines that are made by halving depart from rounded ones.
        CHECK(lines.front().score > 0.7 * 8.0);
        Streak const line{x0, y0, x1, y1};
        CHECK(distanceTo(lines.front().x0, lines.front().y0, line) < 1.5);
        CHECK(distanceTo(lines.front().x1, lines.front().y1, line) < 1.5);
        CHECK(
            std::is_sorted(lines.begin(), lines.end(), [](auto const& a, auto const& b) { return a.score > b.score; }));
    }
}

TEST_CASE("sums along digital lines are complete: rows and columns against loops") {
    OwnedImage<float> const pulls = noise(32, 32, 5);
    auto const best = detail::findLines(pulls, -100.0, {});
    // A sum over three columns is one of the sums; none is better than the best line says.
    for (Index x = 0; x + 2 < 32; ++x) {
        double const sum = static_cast<double>(pulls.middleCols(x, 3).sum());
        CHECK(sum / std::sqrt(96.0) <= 1.6 * static_cast<double>(best.front().score));
    }
    OwnedImage<float> column = OwnedImage<float>::Zero(32, 32);
    column.col(9).setOnes();
    auto const found = detail::findLines(column, 1.0, {}).front();
    CHECK(found.x0 == 9.0);
    CHECK(found.x1 == 9.0);
    CHECK(found.width == 1);
    CHECK(found.score == doctest::Approx(std::sqrt(32.0)));
}

TEST_CASE("a streak of either image is found, and its place, ends and width") {
    Streak const line{40.0, 60.0, 230.0, 200.0};
    Pair pair;
    addLine(pair.image, line, 20.0, 1.6);
    StreakPair const found = pair.find();
    REQUIRE(found.image.size() == 1);
    CHECK(found.other.empty());
    checkIs(found.image[0], line, 1.5, 20.0);
    CHECK(found.image[0].fwhm == doctest::Approx(1.6 * 2.3548).epsilon(0.25));
    CHECK(found.image[0].peak == doctest::Approx(20.0).epsilon(0.25));
    // 20 exp(-u^2 / 2 s^2) = 0.2 * 10 at 3.4 px; and one more.
    CHECK(found.image[0].halfWidth > 3.4);
    CHECK(found.image[0].halfWidth < 8.0);

    Pair turned;
    addLine(turned.other, line, 10.0, 1.6);
    StreakPair const second = turned.find(1, 1.7);
    CHECK(second.image.empty());
    REQUIRE(second.other.size() == 1);
    checkIs(second.other[0], line, 1.5, 20.0);
}

TEST_CASE("a dashed one, a broad one, one from edge to edge, and two") {
    Pair pair;
    for (int dash = 0; dash < 5; ++dash) {
        double const x = 10.0 + 50.0 * dash;
        addLine(pair.image, {x, 30.0 + 0.2 * x, x + 25.0, 30.0 + 0.2 * (x + 25.0)}, 25.0, 1.7);
    }
    Streak const broad{-5.0, 250.0, 285.0, 130.0};
    addLine(pair.image, broad, 15.0, 4.5);
    auto const found = pair.find().image;
    REQUIRE(found.size() == 2);
    checkIs(found[0], broad, 2.0, 25.0);
    CHECK(found[0].fwhm == doctest::Approx(10.6).epsilon(0.2));
    checkIs(found[1], {10.0, 32.0, 235.0, 77.0}, 1.5, 30.0);
}

TEST_CASE("what both images show is no streak, nor is noise, a column, a short line or a spike") {
    Streak const line{40.0, 60.0, 230.0, 200.0};
    Pair both;
    addLine(both.image, line, 40.0, 1.6);
    addLine(both.other, line, 40.0, 1.3);
    Pair column;
    column.image.col(120) += 60.0F;
    column.image.middleCols(200, 3) += 30.0F;
    column.other.row(77) += 60.0F;
    Pair brief;
    addLine(brief.image, {100.0, 100.0, 125.0, 112.0}, 60.0, 1.6);
    Pair spike;
    for (Index y = 0; y < 260; ++y) {
        for (Index x = 0; x < 280; ++x) {
            double const along = std::abs(static_cast<double>(x + y) - 270.0) / std::sqrt(2.0);
            double const across = static_cast<double>(x - y) / std::sqrt(2.0);
            spike.image(y, x) +=
                static_cast<float>(3e4 / (1.0 + along * along) * std::exp(-0.5 * across * across / 2.0));
        }
    }
    for (Pair const& pair : {Pair(), both, column, brief, spike}) {
        StreakPair const found = pair.find();
        CHECK(found.image.empty());
        CHECK(found.other.empty());
    }
}

TEST_CASE("masked and missing pixels, threads, sizes and errors") {
    Streak const line{40.0, 60.0, 230.0, 200.0};
    Pair pair;
    addLine(pair.image, line, 20.0, 1.6);
    auto const alone = pair.find().image;
    for (int const nThreads : {2, 7}) {
        auto const found = pair.find(nThreads).image;
        REQUIRE(found.size() == 1);
        CHECK(found[0].x0 == alone[0].x0);
        CHECK(found[0].significance == alone[0].significance);
    }
    pair.image.block(100, 100, 20, 30).setConstant(std::numeric_limits<float>::quiet_NaN());
    pair.other.block(150, 10, 20, 30).setConstant(std::numeric_limits<float>::infinity());
    CHECK(pair.find().image.size() == 1);
    Pair masked = pair;
    masked.mask.setConstant(1);
    CHECK(masked.find().image.empty());
    Pair unknown = pair;
    unknown.other.setConstant(std::numeric_limits<float>::quiet_NaN());
    CHECK(unknown.find().image.empty());
    Pair constant = pair;
    constant.image.setZero();
    constant.other.setZero();
    CHECK(constant.find().image.empty());
    CHECK(Pair(1, 1).find().image.empty());
    CHECK(Pair(63, 300).find().image.empty());
    CHECK_THROWS_WITH_AS((void)pair.find(1, 0.0), doctest::Contains("fluxRatio"), std::invalid_argument);
    pair.otherMask = OwnedImage<MaskPixel>::Zero(5, 5);
    CHECK_THROWS_WITH_AS((void)pair.find(), doctest::Contains("one shape"), std::invalid_argument);
}

TEST_CASE("pixels within the half width of a line, against loops") {
    for (Streak const& line : {Streak{10.0, 5.0, 40.5, 33.0, 3.3}, Streak{-8.0, 20.0, 70.0, 20.0, 2.0},
                               Streak{30.0, 60.0, 30.0, -9.0, 1.5}, Streak{50.0, 10.0, 20.0, 45.0, 0.4}}) {
        OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Constant(48, 60, 1);
        Index const count = flagStreaks({line}, 4, {mask.data(), 48, 60, Eigen::OuterStride<>(60)});
        double const length = std::hypot(line.x1 - line.x0, line.y1 - line.y0);
        Index expected = 0;
        for (Index y = 0; y < 48; ++y) {
            for (Index x = 0; x < 60; ++x) {
                auto const column = static_cast<double>(x);
                auto const row = static_cast<double>(y);
                double const along = shareAlong(column, row, line) * length;
                bool const isOn =
                    distanceTo(column, row, line) <= line.halfWidth && along >= -0.5 && along <= length + 0.5;
                expected += isOn ? 1 : 0;
                CHECK(mask(y, x) == (isOn ? 5 : 1));
            }
        }
        CHECK(count == expected);
        CHECK(flagStreaks({line}, 4, {mask.data(), 48, 60, Eigen::OuterStride<>(60)}) == 0);
    }
}

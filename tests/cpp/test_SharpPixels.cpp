#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/sources/SharpPixels.h"
#include "simd/pixelFunctions.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

struct Field {
    OwnedImage<float> image;
    OwnedImage<float> variance;
    OwnedImage<MaskPixel> mask;

    [[nodiscard]] SharpPixels find(int nThreads = 1) const {
        SharpPixelsControl control;
        control.badBits = 1;
        return sharpPixels({viewOf(image), viewOf(variance), viewOf(mask)}, control, {nThreads});
    }
};

double ofPixel(double distance, double sigma) {
    double const scale = 1.0 / (sigma * std::sqrt(2.0));
    return 0.5 * (std::erf((distance + 0.5) * scale) - std::erf((distance - 0.5) * scale));
}

// Stars, Gaussians over pixels with peaks of up to 2e4 counts, on a sky of 200, with the noise of electrons.
Field field(double fwhm, int nStars = 60, Index size = 256, bool isNoisy = true) {
    std::mt19937 generator(11);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> place(8.0, static_cast<double>(size) - 9.0);
    double const sigma = fwhm / 2.3548;
    OwnedImage<double> scene = OwnedImage<double>::Constant(size, size, 200.0);
    for (int star = 0; star < nStars; ++star) {
        double const x0 = place(generator);
        double const y0 = place(generator);
        double const flux = 2e4 * std::pow(0.93, star) * std::max(1.0, 6.28 * sigma * sigma);
        auto const reach = static_cast<Index>(std::ceil(6.0 * sigma) + 1.0);
        for (Index y = std::max<Index>(0, static_cast<Index>(y0) - reach);
             y < std::min(size, static_cast<Index>(y0) + reach); ++y) {
            for (Index x = std::max<Index>(0, static_cast<Index>(x0) - reach);
                 x < std::min(size, static_cast<Index>(x0) + reach); ++x) {
                scene(y, x) +=
                    flux * ofPixel(static_cast<double>(x) - x0, sigma) * ofPixel(static_cast<double>(y) - y0, sigma);
            }
        }
    }
    Field result;
    result.variance = scene.cast<float>();
    result.mask = OwnedImage<MaskPixel>::Zero(size, size);
    result.image = OwnedImage<float>(size, size);
    for (Index i = 0; i < scene.size(); ++i) {
        double const value = scene.data()[i] + (isNoisy ? normal(generator) * std::sqrt(scene.data()[i]) : 0.0);
        result.image.data()[i] = static_cast<float>(value);
    }
    return result;
}

std::map<Index, SharpKind> kindsOf(SharpPixels const& found) {
    std::map<Index, SharpKind> kinds;
    for (std::size_t i = 0; i < found.places.size(); ++i) {
        kinds[found.places[i]] = found.kinds[i];
    }
    return kinds;
}

}  // namespace

TEST_CASE("stars of any width and transients lose no pixel") {
    for (double const fwhm : {1.0, 1.2, 1.5, 2.0, 2.5, 3.5, 6.0, 12.0}) {
        CAPTURE(fwhm);
        SharpPixels const found = field(fwhm).find();
        CHECK(found.places.empty());
        CHECK(found.nStars >= 3);
        // Pixel over neighbour of a centred star.
        double const sharpest = ofPixel(0.0, fwhm / 2.3548) / ofPixel(1.0, fwhm / 2.3548);
        CHECK(found.contrast > sharpest);
    }
    CHECK(field(3.0, 1).find().places.empty());
    CHECK(field(1.2, 1).find().places.empty());
    CHECK(field(3.0, 0).find().places.empty());
}

TEST_CASE("the contrast is 1.4 times that of the stars") {
    SharpPixels const found = field(1.8, 200, 512).find();
    // Nine in ten stars are within 0.45 px of a pixel's centre in one axis at the least: little below a centred one's.
    double const sharpest = ofPixel(0.0, 1.8 / 2.3548) / ofPixel(1.0, 1.8 / 2.3548);
    CHECK(found.contrast < 1.4 * 1.1 * sharpest);
    CHECK(found.contrast > 1.4 * 0.85 * sharpest);
}

TEST_CASE("hot and dead pixels are found, and nothing beside them") {
    Field const clean = field(3.0);
    Field spoiled = clean;
    std::mt19937 generator(2);
    std::uniform_int_distribution<Index> place(0, clean.image.size() - 1);
    std::map<Index, SharpKind> expected;
    for (int i = 0; i < 650; ++i) {
        Index const one = place(generator);
        bool const isHot = i % 2 == 0;
        spoiled.image.data()[one] = isHot ? 3e4F : 0.0F;
        expected[one] = isHot ? SharpKind::bright : SharpKind::dark;
    }
    SharpPixels const found = spoiled.find();
    std::map<Index, SharpKind> const kinds = kindsOf(found);
    std::size_t nFound = 0;
    for (auto const& [one, kind] : expected) {
        auto const it = kinds.find(one);
        nFound += it != kinds.end() ? 1 : 0;
        // Those that touch are trails.
        CHECK((it == kinds.end() || it->second == kind || it->second == SharpKind::trail));
    }
    // Three in a hundred pixels lie in the cores of stars that are nearly as bright as the hot ones.
    CHECK(static_cast<double>(nFound) > 0.98 * static_cast<double>(expected.size()));
    // One good pixel in ten thousand.
    CHECK(kinds.size() <= nFound + 6);
    CHECK(std::is_sorted(found.places.begin(), found.places.end()));
    for (int const nThreads : {2, 7}) {
        SharpPixels const again = spoiled.find(nThreads);
        CHECK(again.places == found.places);
        CHECK(again.kinds == found.kinds);
    }
}

TEST_CASE("a hole in the light of a star") {
    Field spoiled = field(4.0, 1);
    Index row = 0;
    Index column = 0;
    spoiled.image.maxCoeff(&row, &column);
    // Of the sky's counts: a dead pixel where the sky has been taken off.
    spoiled.image(row, column + 1) = 200.0F;
    std::map<Index, SharpKind> const kinds = kindsOf(spoiled.find());
    REQUIRE(kinds.size() == 1);
    CHECK(kinds.begin()->first == row * 256 + column + 1);
    CHECK(kinds.begin()->second == SharpKind::dark);
}

TEST_CASE("tracks of cosmic rays, thin, thick, and beside a masked pixel") {
    Field spoiled = field(3.0);
    std::vector<Index> track;
    for (Index i = 0; i < 9; ++i) {
        track.push_back((100 + i) * 256 + 40 + i);  // diagonal
        track.push_back(200 * 256 + 30 + i);        // along a row, two wide
        track.push_back(201 * 256 + 30 + i);
    }
    for (Index const one : track) {
        spoiled.image.data()[one] += 2000.0F;
    }
    spoiled.mask(99, 39) = 1;
    spoiled.image(99, 39) = 6e4F;
    std::map<Index, SharpKind> const kinds = kindsOf(spoiled.find());
    for (Index const one : track) {
        auto const it = kinds.find(one);
        REQUIRE(it != kinds.end());
        CHECK(it->second == SharpKind::trail);
    }
    CHECK(kinds.count(99 * 256 + 39) == 0);
}

TEST_CASE("columns and rows: bright, dead, two wide, fainter than the noise") {
    Field spoiled = field(3.0, 40);
    spoiled.image.block(20, 50, 150, 1) += 500.0F;
    spoiled.image.block(60, 120, 150, 2).setConstant(0.0F);
    spoiled.image.block(230, 10, 1, 120).setConstant(0.0F);
    // A noise of 14: no pixel of it stands out.
    spoiled.image.block(0, 200, 256, 1) += 40.0F;
    std::map<Index, SharpKind> const kinds = kindsOf(spoiled.find());
    auto const share = [&](Index y, Index x, Index height, Index width) {
        Index count = 0;
        for (Index j = y; j < y + height; ++j) {
            for (Index i = x; i < x + width; ++i) {
                auto const it = kinds.find(j * 256 + i);
                count += it != kinds.end() && it->second == SharpKind::line ? 1 : 0;
            }
        }
        return static_cast<double>(count) / static_cast<double>(height * width);
    };
    CHECK(share(20, 50, 150, 1) > 0.95);
    // A noise of 14 hides pairs of a depth of 200, but not columns of them; their ends are known to eight pixels.
    CHECK(share(60, 120, 150, 2) > 0.92);
    CHECK(share(230, 10, 1, 120) > 0.95);
    CHECK(share(0, 200, 256, 1) > 0.7);
    // Little beyond the ends of lines.
    CHECK(kinds.size() < 150 + 300 + 120 + 256 + 64);
}

TEST_CASE("images that tell nothing") {
    for (Index const size : {1, 2, 5, 40}) {
        Field small = field(3.0, 0, size);
        CHECK(small.find().places.empty());
        small.image.setConstant(std::numeric_limits<float>::quiet_NaN());
        CHECK(small.find().places.empty());
        small.image.setConstant(3.0F);
        CHECK(small.find().places.empty());
    }
    Field masked = field(3.0);
    masked.image(100, 100) = 3e4F;
    masked.mask.setConstant(1);
    CHECK(masked.find().places.empty());
    CHECK(field(3.0, 60, 256, false).find().places.empty());
    Field withoutVariance = field(3.0);
    withoutVariance.variance.setConstant(std::numeric_limits<float>::quiet_NaN());
    withoutVariance.image(100, 100) = 3e4F;
    CHECK(withoutVariance.find().places.empty());
    // A variance of nothing is none that tells: the scatter of the pixels does.
    withoutVariance.variance.setConstant(0.0F);
    CHECK(withoutVariance.find().places == std::vector<Index>{100 * 256 + 100});
    Field wrong = field(3.0);
    wrong.mask = OwnedImage<MaskPixel>::Zero(3, 3);
    CHECK_THROWS_WITH_AS(static_cast<void>(wrong.find()), "image, variance and mask must have one shape",
                         std::invalid_argument);
}

TEST_CASE("passes over pixels agree with plain comparisons, bit for bit on every instruction set") {
    constexpr Index width = detail::stepBlock + 4;
    std::mt19937 generator(5);
    std::normal_distribution<float> noise(100.0F, 8.0F);
    std::uniform_int_distribution<int> chance(0, 11);
    OwnedImage<float> image(5, width);
    OwnedImage<float> variance(5, width);
    OwnedImage<MaskPixel> mask(5, width);
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    constexpr float infinite = std::numeric_limits<float>::infinity();
    detail::StepLimits const limits{100.0F, 6.0F, 4.0F, 5.0F};
    int nSteps = 0;
    int nHoles = 0;
    for (int trial = 0; trial < 200; ++trial) {
        for (Index i = 0; i < image.size(); ++i) {
            int const kind = chance(generator);
            image(i) = kind == 0 && trial % 4 == 0 ? (i % 2 == 0 ? nan : infinite) : noise(generator);
            variance(i) = kind == 1 ? -1.0F : kind == 2 ? nan : 9.0F;
            mask(i) = kind == 3 ? 2 : kind == 4 ? 4 : 0;
        }
        for (InstructionSet const set : {InstructionSet::baseline, InstructionSet::automatic}) {
            detail::PixelFunctions const functions = detail::choosePixelFunctions(set);
            std::array<unsigned char, detail::stepBlock> flags{};
            functions.flagSteps(&image(2, 2), static_cast<int>(width), limits, flags.data());
            for (Index i = 0; i < detail::stepBlock; ++i) {
                Index const x = i + 2;
                float const own = image(2, x);
                float const sign = own > limits.level ? 1.0F : -1.0F;
                auto const isStep = [&](Index dy, Index dx) {
                    auto const at = [&](Index k) { return sign * image(2 + k * dy, x + k * dx); };
                    return at(0) - std::max(at(-1), at(1)) > limits.step ||
                           std::min(at(0), at(1)) - std::max(at(-1), at(2)) > limits.step ||
                           std::min(at(0), at(-1)) - std::max(at(1), at(-2)) > limits.step;
                };
                bool const isLit = std::abs(own - limits.level) > limits.brightness && std::isfinite(own);
                float const around =
                    std::min(std::min(image(2, x - 1), image(2, x + 1)), std::min(image(1, x), image(3, x)));
                int const expected = (isLit && (isStep(0, 1) || isStep(1, 0)) ? detail::stepFlag : 0) |
                                     (around > own + limits.depth ? detail::holeFlag : 0);
                REQUIRE(static_cast<int>(flags[static_cast<std::size_t>(i)]) == expected);
                nSteps += expected & detail::stepFlag;
                nHoles += (expected & detail::holeFlag) / detail::holeFlag;
            }
            for (int const size : {static_cast<int>(width), 7}) {
                std::vector<float> sums(static_cast<std::size_t>(width), 1.5F);
                std::vector<float> counts(sums.size(), 2.0F);
                auto const all = functions.addClipped({&image(0, 0), &variance(0, 0), &mask(0, 0)}, 2, 100.0F, 0.125F,
                                                      1.5F, size, sums.data(), counts.data());
                std::array<float, 8> totals{};
                float count = 0.0F;
                for (Index x = 0; x < width; ++x) {
                    bool const isGood =
                        x < size && std::isfinite(image(0, x)) && variance(0, x) >= 0.0F && (mask(0, x) & 2) == 0;
                    float const value = isGood ? std::clamp((image(0, x) - 100.0F) * 0.125F, -1.5F, 1.5F) : 0.0F;
                    REQUIRE(sums[static_cast<std::size_t>(x)] == 1.5F + value);
                    REQUIRE(counts[static_cast<std::size_t>(x)] == (isGood ? 3.0F : 2.0F));
                    totals[static_cast<std::size_t>(x % 8)] += value;
                    count += isGood ? 1.0F : 0.0F;
                }
                CHECK(all.sum == std::accumulate(totals.begin(), totals.end(), 0.0F));
                CHECK(all.count == count);
            }
        }
    }
    CHECK(nSteps > 500);
    CHECK(nHoles > 100);
}

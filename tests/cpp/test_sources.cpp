// Sources: Gaussian stars in closed form, brute force for smoothing and labelling, blends, threads, bad pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/sources/sources.h"

using convolveReference::Image;
using convolveReference::makeField;
using convolveReference::MaskedImage;
using convolveReference::view;
using psfmatch::fillBadPixels;
using psfmatch::FilledPixels;
using psfmatch::findSources;
using psfmatch::FoundSources;
using psfmatch::FoundSourcesOfBothSigns;
using psfmatch::Index;
using psfmatch::PixelRun;
using psfmatch::smoothedSamples;
using psfmatch::Source;
using psfmatch::SourceControl;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();

std::vector<double> gaussian(Index radius, double sigma) {
    std::vector<double> profile;
    double sum = 0.0;
    for (Index i = -radius; i <= radius; ++i) {
        profile.push_back(std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)));
        sum += profile.back();
    }
    for (double& value : profile) {
        value /= sum;
    }
    return profile;
}

FoundSourcesOfBothSigns find(MaskedImage const& input, SourceControl const& control, int nThreads = 1,
                             psfmatch::MaskPixel badBits = 1) {
    FilledPixels const filled = fillBadPixels(input.views(), badBits);
    return findSources(view(input.image), view(input.variance), filled, control, {nThreads, {}});
}

void addStar(Image<float>& image, double x, double y, double peak, double sigmaX, double sigmaY) {
    for (Index row = 0; row < image.rows(); ++row) {
        for (Index column = 0; column < image.cols(); ++column) {
            double const dx = (static_cast<double>(column) - x) / sigmaX;
            double const dy = (static_cast<double>(row) - y) / sigmaY;
            image(row, column) += static_cast<float>(peak * std::exp(-0.5 * (dx * dx + dy * dy)));
        }
    }
}

// Footprint of each pixel, -1 outside all.
Image<int> mapOf(FoundSources const& found, Index height, Index width) {
    Image<int> map = Image<int>::Constant(height, width, -1);
    for (PixelRun const& run : found.runs) {
        for (auto x = run.x0; x < run.x1; ++x) {
            CHECK(map(run.y, x) == -1);
            map(run.y, x) = run.footprint;
        }
    }
    return map;
}

bool sameBytes(FoundSources const& one, FoundSources const& other) {
    // Field by field: padding holds anything.
    auto const same = [](Source const& a, Source const& b) {
        return a.x == b.x && a.y == b.y && a.flux == b.flux && a.peak == b.peak && a.threshold == b.threshold &&
               a.a == b.a && a.b == b.b && a.xPeak == b.xPeak && a.yPeak == b.yPeak && a.nPixels == b.nPixels &&
               a.footprint == b.footprint && a.flags == b.flags;
    };
    return one.footprintCount == other.footprintCount && one.runs.size() == other.runs.size() &&
           std::memcmp(one.runs.data(), other.runs.data(), one.runs.size() * sizeof(PixelRun)) == 0 &&
           std::equal(one.sources.begin(), one.sources.end(), other.sources.begin(), other.sources.end(), same);
}

}  // namespace

TEST_CASE("a Gaussian star that is smoothed by a Gaussian") {
    MaskedImage input(61, 71);
    addStar(input.image, 30.25, 27.5, 1000.0, 2.0, 1.5);
    SourceControl control;
    control.profile = gaussian(6, 1.2);
    control.threshold = 1e-3;
    FoundSources const found = find(input, control).positive;
    REQUIRE(found.sources.size() == 1);
    Source const& star = found.sources.front();
    // Variances add. Above 1e-6 of the peak nothing is missing: 14 e-folds, 1e-6 of the flux and 3e-5 of the moments;
    // the profile, cut at 5 sigma, and the sums over pixels err by less.
    CHECK(star.x == doctest::Approx(30.25).epsilon(1e-5));
    CHECK(star.y == doctest::Approx(27.5).epsilon(1e-5));
    CHECK(star.flux == doctest::Approx(1000.0 * 2.0 * std::numbers::pi * 3.0).epsilon(1e-5));
    CHECK(star.a == doctest::Approx(std::hypot(2.0, 1.2)).epsilon(1e-4));
    CHECK(star.b == doctest::Approx(std::hypot(1.5, 1.2)).epsilon(1e-4));
    CHECK(star.xPeak == 30);
    CHECK((star.yPeak == 27 || star.yPeak == 28));
    CHECK(star.flags == 0);
    // n pixels above t of a Gaussian of peak P: 2 pi a b ln(P / t), P = flux / (2 pi a b).
    double const area = 2.0 * std::numbers::pi * star.a * star.b;
    double const expected = area * std::log(star.flux / area / 1e-3);
    CHECK(std::abs(star.nPixels - expected) < 4.0 * std::sqrt(expected));
}

TEST_CASE("connected pixels against flood filling") {
    std::mt19937 random(1);
    // More than one tile along both axes.
    for (auto const& [height, width, share] :
         {std::tuple<Index, Index, double>{40, 50, 0.3}, {300, 40, 0.2}, {30, 2300, 0.35}}) {
        MaskedImage input(height, width);
        std::bernoulli_distribution isSource(share);
        for (Index i = 0; i < input.image.size(); ++i) {
            input.image(i) = isSource(random) ? 10.0F : 0.0F;
        }
        SourceControl control;
        control.threshold = 5.0;
        control.minPixels = 3;
        FoundSources const found = find(input, control).positive;
        Image<int> const map = mapOf(found, height, width);
        Image<int> expected = Image<int>::Constant(height, width, -1);
        Image<int> seen = Image<int>::Zero(height, width);
        int count = 0;
        for (Index i = 0; i < input.image.size(); ++i) {
            if (input.image(i) < 5.0F || seen(i) != 0) {
                continue;
            }
            std::vector<Index> group = {i};
            seen(i) = 1;
            for (std::size_t k = 0; k < group.size(); ++k) {
                Index const y = group[k] / width;
                Index const x = group[k] % width;
                for (Index v = std::max<Index>(0, y - 1); v < std::min(height, y + 2); ++v) {
                    for (Index u = std::max<Index>(0, x - 1); u < std::min(width, x + 2); ++u) {
                        if (input.image(v, u) > 5.0F && seen(v, u) == 0) {
                            seen(v, u) = 1;
                            group.push_back(v * width + u);
                        }
                    }
                }
            }
            if (group.size() >= 3) {
                for (Index const pixel : group) {
                    expected(pixel) = count;
                }
                ++count;
            }
        }
        CHECK((map == expected).all());
        CHECK(found.footprintCount == count);
        // Flat pixels are one source each.
        CHECK(static_cast<int>(found.sources.size()) == count);
        double pixels = 0.0;
        for (Source const& source : found.sources) {
            pixels += source.nPixels;
            CHECK(source.flux == doctest::Approx(10.0 * source.nPixels));
        }
        CHECK(pixels == static_cast<double>((expected >= 0).count()));
    }
}

TEST_CASE("smoothed pixels by definition, bad ones filled") {
    MaskedImage input = makeField(60, 70, 100.0F, 2);
    std::mt19937 random(3);
    std::bernoulli_distribution isBadPixel(0.05);
    for (Index i = 0; i < input.image.size(); ++i) {
        if (isBadPixel(random)) {
            input.image(i) = notANumber;
        }
    }
    input.mask(30, 40) = 1;
    FilledPixels const filled = fillBadPixels(input.views(), 1);
    MaskedImage whole = input;
    writeFill(filled, view(whole.image), view(whole.variance));
    std::vector<double> const profile = gaussian(4, 1.3);
    Image<float> const samples = smoothedSamples(input.views().image, filled, profile, 1, 1);
    for (Index y = 0; y < 60; ++y) {
        for (Index x = 0; x < 70; ++x) {
            bool const isBorder = y < 4 || x < 4 || y >= 56 || x >= 66;
            if (isBorder || std::isnan(input.image(y, x)) || input.mask(y, x) != 0) {
                CHECK(std::isnan(samples(y, x)));
                continue;
            }
            double sum = 0.0;
            double sizes = 0.0;
            for (Index v = -4; v <= 4; ++v) {
                for (Index u = -4; u <= 4; ++u) {
                    double const term = profile[static_cast<std::size_t>(v + 4)] *
                                        profile[static_cast<std::size_t>(u + 4)] * whole.image(y + v, x + u);
                    sum += term;
                    sizes += std::abs(term);
                }
            }
            // 18 roundings to float32 of sums of this size.
            CHECK(std::abs(samples(y, x) - sum) < 18.0 * 6e-8 * sizes);
        }
    }
    // Every third row and every fifth column, from half a step on.
    Image<float> const few = smoothedSamples(input.views().image, filled, profile, 3, 5);
    REQUIRE(few.rows() == 20);
    REQUIRE(few.cols() == 14);
    for (Index j = 0; j < few.rows(); ++j) {
        for (Index i = 0; i < few.cols(); ++i) {
            float const expected = samples(1 + 3 * j, 2 + 5 * i);
            CHECK((few(j, i) == expected || (std::isnan(few(j, i)) && std::isnan(expected))));
        }
    }
}

TEST_CASE("thresholds pixel by pixel follow the smoothed variance") {
    MaskedImage input(50, 60);
    input.variance.rightCols(30).setConstant(400.0F);
    for (Index const x : {10, 50}) {
        addStar(input.image, static_cast<double>(x), 25.0, 30.0, 1.5, 1.5);
    }
    SourceControl control;
    control.profile = gaussian(4, 1.5);
    control.perPixel = true;
    control.threshold = 10.0;
    FoundSources const found = find(input, control).positive;
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0].xPeak == 10);
    // The sum of the squared profile of sum 1, 1 / (2 sqrt(pi) sigma) along each axis: the root of its square.
    CHECK(found.sources[0].threshold ==
          doctest::Approx(10.0 / (2.0 * std::sqrt(std::numbers::pi) * 1.5)).epsilon(0.01));
    control.minStdev = 100.0;
    CHECK(find(input, control).positive.sources.empty());
}

TEST_CASE("what lies below the sky is the same with the sign turned") {
    MaskedImage const input = makeField(200, 1200, 0.0F, 4);
    MaskedImage negative = input;
    negative.image = -negative.image;
    SourceControl control;
    control.profile = gaussian(3, 1.0);
    control.threshold = 20.0;
    control.findNegative = true;
    FoundSourcesOfBothSigns const one = find(input, control);
    FoundSourcesOfBothSigns const other = find(negative, control);
    CHECK(one.positive.sources.size() > 100);
    CHECK(sameBytes(one.positive, other.negative));
    CHECK(sameBytes(one.negative, other.positive));
    control.findPositive = false;
    FoundSourcesOfBothSigns const half = find(input, control);
    CHECK(half.positive.sources.empty());
    CHECK(sameBytes(half.negative, one.negative));
}

TEST_CASE("threads, strides and repetition do not change a bit") {
    MaskedImage input = makeField(400, 1500, 0.0F, 5);
    std::mt19937 random(6);
    std::bernoulli_distribution isBadPixel(0.01);
    for (Index i = 0; i < input.image.size(); ++i) {
        input.mask(i) = isBadPixel(random) ? 1 : 0;
    }
    for (bool const perPixel : {false, true}) {
        SourceControl control;
        control.profile = gaussian(4, 1.3);
        control.threshold = perPixel ? 4.0 : 15.0;
        control.perPixel = perPixel;
        FoundSources const expected = find(input, control).positive;
        CHECK(expected.sources.size() > 300);
        for (int const nThreads : {2, 3, 8}) {
            CHECK(sameBytes(find(input, control, nThreads).positive, expected));
        }
    }
    FilledPixels const filled = fillBadPixels(input.views(), 1);
    Image<float> const one = smoothedSamples(input.views().image, filled, gaussian(4, 1.3), 7, 2);
    Image<float> const many = smoothedSamples(input.views().image, filled, gaussian(4, 1.3), 7, 2, {4, {}});
    CHECK(std::memcmp(one.data(), many.data(), static_cast<std::size_t>(one.size()) * sizeof(float)) == 0);
}

TEST_CASE("bad pixels are never detected") {
    MaskedImage input(40, 40);
    input.image(20, 20) = 1e6F;
    input.mask(20, 20) = 3;
    input.image(10, 10) = notANumber;
    input.image(30, 30) = 50.0F;
    input.variance(30, 30) = -1.0F;
    input.image(30, 10) = 50.0F;
    SourceControl control;
    control.threshold = 5.0;
    FoundSources const found = find(input, control).positive;
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0].xPeak == 10);
    CHECK(find(input, control, 1, 4).positive.sources.size() == 2);
}

TEST_CASE("two stars are taken apart, a star with a faint lump is not") {
    for (double const secondPeak : {1000.0, 300.0, 4.0}) {
        MaskedImage input(60, 60);
        addStar(input.image, 25.0, 30.0, 1000.0, 2.0, 2.0);
        addStar(input.image, 34.0, 30.0, secondPeak, 2.0, 2.0);
        SourceControl control;
        control.threshold = 1.0;
        FoundSources const found = find(input, control).positive;
        CHECK(found.footprintCount == 1);
        if (secondPeak < 5.0) {
            // 0.4 % of the whole, below the contrast.
            REQUIRE(found.sources.size() == 1);
            CHECK(found.sources[0].flags == 0);
            continue;
        }
        REQUIRE(found.sources.size() == 2);
        for (Source const& source : found.sources) {
            bool const isFirst = source.x < 30.0;
            CHECK(source.flags == psfmatch::sourceDeblended);
            // The tail of the other star beyond the border between them, 4.5 px = 2.25 sigma away, is 1.2 % of its
            // flux; at the fainter one that is up to 4 %.
            double const flux = (isFirst ? 1000.0 : secondPeak) * 2.0 * std::numbers::pi * 4.0;
            CHECK(source.flux == doctest::Approx(flux).epsilon(0.05));
            CHECK(std::abs(source.x - (isFirst ? 25.0 : 34.0)) < 0.3);
            CHECK(std::abs(source.y - 30.0) < 1e-6);
        }
        double total = 0.0;
        Index nPixels = 0;
        for (Index i = 0; i < input.image.size(); ++i) {
            total += input.image(i) > 1.0F ? input.image(i) : 0.0;
            nPixels += input.image(i) > 1.0F ? 1 : 0;
        }
        CHECK(found.sources[0].flux + found.sources[1].flux == doctest::Approx(total).epsilon(1e-9));
        CHECK(found.sources[0].nPixels + found.sources[1].nPixels == nPixels);
        control.minContrast = 0.6;
        CHECK(find(input, control).positive.sources.size() == 1);
        control.minContrast = 0.005;
        control.minPixels = nPixels;
        CHECK(find(input, control).positive.sources.size() == 1);
    }
}

TEST_CASE("flags of lines and of sources at the border") {
    MaskedImage input(30, 30);
    input.image.block(10, 5, 1, 6).setConstant(9.0F);
    input.image.block(0, 20, 4, 4).setConstant(9.0F);
    SourceControl control;
    control.threshold = 5.0;
    FoundSources const found = find(input, control).positive;
    REQUIRE(found.sources.size() == 2);
    CHECK(found.sources[0].flags == psfmatch::sourceTruncated);
    CHECK(found.sources[1].flags == psfmatch::sourceSingular);
    // Six pixels in a row: (6^2 - 1) / 12, and the pixels' own width.
    CHECK(found.sources[1].a == doctest::Approx(std::sqrt(36.0 / 12.0)));
    CHECK(found.sources[1].b == doctest::Approx(std::sqrt(1.0 / 12.0)));
}

TEST_CASE("images of one pixel, without a good pixel, or all above the threshold") {
    SourceControl control;
    control.threshold = 5.0;
    MaskedImage one(1, 1);
    CHECK(find(one, control).positive.sources.empty());
    one.image(0, 0) = 7.0F;
    FoundSources const found = find(one, control).positive;
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0].flux == 7.0);
    CHECK(found.sources[0].nPixels == 1);
    MaskedImage bad(20, 30);
    bad.image.setConstant(notANumber);
    CHECK(find(bad, control).positive.sources.empty());
    CHECK(std::isnan(smoothedSamples(bad.views().image, fillBadPixels(bad.views(), 0), {1.0}, 4, 4)(2, 3)));
    // The profile reaches all borders: nothing is smoothed.
    MaskedImage tiny(3, 3);
    tiny.image.setConstant(9.0F);
    control.profile = gaussian(1, 1.0);
    CHECK(find(tiny, control).positive.runs.size() == 1);
    MaskedImage full(150, 1100);
    full.image.setConstant(9.0F);
    control.profile = {1.0};
    FoundSources const all = find(full, control, 2).positive;
    REQUIRE(all.sources.size() == 1);
    CHECK(all.sources[0].nPixels == full.image.size());
    CHECK(all.runs.size() == 150);
}

TEST_CASE("what sources cannot be found with is refused") {
    MaskedImage const input(20, 30);
    SourceControl control;
    for (std::vector<double> const& profile : {std::vector<double>{}, {0.5, 0.5}, std::vector<double>(21, 0.05)}) {
        control.profile = profile;
        CHECK_THROWS_AS((void)find(input, control), std::invalid_argument);
    }
    control.profile = {0.2, 0.5, 0.3};
    CHECK_THROWS_WITH_AS((void)find(input, control), "the profile is not symmetric", std::invalid_argument);
    control.profile = {1.0};
    control.threshold = -1.0;
    CHECK_THROWS_AS((void)find(input, control), std::invalid_argument);
    control.threshold = 1.0;
    control.perPixel = true;
    Image<float> const small = Image<float>::Ones(20, 29);
    FilledPixels const filled = fillBadPixels(input.views(), 1);
    CHECK_THROWS_WITH_AS((void)findSources(view(input.image), view(small), filled, control),
                         "image and variance differ in shape", std::invalid_argument);
    Image<float> const higher = Image<float>::Ones(21, 30);
    control.perPixel = false;
    CHECK_THROWS_AS((void)findSources(view(higher), view(higher), filled, control), std::invalid_argument);
    CHECK_THROWS_AS((void)smoothedSamples(input.views().image, filled, {1.0}, 0, 1), std::invalid_argument);
}

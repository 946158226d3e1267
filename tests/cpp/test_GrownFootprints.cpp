// Footprints that grow, and pixels good in two images, against maps of pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>

#include "convolveReference.h"
#include "psfmatch/image/Coverage.h"
#include "psfmatch/image/background.h"
#include "psfmatch/sources/GrownFootprints.h"

using namespace psfmatch;
using convolveReference::MaskedImage;

namespace {

using Pixels = std::set<std::pair<Index, Index>>;

std::vector<Pixels> pixelsOf(FootprintRuns const& footprints) {
    std::vector<Pixels> pixels(static_cast<std::size_t>(footprints.count));
    for (PixelRun const& run : footprints.runs) {
        for (Index x = run.x0; x < run.x1; ++x) {
            pixels[static_cast<std::size_t>(run.footprint)].emplace(run.y, x);
        }
    }
    return pixels;
}

}  // namespace

TEST_CASE("footprints grow by a disc or a diamond, alone or together") {
    std::vector<PixelRun> const runs = {{2, 3, 6, 0}, {3, 5, 7, 0}, {3, 20, 21, 0}, {10, 0, 2, 0}, {11, 28, 30, 0}};
    FootprintRuns const footprints = connectRuns(runs);
    CHECK(footprints.count == 4);
    for (bool const isotropic : {false, true}) {
        for (Index const radius : {0, 1, 3, 9}) {
            GrowthControl control{radius, isotropic, false};
            auto const before = pixelsOf(footprints);
            auto const alone = pixelsOf(growFootprints(footprints, 14, 30, control));
            Pixels all;
            for (std::size_t i = 0; i < before.size(); ++i) {
                Pixels expected;
                for (auto const& [y, x] : before[i]) {
                    for (Index v = std::max<Index>(0, y - radius); v <= std::min<Index>(13, y + radius); ++v) {
                        for (Index u = std::max<Index>(0, x - radius); u <= std::min<Index>(29, x + radius); ++u) {
                            bool const isNear = isotropic ? (u - x) * (u - x) + (v - y) * (v - y) <= radius * radius
                                                          : std::abs(u - x) + std::abs(v - y) <= radius;
                            if (isNear) {
                                expected.emplace(v, u);
                            }
                        }
                    }
                }
                CHECK(alone[i] == expected);
                all.insert(expected.begin(), expected.end());
            }
            control.combined = true;
            Pixels joined;
            std::size_t count = 0;
            for (Pixels const& part : pixelsOf(growFootprints(footprints, 14, 30, control))) {
                count += part.size();
                joined.insert(part.begin(), part.end());
            }
            CHECK(joined == all);
            CHECK(count == all.size());
        }
    }
    CHECK(growFootprints(footprints, 14, 30, {20, false, true}).count == 1);
    CHECK_THROWS_AS(static_cast<void>(growFootprints(footprints, 14, 30, {-1, false, true})), std::invalid_argument);
}

TEST_CASE("pixels that are good in each image and in both are counted") {
    MaskedImage first(150, 1100);
    MaskedImage second(150, 1100);
    first.mask.leftCols(5) = 1;
    first.image(40, 500) = std::numeric_limits<float>::quiet_NaN();
    second.variance.topRows(7) = -1.0F;
    second.mask.rightCols(1090 / 2) = 2;
    second.mask(70, 70) = 1;  // not a bad plane of the second
    for (int const nThreads : {1, 3}) {
        PixelCoverage const found = countCoverage(first.views(), 1, second.views(), 2, {nThreads, {}});
        CHECK(found.nFirst == 150 * 1095 - 1);
        CHECK(found.nSecond == 143 * 555);
        CHECK(found.nBoth == 143 * 550 - 1);
        CHECK(found.box.x0 == 5);
        CHECK(found.box.y0 == 7);
        CHECK(found.box.width == 550);
        CHECK(found.box.height == 143);
    }
    first.mask.setOnes();
    CHECK(countCoverage(first.views(), 1, second.views(), 2).box.width == 0);
    CHECK_THROWS_AS(static_cast<void>(countCoverage(first.views(), 1, MaskedImage(2, 2).views(), 2)),
                    std::invalid_argument);
}

TEST_CASE("the noise of samples leaves outliers out") {
    convolveReference::Image<float> samples(300, 200);
    std::mt19937 random(4);
    std::normal_distribution<float> noise(50.0F, 2.0F);
    for (Index i = 0; i < samples.size(); ++i) {
        samples(i) = i % 40 == 0 ? 1e4F : noise(random);
    }
    samples(7) = std::numeric_limits<float>::quiet_NaN();
    SampleNoise const found = sampleNoise(convolveReference::view(std::as_const(samples)));
    // Clipped at three sigma a normal distribution has 0.9866 of its own.
    CHECK(found.stdev == doctest::Approx(1.973).epsilon(0.01));
    CHECK(found.largest == 1e4);
    CHECK(found.count == samples.size() - 1);
    samples.setConstant(3.0F);
    CHECK(sampleNoise(convolveReference::view(std::as_const(samples))).stdev == 0.0);
}

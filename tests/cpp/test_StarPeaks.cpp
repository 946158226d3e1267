#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "psfmatch/sources/StarPeaks.h"

using namespace psfmatch;

namespace {

template <typename Pixel>
ConstImageView<Pixel> viewOf(OwnedImage<Pixel> const& image) {
    return {image.data(), image.rows(), image.cols(), Eigen::OuterStride<>(image.cols())};
}

void addStar(OwnedImage<float>& image, double x0, double y0, double peak, double sigma) {
    for (Index y = 0; y < image.rows(); ++y) {
        for (Index x = 0; x < image.cols(); ++x) {
            double const square = std::pow(static_cast<double>(x) - x0, 2) + std::pow(static_cast<double>(y) - y0, 2);
            image(y, x) += static_cast<float>(peak * std::exp(-square / (2.0 * sigma * sigma)));
        }
    }
}

OwnedImage<float> noise(Index height, Index width) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal(100.0F, 1.0F);
    OwnedImage<float> image(height, width);
    std::generate_n(image.data(), image.size(), [&] { return normal(generator); });
    return image;
}

}  // namespace

TEST_CASE("the fall of a Gaussian") {
    OwnedImage<float> image = noise(120, 120);
    addStar(image, 40.0, 50.0, 1e5, 2.0);
    OwnedImage<MaskPixel> const mask = OwnedImage<MaskPixel>::Zero(120, 120);
    BrightPixels const bright = brightPixels(viewOf(image), viewOf(mask), {2, 1});
    for (Index const distance : {1, 2, 4}) {
        StarPeaks const found = starPeaks(viewOf(image), viewOf(mask), bright, {3, distance});
        REQUIRE(found.places.size() >= 1);
        auto const star = std::max_element(found.counts.begin(), found.counts.end()) - found.counts.begin();
        auto const i = static_cast<std::size_t>(star);
        double const square = static_cast<double>(distance * distance);
        CHECK(found.places[i] == 50 * 120 + 40);
        // Noise of 1 in 1e5.
        CHECK(found.fallX[i] == doctest::Approx(1.0 - std::exp(-square / 8.0)).epsilon(5e-4));
        CHECK(found.fallY[i] == doctest::Approx(1.0 - std::exp(-square / 8.0)).epsilon(5e-4));
    }
}

TEST_CASE("peaks against loops, for any number of threads") {
    OwnedImage<float> image = noise(150, 140);
    std::mt19937 generator(11);
    std::uniform_real_distribution<double> place(0.0, 140.0);
    for (int star = 0; star < 150; ++star) {
        addStar(image, place(generator), place(generator), 2e4 * std::pow(0.97, star), 1.5);
    }
    image = image.min(1e4F);  // flat tops: ties go to the first
    OwnedImage<MaskPixel> mask = OwnedImage<MaskPixel>::Zero(150, 140);
    mask.block(60, 0, 3, 140).setConstant(1);
    mask.block(0, 30, 150, 2).setConstant(2);
    BrightPixels const bright = brightPixels(viewOf(image), viewOf(mask), {2, 1});
    for (Index const distance : {1, 3}) {
        StarPeaks const found = starPeaks(viewOf(image), viewOf(mask), bright, {3, distance});
        std::size_t next = 0;
        for (std::size_t k = 0; k < bright.places.size(); ++k) {
            Index const y = bright.places[k] / 140;
            Index const x = bright.places[k] % 140;
            if (y < distance || x < distance || y + distance >= 150 || x + distance >= 140) {
                continue;
            }
            bool isPeak = (mask.block(y - 1, x - 1, 3, 3) == 0).all();
            Index const side = 2 * distance + 1;
            auto const about = image.block(y - distance, x - distance, side, side);
            Index row = 0;
            Index column = 0;
            float highest = -1.0F;
            for (Index j = 0; j < side; ++j) {
                for (Index i = 0; i < side; ++i) {
                    if (about(j, i) > highest) {
                        highest = about(j, i);
                        row = j;
                        column = i;
                    }
                }
            }
            isPeak &= row == distance && column == distance;
            if (!isPeak) {
                continue;
            }
            REQUIRE(next < found.places.size());
            CHECK(found.places[next] == bright.places[k]);
            CHECK(found.counts[next] == bright.counts[k]);
            ++next;
        }
        CHECK(next == found.places.size());
        CHECK(next > 20);
        for (int const nThreads : {2, 5}) {
            StarPeaks const again = starPeaks(viewOf(image), viewOf(mask), bright, {3, distance}, {nThreads});
            CHECK(again.places == found.places);
            CHECK(again.fallX == found.fallX);
            CHECK(again.fallY == found.fallY);
        }
    }
    CHECK(starPeaks(viewOf(image), viewOf(mask), {}, {}).places.empty());
    CHECK_THROWS_WITH_AS(static_cast<void>(starPeaks(viewOf(image), viewOf(mask), bright, {3, 0})),
                         "distance is 0, must be 1 or more pixels", std::invalid_argument);
}

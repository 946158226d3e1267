#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "planes.h"
#include "psfmatch/sources/PhotonNoise.h"

using namespace psfmatch;
using test::viewOf;

namespace {

constexpr Index side = 256;
constexpr double sky = 50.0;
constexpr double sigma = 3.0;

// Stars of many brightnesses, and a difference with the noise 1, that of their photons and a share of their light.
struct Pair : test::LitPair {
    Pair(double perCount, double share) : LitPair(side) {
        std::mt19937 generator(3);
        std::normal_distribution<double> normal;
        OwnedImage<double> light = OwnedImage<double>::Zero(side, side);
        int star = 0;
        for (Index y0 = 16; y0 < side; y0 += 32) {
            for (Index x0 = 16; x0 < side; x0 += 32, ++star) {
                double const peak = 20.0 * std::pow(2.0, star % 7);
                for (Index y = y0 - 14; y <= y0 + 14; ++y) {
                    for (Index x = x0 - 14; x <= x0 + 14; ++x) {
                        double const r2 = std::pow(y - y0, 2) + std::pow(x - x0, 2);
                        light(y, x) += peak * std::exp(-0.5 * r2 / sigma / sigma);
                    }
                }
            }
        }
        for (Index i = 0; i < side * side; ++i) {
            double const l = light.data()[i];
            double const d = std::sqrt(1.0 + perCount * l + std::pow(share * l, 2)) * normal(generator);
            difference.data()[i] = static_cast<float>(d);
            image.data()[i] = static_cast<float>(sky + l + d);
        }
    }

    [[nodiscard]] PhotonNoise measure(PhotonNoiseControl const& control = {}) const {
        return photonNoise(differenceView(), imageView(), control);
    }
};

}  // namespace

TEST_CASE("a difference tells the variance per count of light") {
    for (double const perCount : {0.0, 0.2, 1.0, 5.0}) {
        PhotonNoise const found = Pair(perCount, 0.0).measure();
        CAPTURE(perCount);
        CHECK(std::abs(found.perCount - perCount) < 4.0 * found.perCountError);
        CHECK(found.perCountError < 0.02 + 0.1 * perCount);
        CHECK(found.share < 0.05);
    }
}

TEST_CASE("what is left of sources in proportion to their light is no photon noise") {
    PhotonNoise const found = Pair(1.0, 0.1).measure();
    CHECK(std::abs(found.perCount - 1.0) < 4.0 * found.perCountError);
    CHECK(found.share == doctest::Approx(0.1).epsilon(0.2));
    CHECK(Pair(0.0, 0.1).measure().perCount < 0.15);
}

TEST_CASE("a matched image minus the other one, in other counts") {
    Pair pair(1.0, 0.0);
    PhotonNoise const known = pair.measure();
    // image' = image / 4 with the sign of the difference turned: light and residuals are those of before.
    pair.image /= 4.0F;
    pair.difference = -pair.difference;
    PhotonNoise const found = pair.measure({4.0, false});
    CHECK(found.nPixels == known.nPixels);
    CHECK(found.perCount == doctest::Approx(known.perCount).epsilon(1e-4));
}

TEST_CASE("bad pixels tell nothing, and few lit ones too little") {
    Pair pair(1.0, 0.0);
    PhotonNoise const known = pair.measure({1.0, true, 1, 1});
    for (Index i = 0; i < side * side; i += 11) {
        pair.mask.data()[i] = 1;
        pair.difference.data()[i] = 1e6F;
    }
    pair.difference(16, 16) = std::numeric_limits<float>::quiet_NaN();
    pair.variance(16, 17) = 0.0F;
    PhotonNoise const found = pair.measure({1.0, true, 1, 1});
    CHECK(found.nPixels < known.nPixels);
    CHECK(std::abs(found.perCount - 1.0) < 4.0 * found.perCountError);
    pair.mask.setConstant(1);
    CHECK(std::isnan(pair.measure({1.0, true, 1, 1}).perCount));
    Pair dark(1.0, 0.0);
    dark.image = static_cast<float>(sky) + dark.difference;  // the other image shows nothing
    CHECK(std::isnan(dark.measure().perCount));
}

TEST_CASE("photon noise is added to what is clearly light") {
    Pair const pair(1.0, 0.0);
    OwnedImage<float> const plane = withPhotonNoise(pair.imageView(), 0.5, 3.0, 0);
    for (int const nThreads : {2, 7}) {
        CHECK((withPhotonNoise(pair.imageView(), 0.5, 3.0, 0, {nThreads}) == plane).all());
    }
    Index nBright = 0;
    for (Index i = 0; i < side * side; ++i) {
        double const light = pair.image.data()[i] - sky;
        // The sky among so many wings is known to a noise or so.
        if (light > 5.0) {
            CHECK(std::abs(plane.data()[i] - (1.0 + 0.5 * light)) < 0.6);
            ++nBright;
        } else if (light < 1.5) {
            CHECK(plane.data()[i] == 1.0F);
        }
    }
    CHECK(nBright > 1000);
    CHECK((withPhotonNoise(pair.imageView(), 0.0, 3.0, 0) == pair.variance).all());
    CHECK_THROWS_AS((void)withPhotonNoise(pair.imageView(), -1.0, 3.0, 0), std::invalid_argument);
    OwnedImage<float> const small = OwnedImage<float>::Ones(3, 3);
    OwnedImage<MaskPixel> const none = OwnedImage<MaskPixel>::Zero(3, 3);
    MaskedImageView const other{viewOf(small), viewOf(small), viewOf(none)};
    CHECK_THROWS_AS((void)photonNoise(other, pair.imageView(), {}), std::invalid_argument);
    CHECK(std::isnan(photonNoise(other, other, {}).perCount));
}

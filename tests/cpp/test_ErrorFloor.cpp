#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <stdexcept>

#include "planes.h"
#include "psfmatch/sources/ErrorFloor.h"

using namespace psfmatch;
using test::viewOf;

namespace {

constexpr Index side = 200;
constexpr double sigma = 1.4;

// An image of stars with a sky of 20 and the noise 1, and a difference in which each star leaves a share of its light.
struct Pair : test::LitPair {
    explicit Pair(double share) : LitPair(side) {
        std::mt19937 generator(5);
        std::normal_distribution<double> normal;
        for (Index i = 0; i < side * side; ++i) {
            image.data()[i] = static_cast<float>(20.0 + normal(generator));
            difference.data()[i] = static_cast<float>(normal(generator));
        }
        // Alternately too much and too little, by one share each: half of them exceed what a Gaussian of that width
        // exceeds in a third of all cases, so the median of |flux| is a whole width.
        int sign = 1;
        for (Index y = 15; y < side - 15; y += 30) {
            for (Index x = 15; x < side - 15; x += 30) {
                for (Index v = -14; v <= 14; ++v) {
                    for (Index u = -14; u <= 14; ++u) {
                        double const light =
                            3000.0 * std::exp(-0.5 * static_cast<double>(u * u + v * v) / sigma / sigma);
                        image(y + v, x + u) += static_cast<float>(light);
                        difference(y + v, x + u) += static_cast<float>(sign * share * light);
                    }
                }
                sign = -sign;
            }
        }
    }

    [[nodiscard]] ErrorFloor measure(int nThreads = 1) const {
        BlankSky const sky = findBlankSky(differenceView(), 0);
        return errorFloor(differenceView(), imageView(), sky, {sigma, 1.0, true, 0, 0}, {}, {nThreads});
    }
};

}  // namespace

TEST_CASE("the floor is the share of the light that is left of stars") {
    Pair const pair(0.05);
    ErrorFloor const found = pair.measure();
    CHECK(found.nSources == 36);
    CHECK(found.nPlaces > 36 * 9);
    CHECK(found.pull > 3.0);
    CHECK(found.skyPull == doctest::Approx(1.0).epsilon(0.15));
    // |F| is 0.05 L at every place but for noise; a Gaussian of the width e L has its median at e L / 1.4826. What is
    // too much in the difference is not in the other image, whose light counts where it is less: up to 5 % for half.
    CHECK(found.share == doctest::Approx(0.05 * 1.4826).epsilon(0.06));
    for (int const nThreads : {2, 7}) {
        ErrorFloor const other = pair.measure(nThreads);
        CHECK(other.share == found.share);
        CHECK(other.pull == found.pull);
        CHECK(other.skyPull == found.skyPull);
    }
}

TEST_CASE("noise alone has no floor, nor have fewer than five sources") {
    ErrorFloor const found = Pair(0.0).measure();
    CHECK(found.share == 0.0);
    CHECK(found.pull == doctest::Approx(1.0).epsilon(3.0 * found.pullError));
    Pair few(0.05);
    few.mask.bottomRows(side - 25) = 1;
    few.mask.rightCols(side - 110) = 1;
    BlankSky const sky = findBlankSky(few.differenceView(), 1);
    ErrorFloor const left = errorFloor(few.differenceView(), few.imageView(), sky, {sigma, 1.0, true, 1, 1}, {});
    CHECK(left.nSources == 4);
    CHECK(left.pull > 3.0);
    CHECK(left.share == 0.0);
}

TEST_CASE("the floor follows the light of both images, the fainter flux of a point source at every pixel") {
    Pair const pair(0.05);
    PointProfile const profile{sigma, 2.0, true, 0, 0};
    OwnedImage<float> const light = errorFloorPlane(pair.differenceView(), pair.imageView(), 1.0, profile);
    CHECK(light.minCoeff() >= 0.0F);
    // 2 pi sigma^2 times the peak, at twice the scale; a tenth of a per cent lies beyond 2.5 standard deviations. Of
    // the difference, which is not scaled, 5 % are too much and taken off, or too little and left.
    double const flux = 2.0 * 3000.0 * 2.0 * 3.14159265358979 * sigma * sigma;
    double const shared = 0.5 * flux * 0.05;
    CHECK(light(15, 15) == doctest::Approx(flux - shared).epsilon(0.01));
    CHECK(light(15, 45) == doctest::Approx(flux).epsilon(0.01));
    CHECK(light(30, 30) < 0.01 * flux);
    OwnedImage<float> const part = errorFloorPlane(pair.differenceView(), pair.imageView(), 0.05, profile);
    CHECK((part == 0.05F * light).all());
    for (int const nThreads : {2, 7}) {
        CHECK((errorFloorPlane(pair.differenceView(), pair.imageView(), 1.0, profile, {nThreads}) == light).all());
    }
}

TEST_CASE("what does not belong together is refused") {
    Pair const pair(0.0);
    BlankSky sky = findBlankSky(pair.differenceView(), 0);
    PointProfile profile;
    profile.sigma = 0.0;
    CHECK_THROWS_AS((void)errorFloor(pair.differenceView(), pair.imageView(), sky, profile, {}), std::invalid_argument);
    CHECK_THROWS_AS((void)errorFloorPlane(pair.differenceView(), pair.imageView(), 1.0, profile),
                    std::invalid_argument);
    sky.tops.back() = side;
    CHECK_THROWS_AS((void)errorFloor(pair.differenceView(), pair.imageView(), sky, {}, {}), std::invalid_argument);
    OwnedImage<float> const small = pair.image.topRows(20);
    MaskedImageView const other{viewOf(small), viewOf(pair.variance), viewOf(pair.mask)};
    CHECK_THROWS_AS((void)errorFloorPlane(pair.differenceView(), other, 1.0, {}), std::invalid_argument);
}

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "planes.h"
#include "psfmatch/image/VariancePlane.h"

using namespace psfmatch;
using test::mutableViewOf;
using test::viewOf;

namespace {

OwnedImage<float> drawn(Index height, Index width) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal(100.0F, 30.0F);
    OwnedImage<float> image(height, width);
    for (Index i = 0; i < image.size(); ++i) {
        image.data()[i] = normal(generator);
    }
    return image;
}

}  // namespace

TEST_CASE("a variance plane times a factor") {
    OwnedImage<float> plane = drawn(37, 53);
    plane(3, 4) = std::numeric_limits<float>::infinity();
    plane(3, 5) = 3e38F;
    for (int const nThreads : {1, 2, 7}) {
        OwnedImage<float> result(37, 53);
        multiplyPlane(viewOf(plane), 1.3F, mutableViewOf(result), {nThreads});
        for (Index i = 0; i < plane.size(); ++i) {
            CHECK(result.data()[i] == 1.3F * plane.data()[i]);
        }
    }
    OwnedImage<float> small(3, 3);
    CHECK_THROWS_AS(multiplyPlane(viewOf(plane), 1.0F, mutableViewOf(small)), std::invalid_argument);
}

TEST_CASE("light above the sky adds its photons") {
    OwnedImage<float> image = drawn(37, 53);
    image(5, 6) = std::numeric_limits<float>::quiet_NaN();
    image(5, 7) = std::numeric_limits<float>::infinity();
    for (int const nThreads : {1, 2, 7}) {
        OwnedImage<float> variance = OwnedImage<float>::Constant(37, 53, 4.0F);
        addPhotons(viewOf(image), 90.0F, 25.0F, 1.7F, mutableViewOf(variance), {nThreads});
        Index nBright = 0;
        for (Index i = 0; i < image.size(); ++i) {
            double const light = static_cast<double>(image.data()[i]) - 90.0;
            bool const isBright = light > 25.0;
            nBright += isBright ? 1 : 0;
            double const expected = isBright ? 4.0 + light / 1.7 : 4.0;
            if (std::isfinite(expected)) {
                CHECK(variance.data()[i] == doctest::Approx(expected).epsilon(1e-6));
            } else {
                CHECK(variance.data()[i] == std::numeric_limits<float>::infinity());
            }
        }
        CHECK(nBright > 200);
        CHECK(variance(5, 6) == 4.0F);
    }
    OwnedImage<float> small(3, 3);
    CHECK_THROWS_AS(addPhotons(viewOf(image), 0.0F, 0.0F, 1.0F, mutableViewOf(small)), std::invalid_argument);
    for (float const gain : {0.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
        CHECK_THROWS_AS(addPhotons(viewOf(image), 0.0F, 0.0F, gain, mutableViewOf(image)), std::invalid_argument);
    }
}

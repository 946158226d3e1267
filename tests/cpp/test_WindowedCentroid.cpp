#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>

#include "psfmatch/sources/WindowedCentroid.h"

using namespace psfmatch;

namespace {

Centroid of(OwnedImage<double> const& stamp, double sigma = 2.0) {
    return windowedCentroid({stamp.data(), stamp.rows(), stamp.cols(), Eigen::OuterStride<>(stamp.cols())}, sigma, 12);
}

}  // namespace

TEST_CASE("the centroid of a Gaussian is its middle, whatever lies far from it") {
    OwnedImage<double> stamp(31, 29);
    for (Index y = 0; y < 31; ++y) {
        for (Index x = 0; x < 29; ++x) {
            double const dx = static_cast<double>(x) - 14.6;
            double const dy = static_cast<double>(y) - 14.7;
            stamp(y, x) = std::exp(-(dx * dx + dy * dy) / 6.0);
        }
    }
    stamp(0, 0) = 0.5;
    Centroid const found = of(stamp);
    // A moment alone would give -0.1 and -0.5.
    CHECK(std::abs(found.x - 0.6) < 1e-4);
    CHECK(std::abs(found.y + 0.3) < 1e-4);
}

TEST_CASE("kernels without a core") {
    OwnedImage<double> stamp = OwnedImage<double>::Zero(9, 9);
    CHECK(std::isnan(of(stamp).x));
    stamp(8, 8) = 1.0;
    CHECK(of(stamp).x <= 4.5);
    stamp(2, 2) = std::nan("");
    CHECK(std::isnan(of(stamp).y));
    CHECK_THROWS_AS(static_cast<void>(of(stamp, 0.0)), std::invalid_argument);
}

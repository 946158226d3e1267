// Widths of stars: those of their Gaussians, and those of stamps cut by hand.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "psfmatch/sources/StarWidths.h"
#include "psfmatch/sources/adaptiveMoments.h"
#include "starReference.h"

using namespace psfmatch;
using starReference::StarField;

namespace {

double const toFwhm = 2.0 * std::sqrt(2.0 * std::log(2.0));

}  // namespace

TEST_CASE("widths of stars are those of their Gaussians") {
    StarField const field = starReference::makeStars(1.7, 0.0F, 1);
    for (double const width : starWidths(field.pixels.views(), 1, field.x, field.y)) {
        CHECK(width == doctest::Approx(toFwhm * 1.7).epsilon(1e-3));  // the rim is at 9 sigma
    }
}

TEST_CASE("widths are the adaptive moments of stamps less the median of their rims, for any number of threads") {
    StarField field = starReference::makeStars(1.7, 5.0F, 2);
    field.pixels.mask(20, 30) = 1;
    auto const widths = starWidths(field.pixels.views(), 1, field.x, field.y);
    CHECK(widths == starWidths(field.pixels.views(), 1, field.x, field.y, {}, {3, {}}));
    for (std::size_t i = 0; i < field.x.size(); ++i) {
        auto const column = static_cast<Index>(std::floor(field.x[i] + 0.5));
        auto const row = static_cast<Index>(std::floor(field.y[i] + 0.5));
        std::vector<double> rim;
        convolveReference::Image<double> stamp(31, 31);
        for (Index dy = -15; dy <= 15; ++dy) {
            for (Index dx = -15; dx <= 15; ++dx) {
                bool const isBad = field.pixels.mask(row + dy, column + dx) != 0;
                double const value = field.pixels.image(row + dy, column + dx);
                stamp(dy + 15, dx + 15) = isBad ? std::nan("") : value;
                if (!isBad && std::max(std::abs(dx), std::abs(dy)) >= 14) {
                    rim.push_back(value);
                }
            }
        }
        std::sort(rim.begin(), rim.end());
        stamp -= 0.5 * (rim[(rim.size() - 1) / 2] + rim[rim.size() / 2]);
        stamp = stamp.isNaN().select(0.0, stamp);
        AdaptiveMomentsControl control;
        control.maxShift = 3.0;
        SecondMoments const moments = adaptiveMoments({stamp.data(), 1, 961, Eigen::OuterStride<>(961)}, 31, 31,
                                                      {field.x[i] - static_cast<double>(column) + 15.0},
                                                      {field.y[i] - static_cast<double>(row) + 15.0}, control)[0];
        double const expected = toFwhm * std::pow(moments.xx * moments.yy - moments.xy * moments.xy, 0.25);
        CHECK(widths[i] == doctest::Approx(expected).epsilon(1e-12));
    }
}

TEST_CASE("sources at the edge, off the image and on bad pixels have no width") {
    StarField field = starReference::makeStars(1.7, 0.0F, 3);
    field.pixels.mask(static_cast<Index>(std::floor(field.y[0] + 0.5)),
                      static_cast<Index>(std::floor(field.x[0] + 0.5)) + 3) = 1;
    std::vector<double> const x = {field.x[0], 4.4, std::nan(""), -1e300, 80.0};
    std::vector<double> const y = {field.y[0], 60.0, 60.0, 60.0, 1e300};
    for (double const width : starWidths(field.pixels.views(), 1, x, y)) {
        CHECK(std::isnan(width));
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(starWidths(field.pixels.views(), 1, x, field.y)),
                         "5 values of x and 12 of y make no positions", std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(starWidths(field.pixels.views(), 1, x, y, {4, 3, 5})), std::invalid_argument);
}

// Statistics of super-pixels by definition, and surfaces taken off.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/image/background.h"

using convolveReference::Image;
using convolveReference::makeField;
using convolveReference::MaskedImage;
using convolveReference::view;
using psfmatch::Index;
using psfmatch::subtractSurface;
using psfmatch::SuperPixelControl;
using psfmatch::SuperPixels;
using psfmatch::SuperPixelStatistic;
using psfmatch::superPixelStatistics;

namespace {

double sortedQuantile(std::vector<double> const& sorted, double fraction) {
    double const place = fraction * static_cast<double>(sorted.size() - 1);
    auto const lower = static_cast<std::size_t>(place);
    double const upper = sorted[std::min(lower + 1, sorted.size() - 1)];
    return sorted[lower] + (place - static_cast<double>(lower)) * (upper - sorted[lower]);
}

}  // namespace

TEST_CASE("super-pixels by definition") {
    MaskedImage input = makeField(61, 83, 400.0F, 1);
    for (Index i = 0; i + 3 < input.image.size(); i += 11) {
        input.mask(i) = i % 2 == 0 ? 4 : 2;
        input.image(i + 3) = std::numeric_limits<float>::quiet_NaN();
    }
    for (SuperPixelStatistic const statistic :
         {SuperPixelStatistic::meanClip, SuperPixelStatistic::mean, SuperPixelStatistic::median}) {
        SuperPixelControl const control{{0, 20, 41, 83}, {0, 30, 61}, 2, 3, statistic};
        SuperPixels const found = superPixelStatistics(input.views(), 4, control);
        REQUIRE(found.values.rows() == 2);
        REQUIRE(found.values.cols() == 3);
        for (std::size_t j = 0; j < 2; ++j) {
            for (std::size_t i = 0; i < 3; ++i) {
                std::vector<double> values;
                for (Index y = control.edgesY[j]; y < control.edgesY[j + 1]; y += 3) {
                    for (Index x = control.edgesX[i]; x < control.edgesX[i + 1]; x += 2) {
                        if ((input.mask(y, x) & 4) == 0 && !std::isnan(input.image(y, x))) {
                            values.push_back(input.image(y, x));
                        }
                    }
                }
                std::sort(values.begin(), values.end());
                double const median = sortedQuantile(values, 0.5);
                double mean = median;
                double sigma = 0.741301109252801 * (sortedQuantile(values, 0.75) - sortedQuantile(values, 0.25));
                double variance = 0.0;
                bool const clips = statistic == SuperPixelStatistic::meanClip;
                for (int pass = 0; pass < (clips ? 3 : 1); ++pass) {
                    double sum = 0.0;
                    double squares = 0.0;
                    double count = 0.0;
                    for (double const value : values) {
                        if (!clips || std::abs(value - mean) <= 3.0 * sigma) {
                            sum += value - 400.0;
                            squares += (value - 400.0) * (value - 400.0);
                            count += 1.0;
                        }
                    }
                    mean = 400.0 + sum / count;
                    double const scatter = squares / count - sum / count * (sum / count);
                    sigma = std::sqrt(scatter);
                    variance = scatter / count;
                }
                auto const row = static_cast<Index>(j);
                auto const column = static_cast<Index>(i);
                double const expected = statistic == SuperPixelStatistic::median ? median : mean;
                CHECK(found.values(row, column) == doctest::Approx(expected).epsilon(1e-12));
                CHECK(found.variances(row, column) == doctest::Approx(variance).epsilon(1e-9));
            }
        }
        SuperPixels const threaded = superPixelStatistics(input.views(), 4, control, {3, {}});
        CHECK((threaded.values == found.values).all());
        CHECK((threaded.variances == found.variances).all());
    }
}

TEST_CASE("super-pixels without scatter, and without a good pixel") {
    MaskedImage input(20, 40);
    input.image.setConstant(1e6F);
    input.image.rightCols(20).setConstant(std::numeric_limits<float>::infinity());
    SuperPixelControl const control{{0, 20, 40}, {0, 20}, 1, 1, SuperPixelStatistic::meanClip};
    for (SuperPixels const& found :
         {superPixelStatistics(input.views(), 0, control), superPixelStatistics(input.views().image, control)}) {
        CHECK(found.values(0, 0) == 1e6);
        CHECK(found.variances(0, 0) == 0.0);
        CHECK(std::isnan(found.values(0, 1)));
        CHECK(std::isnan(found.variances(0, 1)));
    }
    SuperPixels const none = superPixelStatistics(input.views().image, {{0, 0, 40}, {0, 20}, 1, 1, {}});
    CHECK(std::isnan(none.values(0, 0)));
}

TEST_CASE("super-pixels that do not fit are refused") {
    MaskedImage const input(20, 40);
    for (SuperPixelControl const& control :
         {SuperPixelControl{{0, 41}, {0, 20}, 1, 1, {}}, SuperPixelControl{{0, 40}, {0}, 1, 1, {}},
          SuperPixelControl{{0, 30, 20}, {0, 20}, 1, 1, {}}, SuperPixelControl{{0, 40}, {0, 20}, 0, 1, {}}}) {
        CHECK_THROWS_AS((void)superPixelStatistics(input.views(), 0, control), std::invalid_argument);
    }
}

TEST_CASE("a surface is taken off, in place too") {
    MaskedImage const input = makeField(70, 1500, 400.0F, 2);
    Image<float> rows(70, 3);
    Image<float> columns(3, 1500);
    for (Index y = 0; y < 70; ++y) {
        rows.row(y) << 1.0F, 0.01F * static_cast<float>(y), 0.5F;
    }
    for (Index x = 0; x < 1500; ++x) {
        columns.col(x) << 300.0F, 20.0F, 0.1F * static_cast<float>(x);
    }
    Image<float> output(70, 1500);
    subtractSurface(view(input.image), rows, columns, {}, view(output));
    for (Index y = 0; y < 70; y += 7) {
        for (Index x = 0; x < 1500; x += 13) {
            double const surface = 300.0 + 0.2 * static_cast<double>(y) + 0.05 * static_cast<double>(x);
            // Five roundings of numbers below 512, and one of the pixel.
            CHECK(std::abs(output(y, x) - (input.image(y, x) - surface)) <
                  6.0 * 3.1e-5 + 6e-8 * std::abs(input.image(y, x)));
        }
    }
    Image<float> inPlace = input.image;
    Image<float> const& same = inPlace;
    subtractSurface(view(same), rows, columns, {3, {}}, view(inPlace));
    CHECK((inPlace == output).all());
    CHECK_THROWS_AS(subtractSurface(view(input.image), columns, rows, {}, view(output)), std::invalid_argument);
}

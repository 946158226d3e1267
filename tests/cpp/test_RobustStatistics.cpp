#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "psfmatch/image/RobustStatistics.h"

using namespace psfmatch;

namespace {

double sortedQuantile(std::vector<double> values, double fraction) {
    std::sort(values.begin(), values.end());
    double const place = fraction * static_cast<double>(values.size() - 1);
    auto const low = static_cast<std::size_t>(place);
    std::size_t const high = std::min(low + 1, values.size() - 1);
    double const step = place - static_cast<double>(low);
    return (1.0 - step) * values[low] + step * values[high];
}

// Lists of several kinds: noise, few different values, ascending, all equal, one far value.
std::vector<std::vector<double>> lists(std::size_t n) {
    std::mt19937 generator(static_cast<unsigned>(n));
    std::normal_distribution<double> normal;
    std::vector<std::vector<double>> found(5, std::vector<double>(n, 2.5));
    for (std::size_t i = 0; i < n; ++i) {
        found[0][i] = static_cast<float>(normal(generator));
        found[1][i] = std::round(2.0 * normal(generator));
        found[2][i] = static_cast<double>(i);
    }
    found[4].back() = -1e6;
    return found;
}

}  // namespace

TEST_CASE("quantiles are those of sorted lists") {
    std::vector<double> scratch;
    std::vector<float> scratchOfFloats;
    for (std::size_t const n : {1U, 2U, 3U, 10U, 511U, 512U, 513U, 4001U, 30000U}) {
        for (std::vector<double> const& values : lists(n)) {
            std::vector<float> const floats(values.begin(), values.end());
            for (double const fraction : {0.0, 0.001, 0.25, 1.0 / 3.0, 0.5, 0.75, 0.995, 1.0}) {
                double const expected = sortedQuantile(values, fraction);
                CHECK(quantileOf<double>(values, fraction, scratch) == doctest::Approx(expected).epsilon(1e-14));
                CHECK(quantileOf<float>(floats, fraction, scratchOfFloats) == doctest::Approx(expected).epsilon(1e-14));
            }
        }
    }
}

TEST_CASE("values of a rank") {
    std::vector<float> scratch;
    std::vector<float> values(2000);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i * 7 % values.size());
    }
    for (std::size_t const rank : {0U, 1U, 999U, 1000U, 1999U}) {
        CHECK(valueOfRank<float>(values, rank, scratch) == static_cast<float>(rank));
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(valueOfRank<float>(values, 2000, scratch)), "no rank 2000 among 2000 values",
                         std::invalid_argument);
}

TEST_CASE("quantiles are found where the sample misleads") {
    // Every value of the sample, one of each 64 or so, is larger than all others.
    std::vector<double> values(64 * 1024, 0.0);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<double>(i % 64 == 0 ? 1000 + i : i % 64);
    }
    std::vector<double> const given = values;
    std::vector<double> scratch;
    for (double const fraction : {0.1, 0.5, 0.9}) {
        CHECK(quantileOf<double>(values, fraction, scratch) == sortedQuantile(values, fraction));
    }
    CHECK(values == given);
}

TEST_CASE("median and sigma of the median absolute deviation") {
    std::vector<double> scratch;
    std::vector<double> few{1.0, 2.0, 4.0, 100.0};
    MedianAndSigma const found = medianAndSigma<double>(few, scratch);
    CHECK(found.median == 3.0);
    CHECK(found.sigma == doctest::Approx(1.4826 * 1.5));
    CHECK(few == std::vector<double>{2.0, 1.0, 1.0, 97.0});

    std::vector<float> scratchOfFloats;
    std::vector<double> const noise = lists(30000)[0];
    std::vector<float> floats(noise.begin(), noise.end());
    MedianAndSigma const wide = medianAndSigma<float>(floats, scratchOfFloats);
    // A median of n values errs by 1.25 / sqrt(n), this width by 1.17 / sqrt(n); five times that
    CHECK(std::abs(wide.median) < 0.036);
    CHECK(std::abs(wide.sigma - 1.0) < 0.034);
}

TEST_CASE("order statistics of infinite values and of none") {
    double const infinite = std::numeric_limits<double>::infinity();
    std::vector<double> scratch;
    CHECK(quantileOf<double>(std::vector<double>{1.0, infinite, infinite}, 0.5, scratch) == infinite);
    CHECK(quantileOf<double>(std::vector<double>{-infinite, 1.0, infinite}, 0.5, scratch) == 1.0);
    CHECK(std::isnan(quantileOf<double>(std::vector<double>{}, 0.5, scratch)));
    std::vector<double> none;
    CHECK(std::isnan(medianAndSigma<double>(none, scratch).sigma));
    CHECK_THROWS_WITH_AS(static_cast<void>(quantileOf<double>(none, 1.5, scratch)),
                         "quantile fraction 1.500000 is outside [0, 1]", std::invalid_argument);
}

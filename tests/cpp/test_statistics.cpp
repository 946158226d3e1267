// Quantiles, clipped statistics and residual statistics.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "convolveReference.h"
#include "psfmatch/base/exceptions.h"
#include "psfmatch/image/statistics.h"

using convolveReference::Image;
using convolveReference::MaskedImage;
using psfmatch::ClippedStatistics;
using psfmatch::clippedStatistics;
using psfmatch::Index;
using psfmatch::MaskPixel;
using psfmatch::NumericalError;
using psfmatch::residualStatistics;
using psfmatch::ResidualStatistics;

namespace {

constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

double meanOf(std::vector<double> const& values) {
    double sum = 0.0;
    for (double const v : values) {
        sum += v;
    }
    return sum / static_cast<double>(values.size());
}

double stdevOf(std::vector<double> const& values) {
    double const mean = meanOf(values);
    double squares = 0.0;
    for (double const v : values) {
        squares += (v - mean) * (v - mean);
    }
    return values.size() > 1 ? std::sqrt(squares / static_cast<double>(values.size() - 1)) : 0.0;
}

// The definition, by lists of the values kept.
ClippedStatistics clipExactly(std::vector<double> values, double nSigma, int nIterations) {
    std::sort(values.begin(), values.end());
    auto const at = [&](double fraction) {
        double const position = fraction * static_cast<double>(values.size() - 1);
        double const lower = std::floor(position);
        double const upper = std::min(lower + 1.0, static_cast<double>(values.size() - 1));
        return (1.0 - (position - lower)) * values[static_cast<std::size_t>(lower)] +
               (position - lower) * values[static_cast<std::size_t>(upper)];
    };
    ClippedStatistics result;
    result.median = at(0.5);
    double centre = result.median;
    double sigma = 0.741301109252802 * (at(0.75) - at(0.25));
    for (int i = 0; i < nIterations; ++i) {
        std::vector<double> kept;
        std::copy_if(values.begin(), values.end(), std::back_inserter(kept),
                     [&](double v) { return std::abs(v - centre) <= nSigma * sigma; });
        if (kept.empty()) {
            result.mean = centre;
            break;
        }
        centre = meanOf(kept);
        sigma = stdevOf(kept);
        result.mean = centre;
        result.stdev = sigma;
        result.count = static_cast<Index>(kept.size());
    }
    return result;
}

std::vector<double> contaminated(std::size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> noise(10.0, 2.0);
    std::vector<double> values(n);
    for (std::size_t i = 0; i < n; ++i) {
        values[i] = noise(random) + (i % 10 == 3 ? 40.0 : 0.0);
    }
    return values;
}

// Image with pixel (y, x) = x + 2.3 y and the given variance everywhere, as in the reference's test.
MaskedImage ramp(Index height, Index width, float variance) {
    MaskedImage stamp(height, width);
    for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
            stamp.image(y, x) = static_cast<float>(x) + 2.3F * static_cast<float>(y);
        }
    }
    stamp.variance.setConstant(variance);
    return stamp;
}

}  // namespace

TEST_CASE("quantiles interpolate between order statistics at fraction * (n - 1)") {
    std::vector<double> const values{4.0, 0.0, 3.0, 1.0, 2.0};
    CHECK(psfmatch::quantile(values, 0.0) == 0.0);
    CHECK(psfmatch::quantile(values, 0.25) == 1.0);
    CHECK(psfmatch::quantile(values, 0.9) == doctest::Approx(3.6).epsilon(1e-15));
    CHECK(psfmatch::quantile(values, 1.0) == 4.0);
    CHECK(psfmatch::quantile({7.0}, 0.3) == 7.0);
    CHECK(psfmatch::median({1.0, 9.0, 2.0}) == 2.0);
    CHECK(psfmatch::median({1.0, 9.0, 2.0, 4.0}) == 3.0);
}

TEST_CASE("medians of long lists are those of the sorted lists, exactly") {
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    auto const check = [](std::vector<double> const& values) {
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end());
        std::size_t const n = sorted.size();
        CHECK(psfmatch::median(values) == (n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2])));
    };
    for (std::size_t const n : {255U, 256U, 257U, 320U, 1848U, 1849U, 20000U}) {
        CAPTURE(n);
        std::vector<double> values(n);
        std::generate(values.begin(), values.end(), [&] { return normal(random); });
        check(values);
        // Ties, a heavy tail, and two values in equal numbers.
        std::vector<double> other(n);
        std::transform(values.begin(), values.end(), other.begin(), [](double v) { return std::round(2.0 * v); });
        check(other);
        std::transform(values.begin(), values.end(), other.begin(), [](double v) { return std::exp(9.0 * v); });
        check(other);
        for (std::size_t i = 0; i < n; ++i) {
            other[i] = i < n / 2 ? 1.0 : 3.0;
        }
        check(other);
        check(std::vector<double>(n, 7.0));
        std::sort(values.begin(), values.end());
        check(values);
        // What a sample at equal distances sees is nothing like the rest.
        for (std::size_t i = 0; i < n; i += n / 64) {
            values[i] = 1e6 + static_cast<double>(i);
        }
        check(values);
    }
}

TEST_CASE("clipped statistics of [1, 1, 1, 1, 2, 3, 4]") {
    // Median 1, quartiles 1 and 2.5: the half width 3 * 0.7413 * 1.5 = 3.34 keeps all, as do the later passes.
    std::vector<double> const sums{1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0};
    ClippedStatistics const result = clippedStatistics(sums);
    CHECK(result.count == 7);
    CHECK(result.median == 1.0);
    CHECK(result.mean == doctest::Approx(13.0 / 7.0).epsilon(1e-15));
    CHECK(result.stdev == doctest::Approx(std::sqrt((33.0 - 169.0 / 7.0) / 6.0)).epsilon(1e-15));

    std::vector<double> withOutlier = sums;
    withOutlier.push_back(50.0);
    ClippedStatistics const clipped = clippedStatistics(withOutlier);
    CHECK(clipped.count == 7);
    CHECK(clipped.median == 1.5);
    CHECK(clipped.mean == result.mean);
    CHECK(clipped.stdev == result.stdev);
}

TEST_CASE("clipped statistics of short and of equal lists") {
    ClippedStatistics const one = clippedStatistics({2.5});
    CHECK(one.mean == 2.5);
    CHECK(one.stdev == 0.0);
    CHECK(one.count == 1);
    // More than half equal: the interquartile range is 0 and only exact equals survive the first pass.
    ClippedStatistics const equal = clippedStatistics({0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2});
    CHECK(equal.mean == doctest::Approx(0.1).epsilon(1e-15));
    CHECK(equal.stdev == doctest::Approx(0.0).epsilon(1e-15));
    CHECK(equal.count == 7);
}

TEST_CASE("clipped statistics agree with the definition") {
    for (std::size_t const n : {2, 3, 10, 101, 1000}) {
        for (double const nSigma : {1.0, 3.0}) {
            for (int const nIterations : {1, 3, 10}) {
                CAPTURE(n);
                CAPTURE(nSigma);
                CAPTURE(nIterations);
                auto const values = contaminated(n, static_cast<unsigned>(n));
                ClippedStatistics const result = clippedStatistics(values, {nSigma, nIterations});
                ClippedStatistics const expected = clipExactly(values, nSigma, nIterations);
                CHECK(result.count == expected.count);
                CHECK(result.median == doctest::Approx(expected.median).epsilon(1e-12));
                CHECK(result.mean == doctest::Approx(expected.mean).epsilon(1e-12));
                CHECK(result.stdev == doctest::Approx(expected.stdev).epsilon(1e-12));
            }
        }
    }
}

TEST_CASE("clipped statistics ignore the order and follow scale and offset") {
    auto values = contaminated(200, 5);
    ClippedStatistics const result = clippedStatistics(values);
    CHECK(result.count <= 180);  // every tenth is an outlier of 20 sigma
    CHECK(result.count >= 176);  // of the others, 0.5 are expected beyond 3 sigma
    std::reverse(values.begin(), values.end());
    ClippedStatistics const reversed = clippedStatistics(values);
    // Sums run in the order of the list.
    CHECK(reversed.mean == doctest::Approx(result.mean).epsilon(1e-13));
    CHECK(reversed.stdev == doctest::Approx(result.stdev).epsilon(1e-13));
    CHECK(reversed.median == result.median);
    for (double& v : values) {
        v = -4.0 * v + 3.0;
    }
    ClippedStatistics const mapped = clippedStatistics(values);
    CHECK(mapped.count == result.count);
    CHECK(mapped.mean == doctest::Approx(-4.0 * result.mean + 3.0).epsilon(1e-12));
    CHECK(mapped.median == doctest::Approx(-4.0 * result.median + 3.0).epsilon(1e-12));
    CHECK(mapped.stdev == doctest::Approx(4.0 * result.stdev).epsilon(1e-12));
}

TEST_CASE("lists without statistics are refused") {
    CHECK_THROWS_WITH_AS((void)psfmatch::median({}), doctest::Contains("of no values"), NumericalError);
    CHECK_THROWS_WITH_AS((void)clippedStatistics({}), "clipped statistics of no values", NumericalError);
    CHECK_THROWS_WITH_AS((void)clippedStatistics({1.0, std::nan("")}),
                         "clipped statistics of values that are not all finite", NumericalError);
    CHECK_THROWS_WITH_AS((void)psfmatch::quantile({1.0, HUGE_VAL}, 0.5), "quantile of values that are not all finite",
                         NumericalError);
    CHECK_THROWS_WITH_AS((void)psfmatch::quantile({1.0}, 1.5), doctest::Contains("1.500000 is outside [0, 1]"),
                         std::invalid_argument);
    CHECK_THROWS_AS((void)psfmatch::quantile({1.0}, std::nan("")), std::invalid_argument);
}

TEST_CASE("residual statistics of constant stamps") {
    MaskedImage stamp(20, 20);
    ResidualStatistics const zeros = residualStatistics(stamp.views(), 0);
    CHECK(zeros.mean == 0.0);
    CHECK(zeros.rms == 0.0);
    CHECK(zeros.count == 400);

    stamp.image.setConstant(1.0F);
    ResidualStatistics const ones = residualStatistics(stamp.views(), 0);
    CHECK(ones.mean == 1.0);
    CHECK(ones.rms == 0.0);
    CHECK(residualStatistics(stamp.views(), 0, 3).count == 49);
    CHECK(residualStatistics(stamp.views(), 0, 0).count == 1);
    CHECK(residualStatistics(stamp.views(), 0, 100).count == 400);

    stamp.variance.setConstant(4.0F);
    CHECK(residualStatistics(stamp.views(), 0).mean == 0.5);

    stamp.variance.setZero();
    for (Index const radius : {-1, 3}) {
        ResidualStatistics const none = residualStatistics(stamp.views(), 0, radius);
        CHECK(none.count == 0);
        CHECK(std::isnan(none.mean));
        CHECK(std::isnan(none.rms));
    }
}

TEST_CASE("residual statistics of a ramp are its mean and unbiased standard deviation") {
    for (Index const radius : {-1, 0, 2, 3, 9, 10}) {
        CAPTURE(radius);
        MaskedImage stamp = ramp(19, 20, 6.25F);
        stamp.mask.col(9).setConstant(4);
        stamp.variance(9, 11) = 0.0F;
        std::vector<double> chi;
        for (Index y = 0; y < 19; ++y) {
            for (Index x = 0; x < 20; ++x) {
                bool const inside = radius < 0 || (std::abs(y - 9) <= radius && std::abs(x - 10) <= radius);
                if (inside && x != 9 && !(y == 9 && x == 11)) {
                    chi.push_back(static_cast<double>(stamp.image(y, x)) / 2.5);
                }
            }
        }
        ResidualStatistics const result = residualStatistics(stamp.views(), 4, radius);
        CHECK(result.count == static_cast<Index>(chi.size()));
        // mean^2 is about the variance: the difference of squares loses no digits.
        CHECK(result.mean == doctest::Approx(meanOf(chi)).epsilon(1e-12));
        if (chi.size() > 1) {
            CHECK(result.rms == doctest::Approx(stdevOf(chi)).epsilon(1e-12));
        } else {
            CHECK(std::isnan(result.rms));
        }
    }
}

TEST_CASE("only pixels with a bad plane are left out") {
    MaskedImage stamp = ramp(20, 20, 1.0F);
    stamp.mask.col(5).setConstant(8);
    ResidualStatistics const kept = residualStatistics(stamp.views(), 4 | 2);
    CHECK(kept.count == 400);
    CHECK(kept.mean == residualStatistics(ramp(20, 20, 1.0F).views(), 0).mean);
    CHECK(residualStatistics(stamp.views(), 8).count == 380);
    stamp.mask.col(6).setConstant(static_cast<MaskPixel>(1U << 31));
    CHECK(residualStatistics(stamp.views(), ~0).count == 360);

    // What a bad or weightless pixel holds does not matter.
    ResidualStatistics const before = residualStatistics(stamp.views(), 8);
    stamp.image.col(5).setConstant(notANumber);
    ResidualStatistics const after = residualStatistics(stamp.views(), 8);
    CHECK(after.mean == before.mean);
    CHECK(after.rms == before.rms);
    stamp.image.row(2).setConstant(infinity);
    stamp.variance.row(2).setZero();
    CHECK(residualStatistics(stamp.views(), 8).count == 361);
    stamp.image.row(3).setConstant(infinity);
    stamp.variance.row(3).setConstant(notANumber);
    CHECK(residualStatistics(stamp.views(), 8).count == 342);
}

TEST_CASE("an infinite variance counts with weight zero") {
    MaskedImage stamp(2, 2);
    stamp.image << 2.0F, 4.0F, 6.0F, 1e30F;
    stamp.variance(1, 1) = infinity;
    ResidualStatistics const result = residualStatistics(stamp.views(), 0);
    CHECK(result.count == 4);
    CHECK(result.mean == 3.0);
    CHECK(result.rms == doctest::Approx(std::sqrt((56.0 / 4.0 - 9.0) * 4.0 / 3.0)).epsilon(1e-15));
}

TEST_CASE("residual statistics read strided views") {
    MaskedImage const field = ramp(40, 50, 2.0F);
    MaskedImage stamp(11, 13);
    stamp.image = field.image.block(7, 9, 11, 13);
    stamp.variance.setConstant(2.0F);
    auto const cut = [](auto const& plane) {
        return psfmatch::ConstImageView<typename std::decay_t<decltype(plane)>::Scalar>(
            &plane(7, 9), 11, 13, Eigen::OuterStride<>(plane.cols()));
    };
    ResidualStatistics const direct = residualStatistics(stamp.views(), 0, 4);
    ResidualStatistics const strided =
        residualStatistics({cut(field.image), cut(field.variance), cut(field.mask)}, 0, 4);
    CHECK(strided.mean == direct.mean);
    CHECK(strided.rms == direct.rms);
    CHECK(strided.count == 81);
}

TEST_CASE("statistics from sums") {
    ResidualStatistics const result = residualStatistics(6.0, 14.0, 3);  // 1, 2, 3
    CHECK(result.mean == 2.0);
    CHECK(result.rms == doctest::Approx(1.0).epsilon(1e-15));
    CHECK(std::isnan(residualStatistics(0.0, 0.0, 0).mean));
    CHECK(residualStatistics(3.0, 9.0, 1).mean == 3.0);
    CHECK(std::isnan(residualStatistics(3.0, 9.0, 1).rms));
    // Three times 0.1: rounding leaves a variance of -1e-18, which must not become NaN.
    CHECK(residualStatistics(0.1 + 0.1 + 0.1, 0.01 + 0.01 + 0.01, 3).rms == doctest::Approx(0.0).epsilon(1e-8));
    // But sums that are NaN must not pass for residuals without scatter.
    CHECK(std::isnan(residualStatistics(std::nan(""), std::nan(""), 9).rms));
}

TEST_CASE("residuals that are not numbers are an error") {
    for (float const value : {notANumber, infinity}) {
        MaskedImage stamp(5, 4);
        stamp.image(2, 2) = value;
        CHECK_THROWS_WITH_AS((void)residualStatistics(stamp.views(), 0), doctest::Contains("residuals of 20 pixels"),
                             NumericalError);
    }
    MaskedImage stamp(5, 4);
    stamp.variance(0, 0) = -1.0F;
    CHECK_THROWS_WITH_AS((void)residualStatistics(stamp.views(), 0), doctest::Contains("negative variance"),
                         NumericalError);
    CHECK(residualStatistics(stamp.views(), 0, 1).count == 9);  // outside the core it does no harm
    MaskedImage const other(4, 5);
    CHECK_THROWS_WITH_AS((void)residualStatistics({stamp.views().image, other.views().variance, stamp.views().mask}, 0),
                         "residuals of 4x5 pixels with a variance or mask of another shape", std::invalid_argument);
    CHECK_THROWS_AS((void)residualStatistics({stamp.views().image, stamp.views().variance, other.views().mask}, 0),
                    std::invalid_argument);
}

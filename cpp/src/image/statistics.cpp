#include "psfmatch/image/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "psfmatch/base/exceptions.h"

namespace psfmatch {

namespace {

// Standard deviation of a Gaussian in units of its interquartile range.
constexpr double sigmaPerInterquartileRange = 0.741301109252802;

double sortedQuantile(std::vector<double> const& sorted, double fraction) {
    double const position = fraction * static_cast<double>(sorted.size() - 1);
    auto const lower = static_cast<std::size_t>(position);
    std::size_t const upper = std::min(lower + 1, sorted.size() - 1);
    return sorted[lower] + (position - static_cast<double>(lower)) * (sorted[upper] - sorted[lower]);
}

// The same of values that need not be sorted but are brought into another order. The fractions of several calls must
// ascend; `placed` counts the values that lie where sorting would put them, below all others; 0 at first.
double nextQuantile(std::vector<double>& values, double fraction, std::size_t& placed) {
    double const position = fraction * static_cast<double>(values.size() - 1);
    auto const lower = static_cast<std::size_t>(position);
    auto const at = values.begin() + static_cast<std::ptrdiff_t>(lower);
    std::nth_element(values.begin() + static_cast<std::ptrdiff_t>(placed), at, values.end());
    placed = lower;
    double const upper = lower + 1 < values.size() ? *std::min_element(at + 1, values.end()) : *at;
    return *at + (position - static_cast<double>(lower)) * (upper - *at);
}

void requireValues(std::vector<double> const& values, char const* what) {
    if (values.empty()) {
        throw NumericalError(std::string(what) + " of no values");
    }
    if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) {
        throw NumericalError(std::string(what) + " of values that are not all finite");
    }
}

template <typename Number>
Number middleOf(std::span<Number> values) {
    // Between two values of a small sample lies the middle of all, and few besides: the others are set aside without a
    // branch that depends on them, which a processor would guess wrong half of the time.
    constexpr std::size_t sampleSize = 64;
    constexpr std::size_t aside = 12;  // ranks of the sample; three standard deviations of that of the middle
    std::size_t lower = (values.size() - 1) / 2;
    std::size_t upper = values.size() / 2;
    while (values.size() > 4 * sampleSize) {
        std::array<Number, sampleSize> sample;
        for (std::size_t i = 0; i < sampleSize; ++i) {
            sample[i] = values[i * (values.size() / sampleSize)];
        }
        std::sort(sample.begin(), sample.end());
        Number const low = sample[sampleSize / 2 - aside];
        Number const high = sample[sampleSize / 2 + aside];
        std::size_t below = 0;
        std::size_t within = 0;
        for (Number const v : values) {
            below += v < low ? 1U : 0U;
            within += v >= low && v <= high ? 1U : 0U;
        }
        if (lower < below || upper >= below + within) {
            break;
        }
        if (low == high) {
            return low;
        }
        if (2 * within > values.size()) {
            break;
        }
        std::size_t kept = 0;
        for (Number const v : values) {
            values[kept] = v;
            kept += v >= low && v <= high ? 1U : 0U;
        }
        values = values.first(within);
        lower -= below;
        upper -= below;
    }
    auto const middle = values.begin() + static_cast<std::ptrdiff_t>(upper);
    std::nth_element(values.begin(), middle, values.end());
    return lower == upper ? *middle : Number(0.5) * (*middle + *std::max_element(values.begin(), middle));
}

}  // namespace

double quantile(std::vector<double> values, double fraction) {
    requireValues(values, "quantile");
    if (!(fraction >= 0.0 && fraction <= 1.0)) {
        throw std::invalid_argument("quantile fraction " + std::to_string(fraction) + " is outside [0, 1]");
    }
    std::sort(values.begin(), values.end());
    return sortedQuantile(values, fraction);
}

double median(std::vector<double> values) {
    requireValues(values, "median");
    return medianOf(values);
}

double medianOf(std::span<double> values) {
    return middleOf(values);
}

float medianOf(std::span<float> values) {
    return middleOf(values);
}

ClippedStatistics clippedStatistics(std::vector<double> const& values, ClippingControl const& control) {
    requireValues(values, "clipped statistics");
    std::vector<double> partitioned = values;
    ClippedStatistics result;
    std::size_t placed = 0;
    double const low = nextQuantile(partitioned, 0.25, placed);
    result.median = nextQuantile(partitioned, 0.5, placed);
    double const range = nextQuantile(partitioned, 0.75, placed) - low;

    double centre = result.median;
    double halfWidth = control.nSigma * sigmaPerInterquartileRange * range;
    result.mean = centre;
    for (int iteration = 0; iteration < control.nIterations; ++iteration) {
        double sum = 0.0;
        Index count = 0;
        for (double const v : values) {
            if (std::abs(v - centre) <= halfWidth) {
                sum += v;
                ++count;
            }
        }
        if (count == 0) {
            break;
        }
        double const mean = sum / static_cast<double>(count);
        double squares = 0.0;
        for (double const v : values) {
            if (std::abs(v - centre) <= halfWidth) {
                squares += (v - mean) * (v - mean);
            }
        }
        result.mean = mean;
        result.count = count;
        result.stdev = count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0.0;
        centre = result.mean;
        halfWidth = control.nSigma * result.stdev;
    }
    return result;
}

ResidualStatistics residualStatistics(MaskedImageView const& residual, MaskPixel badBits, Index coreRadius) {
    Index const height = residual.image.rows();
    Index const width = residual.image.cols();
    if (!haveOneShape(residual.image, residual.variance, residual.mask)) {
        throw std::invalid_argument("residuals of " + std::to_string(width) + "x" + std::to_string(height) +
                                    " pixels with a variance or mask of another shape");
    }
    Box region{0, 0, width, height};
    if (coreRadius >= 0) {
        region.x0 = std::max<Index>(0, width / 2 - coreRadius);
        region.y0 = std::max<Index>(0, height / 2 - coreRadius);
        region.width = std::min(width, width / 2 + coreRadius + 1) - region.x0;
        region.height = std::min(height, height / 2 + coreRadius + 1) - region.y0;
    }
    double sum = 0.0;
    double squares = 0.0;
    Index count = 0;
    for (Index y = region.y0; y < region.y0 + region.height; ++y) {
        for (Index x = region.x0; x < region.x0 + region.width; ++x) {
            double const inverse = 1.0 / static_cast<double>(residual.variance(y, x));
            if ((residual.mask(y, x) & badBits) != 0 || !std::isfinite(inverse)) {
                continue;
            }
            double const value = residual.image(y, x);
            sum += value * std::sqrt(inverse);
            squares += value * value * inverse;
            ++count;
        }
    }
    if (!std::isfinite(sum) || !std::isfinite(squares)) {
        throw NumericalError("residuals of " + std::to_string(count) +
                             " pixels hold NaN, infinity or a negative variance that no bad mask plane marks");
    }
    return residualStatistics(sum, squares, count);
}

ResidualStatistics residualStatistics(double sum, double squares, Index count) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    auto const n = static_cast<double>(count);
    ResidualStatistics result{nan, nan, count};
    if (count > 0) {
        result.mean = sum / n;
    }
    if (count > 1) {
        double const variance = (squares / n - result.mean * result.mean) * n / (n - 1.0);
        // Rounding may leave a shade below zero; NaN must stay NaN.
        result.rms = std::sqrt(variance < 0.0 ? 0.0 : variance);
    }
    return result;
}

}  // namespace psfmatch

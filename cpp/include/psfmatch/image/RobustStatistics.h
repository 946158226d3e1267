// Order statistics of lists: quantiles, medians, and the width that the median absolute deviation tells. A value of a
// wanted rank is looked for among the few that lie between two values of a sample (Floyd and Rivest 1975, Commun. ACM
// 18, 165), so that a list is read once and left as it is.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

// Standard deviation of a Gaussian in units of its median absolute deviation.
inline constexpr double sigmaPerMad = 1.4826;

// Quantile of n values, linear between the order statistics beside fraction * (n - 1); NaN of none. Values must not be
// NaN. `scratch` is room that calls of one thread share. For float and double.
template <typename Value>
[[nodiscard]] double quantileOf(std::span<Value const> values, double fraction, std::vector<Value>& scratch);

// The value before which `rank` others come in ascending order. Values must not be NaN.
template <typename Value>
[[nodiscard]] Value valueOfRank(std::span<Value const> values, std::size_t rank, std::vector<Value>& scratch);

struct MedianAndSigma {
    double median = std::numeric_limits<double>::quiet_NaN();
    double sigma = std::numeric_limits<double>::quiet_NaN();  // sigmaPerMad times the median absolute deviation
};

// Both NaN of no values. The values, none of them NaN, are replaced by their absolute deviations from the median.
template <typename Value>
[[nodiscard]] MedianAndSigma medianAndSigma(std::span<Value> values, std::vector<Value>& scratch);

}  // namespace psfmatch

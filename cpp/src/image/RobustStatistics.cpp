#include "psfmatch/image/RobustStatistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace psfmatch {

namespace {

constexpr std::size_t shortList = 512;  // below it a sample does not pay
constexpr std::size_t largestSample = 1024;
constexpr double sampleSigmas = 3.5;  // of the rank in the sample

// The values of ranks `rank` and `rank + 1`, or twice the last one.
template <typename Value>
std::pair<Value, Value> placed(std::span<Value> values, std::size_t rank) {
    auto const at = values.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(values.begin(), at, values.end());
    return {*at, at + 1 == values.end() ? *at : *std::min_element(at + 1, values.end())};
}

template <typename Value>
std::pair<Value, Value> neighbours(std::span<Value const> values, std::size_t rank, std::vector<Value>& scratch) {
    std::size_t const n = values.size();
    scratch.resize(n);
    if (n > shortList) {
        std::array<Value, largestSample> sample;
        std::size_t const size = std::min(largestSample, n / 8);
        for (std::size_t i = 0; i < size; ++i) {
            sample[i] = values[i * n / size];
        }
        double const share = static_cast<double>(rank) / static_cast<double>(n);
        double const middle = share * static_cast<double>(size);
        double const aside = sampleSigmas * std::sqrt(share * (1.0 - share) * static_cast<double>(size)) + 2.0;
        auto const last = static_cast<double>(size - 1);
        auto const lower = sample.begin() + static_cast<std::ptrdiff_t>(std::clamp(middle - aside, 0.0, last));
        auto const upper = sample.begin() + static_cast<std::ptrdiff_t>(std::clamp(middle + aside, 0.0, last));
        auto const end = sample.begin() + static_cast<std::ptrdiff_t>(size);
        std::nth_element(sample.begin(), upper, end);
        // Beyond the sample's ends may lie more.
        Value const high = middle + aside > last ? std::numeric_limits<Value>::infinity() : *upper;
        std::nth_element(sample.begin(), lower, upper);
        Value const low = middle - aside < 0.0 ? -std::numeric_limits<Value>::infinity() : *lower;
        std::size_t below = 0;
        std::size_t kept = 0;
        Value* const room = scratch.data();
        // Without branches, which would be guessed wrong.
        for (Value const v : values) {
            room[kept] = v;
            below += static_cast<std::size_t>(v < low);
            kept += static_cast<std::size_t>(v >= low) & static_cast<std::size_t>(v <= high);
        }
        if (rank >= below && rank + 1 < below + kept) {
            return placed(std::span<Value>(scratch).first(kept), rank - below);
        }
    }
    std::copy(values.begin(), values.end(), scratch.begin());
    return placed(std::span<Value>(scratch), rank);
}

}  // namespace

template <typename Value>
double quantileOf(std::span<Value const> values, double fraction, std::vector<Value>& scratch) {
    if (!(fraction >= 0.0 && fraction <= 1.0)) {
        throw std::invalid_argument("quantile fraction " + std::to_string(fraction) + " is outside [0, 1]");
    }
    if (values.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    double const place = fraction * static_cast<double>(values.size() - 1);
    auto const rank = static_cast<std::size_t>(place);
    auto const [first, second] = neighbours(values, rank, scratch);
    double const step = place - static_cast<double>(rank);
    // Both may be infinite.
    return step == 0.0 || first == second ? first : (1.0 - step) * first + step * second;
}

template <typename Value>
Value valueOfRank(std::span<Value const> values, std::size_t rank, std::vector<Value>& scratch) {
    if (rank >= values.size()) {
        throw std::invalid_argument("no rank " + std::to_string(rank) + " among " + std::to_string(values.size()) +
                                    " values");
    }
    return neighbours(values, rank, scratch).first;
}

template <typename Value>
MedianAndSigma medianAndSigma(std::span<Value> values, std::vector<Value>& scratch) {
    MedianAndSigma result;
    result.median = quantileOf<Value>(values, 0.5, scratch);
    auto const middle = static_cast<Value>(result.median);
    for (Value& v : values) {
        v = std::abs(v - middle);
    }
    result.sigma = sigmaPerMad * quantileOf<Value>(values, 0.5, scratch);
    return result;
}

template double quantileOf<float>(std::span<float const>, double, std::vector<float>&);
template double quantileOf<double>(std::span<double const>, double, std::vector<double>&);
template float valueOfRank<float>(std::span<float const>, std::size_t, std::vector<float>&);
template double valueOfRank<double>(std::span<double const>, std::size_t, std::vector<double>&);
template MedianAndSigma medianAndSigma<float>(std::span<float>, std::vector<float>&);
template MedianAndSigma medianAndSigma<double>(std::span<double>, std::vector<double>&);

}  // namespace psfmatch

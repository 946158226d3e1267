#include "psfmatch/image/RobustStatistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace psfmatch {

namespace {

constexpr std::size_t shortList = 128;  // below it a sample does not pay
constexpr std::size_t largestSample = 512;
constexpr double sampleSigmas = 3.0;  // of a rank in a sample, or between two values
constexpr std::size_t fewLeft = 64;   // that are put into order
constexpr int mostPasses = 4;
constexpr std::size_t blockSize = 16;

// The values of ranks `rank` and `rank + 1`, or twice the last one.
template <typename Value>
std::pair<Value, Value> placed(std::span<Value> values, std::size_t rank) {
    auto const at = values.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(values.begin(), at, values.end());
    return {*at, at + 1 == values.end() ? *at : *std::min_element(at + 1, values.end())};
}

// Two bounds, how many values lie below the first, and how many do not lie above the second.
template <typename Value>
struct Bracket {
    Value low;
    Value high;
    std::size_t below = 0;
    std::size_t upTo = 0;

    [[nodiscard]] bool holds(std::size_t rank, std::size_t n) const {
        return rank >= below && std::min(rank + 1, n - 1) < upTo;
    }
};

template <typename Value>
Bracket<Value> counted(std::span<Value const> values, Value low, Value high) {
    Bracket<Value> bracket{low, high};
    // Pieces whose counts fit an integer as wide as a float: such loops vectorise.
    constexpr std::size_t piece = std::size_t{1} << 20U;
    for (std::size_t start = 0; start < values.size(); start += piece) {
        std::int32_t below = 0;
        std::int32_t upTo = 0;
        for (Value const v : values.subspan(start, std::min(piece, values.size() - start))) {
            below += v < low ? 1 : 0;
            upTo += v <= high ? 1 : 0;
        }
        bracket.below += static_cast<std::size_t>(below);
        bracket.upTo += static_cast<std::size_t>(upTo);
    }
    return bracket;
}

// Bounds about a rank by an even choice of the values.
template <typename Value>
Bracket<Value> sampled(std::span<Value const> values, std::size_t rank) {
    constexpr Value infinite = std::numeric_limits<Value>::infinity();
    std::size_t const n = values.size();
    std::array<Value, largestSample> sample;
    std::size_t const size = std::min(largestSample, n / 16 + 24);
    for (std::size_t i = 0; i < size; ++i) {
        sample[i] = values[i * n / size];
    }
    double const share = static_cast<double>(rank) / static_cast<double>(n);
    double const middle = share * static_cast<double>(size);
    double const aside = sampleSigmas * std::sqrt(share * (1.0 - share) * static_cast<double>(size)) + 2.0;
    auto const last = static_cast<double>(size - 1);
    auto const at = [&](double place) {
        return sample.begin() + static_cast<std::ptrdiff_t>(std::clamp(place, 0.0, last));
    };
    auto const upper = at(middle + aside);
    auto const lower = at(middle - aside);
    std::nth_element(sample.begin(), upper, sample.begin() + static_cast<std::ptrdiff_t>(size));
    Value const high = *upper;
    std::nth_element(sample.begin(), lower, upper);
    // Beyond the sample's ends may lie more.
    return counted(values, middle - aside < 0.0 ? -infinite : *lower, middle + aside > last ? infinite : high);
}

// Bounds within others, where the values between those lie evenly.
template <typename Value>
Bracket<Value> narrowed(std::span<Value const> values, Bracket<Value> const& outer, std::size_t rank) {
    auto const count = static_cast<double>(outer.upTo - outer.below);
    double const width = static_cast<double>(outer.high) - static_cast<double>(outer.low);
    double const share = (static_cast<double>(rank - outer.below) + 1.0) / count;
    double const aside = (sampleSigmas * std::sqrt(std::max(share * (1.0 - share), 0.0) * count) + 2.0) / count;
    auto const at = [&](double place) { return static_cast<Value>(static_cast<double>(outer.low) + place * width); };
    Value const low = std::max(outer.low, at(share - aside));
    Value const high = std::min(outer.high, at(share + aside));
    Bracket<Value> inner = counted(values, low, high);
    // A bound that went too far tells where the other one is.
    if (rank < inner.below) {
        inner = {outer.low, low, outer.below, inner.below};
        inner.upTo = counted(values, low, low).upTo;
    } else if (!inner.holds(rank, values.size())) {
        inner = counted(values, high, outer.high);
    }
    return inner.holds(rank, values.size()) ? inner : outer;
}

template <typename Value>
std::pair<Value, Value> neighbours(std::span<Value const> values, std::size_t rank, std::vector<Value>& scratch) {
    std::size_t const n = values.size();
    if (n > shortList) {
        Bracket<Value> bracket = sampled(values, rank);
        for (int pass = 0; pass < mostPasses && bracket.holds(rank, n); ++pass) {
            bool const isBounded = std::isfinite(bracket.low) && std::isfinite(bracket.high);
            if (!isBounded || bracket.upTo - bracket.below <= fewLeft || bracket.low == bracket.high) {
                break;
            }
            bracket = narrowed(values, bracket, rank);
        }
        if (bracket.holds(rank, n)) {
            if (bracket.low == bracket.high) {
                return {bracket.low, bracket.low};
            }
            std::size_t const count = bracket.upTo - bracket.below;
            scratch.resize(count + 1);
            Value* next = scratch.data();
            for (std::size_t start = 0; start < n; start += blockSize) {
                std::span<Value const> const block = values.subspan(start, std::min(blockSize, n - start));
                std::int32_t nInside = 0;
                for (Value const v : block) {
                    nInside += (v >= bracket.low) & (v <= bracket.high) ? 1 : 0;
                }
                if (nInside == 0) {
                    continue;
                }
                // Written in any case: a branch would be mispredicted.
                for (Value const v : block) {
                    *next = v;
                    next += static_cast<std::ptrdiff_t>((v >= bracket.low) & (v <= bracket.high));
                }
            }
            return placed(std::span<Value>(scratch).first(count), rank - bracket.below);
        }
    }
    scratch.assign(values.begin(), values.end());
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

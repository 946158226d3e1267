// Order statistics of many values that stay where they are: values are counted in buckets, whose width a small sample
// tells, and only those of the bucket a statistic lies in are looked at one by one. The result is exact.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace psfmatch::detail {

class Quantiles {
public:
    // Values must be finite, and at least one.
    explicit Quantiles(std::span<float const> values) : values_(values) {
        std::size_t const nBuckets = std::clamp<std::size_t>(values.size() / 4, 1, mostBuckets);
        std::vector<float> sample;
        std::size_t const step = std::max<std::size_t>(1, values.size() / sampleSize);
        for (std::size_t i = step / 2; i < values.size(); i += step) {
            sample.push_back(values[i]);
        }
        std::sort(sample.begin(), sample.end());
        // Outliers share the first and the last bucket.
        float const low = sample[sample.size() / 16];
        float const high = sample[sample.size() - 1 - sample.size() / 16];
        float const last = static_cast<float>(nBuckets - 1);
        float const scale = high > low ? last / (high - low) : 0.0F;
        buckets_.resize(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            float const place = (values[i] - low) * scale;
            buckets_[i] = static_cast<std::int32_t>(std::min(last, std::max(0.0F, place)));
        }
        counts_.assign(nBuckets, 0);
        for (std::int32_t const bucket : buckets_) {
            ++counts_[static_cast<std::size_t>(bucket)];
        }
    }

    // By linear interpolation at fraction * (n - 1).
    [[nodiscard]] double at(double fraction) {
        double const place = fraction * static_cast<double>(values_.size() - 1);
        auto const lower = static_cast<std::size_t>(place);
        std::size_t below = 0;
        std::size_t first = 0;
        for (; below + counts_[first] <= lower; ++first) {
            below += counts_[first];
        }
        // The next value may be in a later bucket.
        std::size_t last = first;
        std::size_t count = counts_[first];
        while (below + count < std::min(lower + 2, values_.size())) {
            count += counts_[++last];
        }
        gather(first, last, count);
        auto const middle = near_.begin() + static_cast<std::ptrdiff_t>(lower - below);
        std::nth_element(near_.begin(), middle, near_.end());
        double const value = *middle;
        if (lower + 1 == values_.size()) {
            return value;
        }
        double const upper = *std::min_element(middle + 1, near_.end());
        return value + (place - static_cast<double>(lower)) * (upper - value);
    }

private:
    static constexpr std::size_t sampleSize = 64;
    static constexpr std::size_t mostBuckets = 4096;

    void gather(std::size_t first, std::size_t last, std::size_t count) {
        near_.resize(count + 1);
        std::size_t kept = 0;
        // Without a branch that a processor would guess wrong.
        for (std::size_t i = 0; i < values_.size(); ++i) {
            near_[kept] = values_[i];
            auto const bucket = static_cast<std::size_t>(buckets_[i]);
            kept += (bucket >= first) & (bucket <= last) ? 1U : 0U;
        }
        near_.resize(count);
    }

    std::span<float const> values_;
    std::vector<std::int32_t> buckets_;
    std::vector<std::size_t> counts_;
    std::vector<float> near_;
};

}  // namespace psfmatch::detail

#include "sources/sourcesSmoothing.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>

namespace psfmatch::detail {

namespace {

// result[x] = taps[0] centre[x] + sum over k > 0 of taps[k] (before(k)[x] + after(k)[x])
template <typename Before, typename After>
void addSymmetric(std::vector<float> const& taps, float const* centre, Before const& before, After const& after,
                  Index count, float* result) {
    auto const nTaps = static_cast<Index>(taps.size());
    float const middle = taps[0];
    for (Index x = 0; x < count; ++x) {
        result[x] = middle * centre[x];
    }
    Index k = 1;
    // Two at a time: fewer passes over the sums.
    for (; k + 1 < nTaps; k += 2) {
        float const tap = taps[static_cast<std::size_t>(k)];
        float const outerTap = taps[static_cast<std::size_t>(k) + 1];
        float const* const a = before(k);
        float const* const b = after(k);
        float const* const c = before(k + 1);
        float const* const d = after(k + 1);
        for (Index x = 0; x < count; ++x) {
            result[x] += tap * (a[x] + b[x]) + outerTap * (c[x] + d[x]);
        }
    }
    if (k < nTaps) {
        float const tap = taps[static_cast<std::size_t>(k)];
        float const* const a = before(k);
        float const* const b = after(k);
        for (Index x = 0; x < count; ++x) {
            result[x] += tap * (a[x] + b[x]);
        }
    }
}

}  // namespace

RowSmoother::RowSmoother(ConstImageView<float> const& plane, FilledPixels const& filled,
                         std::vector<double> const& profile, SmoothedPlane kind)
    : plane_(plane), filled_(filled), kind_(kind), radius_(static_cast<Index>(profile.size()) / 2) {
    for (auto i = static_cast<std::size_t>(radius_); i < profile.size(); ++i) {
        taps_.push_back(static_cast<float>(kind == SmoothedPlane::image ? profile[i] : profile[i] * profile[i]));
    }
    std::size_t const nRows = 2 * static_cast<std::size_t>(radius_) + 1;
    std::size_t const rowSize = static_cast<std::size_t>(smoothedWidth + 2 * radius_);
    copies_.resize(nRows * rowSize);
    rows_.resize(nRows);
    numbers_.assign(nRows, -1);
    nearby_.resize(nRows);
    sums_.resize(rowSize);
}

void RowSmoother::startColumns(Index x0, Index count) {
    x0_ = x0;
    count_ = count;
    std::fill(numbers_.begin(), numbers_.end(), -1);
}

float const* RowSmoother::rowOf(Index y) {
    auto const slot = static_cast<std::size_t>(y) % rows_.size();
    if (numbers_[slot] == y) {
        return rows_[slot];
    }
    numbers_[slot] = y;
    Index const first = x0_ - radius_;
    Index const count = count_ + 2 * radius_;
    float const* const row = plane_.data() + y * plane_.outerStride() + first;
    rows_[slot] = row;
    std::span<FilledPixel const> const all = filled_.row(y);
    auto pixel =
        std::lower_bound(all.begin(), all.end(), first, [](FilledPixel const& other, Index x) { return other.x < x; });
    if (pixel != all.end() && pixel->x < first + count) {
        float* const copy = copies_.data() + slot * sums_.size();
        std::copy(row, row + count, copy);
        for (; pixel != all.end() && pixel->x < first + count; ++pixel) {
            copy[pixel->x - first] = kind_ == SmoothedPlane::image ? pixel->value : pixel->variance;
        }
        rows_[slot] = copy;
    }
    return rows_[slot];
}

float const* RowSmoother::sumRows(Index y) {
    for (Index k = -radius_; k <= radius_; ++k) {
        nearby_[static_cast<std::size_t>(k + radius_)] = rowOf(y + k);
    }
    float const* const* const middle = nearby_.data() + radius_;
    addSymmetric(
        taps_, *middle, [middle](Index k) { return middle[-k]; }, [middle](Index k) { return middle[k]; },
        count_ + 2 * radius_, sums_.data());
    return sums_.data();
}

void RowSmoother::smooth(Index y, float* result) {
    float const* const middle = sumRows(y) + radius_;
    addSymmetric(
        taps_, middle, [middle](Index k) { return middle - k; }, [middle](Index k) { return middle + k; }, count_,
        result);
}

float RowSmoother::smoothedAt(float const* sums, Index i) const {
    float const* const middle = sums + radius_ + i;
    float result = taps_[0] * *middle;
    for (Index k = 1; k <= radius_; ++k) {
        result += taps_[static_cast<std::size_t>(k)] * (middle[-k] + middle[k]);
    }
    return result;
}

}  // namespace psfmatch::detail

#include "fit/RegionWindows.h"

#include <algorithm>
#include <limits>

namespace psfmatch::detail {

namespace {

float larger(float a, float b) {
    return a < b ? b : a;
}

// The largest of each stretch of `side`, beginning at every one of `count` values with side - 1 more behind them, in
// place: of stretches of 2, 4, 8, ... and of two that overlap.
void maxAhead(float* values, Index count, Index side, Index step) {
    Index length = 1;
    for (; 2 * length <= side; length *= 2) {
        Index const n = count + (side - 2 * length) * step;
        for (Index x = 0; x < n; ++x) {
            values[x] = larger(values[x], values[x + length * step]);
        }
    }
    Index const rest = (side - length) * step;
    for (Index x = 0; rest > 0 && x < count; ++x) {
        values[x] = larger(values[x], values[x + rest]);
    }
}

}  // namespace

void boxSum(RegionShape const& shape, Index side, float* values, WindowSpace& space) {
    Index const half = side / 2;
    space.row.assign(static_cast<std::size_t>(shape.stride + 2 * half), 0.0F);
    space.rows.assign(static_cast<std::size_t>((shape.height + 2 * half) * shape.stride), 0.0F);
    for (Index y = 0; y < shape.height; ++y) {
        std::copy_n(values + y * shape.stride, shape.width, space.row.data() + half);
        float* const sums = space.rows.data() + (y + half) * shape.stride;
        for (Index step = 0; step < side; ++step) {
            float const* const from = space.row.data() + step;
            for (Index x = 0; x < shape.stride; ++x) {
                sums[x] += from[x];
            }
        }
    }
    std::fill_n(values, shape.size(), 0.0F);
    for (Index step = 0; step < side; ++step) {
        float const* const from = space.rows.data() + step * shape.stride;
        for (Index x = 0; x < shape.size(); ++x) {
            values[x] += from[x];
        }
    }
}

void boxMax(RegionShape const& shape, Index side, float* values, WindowSpace& space) {
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    Index const half = side / 2;
    space.row.resize(static_cast<std::size_t>(shape.stride + 2 * half));
    space.rows.assign(static_cast<std::size_t>((shape.height + 2 * half) * shape.stride), lowest);
    for (Index y = 0; y < shape.height; ++y) {
        std::fill(space.row.begin(), space.row.end(), lowest);
        std::copy_n(values + y * shape.stride, shape.width, space.row.data() + half);
        maxAhead(space.row.data(), shape.stride, side, 1);
        std::copy_n(space.row.data(), shape.stride, space.rows.data() + (y + half) * shape.stride);
    }
    maxAhead(space.rows.data(), shape.size(), side, shape.stride);
    std::copy_n(space.rows.data(), shape.size(), values);
}

}  // namespace psfmatch::detail

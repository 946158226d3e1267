#include "fit/RegionVariance.h"

#include <algorithm>
#include <cmath>

namespace psfmatch::detail {

namespace {

// Of the sum of squares: rows or columns that are left out at each side, and what the products leave.
constexpr double outside = 1e-4;
constexpr double inside = 5e-4;

struct Range {
    Index first = 0;
    Index count = 0;
};

// What is left when the ends are taken off as long as they sum to little.
Range trimmed(std::vector<double> const& sums, double most) {
    Index first = 0;
    Index end = static_cast<Index>(sums.size());
    double left = 0.0;
    while (first < end - 1 && left + sums[static_cast<std::size_t>(first)] <= most) {
        left += sums[static_cast<std::size_t>(first++)];
    }
    double right = 0.0;
    while (end - 1 > first && right + sums[static_cast<std::size_t>(end - 1)] <= most) {
        right += sums[static_cast<std::size_t>(--end)];
    }
    return {first, end - first};
}

// Takes products of a column and a row off `rest` (height, width), each through its largest element (cross
// approximation); false if after maxTerms of them more than `most` is left. Returns how many.
bool separateSquares(std::vector<float>& rest, Index height, Index width, double most, VarianceSpace& space,
                     int& nTerms) {
    space.columns.resize(static_cast<std::size_t>(maxTerms * height));
    space.rows.resize(static_cast<std::size_t>(maxTerms * width));
    for (nTerms = 0; nTerms < maxTerms;) {
        double sum = 0.0;
        float largest = 0.0F;
        std::size_t pivot = 0;
        for (std::size_t i = 0; i < rest.size(); ++i) {
            float const value = std::abs(rest[i]);
            sum += static_cast<double>(value);
            if (value > largest) {
                largest = value;
                pivot = i;
            }
        }
        if (sum <= most) {
            return true;
        }
        Index const v = static_cast<Index>(pivot) / width;
        Index const u = static_cast<Index>(pivot) % width;
        float* const column = space.columns.data() + nTerms * height;
        float* const row = space.rows.data() + nTerms * width;
        float const scale = 1.0F / rest[pivot];
        for (Index j = 0; j < height; ++j) {
            column[j] = rest[static_cast<std::size_t>(j * width + u)] * scale;
        }
        std::copy_n(rest.data() + v * width, width, row);
        for (Index j = 0; j < height; ++j) {
            float* const to = rest.data() + j * width;
            float const factor = column[j];
            for (Index i = 0; i < width; ++i) {
                to[i] -= factor * row[i];
            }
        }
        ++nTerms;
    }
    double sum = 0.0;
    for (float const value : rest) {
        sum += static_cast<double>(std::abs(value));
    }
    return sum <= most;
}

}  // namespace

void convolveVariance(RowFunctions const& functions, RegionStamps const& stamps, Index k, float const* kernel,
                      float const* smoothed, VarianceSpace& space, float* variance) {
    RegionShape const& shape = stamps.shape;
    Index const width = stamps.kernelWidth;
    Index const height = stamps.kernelHeight;
    std::vector<double> alongX(static_cast<std::size_t>(width), 0.0);
    std::vector<double> alongY(static_cast<std::size_t>(height), 0.0);
    double total = 0.0;
    for (Index v = 0; v < height; ++v) {
        double sum = 0.0;
        for (Index u = 0; u < width; ++u) {
            double const value =
                std::abs(static_cast<double>(kernel[v * width + u]) * static_cast<double>(smoothed[v * width + u]));
            alongX[static_cast<std::size_t>(u)] += value;
            sum += value;
        }
        alongY[static_cast<std::size_t>(v)] = sum;
        total += sum;
    }
    std::fill_n(variance, shape.size(), 0.0F);
    Range const x = trimmed(alongX, outside * total);
    Range const y = trimmed(alongY, outside * total);
    space.squares.resize(static_cast<std::size_t>(x.count * y.count));
    auto const square = [&] {
        for (Index v = 0; v < y.count; ++v) {
            for (Index u = 0; u < x.count; ++u) {
                Index const place = (y.first + v) * width + x.first + u;
                space.squares[static_cast<std::size_t>(v * x.count + u)] = kernel[place] * smoothed[place];
            }
        }
    };
    square();
    auto const stride = static_cast<int>(shape.stride);
    auto const templateStride = static_cast<int>(stamps.templateStride);
    float const* const pixels = stamps.templateVariance.row(k).data() + y.first * stamps.templateStride + x.first;
    auto const nTapsX = static_cast<int>(x.count);
    auto const nTapsY = static_cast<int>(y.count);
    int nTerms = 0;
    if (!separateSquares(space.squares, y.count, x.count, inside * total, space, nTerms)) {
        square();
        for (Index j = 0; j < shape.height; ++j) {
            functions.accumulate({space.squares.data(), 0}, 1, nTapsX, nTapsY, nTapsX,
                                 {pixels + j * stamps.templateStride, templateStride}, stride,
                                 variance + j * shape.stride, stride);
        }
        return;
    }
    Index const nRows = shape.height + y.count - 1;
    Index const planeSize = nRows * shape.stride;
    space.planes.assign(static_cast<std::size_t>(std::max(nTerms, 1) * planeSize), 0.0F);
    for (Index j = 0; nTerms > 0 && j < nRows; ++j) {
        functions.accumulate({space.rows.data(), nTapsX}, nTerms, nTapsX, 1, nTapsX,
                             {pixels + j * stamps.templateStride, templateStride}, stride,
                             space.planes.data() + j * shape.stride, static_cast<int>(planeSize));
    }
    for (int term = 0; term < nTerms; ++term) {
        for (Index j = 0; j < shape.height; ++j) {
            functions.accumulate({space.columns.data() + term * y.count, 0}, 1, 1, nTapsY, 1,
                                 {space.planes.data() + term * planeSize + j * shape.stride, stride}, stride,
                                 variance + j * shape.stride, stride);
        }
    }
}

}  // namespace psfmatch::detail

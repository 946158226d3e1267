// Room for the search of blank sky in one window, for one thread, and the sums that a plane through a cell needs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "psfmatch/image/BlankSky.h"

namespace psfmatch::detail {

struct Cell {
    Index top;
    Index left;
    Index height;
    Index width;
};

// Weighted sums down each column of a cell; the widest cell sets how many there are.
struct ColumnSums {
    explicit ColumnSums(Index side) : count(side), value(side), row(side), rowSquared(side), rowValue(side) {}
    void clear() {
        for (Eigen::ArrayXf* sums : {&count, &value, &row, &rowSquared, &rowValue}) {
            sums->setZero();
        }
    }
    // One row, `place` rows below the first.
    void add(float const* weights, float const* image, float offset, float place, Index width) {
        addRow(weights, image, offset, place, width, count.data(), value.data(), row.data(), rowSquared.data(),
               rowValue.data());
    }

    Eigen::ArrayXf count, value, row, rowSquared, rowValue;

private:
    static void addRow(float const* __restrict weights, float const* __restrict image, float offset, float place,
                       Index width, float* __restrict counts, float* __restrict values, float* __restrict rows,
                       float* __restrict rowsSquared, float* __restrict rowValues) {
        for (Index x = 0; x < width; ++x) {
            float const weighted = weights[x] * (image[x] - offset);
            counts[x] += weights[x];
            values[x] += weighted;
            rows[x] += place * weights[x];
            rowsSquared[x] += place * place * weights[x];
            rowValues[x] += place * weighted;
        }
    }
};

// Room for one window, of one thread.
struct BlankSkyWorkspace {
    BlankSkyWorkspace(BlankSky const& sky, BlankSkyControl const& control)
        : sigmas(sky.windowSize()),
          weights(sky.windowSize()),
          sums(control.cellSide),
          list(static_cast<std::size_t>(control.cellSide * control.cellSide)) {
        // Eigen leaves them as they are: touched here, by the thread that makes them.
        sigmas.setZero();
        weights.setZero();
        scratch.reserve(list.size() + 1);
        paddedPulls.setZero(sky.height + 2 * control.smoothingHalf, sky.width + 2 * control.smoothingHalf);
        pullsAlong.setZero(paddedPulls.rows(), sky.width);
        smoothed.setZero(sky.height, sky.width);
        paddedSources.setZero(sky.height + 2 * control.growth, sky.width + 2 * control.growth);
        sourcesAlong.setZero(paddedSources.rows(), sky.width);
        sources.setZero(sky.height, sky.width);
    }

    Eigen::ArrayXf sigmas;   // infinite where a pixel is not good
    Eigen::ArrayXf weights;  // 1 where it counts
    ColumnSums sums;
    std::vector<float> list;
    std::vector<float> scratch;
    OwnedImage<float> paddedPulls, pullsAlong, smoothed;
    OwnedImage<std::uint8_t> paddedSources, sourcesAlong, sources;
};

// The first pixel of a row.
template <typename Pixel>
Pixel const* rowOf(ConstImageView<Pixel> const& image, Index y) {
    return image.data() + y * image.outerStride();
}

// Without short circuits: this must vectorise.
inline bool isUsable(float image, float variance, MaskPixel badPlanes) {
    constexpr float largest = std::numeric_limits<float>::max();
    return (badPlanes == 0) & (std::abs(image) <= largest) & (variance >= 0.0F) & (variance <= largest);
}

// Whether pixels are good is kept as numbers as wide as theirs: such loops vectorise.
inline void addRow(MaskedImageView const& from, MaskPixel badBits, Index y, Index left, float sign, Index width,
                   float* __restrict toImage, float* __restrict toVariance, float* __restrict weight) {
    float const* __restrict const image = rowOf(from.image, y) + left;
    float const* __restrict const variance = rowOf(from.variance, y) + left;
    MaskPixel const* __restrict const mask = rowOf(from.mask, y) + left;
    for (Index x = 0; x < width; ++x) {
        weight[x] = isUsable(image[x], variance[x], mask[x] & badBits) ? weight[x] : 0.0F;
        toImage[x] += sign * image[x];
        toVariance[x] += variance[x];
    }
}

inline void finishRow(Index width, float* __restrict image, float* __restrict variance, float* __restrict weight) {
    for (Index x = 0; x < width; ++x) {
        bool const isUsed = (weight[x] > 0.0F) & isUsable(image[x], variance[x], 0) & (variance[x] > 0.0F);
        weight[x] = isUsed ? 1.0F : 0.0F;
        image[x] = isUsed ? image[x] : 0.0F;
        variance[x] = isUsed ? variance[x] : 1.0F;
    }
}

// Combines the (2 half + 1)^2 pixels about each pixel of an image with a margin of `half`.
template <typename Pixel, typename Combine>
void overBox(OwnedImage<Pixel> const& padded, Index half, Combine const& combine, OwnedImage<Pixel>& along,
             OwnedImage<Pixel>& result) {
    Index const width = result.cols();
    for (Index y = 0; y < padded.rows(); ++y) {
        Pixel* __restrict const to = &along(y, 0);
        Pixel const* __restrict const from = &padded(y, 0);
        std::copy_n(from, width, to);
        for (Index step = 1; step <= 2 * half; ++step) {
            for (Index x = 0; x < width; ++x) {
                to[x] = static_cast<Pixel>(combine(to[x], from[x + step]));
            }
        }
    }
    for (Index y = 0; y < result.rows(); ++y) {
        Pixel* __restrict const to = &result(y, 0);
        std::copy_n(&along(y, 0), width, to);
        for (Index step = 1; step <= 2 * half; ++step) {
            Pixel const* __restrict const from = &along(y + step, 0);
            for (Index x = 0; x < width; ++x) {
                to[x] = static_cast<Pixel>(combine(to[x], from[x]));
            }
        }
    }
}

}  // namespace psfmatch::detail

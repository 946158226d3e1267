#include "psfmatch/image/badPixels.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

namespace psfmatch {

namespace {

constexpr Index rowsPerItem = 64;
constexpr Index scanWidth = 32;  // pixels of a row that are looked at together
constexpr std::int32_t none = -1;

// Variance and mask may be absent (null).
struct Planes {
    float const* image;
    float const* variance;
    MaskPixel const* mask;
    Index imageStride;
    Index varianceStride;
    Index maskStride;
    Index height;
    Index width;
    MaskPixel badBits;

    [[nodiscard]] float value(Index y, Index x) const { return image[y * imageStride + x]; }
    [[nodiscard]] float varianceAt(Index y, Index x) const {
        return variance == nullptr ? 0.0F : variance[y * varianceStride + x];
    }
    [[nodiscard]] MaskPixel planesAt(Index y, Index x) const {
        return mask == nullptr ? 0 : mask[y * maskStride + x] & badBits;
    }
    [[nodiscard]] bool isBadAt(Index y, Index x) const {
        return isBad(value(y, x), varianceAt(y, x), planesAt(y, x), badBits);
    }
};

template <typename Body>
void forRows(Index height, Execution const& execution, Body const& body) {
    parallelForBrief((height + rowsPerItem - 1) / rowsPerItem, execution, [&](Index item, int) {
        for (Index y = item * rowsPerItem; y < std::min(height, (item + 1) * rowsPerItem); ++y) {
            body(y);
        }
    });
}

int countBad(Planes const& planes, Index y, Index begin, Index end) {
    float const* const image = planes.image + y * planes.imageStride;
    int count = 0;
    if (planes.mask == nullptr) {
        for (Index x = begin; x < end; ++x) {
            count += isBad(image[x], 0.0F, 0, 0) ? 1 : 0;
        }
        return count;
    }
    float const* const variance = planes.variance + y * planes.varianceStride;
    MaskPixel const* const mask = planes.mask + y * planes.maskStride;
    for (Index x = begin; x < end; ++x) {
        count += isBad(image[x], variance[x], mask[x], planes.badBits) ? 1 : 0;
    }
    return count;
}

FilledPixels findBadPixels(Planes const& planes, Execution const& execution) {
    FilledPixels fill;
    fill.rowStart.assign(static_cast<std::size_t>(planes.height) + 1, 0);
    Index* const rowStart = fill.rowStart.data();
    Index const nItems = (planes.height + rowsPerItem - 1) / rowsPerItem;
    std::vector<std::vector<FilledPixel>> found(static_cast<std::size_t>(nItems));
    forRows(planes.height, execution, [&](Index y) {
        std::vector<FilledPixel>& pixels = found[static_cast<std::size_t>(y / rowsPerItem)];
        std::size_t const before = pixels.size();
        // Most stretches of a row hold no bad pixel.
        for (Index begin = 0; begin < planes.width; begin += scanWidth) {
            Index const end = std::min(planes.width, begin + scanWidth);
            if (countBad(planes, y, begin, end) == 0) {
                continue;
            }
            for (Index x = begin; x < end; ++x) {
                if (planes.isBadAt(y, x)) {
                    pixels.push_back({static_cast<std::int32_t>(x), 0.0F, 0.0F, planes.planesAt(y, x)});
                }
            }
        }
        rowStart[y + 1] = static_cast<Index>(pixels.size() - before);
    });
    for (Index y = 0; y < planes.height; ++y) {
        rowStart[y + 1] += rowStart[y];
    }
    fill.pixels.reserve(static_cast<std::size_t>(rowStart[planes.height]));
    for (std::vector<FilledPixel>& pixels : found) {
        fill.pixels.insert(fill.pixels.end(), pixels.begin(), pixels.end());
        pixels = {};
    }
    return fill;
}

// Row of the nearest good pixel in the same column for each bad pixel, or none; `step` is 1 to look towards
// smaller y, -1 towards larger y.
std::vector<std::int32_t> nearestInColumn(FilledPixels const& fill, Index height, Index width, Index step) {
    std::vector<std::int32_t> nearest(fill.pixels.size(), none);
    // Of the last bad pixel met in each column. It starts as if the row outside the image were bad.
    std::vector<Index> badRow(static_cast<std::size_t>(width), step > 0 ? -1 : height);
    std::vector<std::int32_t> goodRow(static_cast<std::size_t>(width), none);
    for (Index i = 0; i < height; ++i) {
        Index const y = step > 0 ? i : height - 1 - i;
        Index const begin = fill.rowStart[static_cast<std::size_t>(y)];
        Index const end = fill.rowStart[static_cast<std::size_t>(y) + 1];
        for (Index k = begin; k < end; ++k) {
            auto const x = static_cast<std::size_t>(fill.pixels[static_cast<std::size_t>(k)].x);
            if (badRow[x] != y - step) {
                goodRow[x] = static_cast<std::int32_t>(y - step);
            }
            badRow[x] = y;
            nearest[static_cast<std::size_t>(k)] = goodRow[x];
        }
    }
    return nearest;
}

struct Estimate {
    double value = 0.0;
    double variance = 0.0;
    double noise = 0.0;  // variance of the value, were the light even
};

Estimate meanOfGoodPixels(Planes const& planes, Execution const& execution) {
    struct Sums {
        double values = 0.0;
        double squares = 0.0;
        double variances = 0.0;
        Index count = 0;
    };
    std::vector<Sums> rows(static_cast<std::size_t>(planes.height));
    forRows(planes.height, execution, [&](Index y) {
        Sums sums;
        for (Index x = 0; x < planes.width; ++x) {
            if (!planes.isBadAt(y, x)) {
                double const value = planes.value(y, x);
                sums.values += value;
                sums.squares += value * value;
                sums.variances += planes.varianceAt(y, x);
                ++sums.count;
            }
        }
        rows[static_cast<std::size_t>(y)] = sums;
    });
    Sums total;
    for (Sums const& row : rows) {
        total.values += row.values;
        total.squares += row.squares;
        total.variances += row.variances;
        total.count += row.count;
    }
    if (total.count == 0) {
        return {};
    }
    auto const n = static_cast<double>(total.count);
    double const mean = total.values / n;
    return {mean, total.variances / n + std::max(0.0, total.squares / n - mean * mean)};
}

class Neighbours {
public:
    void add(Planes const& planes, Index y, Index x, Index distance) {
        auto const i = static_cast<std::size_t>(count_++);
        weights_[i] = 1.0 / static_cast<double>(distance);
        values_[i] = planes.value(y, x);
        variances_[i] = planes.varianceAt(y, x);
        farthest_ = std::max(farthest_, distance);
        nBeside_ += distance == 1 ? 1 : 0;
    }

    // On all four sides, one of them at most a pixel away from being beside the pixel.
    [[nodiscard]] bool areClose() const { return count_ == 4 && nBeside_ >= 3 && farthest_ <= 2; }

    [[nodiscard]] bool empty() const { return count_ == 0; }

    [[nodiscard]] Estimate mean() const {
        double weight = 0.0;
        double value = 0.0;
        for (std::size_t i = 0; i < count_; ++i) {
            weight += weights_[i];
            value += weights_[i] * values_[i];
        }
        value /= weight;
        double propagated = 0.0;
        double scatter = 0.0;
        double largest = 0.0;
        for (std::size_t i = 0; i < count_; ++i) {
            double const w = weights_[i] / weight;
            propagated += w * w * variances_[i];
            scatter += w * (values_[i] - value) * (values_[i] - value);
            largest = std::max(largest, variances_[i]);
        }
        return {value, std::max(propagated + scatter, largest), propagated};
    }

private:
    std::array<double, 4> weights_ = {};
    std::array<double, 4> values_ = {};
    std::array<double, 4> variances_ = {};
    std::size_t count_ = 0;
    Index farthest_ = 0;
    int nBeside_ = 0;
};

// Whether the four diagonal neighbours are good, and their mean is the fill within its noise and theirs.
bool isEven(Planes const& planes, Index y, Index x, Estimate const& fill) {
    constexpr double limit = 2.0;  // sigma
    if (y < 1 || x < 1 || y + 1 >= planes.height || x + 1 >= planes.width) {
        return false;
    }
    double sum = 0.0;
    double variance = 0.0;
    for (Index const row : {y - 1, y + 1}) {
        for (Index const column : {x - 1, x + 1}) {
            if (planes.isBadAt(row, column)) {
                return false;
            }
            sum += planes.value(row, column);
            variance += planes.varianceAt(row, column);
        }
    }
    double const difference = fill.value - sum / 4.0;
    return difference * difference <= limit * limit * (fill.noise + variance / 16.0);
}

FilledPixels fillPlanes(Planes const& planes, Execution const& execution) {
    FilledPixels fill = findBadPixels(planes, execution);
    if (fill.empty()) {
        return fill;
    }
    auto const below = nearestInColumn(fill, planes.height, planes.width, 1);
    auto const above = nearestInColumn(fill, planes.height, planes.width, -1);

    auto const neighboursOf = [&](Index y, Index k, Index left, Index right) {
        auto const i = static_cast<std::size_t>(k);
        Index const x = fill.pixels[i].x;
        Neighbours neighbours;
        if (left >= 0) {
            neighbours.add(planes, y, left, x - left);
        }
        if (right < planes.width) {
            neighbours.add(planes, y, right, right - x);
        }
        if (below[i] != none) {
            neighbours.add(planes, below[i], x, y - below[i]);
        }
        if (above[i] != none) {
            neighbours.add(planes, above[i], x, above[i] - y);
        }
        return neighbours;
    };

    // A pixel has no neighbour only where both its row and its column are bad from end to end.
    Estimate fallback;
    bool isolated = false;
    for (Index y = 0; y < planes.height && !isolated; ++y) {
        Index const begin = fill.rowStart[static_cast<std::size_t>(y)];
        bool const rowIsBad = fill.rowStart[static_cast<std::size_t>(y) + 1] - begin == planes.width;
        for (Index k = begin; rowIsBad && k < begin + planes.width; ++k) {
            auto const i = static_cast<std::size_t>(k);
            isolated = isolated || (below[i] == none && above[i] == none);
        }
    }
    if (isolated) {
        fallback = meanOfGoodPixels(planes, execution);
    }

    forRows(planes.height, execution, [&](Index y) {
        Index const end = fill.rowStart[static_cast<std::size_t>(y) + 1];
        Index runEnd = fill.rowStart[static_cast<std::size_t>(y)];
        while (runEnd < end) {
            Index const runBegin = runEnd;
            Index const left = fill.pixels[static_cast<std::size_t>(runBegin)].x - Index{1};
            Index right = left + 1;
            while (runEnd < end && fill.pixels[static_cast<std::size_t>(runEnd)].x == right) {
                ++runEnd;
                ++right;
            }
            for (Index k = runBegin; k < runEnd; ++k) {
                Neighbours const neighbours = neighboursOf(y, k, left, right);
                Estimate const estimate = neighbours.empty() ? fallback : neighbours.mean();
                FilledPixel& pixel = fill.pixels[static_cast<std::size_t>(k)];
                pixel.value = static_cast<float>(estimate.value);
                pixel.variance = static_cast<float>(estimate.variance);
                pixel.isSafe = neighbours.areClose() && isEven(planes, y, pixel.x, estimate);
            }
        }
    });
    return fill;
}

}  // namespace

std::span<FilledPixel const> FilledPixels::row(Index y) const {
    if (y < 0 || y + 1 >= static_cast<Index>(rowStart.size())) {
        return {};
    }
    auto const i = static_cast<std::size_t>(y);
    return {pixels.data() + rowStart[i], static_cast<std::size_t>(rowStart[i + 1] - rowStart[i])};
}

FilledPixels fillBadPixels(MaskedImageView const& input, MaskPixel badBits, Execution const& execution) {
    if (!haveOneShape(input.image, input.variance, input.mask)) {
        throw std::invalid_argument("image, variance and mask must have one shape");
    }
    return fillPlanes(
        {input.image.data(), input.variance.data(), input.mask.data(), input.image.outerStride(),
         input.variance.outerStride(), input.mask.outerStride(), input.image.rows(), input.image.cols(), badBits},
        execution);
}

FilledPixels fillBadPixels(ConstImageView<float> const& image, Execution const& execution) {
    return fillPlanes({image.data(), nullptr, nullptr, image.outerStride(), 0, 0, image.rows(), image.cols(), 0},
                      execution);
}

void writeFill(FilledPixels const& fill, ImageView<float> image, ImageView<float> variance) {
    auto const height = static_cast<Index>(fill.rowStart.size()) - 1;
    if (image.rows() != height || variance.rows() != height || image.cols() != variance.cols()) {
        throw std::invalid_argument("the fill of " + std::to_string(height) + " rows does not belong to images of " +
                                    std::to_string(image.rows()) + " and " + std::to_string(variance.rows()) + " rows");
    }
    for (Index y = 0; y < height; ++y) {
        for (FilledPixel const& pixel : fill.row(y)) {
            image(y, pixel.x) = pixel.value;
            variance(y, pixel.x) = pixel.variance;
        }
    }
}

}  // namespace psfmatch

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include "psfmatch/image/RobustStatistics.h"
#include "psfmatch/sources/SourceResiduals.h"

namespace psfmatch {

namespace {

// The first pixel of a row.
template <typename Pixel>
Pixel const* rowOf(ConstImageView<Pixel> const& image, Index y) {
    return image.data() + y * image.outerStride();
}

constexpr float largest = std::numeric_limits<float>::max();
constexpr Index skySample = 100'000;
constexpr Index bandBlocks = 8;

// Leaves at most so many of a list: the first half of them, and an even choice of the others.
template <typename Item>
void keepSome(std::vector<Item>& items, Index most) {
    auto const size = static_cast<Index>(items.size());
    if (size <= most) {
        return;
    }
    Index const first = most / 2;
    double const step =
        static_cast<double>(size - 1 - first) / static_cast<double>(std::max<Index>(most - first - 1, 1));
    for (Index i = first; i < most; ++i) {
        Index const at = first + static_cast<Index>(static_cast<double>(i - first) * step);
        items[static_cast<std::size_t>(i)] = items[static_cast<std::size_t>(std::min(at, size - 1))];
    }
    items.resize(static_cast<std::size_t>(most));
}

struct Sky {
    double level = std::numeric_limits<double>::quiet_NaN();
    double spread = std::numeric_limits<double>::quiet_NaN();
};

// Median, and scatter below it, where no sources are, of some good pixels.
Sky skyOf(MaskedImageView const& input, MaskPixel badBits) {
    auto const step =
        std::max<Index>(1, static_cast<Index>(std::sqrt(static_cast<double>(input.image.size() / skySample))));
    std::vector<float> pixels;
    double most = 0.0;
    for (Index y = 0; y < input.image.rows(); y += step) {
        for (Index x = 0; x < input.image.cols(); x += step) {
            float const value = input.image(y, x);
            if ((input.mask(y, x) & badBits) == 0 && std::abs(value) <= largest) {
                pixels.push_back(value);
                most = std::max<double>(most, std::abs(value));
            }
        }
    }
    if (pixels.empty()) {
        return {};
    }
    std::vector<float> scratch;
    double const level = quantileOf<float>(pixels, 0.5, scratch);
    std::vector<float> below;
    for (float const value : pixels) {
        if (value <= level) {
            below.push_back(static_cast<float>(level - value));
        }
    }
    return {level, std::max(sigmaPerMad * quantileOf<float>(below, 0.5, scratch), 1e-9 * most + 1e-30)};
}

struct Block {
    Index row = 0;
    Index column = 0;
    float highest = 0.0F;
};

struct Place {
    Index y = 0;
    Index x = 0;
};

class PeakFinder {
public:
    PeakFinder(MaskedImageView const& input, PeaksControl const& control, Sky const& sky)
        : input_(input), control_(control), sky_(sky) {}

    // The blocks of a row of them: their highest good pixels, -infinity without, and which have the saturation plane.
    void lookThrough(Index row, float* highest, std::uint8_t* hasSaturated, Index count) const {
        Index const side = control_.block;
        std::fill_n(highest, count, -std::numeric_limits<float>::infinity());
        std::fill_n(hasSaturated, count, std::uint8_t{0});
        std::vector<float> columns(static_cast<std::size_t>(count * side), -std::numeric_limits<float>::infinity());
        std::vector<MaskPixel> planes(columns.size(), 0);
        for (Index y = row * side; y < (row + 1) * side; ++y) {
            float const* const image = rowOf(input_.image, y);
            MaskPixel const* const mask = rowOf(input_.mask, y);
            for (std::size_t x = 0; x < columns.size(); ++x) {
                bool const isGood = ((mask[x] & control_.badBits) == 0) & (std::abs(image[x]) <= largest);
                float const value = isGood ? image[x] : -std::numeric_limits<float>::infinity();
                columns[x] = columns[x] < value ? value : columns[x];
                planes[x] |= mask[x];
            }
        }
        for (std::size_t x = 0; x < columns.size(); ++x) {
            std::size_t const block = x / static_cast<std::size_t>(side);
            highest[block] = std::max(highest[block], columns[x]);
            hasSaturated[block] |= (planes[x] & control_.saturated) != 0 ? 1 : 0;
        }
    }

    // The first of the highest good pixels of a block.
    [[nodiscard]] Place highestOf(Block const& block) const {
        Place best{block.row * control_.block, block.column * control_.block};
        float most = -std::numeric_limits<float>::infinity();
        for (Index y = block.row * control_.block; y < (block.row + 1) * control_.block; ++y) {
            for (Index x = block.column * control_.block; x < (block.column + 1) * control_.block; ++x) {
                float const value = input_.image(y, x);
                if (value > most && value <= largest && (input_.mask(y, x) & control_.badBits) == 0) {
                    most = value;
                    best = {y, x};
                }
            }
        }
        return best;
    }

    [[nodiscard]] bool isPeak(Place const& place) const {
        if (std::min(place.x, place.y) < 1 || place.x > input_.image.cols() - 2 || place.y > input_.image.rows() - 2) {
            return false;
        }
        double const peak = input_.image(place.y, place.x);
        double sum = 0.0;
        double most = peak;
        for (Index y = place.y - 1; y <= place.y + 1; ++y) {
            for (Index x = place.x - 1; x <= place.x + 1; ++x) {
                double const value = input_.image(y, x);
                sum += std::isnan(value) ? sky_.level : value;
                most = std::max(most, value);  // keeps the first where the second is NaN
            }
        }
        double const noise =
            std::sqrt(std::max(static_cast<double>(input_.variance(place.y, place.x)), sky_.spread * sky_.spread));
        double const sharpness = (sum - peak - 8.0 * sky_.level) / (8.0 * (peak - sky_.level));
        // A block beside a bright source has its highest pixel on the border, below its neighbour.
        return peak - sky_.level > control_.peakSigmas * noise && sharpness > control_.leastSharpness && peak >= most;
    }

private:
    MaskedImageView input_;
    PeaksControl control_;
    Sky sky_;
};

}  // namespace

Peaks findPeaks(MaskedImageView const& input, PeaksControl const& control, Execution const& execution) {
    if (control.block < 1) {
        throw std::invalid_argument("blocks must have pixels");
    }
    Index const nColumns = input.image.cols() / control.block;
    Peaks result;
    Sky const sky = skyOf(input, control.badBits);
    if (nColumns < 1 || !std::isfinite(sky.level)) {
        return result;
    }
    Index const every = std::max<Index>(1, (input.image.size() + control.maxPixels - 1) / control.maxPixels);
    std::vector<Index> rows;
    for (Index row = 0; row < input.image.rows() / control.block; ++row) {
        if (row / bandBlocks % every == 0) {
            rows.push_back(row);
        }
    }
    auto const nRows = static_cast<Index>(rows.size());
    PeakFinder const finder(input, control, sky);
    OwnedImage<float> highest(nRows, nColumns);
    OwnedImage<std::uint8_t> hasSaturated(nRows, nColumns);
    parallelFor(nRows, execution, [&](Index i, int) {
        finder.lookThrough(rows[static_cast<std::size_t>(i)], highest.data() + i * nColumns,
                           hasSaturated.data() + i * nColumns, nColumns);
    });
    auto const limit = static_cast<float>(sky.level + control.peakSigmas * sky.spread);
    std::vector<Block> blocks;
    Index nSaturated = 0;
    for (Index i = 0; i < nRows; ++i) {
        for (Index j = 0; j < nColumns; ++j) {
            if (highest(i, j) > limit) {
                blocks.push_back({rows[static_cast<std::size_t>(i)], j, highest(i, j)});
            }
            // A star and what bleeds from it reach over blocks side by side: the first of them counts.
            bool const isFirst = hasSaturated(i, j) != 0 && (i == 0 || hasSaturated(i - 1, j) == 0) &&
                                 (j == 0 || hasSaturated(i, j - 1) == 0);
            nSaturated += isFirst ? 1 : 0;
        }
    }
    std::sort(blocks.begin(), blocks.end(), [](Block const& a, Block const& b) {
        return std::tuple(-a.highest, a.row, a.column) < std::tuple(-b.highest, b.row, b.column);
    });
    auto const nFound = static_cast<double>(blocks.size());
    std::vector<Place> peaks;
    keepSome(blocks, control.maxBlocks);
    for (Block const& block : blocks) {
        Place const place = finder.highestOf(block);
        if (finder.isPeak(place)) {
            peaks.push_back(place);
        }
    }
    auto const nPeaks = static_cast<double>(peaks.size()) * nFound / std::max(static_cast<double>(blocks.size()), 1.0);
    if (nSaturated > 0) {
        result.saturatedFraction = static_cast<double>(nSaturated) / (static_cast<double>(nSaturated) + nPeaks);
    }
    keepSome(peaks, control.maxSources);
    for (Place const& place : peaks) {
        result.x.push_back(place.x);
        result.y.push_back(place.y);
    }
    return result;
}

}  // namespace psfmatch

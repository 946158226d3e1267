#include "sources/SharpPixelsCandidates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "simd/pixelFunctions.h"

namespace psfmatch::detail {

namespace {

constexpr float largest = std::numeric_limits<float>::max();
constexpr double neighbourStep = 4.0;  // standard deviations between candidates and what lies beside them
constexpr double holeStep = 5.0;
constexpr Index block = stepBlock;
// So many pixels from the border all that are compared lie within the image.
constexpr Index reach = 2;

// What light in a tile must exceed; no pixel is less noisy than its tile, and no contrast that is allowed is smaller.
struct TileLimits {
    StepLimits steps;
    double peak;
    double hole;
    double beside;  // of what exceeds the brighter neighbour's share
    double pair;    // the same of two pixels that share the light
    double mean;    // the same of the mean of four neighbours
};

class CandidateSearch {
public:
    CandidateSearch(MaskedImageView const& input, SharpPixelsControl const& control, SkyTiles const& tiles)
        : input_(input),
          control_(control),
          height_(input.image.rows()),
          width_(input.image.cols()),
          stride_(input.image.outerStride()),
          pixels_(choosePixelFunctions(InstructionSet::automatic)),
          contrast_(std::min({control.leastContrast, control.fewContrast, control.unknownContrast})) {
        for (std::size_t i = 0; i < tiles.levels.size(); ++i) {
            auto const sigma = static_cast<double>(tiles.sigmas[i]);
            // As the judge weighs them, so that rounding is the same.
            auto const noiseOf = [&](double contrast, double other) {
                return control.significance * std::sqrt(sigma * sigma + contrast * contrast * other);
            };
            StepLimits const steps{tiles.levels[i], static_cast<float>(control.brightness) * tiles.sigmas[i],
                                   static_cast<float>(neighbourStep) * tiles.sigmas[i],
                                   static_cast<float>(holeStep) * tiles.sigmas[i]};
            limits_.push_back({steps, peakBrightness * std::sqrt(sigma * sigma),
                               holeSignificance * std::sqrt(sigma * sigma), noiseOf(contrast_, sigma * sigma),
                               noiseOf(contrast_ * contrast_, sigma * sigma),
                               noiseOf(contrast_, 0.25 * sigma * sigma)});
        }
    }

    void searchRow(Index y, TileLimits const* tiles, SharpCandidates& found) const {
        float const* const row = input_.image.data() + y * stride_;
        bool const isInside = y >= reach && y + reach < height_;
        for (Index start = 0; start < width_; start += block) {
            TileLimits const& tile = tiles[start / tileSide];
            Index const stop = std::min(width_, start + block);
            bool const isFull = isInside && start >= reach && stop + reach <= width_ && stop - start == block;
            if (isFull) {
                searchBlock(row, y, start, tile, found);
                continue;
            }
            for (Index x = start; x < stop; ++x) {
                bool const isDeep = isInside && x >= 1 && x + 1 < width_;
                if (isLit(row[x], tile) && (!isInside || x < reach || x + reach >= width_ || isStep(row + x, tile))) {
                    sort(y, x, tile, found);
                }
                if (isDeep && isHole(row + x, tile)) {
                    addHole(y, x, tile, found);
                }
            }
        }
    }

    [[nodiscard]] TileLimits const* limitsOf(std::size_t firstTile) const { return limits_.data() + firstTile; }

private:
    static bool isLit(float value, TileLimits const& tile) {
        float const light = std::abs(value - tile.steps.level);
        return (light > tile.steps.brightness) & (light <= largest);
    }

    // The next along either axis are no brighter by the step that counts, nor the next but one beside two pixels that
    // share the light.
    [[nodiscard]] bool isStep(float const* pixel, TileLimits const& tile) const {
        float const sign = pixel[0] > tile.steps.level ? 1.0F : -1.0F;
        return isStepAlong(pixel, 1, sign, tile.steps.step) | isStepAlong(pixel, stride_, sign, tile.steps.step);
    }

    static bool isStepAlong(float const* pixel, Index step, float sign, float least) {
        float const own = sign * pixel[0];
        float const before = sign * pixel[-step];
        float const after = sign * pixel[step];
        return (own - std::max(before, after) > least) |
               (std::min(own, after) - std::max(before, sign * pixel[2 * step]) > least) |
               (std::min(own, before) - std::max(after, sign * pixel[-2 * step]) > least);
    }

    [[nodiscard]] bool isHole(float const* pixel, TileLimits const& tile) const {
        float const around = std::min(std::min(pixel[-1], pixel[1]), std::min(pixel[-stride_], pixel[stride_]));
        return around > pixel[0] + tile.steps.depth;
    }

    // Without a branch for each pixel: most blocks hold no light, and most light is that of stars.
    void searchBlock(float const* row, Index y, Index start, TileLimits const& tile, SharpCandidates& found) const {
        std::array<unsigned char, stepBlock> flags{};
        pixels_.flagSteps(row + start, static_cast<int>(stride_), tile.steps, flags.data());
        for (std::size_t first = 0; first < flags.size(); first += sizeof(std::uint64_t)) {
            std::uint64_t eight = 0;
            std::memcpy(&eight, flags.data() + first, sizeof eight);
            for (std::size_t i = first; eight != 0 && i < first + sizeof eight; ++i) {
                Index const x = start + static_cast<Index>(i);
                if ((flags[i] & stepFlag) != 0) {
                    sort(y, x, tile, found);
                }
                if ((flags[i] & holeFlag) != 0) {
                    addHole(y, x, tile, found);
                }
            }
        }
    }

    void sort(Index y, Index x, TileLimits const& tile, SharpCandidates& found) const {
        Index const place = y * width_ + x;
        bool const isInside = y >= reach && x >= reach && y + reach < height_ && x + reach < width_;
        float const* const pixel = input_.image.data() + y * stride_ + x;
        bool const isPlain = isInside && !mayBeSharp(pixel, tile) && isUsable(input_, control_.badBits, y, x - 1) &&
                             isUsable(input_, control_.badBits, y, x + 1) &&
                             isUsable(input_, control_.badBits, y - 1, x) &&
                             isUsable(input_, control_.badBits, y + 1, x);
        (isPlain ? found.plain : found.suspects).push_back(place);
        if (y >= 1 && x >= 1 && y + 1 < height_ && x + 1 < width_ && isPeak(pixel, tile)) {
            found.peaks.push_back(place);
        }
    }

    // The least that the judge asks: neighbours as little noisy as any, and no noise of what is expected from them.
    void addHole(Index y, Index x, TileLimits const& tile, SharpCandidates& found) const {
        float const* const pixel = input_.image.data() + y * stride_ + x;
        double const level = tile.steps.level;
        double const least =
            std::min({pixel[-1] - level, pixel[1] - level, pixel[-stride_] - level, pixel[stride_] - level});
        if (least / contrast_ - std::max(pixel[0] - level, 0.0) > tile.hole) {
            found.holes.push_back(y * width_ + x);
        }
    }

    // What the judge asks, of pixels that all count and are as little noisy as any.
    [[nodiscard]] bool mayBeSharp(float const* pixel, TileLimits const& tile) const {
        double const level = tile.steps.level;
        double const sign = level > pixel[0] ? -1.0 : 1.0;
        auto const light = [&](Index offset) { return sign * (pixel[offset] - level); };
        double const own = light(0);
        double const square = contrast_ * contrast_;
        double sum = 0.0;
        for (Index const step : {Index{1}, stride_}) {
            double const before = light(-step);
            double const after = light(step);
            sum += before + after;
            if (own - contrast_ * std::max(before > after ? before : after, 0.0) > tile.beside) {
                return true;
            }
            for (Index const side : {-1, 1}) {
                double const partner = side < 0 ? before : after;
                double const flank = side < 0 ? after : before;
                double const second = light(2 * side * step);
                if ((partner < own ? partner : own) - square * std::max(flank > second ? flank : second, 0.0) >
                    tile.pair) {
                    return true;
                }
            }
        }
        return own - contrast_ * std::max(0.25 * sum, 0.0) > tile.mean;
    }

    [[nodiscard]] bool isPeak(float const* pixel, TileLimits const& tile) const {
        double const level = tile.steps.level;
        double const own = pixel[0] - level;
        if (!(own > tile.peak)) {
            return false;
        }
        bool isBrighter = false;
        for (Index const step : {-stride_, Index{0}, stride_}) {
            for (Index const aside : {-1, 0, 1}) {
                isBrighter |= pixel[step + aside] - level > own;
            }
        }
        return !isBrighter;
    }

    MaskedImageView const& input_;
    SharpPixelsControl const& control_;
    Index height_;
    Index width_;
    Index stride_;
    PixelFunctions pixels_;
    double contrast_;
    std::vector<TileLimits> limits_;
};

void append(std::vector<Index>& all, std::vector<Index> const& part) {
    all.insert(all.end(), part.begin(), part.end());
}

}  // namespace

SharpCandidates sharpCandidates(MaskedImageView const& input, SharpPixelsControl const& control, SkyTiles const& tiles,
                                Execution const& execution) {
    Index const height = input.image.rows();
    CandidateSearch const search(input, control, tiles);
    std::vector<SharpCandidates> parts(static_cast<std::size_t>((height + tileSide - 1) / tileSide));
    parallelForBrief(static_cast<Index>(parts.size()), execution, [&](Index strip, int) {
        TileLimits const* const limits = search.limitsOf(static_cast<std::size_t>(strip * tiles.nColumns));
        for (Index y = strip * tileSide; y < std::min(height, (strip + 1) * tileSide); ++y) {
            search.searchRow(y, limits, parts[static_cast<std::size_t>(strip)]);
        }
    });
    SharpCandidates all;
    for (SharpCandidates const& part : parts) {
        append(all.suspects, part.suspects);
        append(all.plain, part.plain);
        append(all.peaks, part.peaks);
        append(all.holes, part.holes);
    }
    return all;
}

}  // namespace psfmatch::detail

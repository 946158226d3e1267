#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "psfmatch/sources/BrightPixels.h"

namespace psfmatch {

namespace {

constexpr double step = 0.0005;  // width of a bin of ln(counts above the sky)
// Widths of a plateau tried, bins: from exact values to 8 per cent, which noise and flat fields make of them.
constexpr std::array<Index, 6> windows{1, 10, 20, 40, 80, 160};
constexpr Index reach = 1386;  // bins below the plateau with which it is compared: a factor of two in counts
constexpr std::size_t faintest = 5000;

// Step of digitised values; next to nothing for others.
double quantumOf(std::vector<double> values) {
    // The faintest are the closest together.
    std::size_t const count = std::min(values.size(), faintest);
    auto const end = values.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(values.begin(), end - 1, values.end());
    std::sort(values.begin(), end);
    double const least = 1e-6 * *(end - 1);
    double quantum = 0.0;
    for (std::size_t i = 1; i < count; ++i) {
        double const difference = values[i] - values[i - 1];
        if (difference > least && (quantum == 0.0 || difference < quantum)) {
            quantum = difference;
        }
    }
    return quantum;
}

struct Histogram {
    std::vector<Index> bins;    // of each pixel
    std::vector<double> total;  // pixels in the bins below, from bin 0 on

    [[nodiscard]] Index size() const { return static_cast<Index>(total.size()) - 1; }
    // Pixels of bins first .. end - 1; there are none below 0.
    [[nodiscard]] double within(Index first, Index end) const { return upTo(end) - upTo(first); }

private:
    [[nodiscard]] double upTo(Index end) const { return end <= 0 ? 0.0 : total[static_cast<std::size_t>(end)]; }
};

Histogram histogramOf(std::vector<double> const& counts, double lowest) {
    Histogram result;
    result.bins.reserve(counts.size());
    Index last = 0;
    for (double const value : counts) {
        result.bins.push_back(static_cast<Index>(std::floor(std::log(value / lowest) / step)));
        last = std::max(last, result.bins.back());
    }
    result.total.assign(static_cast<std::size_t>(last) + 2, 0.0);
    for (Index const bin : result.bins) {
        result.total[static_cast<std::size_t>(bin) + 1] += 1.0;
    }
    for (std::size_t i = 1; i < result.total.size(); ++i) {
        result.total[i] += result.total[i - 1];
    }
    return result;
}

// Standard deviations by which a pile must exceed what is expected.
constexpr double significance = 5.0;

bool isPile(double inside, double expected, double minExcess) {
    return inside >= minExcess * expected + significance * std::sqrt(expected + 1.0);
}

bool isTail(double inside, double expected) {
    return inside > 3.0 * expected + 2.0 * std::sqrt(expected + 1.0);
}

bool doesCount(BrightPixels const& pixels, std::size_t i, PlateauControl const& control) {
    double const value = pixels.sky + pixels.counts[i];
    return value >= control.least && value <= control.most && (control.countsFlagged || pixels.isFlagged[i] == 0);
}

}  // namespace

std::optional<Plateau> findPlateau(BrightPixels const& pixels, PlateauControl const& control) {
    std::vector<double> values;
    std::vector<std::uint8_t> isFlagged;
    for (std::size_t i = 0; i < pixels.counts.size(); ++i) {
        if (doesCount(pixels, i, control)) {
            values.push_back(pixels.counts[i]);
            isFlagged.push_back(pixels.isFlagged[i]);
        }
    }
    if (static_cast<Index>(values.size()) < control.minPixels || values.empty()) {
        return std::nullopt;
    }
    double const lowest = *std::min_element(values.begin(), values.end());
    Histogram const histogram = histogramOf(values, lowest);
    auto const valueAt = [&](Index bin) { return lowest * std::exp(step * static_cast<double>(bin)); };
    double const quantum = quantumOf(values);
    double best = 0.0;
    double bestExpected = 0.0;
    Index bestTop = 0;
    Index bestWindow = 0;
    for (Index const window : windows) {
        double score = 0.0;
        double scoreExpected = 0.0;
        Index scoreTop = 0;
        for (Index top = window + 1; top <= histogram.size(); ++top) {
            Index const lower = top - window;
            double const inside = histogram.within(lower, top);
            if (inside < static_cast<double>(control.minPixels)) {
                continue;
            }
            double const above = histogram.within(top, histogram.size());
            // Where fewer bins lie below than are asked for, the density is that of those there are.
            double const expected = histogram.within(lower - reach, lower) * static_cast<double>(window) /
                                    static_cast<double>(std::min(lower, reach));
            // One value that many pixels have tells in a crowd too, and if stars go on above it, as above bleed trails.
            bool const isClear = above <= std::max(3.0, control.maxAbove * inside) &&
                                 valueAt(top) >= control.significance * pixels.noise;
            if (isPile(inside, expected, control.minExcess) && (isClear || window == 1) && inside - expected > score &&
                static_cast<double>(window) * step * valueAt(lower) >= 3.0 * quantum) {
                score = inside - expected;
                scoreExpected = expected;
                scoreTop = top;
            }
        }
        // What a wider window adds must be a pile itself, not the stars' pixels below the plateau.
        double const more = scoreExpected - bestExpected;
        if (score > 0.0 && (bestWindow == 0 || (score > 1.05 * best &&
                                                isPile(score - best + more, std::max(more, 0.0), control.minExcess)))) {
            best = score;
            bestExpected = scoreExpected;
            bestTop = scoreTop;
            bestWindow = window;
        }
    }
    if (bestWindow == 0) {
        return std::nullopt;
    }
    Index first = bestTop - bestWindow;
    double const density = histogram.within(first - reach, first) / static_cast<double>(std::min(first, reach));
    // The tail of a plateau that noise has widened.
    Index const stride = std::max<Index>(1, bestWindow / 4);
    while (first > stride && bestTop - first < 2 * windows.back() &&
           isTail(histogram.within(first - stride, first), density * static_cast<double>(stride))) {
        first -= stride;
    }
    Plateau plateau;
    plateau.level = std::numeric_limits<double>::infinity();
    plateau.top = -plateau.level;
    plateau.nExpected = density * static_cast<double>(bestTop - first);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (histogram.bins[i] >= bestTop) {
            ++plateau.nAbove;
        } else if (histogram.bins[i] >= first) {
            ++plateau.nPixels;
            plateau.nUnflagged += isFlagged[i] != 0 ? 0 : 1;
            plateau.level = std::min(plateau.level, pixels.sky + values[i]);
            plateau.top = std::max(plateau.top, pixels.sky + values[i]);
        }
    }
    return plateau;
}

}  // namespace psfmatch

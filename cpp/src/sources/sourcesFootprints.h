// Pixels above a threshold, tile by tile, brought together and grouped into connected footprints.
#pragma once

#include <vector>

#include "psfmatch/sources/sources.h"

namespace psfmatch::detail {

// Pixels above the threshold, in runs ordered by row and column; values below the sky with the sign turned.
struct Detected {
    std::vector<PixelRun> runs;
    std::vector<float> values;
    std::vector<float> thresholds;  // with perPixel only

    void append(std::int32_t y, Index x0, Index x1, float const* row, float const* limit, Index rowStart, float sign,
                bool perPixel) {
        runs.push_back({y, static_cast<std::int32_t>(x0), static_cast<std::int32_t>(x1), 0});
        for (Index x = x0 - rowStart; x < x1 - rowStart; ++x) {
            values.push_back(sign * row[x]);
        }
        if (perPixel) {
            thresholds.insert(thresholds.end(), limit + x0 - rowStart, limit + x1 - rowStart);
        }
    }
};

// Number of the connected set of each run, which are ordered by row and column, in order of first appearance.
[[nodiscard]] std::vector<std::int32_t> connectedSets(std::vector<PixelRun> const& runs, std::int32_t& count);

// Puts the runs of the tiles of one strip, left to right, behind those of the strips before, row by row; runs that
// tiles cut are joined. The tiles are emptied.
void appendStrip(std::vector<Detected>& tiles, Detected& all);

// The pixels ordered by footprint, those of too few pixels left out.
struct Footprints {
    Detected pixels;
    std::vector<std::size_t> firstRun;    // (count + 1)
    std::vector<std::size_t> firstValue;  // (count + 1)
};

[[nodiscard]] Footprints sortByFootprint(Detected found, Index minPixels);

}  // namespace psfmatch::detail

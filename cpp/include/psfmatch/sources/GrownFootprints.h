// Footprints as runs of pixels: which runs are connected (by a side or a corner), and what footprints become when all
// pixels within a distance are added.
#pragma once

#include <vector>

#include "psfmatch/base/types.h"
#include "psfmatch/sources/sources.h"

namespace psfmatch {

struct FootprintRuns {
    std::vector<PixelRun> runs;  // ordered by footprint, row and column
    Index count = 0;             // footprints
};

// Numbers disjoint runs, which are ordered by row and column, by the connected set they belong to, in order of first
// appearance.
[[nodiscard]] FootprintRuns connectRuns(std::vector<PixelRun> runs);

struct GrowthControl {
    Index radius = 0;        // pixels; the border of the image ends the growth
    bool isotropic = false;  // Euclidean distance, a disc; else Manhattan distance, a diamond
    bool combined = true;    // what touches or overlaps afterwards is one; else footprints may share pixels
};

// Runs are ordered by footprint and row, as they come out. Throws std::invalid_argument for a negative radius.
[[nodiscard]] FootprintRuns growFootprints(FootprintRuns footprints, Index height, Index width,
                                           GrowthControl const& control);

}  // namespace psfmatch

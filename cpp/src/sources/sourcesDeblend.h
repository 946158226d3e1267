// One footprint: its pixels taken apart into sources, and what is measured of each.
#pragma once

#include <span>
#include <vector>

#include "psfmatch/sources/sources.h"

namespace psfmatch::detail {

// The pixels of a footprint in order of row and column, values above the sky positive.
struct FootprintPixels {
    std::span<PixelRun const> runs;
    std::span<float const> values;
    std::span<float const> thresholds;  // as many, or none
};

// Adds the sources of a footprint, at least one, in the order of their first pixels; `searched` are the pixels among
// which they were found.
void addSources(FootprintPixels const& footprint, SourceControl const& control, Box const& searched,
                std::vector<Source>& sources);

}  // namespace psfmatch::detail

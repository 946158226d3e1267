// The light across a line: how bright, how wide, and how steep it is.
#pragma once

#include <vector>

#include "sources/StreakStrip.h"

namespace psfmatch::detail {

// Of the pieces of a strip together: (2 half + 1) values.
[[nodiscard]] std::vector<double> profileOf(Strip const& strip);

struct Across {
    Index middle = 0;  // of the profile
    double peak = 0.0;
    double fwhm = 0.0;
    double reach = 0.0;  // pixels from the line, on the side where it reaches farther
    double steepest = 0.0;
    double beside = 0.0;  // light beyond its reach, on the brighter side
};

// Of a profile whose peak lies within `side` pixels about its middle; it reaches as far as it is brighter than the
// floor, or than half its peak.
[[nodiscard]] Across acrossOf(Strip const& strip, std::vector<double> const& profile, Index side, double floor);

}  // namespace psfmatch::detail

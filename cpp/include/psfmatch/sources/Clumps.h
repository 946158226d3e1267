// Clumps of pixels that touch, side or corner: how large they are, and how far an object reaches at a brightness.
#pragma once

#include <cstdint>
#include <vector>

#include "psfmatch/base/types.h"

namespace psfmatch {

// For each pixel the number of pixels of its clump, 0 for those that are not chosen.
// places: row * width + column of pixels, ascending; isChosen: of each, whether it counts.
[[nodiscard]] std::vector<Index> clumpSizes(std::vector<Index> const& places, Index width,
                                            std::vector<std::uint8_t> const& isChosen);

// Number of pixels of a value or more that are connected with the one at place (row * width + column); 0 if it has
// less itself.
[[nodiscard]] Index areaAbout(ConstImageView<float> const& image, Index place, float value);

}  // namespace psfmatch

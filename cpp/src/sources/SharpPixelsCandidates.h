// Pixels that are worth a closer look, told by the image and the noise of its tiles alone.
#pragma once

#include <vector>

#include "sources/SharpPixelsSky.h"

namespace psfmatch::detail {

// Places, row * width + column, ascending.
struct SharpCandidates {
    std::vector<Index> suspects;  // may be sharp
    std::vector<Index> plain;     // cannot be, whatever the contrast, as long as the four beside each count
    std::vector<Index> peaks;     // bright, and no pixel that touches them is brighter
    std::vector<Index> holes;     // far below all four beside them, whatever the contrast
};

// Peaks are brighter by this than the sky, standard deviations.
inline constexpr double peakBrightness = 20.0;

// And holes fainter than what is expected there.
inline constexpr double holeSignificance = 5.0;

[[nodiscard]] SharpCandidates sharpCandidates(MaskedImageView const& input, SharpPixelsControl const& control,
                                              SkyTiles const& tiles, Execution const& execution);

}  // namespace psfmatch::detail

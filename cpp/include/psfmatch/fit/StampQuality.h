// What the stamps of a catalogue are worth, before any of them is fitted: how much of their weight lies in
// bad pixels, and how bright their cores are.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// For each box the share of its weight that lies in pixels bad (badPixels.h) in either image, 0 to 1: by
// area, or by light of a star in its middle, whichever is larger, for many lost sky pixels or few in the core
// spoil a fit alike. The star is a Gaussian whose sigma is a tenth of the stamp's longer side, 4 pixels for
// the usual 43. Boxes count from the first pixel of the images, which have one shape, and must lie inside
// them.
[[nodiscard]] std::vector<double> lostWeights(MaskedImageView const& templateImage, MaskPixel templateBadBits,
                                              MaskedImageView const& scienceImage, MaskPixel scienceBadBits,
                                              std::vector<Box> const& boxes, Execution const& execution = {});

// For each box the mean of image / sqrt(variance) over the good pixels (none of badBits, finite, positive
// variance) of its core, the (2r+1)^2 pixels about its middle; minus infinity where no pixel is good.
[[nodiscard]] std::vector<double> coreSignalToNoise(MaskedImageView const& image, MaskPixel badBits,
                                                    std::vector<Box> const& boxes, Index coreRadius);

}  // namespace psfmatch

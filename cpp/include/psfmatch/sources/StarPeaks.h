// Peaks among bright pixels, and how they fall off: stars whose cores are whole fall as the PSF does, saturated ones
// are flat, cosmic rays are steeper. Stars of good shape above a plateau prove that it is not where the image
// saturates.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"
#include "psfmatch/sources/BrightPixels.h"

namespace psfmatch {

struct StarPeaks {
    std::vector<Index> places;   // row * width + column
    std::vector<double> counts;  // above the sky
    // (peak - mean of the two pixels at the distance) / peak, in counts above the sky.
    std::vector<double> fallX;
    std::vector<double> fallY;
};

struct StarPeaksControl {
    MaskPixel badBits = 0;  // planes of which no pixel next to a peak may have any
    Index distance = 1;     // pixels
};

// The bright pixels that are the highest of all within the distance, in the order of the image.
[[nodiscard]] StarPeaks starPeaks(ConstImageView<float> const& image, ConstImageView<MaskPixel> const& mask,
                                  BrightPixels const& bright, StarPeaksControl const& control,
                                  Execution const& execution = {});

}  // namespace psfmatch

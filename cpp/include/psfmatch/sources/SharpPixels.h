// Pixels sharper than any light through the PSF can be: hot, dead and stuck ones, columns and rows, cosmic rays.
//
// A pixel is compared with the brighter of its two neighbours in a row, or in a column: a star of any position in its
// pixel exceeds that by no more than the PSF's contrast, which the image's own stars tell (compare the fine structure
// of van Dokkum 2001, PASP 113, 1420). Dark ones are judged alike. Two pixels beside each other may share the light.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

enum class SharpKind : std::uint8_t {
    dark = 1,    // far below the pixels about it
    bright = 2,  // alone
    trail = 3,   // bright ones that touch
    line = 4,    // of a column or row
};

struct SharpPixelsControl {
    MaskPixel badBits = 0;            // planes whose pixels do not count
    double brightness = 6.0;          // standard deviations of the noise from the sky, at the least
    double significance = 4.0;        // standard deviations of what exceeds the contrast of the PSF
    double nearSignificance = 3.0;    // the same, and the brightness, of what touches a sharp pixel
    double margin = 1.4;              // times the contrast of stars
    double leastContrast = 2.2;       // pixel over neighbour: stars of a FWHM of 2.3 pixels have less
    double unknownContrast = 5.0;     // where no stars tell
    double fewContrast = 3.0;         // where few stars tell, at the least
    double sharpestContrast = 3.6;    // of stars that can be told from hot pixels, at the most
    double undersampledLimit = 12.0;  // where theirs is above it
    double mostContrast = std::numeric_limits<double>::infinity();  // that is allowed, whatever stars tell
};

struct SharpPixels {
    std::vector<Index> places;     // row * width + column, ascending
    std::vector<SharpKind> kinds;  // of each
    double contrast = 0.0;         // of pixel and neighbour that was allowed
    Index nStars = 0;              // whose contrast was measured
};

[[nodiscard]] SharpPixels sharpPixels(MaskedImageView const& input, SharpPixelsControl const& control,
                                      Execution const& execution = {});

}  // namespace psfmatch

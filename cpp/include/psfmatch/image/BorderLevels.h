// The sky of a difference that falls or rises towards a border of the image: vignetting, bias and glow of amplifiers in
// frames that nobody has flattened, which no polynomial follows. Per side (a + b u) exp(-d / L), d the distance to the
// border, u from -1 to 1 along it, L common to all sides; fitted to medians of cells that get finer towards the border.
// A side has such a level only if it stands out of the noise along most of its length: a galaxy on the border has not.
#pragma once

#include <array>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

enum class Side { left, right, bottom, top };  // bottom: the first row

struct BorderLevel {
    double middle = 0.0;  // at the middle of the border, image units
    double slope = 0.0;   // from there to its end
};

struct BorderLevels {
    Box area;                            // pixels whose outermost rows and columns are the border
    double length = 0.0;                 // L, pixels
    std::array<BorderLevel, 4> sides{};  // zero: none
    double noise = 0.0;                  // robust scatter of the pixels, image units

    [[nodiscard]] bool isAny() const;
};

struct BorderLevelsControl {
    MaskPixel badBits = 0;
    std::array<double, 4> lengths{6.0, 10.0, 16.0, 24.0};  // of which one is taken, pixels
    double leastLevel = 0.3;                               // of a pixel's noise
    double leastSigmas = 6.0;                              // of the level's own error
    double alongShare = 0.75;  // of a side's pieces that must have a quarter of the level, or more, of the same sign
};

// Only the image and the mask of the difference are read. Images of fewer than 256 pixels along an axis tell nothing.
[[nodiscard]] BorderLevels borderLevels(MaskedImageView const& difference, BorderLevelsControl const& control,
                                        Execution const& execution = {});

// Takes the levels off an image.
void subtractBorderLevels(BorderLevels const& levels, ImageView<float> image, Execution const& execution = {});

}  // namespace psfmatch

// The planes of one convolution, cut into items that run at the same time: regions of the variance, pairs of tiles of
// the image, tiles of the mask; internal to the group.
#pragma once

#include <string>

#include "convolve/convolvePlanes.h"
#include "psfmatch/convolve/convolve.h"
#include "psfmatch/image/badPixels.h"

namespace psfmatch::detail {

[[nodiscard]] std::string shapeText(Index height, Index width);

// Writes all pixels of the planes' outputs; variance and mask may be absent. `fill` stands in for bad pixels.
void convolvePlanes(Planes const& planes, LinearCombinationKernel const& kernel, Index x0, Index y0,
                    ConvolutionControl const& control, Execution const& execution, FilledPixels const& fill);

}  // namespace psfmatch::detail

// Variance planes brought to what is known of the noise: by a factor, and by the photons of light above the sky. Each
// pixel is computed in float32.
#pragma once

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// result = factor * variance; they may be the same pixels.
void multiplyPlane(ConstImageView<float> variance, float factor, ImageView<float> result,
                   Execution const& execution = {});

// Adds light / gain to the variance, in place, where the light, image - level, exceeds `least`; gain in electrons per
// count, the rest in counts. Pixels that are NaN have no light.
void addPhotons(ConstImageView<float> image, float level, float least, float gain, ImageView<float> variance,
                Execution const& execution = {});

}  // namespace psfmatch

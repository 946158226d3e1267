// Pixels that the model of the other regions cannot explain: variable stars, transients, cosmic rays, blends.
// Residuals are smoothed over 5x5 pixels and compared with the spread of those of like signal.
#pragma once

#include "psfmatch/fit/RegionResiduals.h"

namespace psfmatch {

struct OutlierControl {
    // In units of the usual spread of the smoothed residual, and never less in sigma: where no model is perfect, bright
    // stars must not be rejected for it.
    double threshold = 5.0;
    Index growth = 6;  // pixels
};

// Outliers with their surroundings, and whole regions whose flux is another than the model's.
[[nodiscard]] RegionFlags findOutliers(RegionResiduals const& residuals, OutlierControl const& control,
                                       Execution const& execution);

}  // namespace psfmatch

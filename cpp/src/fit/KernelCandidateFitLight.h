// What light a candidate's stamps show: what no plane does, so that neither a sky nor a slope of it counts.
#pragma once

#include "fit/KernelCandidateFitStamp.h"

namespace psfmatch::detail {

// Whether the template is anything but a plane, to the rounding of its pixels.
[[nodiscard]] bool showsLight(PreparedStamp const& stamp);

}  // namespace psfmatch::detail

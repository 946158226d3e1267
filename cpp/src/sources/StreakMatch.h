// The difference of two images on bins where their PSFs differ: the other is taken off as the sum of a bin and its
// eight neighbours that leaves the least. Crude, for bins are as wide as PSFs, but enough for lines to be seen among
// stars.
#pragma once

#include <optional>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch::detail {

struct MatchedDifference {
    OwnedImage<float>
        left;            // (h, w) image less what explains it of the other; NaN where one of the bins that make it is
    float scale = 1.0F;  // counts of the image per count of the other, as both were given
};

// None where too few bins tell or nothing solves it. Both images are (h, w).
[[nodiscard]] std::optional<MatchedDifference> matchedDifference(OwnedImage<float> const& image,
                                                                 OwnedImage<float> const& other,
                                                                 Execution const& execution);

}  // namespace psfmatch::detail

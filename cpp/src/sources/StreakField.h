// The difference of two images on bins of some pixels, in units of its scatter: where lines are looked for.
#pragma once

#include <cstdint>

#include "psfmatch/sources/Streaks.h"

namespace psfmatch::detail {

struct StreakImages {
    ConstImageView<float> image;
    ConstImageView<MaskPixel> mask;
    ConstImageView<float> other;
    ConstImageView<MaskPixel> otherMask;
};

// One of the two images against the other.
struct StreakField {
    Index bin = 1;  // pixels along either side, a power of two
    // (h, w) bins, within +-clip: difference over the root of its variance and of what a PSF that does not match leaves
    // of the other image's light; 0 where a bin tells nothing.
    OwnedImage<float> pulls;
    OwnedImage<std::uint8_t> isClean;  // whether it tells, and none of the other's light lies there
    // Of a crowd, whose bins are matched: counts of the image per count of the other, over the flux ratio, and by how
    // much the difference by that exceeds the matched one, of each bin and in units of the image; empty elsewhere.
    float scale = 1.0F;
    OwnedImage<float> excess;
};

// Largest pull of a bin, so that no star is worth more than a few bins of a line.
inline constexpr float largestPull = 3.0F;

// Both fields: of the image, and of the other.
struct StreakFields {
    StreakField image;
    StreakField other;
};

[[nodiscard]] StreakFields makeStreakFields(StreakImages const& images, StreakControl const& control, Index bin,
                                            Execution const& execution);

}  // namespace psfmatch::detail

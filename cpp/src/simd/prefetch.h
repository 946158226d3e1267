// A hint to the processor that a row of an image will be read soon. Rows of a tile or stamp lie so far apart in memory
// that it does not foresee the next one.
#pragma once

#include "psfmatch/base/types.h"

namespace psfmatch::detail {

// So many rows ahead the memory has time enough to answer.
inline constexpr Index rowsAhead = 6;

template <typename Pixel>
inline void prefetchRow(Pixel const* row, Index count) {
#if defined(__GNUC__)
    constexpr Index pixelsPerLine = 64 / sizeof(Pixel);
    for (Index x = 0; x < count; x += pixelsPerLine) {
        __builtin_prefetch(row + x);
    }
    __builtin_prefetch(row + count - 1);
#endif
}

}  // namespace psfmatch::detail

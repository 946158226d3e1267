// Pages of memory, asked for many at a time before an image is written. The system gives new memory page by page, when
// each is touched first; on a virtual machine such an interruption takes longer than clearing the page itself.
#pragma once

#include <cstddef>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// Memory of `size` bytes that is about to be written; its content stays. Does nothing for less than a megabyte, and
// where the system has no such call (Linux before 5.14, others).
void providePages(void* start, std::size_t size, Execution const& execution);

// The same for an image whose rows follow each other without gaps; others are left alone.
template <typename Pixel>
void providePages(ImageView<Pixel> image, Execution const& execution) {
    if (image.outerStride() == image.cols()) {
        providePages(image.data(), static_cast<std::size_t>(image.size()) * sizeof(Pixel), execution);
    }
}

inline void providePages(MaskedImageTarget const& target, Execution const& execution) {
    providePages(target.image, execution);
    providePages(target.variance, execution);
    providePages(target.mask, execution);
}

}  // namespace psfmatch

// Sums along digital lines of an image of pulls, of all lengths 2, 4, 8, ... of rows or columns and all angles, by
// halving (Brady 1998; Götz and Druck 1996): n log n additions for n pixels.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch::detail {

// A piece of a line, its ends the middles of pixels of the image of pulls.
struct Line {
    double x0 = 0.0;
    double y0 = 0.0;
    double x1 = 0.0;
    double y1 = 0.0;
    int width = 1;       // pixels
    float score = 0.0F;  // sum over its scatter
};

// The best line of every strip of 8, 16, ... rows, and of columns, rising and falling, that scores as much as `least`;
// the best first.
[[nodiscard]] std::vector<Line> findLines(OwnedImage<float> const& pulls, double least, Execution const& execution);

}  // namespace psfmatch::detail

// Sums of the products of two images at all small displacements of one against the other, cell by cell: where they are
// largest the light of both agrees. Pixels that are not finite take no part.
#pragma once

#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// (2 reach + 1)^2 sums for each of nCells x nCells cells of the first image, rows of cells first: that of (dx, dy) at
// [dy + reach, dx + reach] is of first(x, y) second(x + dx, y + dy).
// Throws std::invalid_argument for images of different shapes, a negative reach, or no cells.
[[nodiscard]] std::vector<OwnedImage<double>> lagProducts(ConstImageView<float> const& first,
                                                          ConstImageView<float> const& second, Index reach,
                                                          Index nCells, Execution const& execution = {});

}  // namespace psfmatch

// Where regions lie, and which of them are withheld together when each is judged by a solution without it.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "psfmatch/base/parallel.h"
#include "psfmatch/base/types.h"

namespace psfmatch {

// (regions, 2): middle pixels, x and y.
using RegionPlaces = Eigen::Matrix<std::int64_t, Eigen::Dynamic, 2, Eigen::RowMajor>;

struct TileControl {
    Index halfWidth = 15;  // fitted pixels on every side of the middle one
    Index margin = 0;      // pixels left free along the edges
    Index maxTiles = 600;
};

// Tiles side by side over an image, row by row, without those of fewer than 16 good pixels. Of more than maxTiles a
// tenth of these is spread evenly, for the background, and the others are those with most light (`tileLight`). An image
// without room for a tile is a std::invalid_argument.
[[nodiscard]] RegionPlaces tilePlaces(MaskedImageView const& image, MaskPixel badBits, TileControl const& control,
                                      Execution const& execution);

// The fold of each region, from 0. Up to twelve regions are each withheld alone: without an eighth of them nothing
// would be left to fit. Of more, blocks of 128x128 pixels share one of eight folds, so that regions that overlap do not
// vouch for each other; where that leaves a fold empty or puts more than half into one, they take turns along y, x.
[[nodiscard]] std::vector<Index> regionFolds(Eigen::VectorXd const& x, Eigen::VectorXd const& y);  // (regions): pixels

}  // namespace psfmatch

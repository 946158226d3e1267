// The output of a convolution cut into tiles, internal to convolve.cpp.
#pragma once

#include <algorithm>

#include "convolve/convolvePlanes.h"

namespace psfmatch::detail {

// Two tiles of output pixels, one above the other, which share one complex transform.
struct TilePair {
    Tile upper;
    Tile lower;  // height 0: none
};

// A box cut into tiles of at most a given size, the rows of tiles nearly equal.
class Tiling {
public:
    Tiling(Tile const& box, Index width, Index height)
        : box_(box), width_(width), nx_((box.width + width - 1) / width), ny_((box.height + height - 1) / height) {}

    [[nodiscard]] Index size() const { return nx_ * ny_; }
    [[nodiscard]] Index columns() const { return nx_; }
    [[nodiscard]] Index rows() const { return ny_; }
    [[nodiscard]] Tile operator[](Index i) const { return at(i / nx_, i % nx_); }

    [[nodiscard]] Tile at(Index row, Index column) const {
        Index const x = column * width_;
        Index const y = box_.height * row / ny_;
        Index const yEnd = box_.height * (row + 1) / ny_;
        return {box_.x0 + x, box_.y0 + y, static_cast<int>(std::min<Index>(width_, box_.width - x)),
                static_cast<int>(yEnd - y)};
    }

    // Rows 2 row and 2 row + 1 of tiles, of which the second may be missing.
    [[nodiscard]] TilePair pair(Index row, Index column) const {
        TilePair pair{at(2 * row, column), {}};
        pair.lower =
            2 * row + 1 < ny_ ? at(2 * row + 1, column) : Tile{pair.upper.x0, pair.upper.y0, pair.upper.width, 0};
        return pair;
    }
    [[nodiscard]] Index pairRows() const { return (ny_ + 1) / 2; }

private:
    Tile box_;
    Index width_;
    Index nx_;
    Index ny_;
};

}  // namespace psfmatch::detail

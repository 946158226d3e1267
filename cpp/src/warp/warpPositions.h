// Where the pixels of one tile of the output lie on the source.
#pragma once

#include <array>

#include "psfmatch/warp/warp.h"
#include "simd/warpFunctions.h"

namespace psfmatch::detail {

// Output pixels are worked on in squares of this side, so that the source pixels under one stay in the cache.
inline constexpr Index warpTileSide = 64;

template <typename Number>
using TileArray = std::array<Number, warpTileSide * warpTileSide>;

struct TilePositions {
    TileArray<double> x;  // source position
    TileArray<double> y;
    TileArray<int> inside;  // whether the kernel fits there
    TileArray<int> column;  // floor of the source position
    TileArray<int> row;
    TileArray<int> xNode;  // place in the table of weights
    TileArray<int> yNode;
    TileArray<float> xRest;
    TileArray<float> yRest;
    TileArray<float> area;  // source pixels per output pixel
};

// Pixels row after row, tile.width to a row.
void locateTile(PositionLattice const& lattice, Box const& tile, WarpAxis const& xAxis, WarpAxis const& yAxis,
                WarpFunctions const& functions, TilePositions& positions);

}  // namespace psfmatch::detail

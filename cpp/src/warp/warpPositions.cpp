#include "warp/warpPositions.h"

#include <algorithm>
#include <cmath>

namespace psfmatch::detail {

namespace {

// Positions of row y of the tile, piece by piece between the columns of the lattice.
void locateRow(PositionLattice const& lattice, Box const& tile, Index y, TilePositions& positions) {
    Index const spacing = lattice.spacing;
    Index const r = (tile.y0 + y) / spacing;
    double const step = 1.0 / static_cast<double>(spacing);
    double const v = static_cast<double>(tile.y0 + y - r * spacing) * step;
    Index i = y * tile.width;
    for (Index x = tile.x0; x < tile.x0 + tile.width;) {
        Index const c = x / spacing;
        Index const end = std::min((c + 1) * spacing, tile.x0 + tile.width);
        auto const u = static_cast<double>(x - c * spacing);
        // Of a coordinate: its first value, change from pixel to pixel and to the next row, and the change of that.
        struct Piece {
            double first;
            double slope;
            double rise;
            double twist;
        };
        auto const piece = [&](ConstImageView<double> const& p) {
            double const left = p(r, c) + v * (p(r + 1, c) - p(r, c));
            double const right = p(r, c + 1) + v * (p(r + 1, c + 1) - p(r, c + 1));
            double const slope = (right - left) * step;
            double const rise = (p(r + 1, c) - p(r, c)) * step;
            double const twist = ((p(r + 1, c + 1) - p(r, c + 1)) * step - rise) * step;
            return Piece{left + u * slope, slope, rise + u * twist, twist};
        };
        Piece const px = piece(lattice.x);
        Piece const py = piece(lattice.y);
        Index const count = end - x;
        double* const xs = positions.x.data() + i;
        double* const ys = positions.y.data() + i;
        float* const areas = positions.area.data() + i;
        for (Index k = 0; k < count; ++k) {
            auto const n = static_cast<double>(k);
            xs[k] = px.first + n * px.slope;
            ys[k] = py.first + n * py.slope;
            double const area = px.slope * (py.rise + n * py.twist) - py.slope * (px.rise + n * px.twist);
            areas[k] = static_cast<float>(std::abs(area));
        }
        i += count;
        x = end;
    }
}

}  // namespace

void locateTile(PositionLattice const& lattice, Box const& tile, WarpAxis const& xAxis, WarpAxis const& yAxis,
                WarpFunctions const& functions, TilePositions& positions) {
    for (Index y = 0; y < tile.height; ++y) {
        locateRow(lattice, tile, y, positions);
    }
    auto const count = static_cast<int>(tile.width * tile.height);
    TileArray<int> insideY;
    functions.locate(xAxis, positions.x.data(), count, positions.inside.data(), positions.column.data(),
                     positions.xNode.data(), positions.xRest.data());
    functions.locate(yAxis, positions.y.data(), count, insideY.data(), positions.row.data(), positions.yNode.data(),
                     positions.yRest.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        positions.inside[i] &= insideY[i];
    }
}

}  // namespace psfmatch::detail

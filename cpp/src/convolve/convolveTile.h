// The convolution of one tile of output pixels by direct sums, internal to convolve.cpp: for small kernels, and for
// pixels that transforms cannot handle. Row by row the sum over b of T_a(t) T_b(s) is done once (s is fixed), which
// leaves one kernel for each a: as many convolutions of the row, multiplied by T_a(t) and added.
#pragma once

#include <vector>

#include "convolve/convolveExpansion.h"

namespace psfmatch::detail {

// Multiples of the blocks in which accumulate works (32 and 24 pixels); input and sums of a tile stay in L2.
inline constexpr int tileWidth = 96;
inline constexpr int tileHeight = 128;

// The pixels of a kernel that count: a rectangle, and within it all pixels or, for a fixed kernel with zeros
// inside, the spans of non-zero ones.
struct Footprint {
    struct Span {
        int v;
        int u;
        int width;
    };
    int v0 = 0;
    int u0 = 0;
    int height = 0;
    int width = 0;
    std::vector<Span> spans;  // none: the whole rectangle
};

[[nodiscard]] Footprint footprintOf(LinearCombinationKernel const& kernel);

// Values of the Chebyshev polynomials at the columns and rows of a tile.
struct TileFactors {
    TileFactors(Tile const& tile, int nTerms);

    [[nodiscard]] FloatRows xRows() const { return {x.data(), xStride}; }
    [[nodiscard]] float const* yRow(int row) const { return y.data() + row * nTerms; }

    int nTerms;
    int xStride;
    std::vector<float> x;  // (nTerms, xStride), padding 0
    std::vector<float> y;  // (height, nTerms)
};

// Convolves one plane of a tile. `input` starts at the pixel under tap [0, 0] of the tile's first output pixel and
// is readable, rows and padding, for padded(tile.width) + kernel width - 1 floats a row. `scratch` is reused.
void convolveTile(RowFunctions const& functions, TileKernel const& kernel, Footprint const& footprint, int kernelWidth,
                  FloatRows input, Tile const& tile, TileFactors const& factors, float* output, Index outputStride,
                  std::vector<float>& scratch);

}  // namespace psfmatch::detail

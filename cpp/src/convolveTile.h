// The convolution of one tile of output pixels, internal to convolve.cpp. Within a tile every tap of the kernel is
// a polynomial of the position, written as a sum over T_a(t) T_b(s) with Chebyshev polynomials T and t, s running
// from -1 to 1 over the tile. Row by row the sum over b is done once (s is fixed), which leaves one kernel for each
// a: as many convolutions of the row, multiplied by T_a(t) and added. Nothing is interpolated between positions.
#pragma once

#include <vector>

#include "psfmatch/LinearCombinationKernel.h"
#include "rowFunctions.h"

namespace psfmatch::detail {

// Multiples of the blocks in which accumulate works (32 and 24 pixels); input and sums of a tile stay in L2.
inline constexpr int tileWidth = 96;
inline constexpr int tileHeight = 128;

[[nodiscard]] constexpr int padded(int count) {
    return (count + rowPadding - 1) / rowPadding * rowPadding;
}

struct Tile {
    Index x0 = 0;  // first output pixel, counted from the corner of the image
    Index y0 = 0;
    int width = 0;
    int height = 0;
};

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

struct TileKernel {
    int tapStride = 0;                // taps of the kernel, padded
    std::vector<int> yTerms;          // for each degree in x: how many degrees in y go with it
    std::vector<float> coefficients;  // (sum of yTerms, tapStride), padding 0

    [[nodiscard]] int xTerms() const { return static_cast<int>(yTerms.size()); }

    // The kernels of one row, one for each degree in x, `stride` floats apart.
    void collapse(RowFunctions const& functions, float const* yFactors, float* taps, int stride) const;
};

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

class KernelExpansion {
public:
    KernelExpansion(LinearCombinationKernel const& kernel, Index x0, Index y0);

    // Coefficients of T_a(t) T_b(s) in the sequence of SpatialFunction's terms, exact: (p, height * width)
    [[nodiscard]] RowMatrix expand(Tile const& tile) const;

    // The kernel itself, without terms below the rounding of float32.
    [[nodiscard]] TileKernel kernel(RowMatrix const& expansion) const;

    // Its square, for the variance, with as few terms as keep the result to 1e-3.
    [[nodiscard]] TileKernel squaredKernel(RowMatrix const& expansion) const;

    [[nodiscard]] int maxTerms() const { return 2 * spatial_.order + 1; }

private:
    SpatialFunction spatial_;
    RowMatrix terms_;  // (p, height * width)
    double x0_;
    double y0_;
};

// Convolves one plane of a tile. `input` starts at the pixel under tap [0, 0] of the tile's first output pixel and
// is readable, rows and padding, for padded(tile.width) + kernel width - 1 floats a row. `scratch` is reused.
void convolveTile(RowFunctions const& functions, TileKernel const& kernel, Footprint const& footprint, int kernelWidth,
                  FloatRows input, Tile const& tile, TileFactors const& factors, float* output, Index outputStride,
                  std::vector<float>& scratch);

}  // namespace psfmatch::detail

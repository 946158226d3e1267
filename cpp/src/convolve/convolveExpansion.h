// A kernel as a polynomial of the position within a tile: every tap a sum over T_a(t) T_b(s) with Chebyshev polynomials
// T and t, s running from -1 to 1 between the centres of the tile's outer pixels; exact where the tile holds no break
// of the kernel's spatial functions, internal to convolve.cpp.
#pragma once

#include <vector>

#include "convolve/convolvePlanes.h"
#include "psfmatch/kernel/LinearCombinationKernel.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

[[nodiscard]] constexpr int padded(int count) {
    return (count + rowPadding - 1) / rowPadding * rowPadding;
}

// Pixels from the centre of so many to the centre of the last: one unit of t or s.
[[nodiscard]] constexpr double halfExtent(int count) {
    return count > 1 ? 0.5 * (count - 1) : 0.5;
}

// Degrees in t and s of the terms of an expansion: 1; t, s; t^2, ts, s^2; ...
[[nodiscard]] int xDegree(int term);
[[nodiscard]] int yDegree(int term);

struct TileKernel {
    int tapStride = 0;                // taps of the kernel, padded
    std::vector<int> yTerms;          // for each degree in x: how many degrees in y go with it
    std::vector<float> coefficients;  // (sum of yTerms, tapStride), padding 0

    [[nodiscard]] int xTerms() const { return static_cast<int>(yTerms.size()); }
    [[nodiscard]] int degree() const;  // the highest in x and y together

    // The kernels of one row, one for each degree in x, `stride` floats apart.
    void collapse(RowFunctions const& functions, float const* yFactors, float* taps, int stride) const;
};

class KernelExpansion {
public:
    KernelExpansion(LinearCombinationKernel const& kernel, Index x0, Index y0);

    // Coefficients of T_a(t) T_b(s), exact: (terms, height * width)
    [[nodiscard]] RowMatrix expand(Tile const& tile) const;

    // The kernel itself, without terms below the rounding of float32.
    [[nodiscard]] TileKernel kernel(RowMatrix const& expansion) const;

    // Its square, for the variance, with as few terms as keep the result to 1e-3.
    [[nodiscard]] TileKernel squaredKernel(RowMatrix const& expansion) const;

    // How many outer rings of taps hold, anywhere in the tile, too little of the sum of K^2 for the variance to tell.
    [[nodiscard]] int spareRings(Tile const& tile, int height, int width) const;

    // Of K^2 on either axis.
    [[nodiscard]] int maxTerms() const { return 2 * spatial_.order() + 1; }

private:
    SpatialFunction spatial_;
    int degree_;       // in x and y together
    RowMatrix terms_;  // (p, height * width)
    double x0_;
    double y0_;
};

// The kernel less so many outer rings of taps.
[[nodiscard]] LinearCombinationKernel withoutRings(LinearCombinationKernel const& kernel, int nRings);

}  // namespace psfmatch::detail

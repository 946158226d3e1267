// The inner loops of the resampling, built once for every instruction set and chosen at run time (rowFunctions.h
// says why plain pointers only).
#pragma once

#include "psfmatch/base/instructionSet.h"

namespace psfmatch::detail {

// The number of lanes is a multiple of this, up to maxWarpLanes.
inline constexpr int warpLaneStep = 8;
inline constexpr int maxWarpLanes = 32;

// A table of WeightTable (warpWeights.h).
struct WarpWeights {
    float const* coefficients;
    int nTaps;
    int lanes;
};

// For each of `count` output pixels the first source pixel under the kernel, as an offset from the start of the
// planes, and where in the table its weights lie.
struct WarpPositions {
    int const* offset;
    int const* xNode;
    int const* yNode;
    float const* xRest;
    float const* yRest;
    int count;
};

// Which positions along one axis have room for the kernel, and how a fraction becomes a place in the table.
struct WarpAxis {
    double begin;     // first position with room
    double end;       // one beyond the last
    double steps;     // fractions are rounded down to 1 / steps; 0: used as they are
    double stepSize;  // 1 / steps
    double nodes;     // of the table
};

// Planes of source pixels, all finite, rows `stride` apart. Behind each row up to `lanes` more pixels are read (and get
// no weight).
struct WarpFunctions {
    // inside[i]: whether position i has room (NaN has none); floor and place in the table of those that have, else 0
    void (*locate)(WarpAxis axis, double const* position, int count, int* inside, int* pixel, int* node, float* rest);

    // image[i] = sum of w * imagePlane, variance[i] = sum of w^2 * variancePlane, w = wx * wy
    void (*resample)(WarpWeights weights, WarpPositions positions, float const* imagePlane, float const* variancePlane,
                     int stride, float* image, float* variance);

    // share[i] = sum of |w| * plane / sum of |w|
    void (*absoluteShare)(WarpWeights weights, WarpPositions positions, float const* plane, int stride, float* share);
};

[[nodiscard]] WarpFunctions warpFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] WarpFunctions warpFunctionsAvx2();

}  // namespace psfmatch::detail

// The inner loops of the fit to regions, in float32, built once for every instruction set like rowFunctions.h. Plain
// pointers only. Every count is a multiple of rowPadding.
#pragma once

#include "psfmatch/base/instructionSet.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

// Sets of taps of one call of correlateFolded.
inline constexpr int maxFoldedSets = 3;

// Taps that are alike, or opposite, on both sides of the middle one.
enum class Parity : int { even = 0, odd = 1 };

// Pixels under neighbouring taps lie `step` apart; `data` is the one under the middle tap of the first sum.
struct FoldedInput {
    float const* data;
    int step;
    int rowStride;
};

struct RegionFunctions {
    // results[s][y * resultStride + x] = taps[s][0] p(0) + sum over 0 < k < nTaps of taps[s][k] (p(k) + p(-k)), with
    // p(k) = input[y * rowStride + x + k * step], for y < nRows and x < count; odd: (p(k) - p(-k)), without the middle.
    void (*correlateFolded)(float const* const* taps, int nSets, int nTaps, Parity parity, FoldedInput input, int nRows,
                            int count, float* const* results, int resultStride);

    // packed[x * nRows + i] = rows[i][x] * factors[x], for x < count
    void (*packRows)(float const* const* rows, int nRows, float const* factors, int count, float* packed);

    // products[i * nRows + j] += sign * sum over x < count of packed[x * nRows + i] * packed[x * nRows + j], for j <= i
    // and some beyond; summed in float32 over at most some hundred pixels, then added in float64. `count` may be any.
    void (*addPackedProducts)(float const* packed, int nRows, int count, double sign, double* products);
};

[[nodiscard]] RegionFunctions regionFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] RegionFunctions regionFunctionsAvx2();

// As chooseRowFunctions.
[[nodiscard]] RegionFunctions chooseRegionFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail

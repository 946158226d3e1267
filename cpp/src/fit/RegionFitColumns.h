// Stamps convolved by every basis image, in float32: along x, then along y, both sides of a factor that is even or odd
// at once, and only taps that count.
#pragma once

#include <optional>
#include <vector>

#include "psfmatch/fit/NormalEquations.h"
#include "psfmatch/fit/RegionStamps.h"
#include "simd/regionFunctions.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

// At most maxFoldedSets sets of taps of one parity, from the middle one outwards: what they make are `targets`.
struct FoldedSets {
    Parity parity = Parity::even;
    int nTaps = 0;
    std::vector<float> taps;  // (sets, nTaps)
    std::vector<Index> targets;
};

// Row factors (targets: their number) with the column factors of the images (targets) of each.
struct FoldedPass {
    FoldedSets rows;
    Index reach = 0;  // rows of pixels that the columns need above and below
    std::vector<std::vector<FoldedSets>> columns;
};

struct ColumnPlan {
    std::vector<FoldedPass> passes;
    std::vector<float> firstImageWeight;  // (n), as SeparableBasis has it
};

// Nothing where a factor is neither even nor odd, or the basis has no factors.
[[nodiscard]] std::optional<ColumnPlan> planColumns(PreparedBasis const& basis);

struct ColumnScratch {
    std::vector<float> rows;
    RowMatrix pixels;
    RowMatrix columns;
};

// The columns of region k, shape.size() pixels apart; those without a plan as convolveStamp makes them.
void makeColumns(RegionFunctions const& functions, RowFunctions const& rowFunctions,
                 std::optional<ColumnPlan> const& plan, PreparedBasis const& basis, RegionStamps const& stamps, Index k,
                 ColumnScratch& scratch, float* columns, InstructionSet instructionSet);

}  // namespace psfmatch::detail

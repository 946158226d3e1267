// The region functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
namespace psfmatch::detail {

namespace {

constexpr int laneCount = 4;

// Of products, times four: eight sums in sixteen registers, of which one is lost to the product.
constexpr int tileVectors = 2;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/regionFunctionsBody.h"

namespace psfmatch::detail {

RegionFunctions regionFunctionsBaseline() {
    return {correlateFolded, packRows, addPackedProducts};
}

}  // namespace psfmatch::detail

// The region functions for x86-64 with AVX2 and FMA; the build gives this file, and no other, the flags for them.
#if defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))

namespace psfmatch::detail {

namespace {

constexpr int laneCount = 8;

// Of products, times four: twelve sums beside what a step needs, in sixteen registers.
constexpr int tileVectors = 3;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/regionFunctionsBody.h"

namespace psfmatch::detail {

RegionFunctions regionFunctionsAvx2() {
    return {correlateFolded, packRows, addPackedProducts};
}

}  // namespace psfmatch::detail

#else

#include "simd/regionFunctions.h"

namespace psfmatch::detail {

RegionFunctions regionFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

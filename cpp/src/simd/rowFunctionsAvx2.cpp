// The row functions for x86-64 with AVX2 and FMA; the build gives this file, and no other, the flags for them.
#if defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))

namespace psfmatch::detail {

namespace {

constexpr int laneCount = 8;

// Twelve sums, besides what a step needs, in sixteen registers: enough to hide the latency of the multiply-add.
constexpr int vectorsFor(int nTerms) {
    return nTerms == 1 ? 12 : nTerms == 2 ? 6 : nTerms == 3 ? 4 : 3;
}

}  // namespace

}  // namespace psfmatch::detail

#include "simd/rowFunctionsBody.h"

namespace psfmatch::detail {

RowFunctions rowFunctionsAvx2() {
    return {accumulate, combine,       combineProducts,  addAbsolute,   absoluteSum,
            correlate,  correlateSets, weightedProducts, factorCholesky};
}

}  // namespace psfmatch::detail

#else

#include "simd/rowFunctions.h"

namespace psfmatch::detail {

RowFunctions rowFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

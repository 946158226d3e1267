// The row functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
namespace psfmatch::detail {

namespace {

constexpr int laneCount = 4;

// Sixteen registers without a fused multiply-add: one is lost to the product.
constexpr int vectorsFor(int nTerms) {
    return nTerms == 1 ? 12 : nTerms == 2 ? 6 : nTerms == 3 ? 3 : 2;
}

}  // namespace

}  // namespace psfmatch::detail

#include "simd/rowFunctionsBody.h"

namespace psfmatch::detail {

RowFunctions rowFunctionsBaseline() {
    return {accumulate, combine,       combineProducts,  addAbsolute,   absoluteSum,
            correlate,  correlateSets, weightedProducts, factorCholesky};
}

}  // namespace psfmatch::detail

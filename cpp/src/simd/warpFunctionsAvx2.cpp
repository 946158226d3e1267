// The resampling functions for x86-64 with AVX2 and FMA; the build gives this file the flags for them.
#if defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))

namespace psfmatch::detail {

namespace {

constexpr int laneCount = 8;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/warpFunctionsBody.h"

namespace psfmatch::detail {

WarpFunctions warpFunctionsAvx2() {
    return {locate, resample, absoluteShare};
}

}  // namespace psfmatch::detail

#else

#include "simd/warpFunctions.h"

namespace psfmatch::detail {

WarpFunctions warpFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

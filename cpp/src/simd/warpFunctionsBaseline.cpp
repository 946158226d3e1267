// The resampling functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
namespace psfmatch::detail {

namespace {

constexpr int laneCount = 4;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/warpFunctionsBody.h"

namespace psfmatch::detail {

WarpFunctions warpFunctionsBaseline() {
    return {locate, resample, absoluteShare};
}

}  // namespace psfmatch::detail

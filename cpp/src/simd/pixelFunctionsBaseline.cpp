// The pixel functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
#include "simd/pixelFunctionsBody.h"

namespace psfmatch::detail {

PixelFunctions pixelFunctionsBaseline() {
    return {flagSteps, addClipped};
}

}  // namespace psfmatch::detail

// The pixel functions for x86-64 with AVX2; the build gives this file the flags for it.
#if defined(__AVX2__)

#include "simd/pixelFunctionsBody.h"

namespace psfmatch::detail {

PixelFunctions pixelFunctionsAvx2() {
    return {flagSteps, addClipped};
}

}  // namespace psfmatch::detail

#else

#include "simd/pixelFunctions.h"

namespace psfmatch::detail {

PixelFunctions pixelFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

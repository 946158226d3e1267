// The Fourier functions for x86-64 with AVX2 and FMA; the build gives this file the flags for them.
#if defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))

namespace psfmatch::detail {

namespace {

constexpr int laneCount = 8;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/fourierFunctionsBody.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsAvx2() {
    return {forwardColumns, forwardSpectrum, convolveRows, inverseColumns, addPolynomial};
}

}  // namespace psfmatch::detail

#else

#include "simd/fourierFunctions.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

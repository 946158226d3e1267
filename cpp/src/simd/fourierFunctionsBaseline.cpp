// The Fourier functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
namespace psfmatch::detail {

namespace {

constexpr int laneCount = 4;

}  // namespace

}  // namespace psfmatch::detail

#include "simd/fourierFunctionsBody.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsBaseline() {
    return {forwardColumns, forwardSpectrum, convolveRows, inverseColumns, addPolynomial};
}

}  // namespace psfmatch::detail

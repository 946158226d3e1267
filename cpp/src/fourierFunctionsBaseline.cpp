// The Fourier functions for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
namespace psfmatch::detail {

namespace {

constexpr int laneCount = 4;

}  // namespace

}  // namespace psfmatch::detail

#include "lanes.h"

namespace psfmatch::detail {

namespace {

[[gnu::always_inline]] inline void transpose(Lanes (&rows)[4]) {
    Lanes const low01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    Lanes const high01 = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    Lanes const low23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    Lanes const high23 = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

}  // namespace

}  // namespace psfmatch::detail

#include "fourierFunctionsBody.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsBaseline() {
    return {forwardColumns, forwardSpectrum, convolveRows, inverseColumns, addPolynomial};
}

}  // namespace psfmatch::detail

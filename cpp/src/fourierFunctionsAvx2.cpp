// The Fourier functions for x86-64 with AVX2 and FMA; the build gives this file the flags for them.
#if defined(__AVX2__) && defined(__FMA__)

namespace psfmatch::detail {

namespace {

constexpr int laneCount = 8;

}  // namespace

}  // namespace psfmatch::detail

#include "lanes.h"

namespace psfmatch::detail {

namespace {

[[gnu::always_inline]] inline void transpose(Lanes (&rows)[8]) {
    Lanes pairs[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    Lanes fours[8];
    for (int i = 0; i < 8; i += 4) {
        fours[i] = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        fours[i + 1] = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        fours[i + 2] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        fours[i + 3] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; ++i) {
        rows[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        rows[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

}  // namespace

}  // namespace psfmatch::detail

#include "fourierFunctionsBody.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsAvx2() {
    return {forwardColumns, forwardSpectrum, convolveRows, inverseColumns, addPolynomial};
}

}  // namespace psfmatch::detail

#else

#include "fourierFunctions.h"

namespace psfmatch::detail {

FourierFunctions fourierFunctionsAvx2() {
    return {};
}

}  // namespace psfmatch::detail

#endif

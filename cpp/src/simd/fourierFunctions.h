// The inner loops of convolution by Fourier transforms of 128x128 pixels, built once for every instruction set and
// chosen at run time; plain pointers only, for the reason given in rowFunctions.h. Two real tiles are the real and the
// imaginary part of one complex tile. One-dimensional transforms run on eight columns (or rows) at once: a line holds
// the real parts of eight complex numbers, then their imaginary parts, and a batch is 128 lines. Forward transforms
// leave the frequencies in a fixed order of their own, from which inverse transforms start; neither is scaled.
#pragma once

#include "psfmatch/base/instructionSet.h"

namespace psfmatch::detail {

inline constexpr int transformSize = 128;
inline constexpr int batchWidth = 8;
inline constexpr int nBatches = transformSize / batchWidth;
inline constexpr int lineLength = 2 * batchWidth;
// Floats between batches, and between rows of a tile: not powers of two, which would crowd a few sets of the cache.
inline constexpr int batchStride = (transformSize + 8) * lineLength;
inline constexpr int tileStride = transformSize + 8;
inline constexpr int complexTileLength = nBatches * batchStride;
inline constexpr int realTileLength = transformSize * tileStride;

// exp(-2 pi i j k / 128), k = 1, 2, 3, for j < 32, as (real, imaginary); then exp(-2 pi i j k / 32) for j < 8.
inline constexpr int twiddleLength = 6 * (32 + 8);

// Largest number of powers of X or Y.
inline constexpr int maxTermsOnAxis = 64;

// A kernel is a polynomial of the position with terms X^q Y^p, q + p < n, the powers of Y of each power of X together.
[[nodiscard]] constexpr int termCount(int n) {
    return n * (n + 1) / 2;
}

struct FourierFunctions {
    // Multiplies the rows of both tiles by a factor each, transforms along y and turns the result by 90 degrees, so
    // that batches hold eight frequencies in y, lines running along x: complexTileLength floats, of which those of the
    // first nColumnBatches batches of columns are written.
    void (*forwardColumns)(float const* realTile, float const* imaginaryTile, float const* realFactors,
                           float const* imaginaryFactors, float const* twiddles, int nColumnBatches, float* stream);

    // Transforms such a stream along x and writes its conjugate, scaled, as one of nTerms spectra, which lie together
    // line by line.
    void (*forwardSpectrum)(float const* stream, float const* twiddles, float scale, int term, int nTerms,
                            float* spectra);

    // Transforms n streams, one for each power of Y and complexTileLength apart, along x, multiplies them by the
    // spectra, transforms back, sums with powers of X (xFactors: of each column) and turns back. Only the first
    // nColumnBatches batches of columns are made. scratch: n batches. After this, the first step of the inverse
    // transform along y is done already.
    void (*convolveRows)(float const* streams, float const* spectra, int n, float const* xFactors,
                         float const* twiddles, int nColumnBatches, float* scratch, float* columns);

    // The rest of the inverse transform along y.
    void (*inverseColumns)(float* columns, float const* twiddles, int nColumnBatches, float* realTile,
                           float* imaginaryTile);

    // target[v][u] += sum over q < n of xFactors[u]^q images[q][v][u], for v < height and u < width, width a multiple
    // of batchWidth; target is a tile.
    void (*addPolynomial)(float const* images, int imageStride, int rowStride, int n, float const* xFactors, int height,
                          int width, float* target);
};

[[nodiscard]] FourierFunctions fourierFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] FourierFunctions fourierFunctionsAvx2();

// As chooseRowFunctions.
[[nodiscard]] FourierFunctions chooseFourierFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail

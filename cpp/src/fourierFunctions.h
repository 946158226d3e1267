// The inner loops of convolution by Fourier transforms of 128x128 pixels, built once for every instruction set and chosen at
// run time; plain pointers only, for the reason given in rowFunctions.h. Two real tiles are the real and the
// imaginary part of one complex tile. One-dimensional transforms run on eight columns (or rows) at once: a line holds
// the real parts of eight complex numbers, then their imaginary parts, and a batch is 128 lines. Forward transforms
// leave the frequencies in a fixed order of their own, from which inverse transforms start; neither is scaled.
#pragma once

#include "psfmatch/instructionSet.h"

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

// A kernel that is a polynomial of the position: term (q, p) belongs to X^q Y^p, p < yTerms[q], and yTerms does not
// grow with q. Spectra: line after line of each batch, the terms of one line together, p running fastest.
struct PolynomialShape {
    int xTerms;
    int const* yTerms;
    int nTerms;  // sum of yTerms
};

struct FourierFunctions {
    // Multiplies the rows of both tiles by a factor each, transforms along y and turns the result by 90 degrees, so
    // that batches hold eight frequencies in y, lines running along x: complexTileLength floats.
    void (*forwardColumns)(float const* realTile, float const* imaginaryTile, float const* realFactors,
                           float const* imaginaryFactors, float const* twiddles, float* stream);

    // Transforms such a stream along x and writes it as term `term` of nTerms, scaled.
    void (*forwardSpectrum)(float const* stream, float const* twiddles, float scale, int term, int nTerms,
                            float* spectra);

    // Transforms the streams, one for each power of y and complexTileLength apart, along x, multiplies them by the
    // spectra, transforms back, multiplies by powers of xFactors (one for each column) and sums, and turns back.
    // Only the first nColumnBatches batches of columns are made. scratch: as many batches as there are terms on the
    // longer axis. After this, the first step of the inverse transform along y is done already.
    void (*convolveRows)(float const* streams, float const* spectra, PolynomialShape shape, float const* xFactors,
                         float const* twiddles, int nColumnBatches, float* scratch, float* columns);

    // The rest of the inverse transform along y.
    void (*inverseColumns)(float* columns, float const* twiddles, int nColumnBatches, float* realTile,
                           float* imaginaryTile);

    // target[v][u] += sum over q of xFactors[u]^q images[q][v][u], for v < height and u < width, width a multiple of
    // laneWidth; images and target in rows of their own strides.
    void (*addPolynomial)(float const* images, int imageStride, int rowStride, int xTerms, float const* xFactors,
                          int height, int width, float* target);
};

[[nodiscard]] FourierFunctions fourierFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] FourierFunctions fourierFunctionsAvx2();

// As chooseRowFunctions.
[[nodiscard]] FourierFunctions chooseFourierFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail

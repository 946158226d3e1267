// The inner loops of convolutions and correlations, built once for every instruction set and chosen at run time. Plain
// pointers only: whatever these files instantiated from the standard library or Eigen could be merged by the
// linker with the copies for older processors.
#pragma once

#include "psfmatch/base/instructionSet.h"

namespace psfmatch::detail {

// Rows of floats, `stride` floats apart.
struct FloatRows {
    float const* data;
    int stride;
};

// Doubles of which `step` lie between the pixels under two taps, and `rowStride` between two rows.
struct DoubleRows {
    double const* data;
    int step;
    int rowStride;
};

// Every count below is a multiple of this.
inline constexpr int rowPadding = 8;

// The largest number of terms of one call of accumulate.
inline constexpr int maxTerms = 4;

// Products are summed by pieces of at most so many pixels.
inline constexpr int productPiece = 144;

struct RowFunctions {
    // sums[t][x] += sum over v < height, u < width of taps[t][v * tapStride + u] * input[v][x + u], for x <
    // count and t < nTerms. Each sum runs over v, then u, so that splitting the work never changes a bit.
    void (*accumulate)(FloatRows taps, int nTerms, int tapStride, int height, int width, FloatRows input, int count,
                       float* sums, int sumStride);

    // result[x] = sum over i < nRows of weights[i] * rows[i][x]
    void (*combine)(FloatRows rows, float const* weights, int nRows, int count, float* result);

    // result[x] = sum over i < nRows of factors[i][x] * rows[i][x]
    void (*combineProducts)(FloatRows rows, FloatRows factors, int nRows, int count, float* result);

    // result[x] += |sum over i < nRows of factors[i][x] * rows[i][x]|
    void (*addAbsolute)(FloatRows rows, FloatRows factors, int nRows, int count, float* result);

    // sum over x < count of |sum over i < nRows of weights[i] * rows[i][x]|
    float (*absoluteSum)(FloatRows rows, float const* weights, int nRows, int count);

    // sums[x] += sum over k < nTaps of taps[k] * input[k * step + x], for x < count, which need not be padded
    void (*correlate)(double const* taps, int nTaps, double const* input, int step, int count, double* sums);

    // results[s][y * resultStride + x] = sum over k < nTaps of taps[s][k] * input[y * rowStride + k * step + x], for
    // y < nRows, x < count and s < nSets. Rows are written in their sequence: where count exceeds resultStride, the
    // next row overwrites what the last one wrote too much.
    void (*correlateSets)(double const* const* taps, int nSets, int nTaps, DoubleRows input, int nRows, int count,
                          double* const* results, int resultStride);

    // products[i * nRows + j] += sum over x < count of factors[x]^2 * rows[i][x] * rows[j][x], for j <= i, and, unless
    // `data` is null, sums[i] += sum over x of factors[x]^2 * rows[i][x] * data[x]. Rows are `stride` doubles apart;
    // `buffer` holds (nRows + 1) * productPiece.
    void (*weightedProducts)(double const* rows, int nRows, int stride, double const* factors, int count,
                             double const* data, double* buffer, double* products, double* sums);

    // Overwrites the lower triangle of a symmetric matrix, row after row, with its Cholesky factor, reading nothing
    // above the diagonal but leaving nothing of use there; false as soon as a pivot is not above minPivot.
    bool (*factorCholesky)(double* matrix, int n, double minPivot);
};

[[nodiscard]] RowFunctions rowFunctionsBaseline();

// Null pointers where the compiler could not build them.
[[nodiscard]] RowFunctions rowFunctionsAvx2();

// The functions that this processor runs fastest, or those of a given set; std::invalid_argument for a set that this
// processor or this build lacks.
[[nodiscard]] RowFunctions chooseRowFunctions(InstructionSet instructionSet);

}  // namespace psfmatch::detail

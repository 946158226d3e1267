// The one implementation behind regionFunctions.h. Each file that includes it has declared `laneCount` and
// `tileVectors` in an unnamed namespace, so that everything here has internal linkage.
#pragma once

#include "simd/lanes.h"
#include "simd/regionFunctions.h"

namespace psfmatch::detail {

namespace {

template <int nSets, int nVectors, bool isOdd>
void foldedBlock(float const* const* taps, int nTaps, float const* input, std::ptrdiff_t step, float* const* results,
                 std::ptrdiff_t offset) {
    Lanes sum[nSets][nVectors];
    for (int i = 0; i < nVectors; ++i) {
        Lanes const middle = load(input + i * laneCount);
        for (int s = 0; s < nSets; ++s) {
            sum[s][i] = splat(isOdd ? 0.0F : taps[s][0]) * middle;
        }
    }
    for (int k = 1; k < nTaps; ++k) {
        float const* const ahead = input + k * step;
        float const* const behind = input - k * step;
        Lanes factor[nSets];
        for (int s = 0; s < nSets; ++s) {
            factor[s] = splat(taps[s][k]);
        }
        for (int i = 0; i < nVectors; ++i) {
            Lanes const right = load(ahead + i * laneCount);
            Lanes const left = load(behind + i * laneCount);
            Lanes const both = isOdd ? right - left : right + left;
            for (int s = 0; s < nSets; ++s) {
                sum[s][i] = multiplyAdd(sum[s][i], factor[s], both);
            }
        }
    }
    for (int s = 0; s < nSets; ++s) {
        for (int i = 0; i < nVectors; ++i) {
            store(results[s] + offset + i * laneCount, sum[s][i]);
        }
    }
}

// Blocks of nVectors as long as there are so many, then smaller ones.
template <int nSets, int nVectors, bool isOdd>
void foldedRow(float const* const* taps, int nTaps, float const* input, std::ptrdiff_t step, int count,
               float* const* results, std::ptrdiff_t offset) {
    int x = 0;
    for (; x + nVectors * laneCount <= count; x += nVectors * laneCount) {
        foldedBlock<nSets, nVectors, isOdd>(taps, nTaps, input + x, step, results, offset + x);
    }
    if constexpr (nVectors > 1) {
        if (x < count) {
            foldedRow<nSets, nVectors - 1, isOdd>(taps, nTaps, input + x, step, count - x, results, offset + x);
        }
    }
}

template <int nSets, bool isOdd>
void foldedRows(float const* const* taps, int nTaps, FoldedInput input, int nRows, int count, float* const* results,
                int resultStride) {
    for (int y = 0; y < nRows; ++y) {
        foldedRow<nSets, 4, isOdd>(taps, nTaps, input.data + static_cast<std::ptrdiff_t>(y) * input.rowStride,
                                   input.step, count, results, static_cast<std::ptrdiff_t>(y) * resultStride);
    }
}

template <bool isOdd>
void foldedSets(float const* const* taps, int nSets, int nTaps, FoldedInput input, int nRows, int count,
                float* const* results, int resultStride) {
    switch (nSets) {
        case 1:
            foldedRows<1, isOdd>(taps, nTaps, input, nRows, count, results, resultStride);
            break;
        case 2:
            foldedRows<2, isOdd>(taps, nTaps, input, nRows, count, results, resultStride);
            break;
        default:
            foldedRows<maxFoldedSets, isOdd>(taps, nTaps, input, nRows, count, results, resultStride);
            break;
    }
}

void correlateFolded(float const* const* taps, int nSets, int nTaps, Parity parity, FoldedInput input, int nRows,
                     int count, float* const* results, int resultStride) {
    if (parity == Parity::odd) {
        foldedSets<true>(taps, nSets, nTaps, input, nRows, count, results, resultStride);
    } else {
        foldedSets<false>(taps, nSets, nTaps, input, nRows, count, results, resultStride);
    }
}

void packRows(float const* const* rows, int nRows, float const* factors, int count, float* packed) {
    for (int x = 0; x < count; x += laneCount) {
        Lanes const factor = load(factors + x);
        for (int i = 0; i < nRows; i += laneCount) {
            Lanes block[laneCount];
            for (int k = 0; k < laneCount; ++k) {
                block[k] = load(rows[i + k] + x) * factor;
            }
            transpose(block);
            for (int k = 0; k < laneCount; ++k) {
                store(packed + static_cast<std::ptrdiff_t>(x + k) * nRows + i, block[k]);
            }
        }
    }
}

constexpr int tileHeight = 4;

// Rows firstRow .. firstRow + 3 with nVectors of columns from firstColumn on.
template <int nVectors>
void productTile(float const* packed, int nRows, int count, int firstRow, int firstColumn, double sign,
                 double* products) {
    Lanes sum[tileHeight][nVectors];
    for (auto& row : sum) {
        for (Lanes& lanes : row) {
            lanes = splat(0.0F);
        }
    }
    float const* left = packed + firstRow;
    float const* right = packed + firstColumn;
    for (int x = 0; x < count; ++x, left += nRows, right += nRows) {
        Lanes values[nVectors];
        for (int j = 0; j < nVectors; ++j) {
            values[j] = load(right + j * laneCount);
        }
        for (int i = 0; i < tileHeight; ++i) {
            Lanes const factor = splat(left[i]);
            for (int j = 0; j < nVectors; ++j) {
                sum[i][j] = multiplyAdd(sum[i][j], factor, values[j]);
            }
        }
    }
    for (int i = 0; i < tileHeight; ++i) {
        double* const row = products + static_cast<std::ptrdiff_t>(firstRow + i) * nRows + firstColumn;
        float values[nVectors * laneCount];
        for (int j = 0; j < nVectors; ++j) {
            store(values + j * laneCount, sum[i][j]);
        }
        for (int j = 0; j < nVectors * laneCount; ++j) {
            row[j] += sign * static_cast<double>(values[j]);
        }
    }
}

template <int nVectors>
void productTiles(float const* packed, int nRows, int count, int firstRow, int firstColumn, int nLeft, double sign,
                  double* products) {
    if (nLeft >= nVectors) {
        productTile<nVectors>(packed, nRows, count, firstRow, firstColumn, sign, products);
    } else if constexpr (nVectors > 1) {
        productTiles<nVectors - 1>(packed, nRows, count, firstRow, firstColumn, nLeft, sign, products);
    }
}

void addPackedProducts(float const* packed, int nRows, int count, double sign, double* products) {
    for (int firstColumn = 0; firstColumn < nRows; firstColumn += tileVectors * laneCount) {
        for (int firstRow = firstColumn; firstRow < nRows; firstRow += tileHeight) {
            // Whole vectors up to the diagonal, as far as the tile goes.
            int const nVectors = (firstRow + tileHeight - firstColumn + laneCount - 1) / laneCount;
            productTiles<tileVectors>(packed, nRows, count, firstRow, firstColumn,
                                      nVectors < tileVectors ? nVectors : tileVectors, sign, products);
        }
    }
}

}  // namespace

}  // namespace psfmatch::detail

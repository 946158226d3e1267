// The one implementation behind rowFunctions.h. Each file that includes it has declared `laneCount` and
// `vectorsFor(nTerms)` in an unnamed namespace, so that everything here has internal linkage.
// The accumulators of a block, nTerms times nVectors of them, stay in registers over the whole kernel.
#pragma once

#include "simd/lanes.h"
#include "simd/rowFunctions.h"

namespace psfmatch::detail {

namespace {

struct Taps {
    FloatRows rows;
    int stride;
    int height;
    int width;
};

template <int nTerms, int nVectors>
void accumulateBlock(Taps const& taps, FloatRows input, float* sums, int sumStride) {
    Lanes sum[nTerms][nVectors];
    for (int t = 0; t < nTerms; ++t) {
        for (int k = 0; k < nVectors; ++k) {
            sum[t][k] = load(sums + t * sumStride + k * laneCount);
        }
    }
    for (int v = 0; v < taps.height; ++v) {
        float const* const row = input.data + static_cast<std::ptrdiff_t>(v) * input.stride;
        float const* const tap = taps.rows.data + v * taps.stride;
        for (int u = 0; u < taps.width; ++u) {
            // The shorter side of the block is held in registers beside the sums: never more than 16 in all.
            if constexpr (nTerms <= nVectors) {
                Lanes factor[nTerms];
                for (int t = 0; t < nTerms; ++t) {
                    factor[t] = splat(tap[t * taps.rows.stride + u]);
                }
                for (int k = 0; k < nVectors; ++k) {
                    Lanes const pixels = load(row + u + k * laneCount);
                    for (int t = 0; t < nTerms; ++t) {
                        sum[t][k] = multiplyAdd(sum[t][k], factor[t], pixels);
                    }
                }
            } else {
                Lanes pixels[nVectors];
                for (int k = 0; k < nVectors; ++k) {
                    pixels[k] = load(row + u + k * laneCount);
                }
                for (int t = 0; t < nTerms; ++t) {
                    Lanes const factor = splat(tap[t * taps.rows.stride + u]);
                    for (int k = 0; k < nVectors; ++k) {
                        sum[t][k] = multiplyAdd(sum[t][k], factor, pixels[k]);
                    }
                }
            }
        }
    }
    for (int t = 0; t < nTerms; ++t) {
        for (int k = 0; k < nVectors; ++k) {
            store(sums + t * sumStride + k * laneCount, sum[t][k]);
        }
    }
}

// Blocks of nVectors as long as there are so many, then of half as many, down to one.
template <int nTerms, int nVectors>
void accumulateTerms(Taps const& taps, FloatRows input, int count, float* sums, int sumStride) {
    int x = 0;
    for (; x + nVectors * laneCount <= count; x += nVectors * laneCount) {
        accumulateBlock<nTerms, nVectors>(taps, {input.data + x, input.stride}, sums + x, sumStride);
    }
    if constexpr (nVectors > 1) {
        if (x < count) {
            accumulateTerms<nTerms, nVectors / 2>(taps, {input.data + x, input.stride}, count - x, sums + x, sumStride);
        }
    }
}

void accumulate(FloatRows taps, int nTerms, int tapStride, int height, int width, FloatRows input, int count,
                float* sums, int sumStride) {
    Taps const all{taps, tapStride, height, width};
    switch (nTerms) {
        case 1:
            accumulateTerms<1, vectorsFor(1)>(all, input, count, sums, sumStride);
            break;
        case 2:
            accumulateTerms<2, vectorsFor(2)>(all, input, count, sums, sumStride);
            break;
        case 3:
            accumulateTerms<3, vectorsFor(3)>(all, input, count, sums, sumStride);
            break;
        default:
            accumulateTerms<maxTerms, vectorsFor(maxTerms)>(all, input, count, sums, sumStride);
            break;
    }
}

template <int nVectors>
void combineBlock(FloatRows rows, float const* weights, int nRows, float* result) {
    Lanes sum[nVectors];
    for (int k = 0; k < nVectors; ++k) {
        sum[k] = splat(0.0F);
    }
    for (int i = 0; i < nRows; ++i) {
        Lanes const weight = splat(weights[i]);
        for (int k = 0; k < nVectors; ++k) {
            sum[k] = multiplyAdd(sum[k], weight, load(rows.data + i * rows.stride + k * laneCount));
        }
    }
    for (int k = 0; k < nVectors; ++k) {
        store(result + k * laneCount, sum[k]);
    }
}

void combine(FloatRows rows, float const* weights, int nRows, int count, float* result) {
    constexpr int nVectors = 8;
    int x = 0;
    for (; x + nVectors * laneCount <= count; x += nVectors * laneCount) {
        combineBlock<nVectors>({rows.data + x, rows.stride}, weights, nRows, result + x);
    }
    for (; x < count; x += laneCount) {
        combineBlock<1>({rows.data + x, rows.stride}, weights, nRows, result + x);
    }
}

[[nodiscard]] inline Lanes productSum(FloatRows rows, FloatRows factors, int nRows, int x) {
    Lanes sum = splat(0.0F);
    for (int i = 0; i < nRows; ++i) {
        sum = multiplyAdd(sum, load(factors.data + i * factors.stride + x), load(rows.data + i * rows.stride + x));
    }
    return sum;
}

void combineProducts(FloatRows rows, FloatRows factors, int nRows, int count, float* result) {
    for (int x = 0; x < count; x += laneCount) {
        store(result + x, productSum(rows, factors, nRows, x));
    }
}

void addAbsolute(FloatRows rows, FloatRows factors, int nRows, int count, float* result) {
    for (int x = 0; x < count; x += laneCount) {
        store(result + x, multiplyAdd(load(result + x), splat(1.0F), absolute(productSum(rows, factors, nRows, x))));
    }
}

float absoluteSum(FloatRows rows, float const* weights, int nRows, int count) {
    Lanes total = splat(0.0F);
    for (int x = 0; x < count; x += laneCount) {
        Lanes sum = splat(0.0F);
        for (int i = 0; i < nRows; ++i) {
            sum = multiplyAdd(sum, splat(weights[i]), load(rows.data + i * rows.stride + x));
        }
        total = multiplyAdd(total, splat(1.0F), absolute(sum));
    }
    float lanes[laneCount];
    store(lanes, total);
    float result = 0.0F;
    for (float const lane : lanes) {
        result += lane;
    }
    return result;
}

template <int nVectors>
void correlateBlock(double const* taps, int nTaps, double const* input, int step, double* sums) {
    DoubleLanes sum[nVectors];
    for (int i = 0; i < nVectors; ++i) {
        sum[i] = load(sums + i * doubleLaneCount);
    }
    for (int k = 0; k < nTaps; ++k) {
        DoubleLanes const tap = splat(taps[k]);
        double const* const pixels = input + static_cast<std::ptrdiff_t>(k) * step;
        for (int i = 0; i < nVectors; ++i) {
            sum[i] = multiplyAdd(sum[i], tap, load(pixels + i * doubleLaneCount));
        }
    }
    for (int i = 0; i < nVectors; ++i) {
        store(sums + i * doubleLaneCount, sum[i]);
    }
}

void correlate(double const* taps, int nTaps, double const* input, int step, int count, double* sums) {
    // Chains of sums enough to hide the latency of the multiply-add; the usual stamp has rows of 24.
    constexpr int large = 8 * doubleLaneCount;
    constexpr int medium = 6 * doubleLaneCount;
    int x = 0;
    for (; x + large <= count; x += large) {
        correlateBlock<8>(taps, nTaps, input + x, step, sums + x);
    }
    for (; x + medium <= count; x += medium) {
        correlateBlock<6>(taps, nTaps, input + x, step, sums + x);
    }
    for (; x + doubleLaneCount <= count; x += doubleLaneCount) {
        correlateBlock<1>(taps, nTaps, input + x, step, sums + x);
    }
    for (; x < count; ++x) {
        for (int k = 0; k < nTaps; ++k) {
            sums[x] += taps[k] * input[x + static_cast<std::ptrdiff_t>(k) * step];
        }
    }
}

// Columns x .. x + nVectors lanes of one row, by nSets sets of taps.
template <int nSets, int nVectors>
void correlateSetsBlock(double const* const* taps, int nTaps, double const* input, int step, double* const* results,
                        std::ptrdiff_t offset) {
    DoubleLanes sum[nSets][nVectors];
    for (int s = 0; s < nSets; ++s) {
        for (int i = 0; i < nVectors; ++i) {
            sum[s][i] = splat(0.0);
        }
    }
    for (int k = 0; k < nTaps; ++k) {
        double const* const pixels = input + static_cast<std::ptrdiff_t>(k) * step;
        DoubleLanes factor[nSets];
        for (int s = 0; s < nSets; ++s) {
            factor[s] = splat(taps[s][k]);
        }
        for (int i = 0; i < nVectors; ++i) {
            DoubleLanes const values = load(pixels + i * doubleLaneCount);
            for (int s = 0; s < nSets; ++s) {
                sum[s][i] = multiplyAdd(sum[s][i], factor[s], values);
            }
        }
    }
    for (int s = 0; s < nSets; ++s) {
        for (int i = 0; i < nVectors; ++i) {
            store(results[s] + offset + i * doubleLaneCount, sum[s][i]);
        }
    }
}

template <int nSets, int nVectors>
void correlateSetsRow(double const* const* taps, int nTaps, double const* input, int step, int count,
                      double* const* results, std::ptrdiff_t offset) {
    int x = 0;
    for (; x + nVectors * doubleLaneCount <= count; x += nVectors * doubleLaneCount) {
        correlateSetsBlock<nSets, nVectors>(taps, nTaps, input + x, step, results, offset + x);
    }
    if constexpr (nVectors > 1) {
        if (x < count) {
            correlateSetsRow<nSets, nVectors / 2>(taps, nTaps, input + x, step, count - x, results, offset + x);
        }
    }
}

template <int nSets, int nVectors>
void correlateSetsRows(double const* const* taps, int nTaps, DoubleRows input, int nRows, int count,
                       double* const* results, int resultStride) {
    for (int y = 0; y < nRows; ++y) {
        correlateSetsRow<nSets, nVectors>(taps, nTaps, input.data + static_cast<std::ptrdiff_t>(y) * input.rowStride,
                                          input.step, count, results, static_cast<std::ptrdiff_t>(y) * resultStride);
    }
}

// Sums enough to hide the latency of the multiply-add, and no more than the registers hold: the usual stamp has rows of
// 24. Sets are taken by two, but the last three together rather than one of them alone.
void correlateSets(double const* const* taps, int nSets, int nTaps, DoubleRows input, int nRows, int count,
                   double* const* results, int resultStride) {
    int s = 0;
    for (; nSets - s == 2 || nSets - s > 3; s += 2) {
        correlateSetsRows<2, 6>(taps + s, nTaps, input, nRows, count, results + s, resultStride);
    }
    if (nSets - s == 3) {
        correlateSetsRows<3, 3>(taps + s, nTaps, input, nRows, count, results + s, resultStride);
    } else if (nSets - s == 1) {
        correlateSetsRows<1, 12>(taps + s, nTaps, input, nRows, count, results + s, resultStride);
    }
}

}  // namespace

}  // namespace psfmatch::detail

#include "simd/rowFunctionsMatrix.h"

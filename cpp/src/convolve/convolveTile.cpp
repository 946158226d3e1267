#include "convolve/convolveTile.h"

#include <algorithm>

namespace psfmatch::detail {

Footprint footprintOf(LinearCombinationKernel const& kernel) {
    auto const height = static_cast<int>(kernel.basis.height);
    auto const width = static_cast<int>(kernel.basis.width);
    if (kernel.isVarying()) {
        return {0, 0, height, width, {}};
    }
    RowMatrix const taps = termImages(kernel);
    Footprint footprint;
    int uEnd = 0;
    int nNonZero = 0;
    for (int v = 0; v < height; ++v) {
        for (int u = 0; u < width; ++u) {
            if (taps(0, v * width + u) == 0.0) {
                continue;
            }
            if (nNonZero++ == 0) {
                footprint.v0 = v;
                footprint.u0 = u;
            }
            footprint.height = v - footprint.v0 + 1;
            footprint.u0 = std::min(footprint.u0, u);
            uEnd = std::max(uEnd, u + 1);
            bool const continues = u > 0 && taps(0, v * width + u - 1) != 0.0;
            if (continues) {
                ++footprint.spans.back().width;
            } else {
                footprint.spans.push_back({v, u, 1});
            }
        }
    }
    footprint.width = uEnd - footprint.u0;
    if (nNonZero == footprint.height * footprint.width) {
        footprint.spans.clear();
    }
    return footprint;
}

TileFactors::TileFactors(Tile const& tile, int nTerms_)
    : nTerms(nTerms_),
      xStride(padded(tile.width)),
      x(static_cast<std::size_t>(nTerms * xStride), 0.0F),
      y(static_cast<std::size_t>(nTerms * tile.height)) {
    auto const fill = [&](int count, float* values, int positionStride, int degreeStride) {
        for (int i = 0; i < count; ++i) {
            double const t = (i - 0.5 * (count - 1)) / halfExtent(count);
            double previous = t;  // T_-1 = T_1
            double current = 1.0;
            for (int degree = 0; degree < nTerms; ++degree) {
                values[i * positionStride + degree * degreeStride] = static_cast<float>(current);
                double const next = 2.0 * t * current - previous;
                previous = current;
                current = next;
            }
        }
    };
    fill(tile.width, x.data(), 1, xStride);
    fill(tile.height, y.data(), nTerms, 1);
}

namespace {

// The sums of a block of rows, of which each is convolved with several terms. Neighbouring rows share their input:
// one row's tap [v] meets the same pixels as the next row's tap [v - 1], so that up to maxTerms (row, term) pairs
// run through accumulate together. The taps of pair k = term * nRows + row lie at k * tapStride, shifted by
// row * kernelWidth floats: then all pairs read the same offset for one input row.
struct RowBlock {
    RowFunctions const& functions;
    Footprint const& footprint;
    int kernelWidth;
    int nRows;
    FloatRows taps;
    FloatRows input;
    int count;
    float* sums;  // (terms * nRows, count)

    void accumulatePairs(int firstPair, int nPairs, int pairStep, int inputRow, int height) const {
        int const v = inputRow + footprint.v0;
        functions.accumulate(
            {taps.data + firstPair * taps.stride + v * kernelWidth + footprint.u0, pairStep * taps.stride}, nPairs,
            kernelWidth, height, footprint.width, {input.data + v * input.stride + footprint.u0, input.stride}, count,
            sums + firstPair * count, pairStep * count);
    }

    // Terms [firstTerm, firstTerm + nTerms) of rows [firstRow, endRow): at most maxTerms pairs, and all rows of
    // the block or one of them if there are several terms.
    void accumulateRows(int firstTerm, int nTerms, int firstRow, int endRow) const {
        int const lastInputRow = endRow - 2 + footprint.height;
        for (int inputRow = firstRow; inputRow <= lastInputRow;) {
            int const first = std::max(firstRow, inputRow - footprint.height + 1);
            int const end = std::min(endRow, inputRow + 1);
            int next = inputRow + 1;
            while (next <= lastInputRow && std::max(firstRow, next - footprint.height + 1) == first &&
                   std::min(endRow, next + 1) == end) {
                ++next;
            }
            if (end - first == 1) {
                accumulatePairs(firstTerm * nRows + first, nTerms, nRows, inputRow, next - inputRow);
            } else {
                accumulatePairs(firstTerm * nRows + first, nTerms * (end - first), 1, inputRow, next - inputRow);
            }
            inputRow = next;
        }
    }

    void accumulateSpans() const {
        for (int row = 0; row < nRows; ++row) {
            for (Footprint::Span const& span : footprint.spans) {
                int const inputRow = row + span.v;
                functions.accumulate({taps.data + row * taps.stride + inputRow * kernelWidth + span.u, 0}, 1, 0, 1,
                                     span.width, {input.data + inputRow * input.stride + span.u, input.stride}, count,
                                     sums + row * count, count);
            }
        }
    }

    void accumulate(int nTerms) const {
        if (!footprint.spans.empty()) {
            accumulateSpans();
            return;
        }
        if (footprint.height == 0) {
            return;
        }
        int const nGroups = (nTerms + maxTerms - 1) / maxTerms;
        for (int group = 0; group < nGroups; ++group) {
            int const firstTerm = nTerms * group / nGroups;
            int const inGroup = nTerms * (group + 1) / nGroups - firstTerm;
            int const together = inGroup * nRows <= maxTerms ? nRows : 1;
            for (int row = 0; row < nRows; row += together) {
                accumulateRows(firstTerm, inGroup, row, row + together);
            }
        }
    }
};

}  // namespace

void convolveTile(RowFunctions const& functions, TileKernel const& kernel, Footprint const& footprint, int kernelWidth,
                  FloatRows input, Tile const& tile, TileFactors const& factors, float* output, Index outputStride,
                  std::vector<float>& scratch) {
    int const nTerms = kernel.xTerms();
    int const rowsPerBlock = nTerms == 1 ? maxTerms : 2;
    int const count = padded(tile.width);
    int const tapStride = kernel.tapStride + padded((rowsPerBlock - 1) * kernelWidth);
    int const nPairs = nTerms * rowsPerBlock;
    scratch.resize(static_cast<std::size_t>(nPairs * tapStride + (nPairs + 1) * count));
    float* const taps = scratch.data();
    float* const sums = taps + nPairs * tapStride;
    float* const result = sums + nPairs * count;

    for (int row = 0; row < tile.height; row += rowsPerBlock) {
        int const nRows = std::min(rowsPerBlock, tile.height - row);
        for (int i = 0; i < nRows; ++i) {
            kernel.collapse(functions, factors.yRow(row + i), taps + i * (tapStride + kernelWidth), nRows * tapStride);
        }
        std::fill(sums, sums + nTerms * nRows * count, 0.0F);
        RowBlock const block{functions,
                             footprint,
                             kernelWidth,
                             nRows,
                             {taps, tapStride},
                             {input.data + row * input.stride, input.stride},
                             count,
                             sums};
        block.accumulate(nTerms);
        for (int i = 0; i < nRows; ++i) {
            functions.combineProducts({sums + i * count, nRows * count}, factors.xRows(), nTerms, count, result);
            std::copy(result, result + tile.width, output + (row + i) * outputStride);
        }
    }
}

}  // namespace psfmatch::detail

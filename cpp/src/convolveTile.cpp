#include "convolveTile.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace psfmatch::detail {

namespace {

using FloatRowArray = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRow = Eigen::Array<float, 1, Eigen::Dynamic>;

// Taps of an image kernel may lose this fraction of the largest tap.
constexpr float kernelTolerance = 3e-9F;

// Taps of a squared kernel may lose this fraction of themselves, or of the floor: this fraction of the sum of all.
// The floor spares terms for taps that matter only under a pixel of 1000 times the sky's variance.
constexpr float squareTolerance = 9e-4F;
constexpr float squareFloor = 1e-3F;

constexpr int termIndex(int xDegree, int yDegree) {
    int const degree = xDegree + yDegree;
    return degree * (degree + 1) / 2 + yDegree;
}

double halfExtent(int count) {
    return std::max(0.5 * (count - 1), 0.5);
}

// Row i: coefficients of T_0(t) .. T_order(t) of the one-dimensional function of degree i, from its values at the
// Chebyshev nodes (exact for polynomials). `valuesAt(position)` returns all functions' values.
template <typename ValuesAt>
Eigen::MatrixXd chebyshevCoefficients(int order, double centre, double half, ValuesAt const& valuesAt) {
    int const n = order + 1;
    Eigen::MatrixXd coefficients = Eigen::MatrixXd::Zero(n, n);
    for (int k = 0; k < n; ++k) {
        double const angle = std::numbers::pi * (k + 0.5) / n;
        Eigen::VectorXd const values = valuesAt(centre + half * std::cos(angle));
        for (int a = 0; a < n; ++a) {
            coefficients.col(a) += (a == 0 ? 1.0 : 2.0) / n * std::cos(a * angle) * values;
        }
    }
    return coefficients;
}

// Drops the highest degrees, first in x, then in y, as long as no tap loses more than its tolerance.
TileKernel truncated(FloatRowArray const& coefficients, int order, FloatRow const& tolerance) {
    FloatRow lost = FloatRow::Zero(tolerance.size());
    auto const drop = [&](FloatRow const& terms) {
        if (((lost + terms) <= tolerance).all()) {
            lost += terms;
            return true;
        }
        return false;
    };
    int xDegree = order;
    for (; xDegree > 0; --xDegree) {
        FloatRow terms = FloatRow::Zero(tolerance.size());
        for (int b = 0; b <= order - xDegree; ++b) {
            terms += coefficients.row(termIndex(xDegree, b)).abs();
        }
        if (!drop(terms)) {
            break;
        }
    }
    int yDegree = order;
    for (; yDegree > 0; --yDegree) {
        FloatRow terms = FloatRow::Zero(tolerance.size());
        for (int a = 0; a <= std::min(xDegree, order - yDegree); ++a) {
            terms += coefficients.row(termIndex(a, yDegree)).abs();
        }
        if (!drop(terms)) {
            break;
        }
    }
    TileKernel kernel;
    kernel.tapStride = static_cast<int>(tolerance.size());
    for (int a = 0; a <= xDegree; ++a) {
        kernel.yTerms.push_back(std::min(order - a, yDegree) + 1);
        for (int b = 0; b < kernel.yTerms.back(); ++b) {
            float const* const row = coefficients.row(termIndex(a, b)).data();
            kernel.coefficients.insert(kernel.coefficients.end(), row, row + kernel.tapStride);
        }
    }
    return kernel;
}

FloatRowArray paddedFloats(RowMatrix const& expansion) {
    FloatRowArray floats = FloatRowArray::Zero(expansion.rows(), padded(static_cast<int>(expansion.cols())));
    floats.leftCols(expansion.cols()) = expansion.array().cast<float>();
    return floats;
}

}  // namespace

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

void TileKernel::collapse(RowFunctions const& functions, float const* yFactors, float* taps, int stride) const {
    float const* rows = coefficients.data();
    for (int const nRows : yTerms) {
        functions.combine({rows, tapStride}, yFactors, nRows, tapStride, taps);
        rows += nRows * tapStride;
        taps += stride;
    }
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

KernelExpansion::KernelExpansion(LinearCombinationKernel const& kernel, Index x0, Index y0)
    : spatial_(kernel.spatial),
      terms_(termImages(kernel)),
      x0_(static_cast<double>(x0)),
      y0_(static_cast<double>(y0)) {}

RowMatrix KernelExpansion::expand(Tile const& tile) const {
    double const xCentre = x0_ + static_cast<double>(tile.x0) + 0.5 * (tile.width - 1);
    double const yCentre = y0_ + static_cast<double>(tile.y0) + 0.5 * (tile.height - 1);
    Eigen::MatrixXd const xPart = chebyshevCoefficients(spatial_.order, xCentre, halfExtent(tile.width),
                                                        [this](double x) { return spatial_.xValues(x); });
    Eigen::MatrixXd const yPart = chebyshevCoefficients(spatial_.order, yCentre, halfExtent(tile.height),
                                                        [this](double y) { return spatial_.yValues(y); });
    Eigen::MatrixXd transform = Eigen::MatrixXd::Zero(spatial_.size(), spatial_.size());
    for (int s = 0; s < spatial_.size(); ++s) {
        for (int a = 0; a <= SpatialFunction::xDegree(s); ++a) {
            for (int b = 0; b <= SpatialFunction::yDegree(s); ++b) {
                transform(termIndex(a, b), s) =
                    xPart(SpatialFunction::xDegree(s), a) * yPart(SpatialFunction::yDegree(s), b);
            }
        }
    }
    return transform * terms_;
}

TileKernel KernelExpansion::kernel(RowMatrix const& expansion) const {
    FloatRowArray const floats = paddedFloats(expansion);
    return truncated(floats, spatial_.order,
                     FloatRow::Constant(floats.cols(), kernelTolerance * floats.row(0).abs().maxCoeff()));
}

TileKernel KernelExpansion::squaredKernel(RowMatrix const& expansion) const {
    FloatRowArray const floats = paddedFloats(expansion);
    int const order = spatial_.order;
    FloatRowArray square = FloatRowArray::Zero((2 * order + 1) * (order + 1), floats.cols());
    FloatRow product(floats.cols());
    for (int s = 0; s < spatial_.size(); ++s) {
        for (int r = s; r < spatial_.size(); ++r) {
            // T_a T_c = (T_{a + c} + T_{|a - c|}) / 2 on either axis.
            product = (r == s ? 0.25F : 0.5F) * floats.row(s) * floats.row(r);
            int const xSum = SpatialFunction::xDegree(s) + SpatialFunction::xDegree(r);
            int const ySum = SpatialFunction::yDegree(s) + SpatialFunction::yDegree(r);
            int const xDifference = std::abs(SpatialFunction::xDegree(s) - SpatialFunction::xDegree(r));
            int const yDifference = std::abs(SpatialFunction::yDegree(s) - SpatialFunction::yDegree(r));
            square.row(termIndex(xSum, ySum)) += product;
            square.row(termIndex(xDifference, ySum)) += product;
            square.row(termIndex(xSum, yDifference)) += product;
            square.row(termIndex(xDifference, yDifference)) += product;
        }
    }
    // What every tap holds at least, anywhere in the tile.
    FloatRow const lowest = 2.0F * square.row(0) - square.abs().colwise().sum();
    FloatRow const tolerance = squareTolerance * lowest.max(squareFloor * square.row(0).sum());
    return truncated(square, 2 * order, tolerance);
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

#include "psfmatch/fit/NormalEquations.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "simd/rowFunctions.h"

namespace psfmatch {

namespace {

Index padded(Index width) {
    return (width + detail::rowPadding - 1) / detail::rowPadding * detail::rowPadding;
}

// The taps that count: those before and after together change no sum by more than its rounding in float64. Of the
// narrowest Gaussian of the usual basis a third of the taps are left out.
struct TapRange {
    Index first;
    Index count;
};

TapRange countingTaps(std::vector<double const*> const& sets, Index nTaps) {
    constexpr double negligible = 0.5 * std::numeric_limits<double>::epsilon();
    Index first = nTaps;
    Index end = 0;
    for (double const* const taps : sets) {
        double const largest = Eigen::Map<Eigen::VectorXd const>(taps, nTaps).lpNorm<Eigen::Infinity>();
        for (Index k = 0; k < nTaps; ++k) {
            if (std::abs(taps[k]) * static_cast<double>(nTaps) > negligible * largest) {
                first = std::min(first, k);
                end = std::max(end, k + 1);
            }
        }
    }
    return {std::min(first, end), end - std::min(first, end)};
}

// Correlates with the taps that count.
void correlateSets(detail::RowFunctions const& functions, std::vector<double const*> const& sets, TapRange const& range,
                   detail::DoubleRows input, Index nRows, Index count, std::vector<double*> const& results,
                   Index resultStride) {
    std::vector<double const*> taps;
    for (double const* const set : sets) {
        taps.push_back(set + range.first);
    }
    input.data += range.first * input.step;
    functions.correlateSets(taps.data(), static_cast<int>(taps.size()), static_cast<int>(range.count), input,
                            static_cast<int>(nRows), static_cast<int>(count), results.data(),
                            static_cast<int>(resultStride));
}

// Along x with every distinct row factor, then along y with the column factors of the images that share it: for 27
// functions of side 21 about a twelfth of the work of the two-dimensional sums. Two row factors at a time: what the
// passes along y read of them is still in the nearest cache.
void convolveSeparable(detail::RowFunctions const& functions, SeparableBasis const& factors, RowMatrix const& pixels,
                       Index outHeight, Index outWidth, RowMatrix& scratch, RowMatrix& columns) {
    constexpr Index atOnce = 2;
    Index const height = pixels.rows();
    // Rows of whole vectors: what lies beyond outWidth is computed from the padding, and dropped.
    Index const paddedWidth = padded(outWidth);
    auto const step = static_cast<int>(paddedWidth);
    // The last rows of an image write beyond its end: they are made elsewhere, and copied.
    Index const nTail = std::min(outHeight, (paddedWidth + outWidth - 1) / outWidth - 1);
    Index const nDirect = outHeight - nTail;
    Index const nRow = factors.rowFactors.rows();
    Index const n = factors.columnFactors.rows();
    scratch.resize(atOnce + 1, std::max(height, n) * paddedWidth);
    std::vector<double const*> taps;
    std::vector<double*> results;
    std::vector<Index> images;
    for (Index first = 0; first < nRow; first += atOnce) {
        Index const count = std::min(atOnce, nRow - first);
        taps.clear();
        results.clear();
        for (Index r = 0; r < count; ++r) {
            taps.push_back(factors.rowFactors.row(first + r).data());
            results.push_back(scratch.row(r).data());
        }
        correlateSets(functions, taps, countingTaps(taps, factors.rowFactors.cols()),
                      {pixels.data(), 1, static_cast<int>(pixels.cols())}, height, paddedWidth, results, paddedWidth);
        for (Index r = 0; r < count; ++r) {
            taps.clear();
            results.clear();
            images.clear();
            for (Index i = 0; i < n; ++i) {
                if (factors.rowOf[static_cast<std::size_t>(i)] == first + r) {
                    taps.push_back(factors.columnFactors.row(i).data());
                    results.push_back(columns.row(i).data());
                    images.push_back(i);
                }
            }
            // Each row writes its padding where the next ones begin, which are written after it.
            TapRange const range = countingTaps(taps, factors.columnFactors.cols());
            double const* const rows = scratch.row(r).data();
            if (nDirect > 0) {
                correlateSets(functions, taps, range, {rows, step, step}, nDirect, paddedWidth, results, outWidth);
            }
            for (std::size_t k = 0; k < images.size(); ++k) {
                results[k] = scratch.row(atOnce).data() + paddedWidth * static_cast<Index>(k);
            }
            for (Index y = nDirect; y < outHeight; ++y) {
                correlateSets(functions, taps, range, {rows + y * paddedWidth, step, step}, 1, paddedWidth, results,
                              paddedWidth);
                for (std::size_t k = 0; k < images.size(); ++k) {
                    std::copy_n(results[k], outWidth, columns.row(images[k]).data() + y * outWidth);
                }
            }
        }
    }
    for (Index i = 1; i < n; ++i) {
        if (factors.firstImageWeight[i] != 0.0) {
            functions.correlate(&factors.firstImageWeight[i], 1, columns.row(0).data(), 1,
                                static_cast<int>(outHeight * outWidth), columns.row(i).data());
        }
    }
}

void convolveDirect(detail::RowFunctions const& functions, KernelBasis const& basis, RowMatrix const& pixels,
                    Index outHeight, Index outWidth, RowMatrix& columns) {
    for (Index i = 0; i < basis.size(); ++i) {
        for (Index y = 0; y < outHeight; ++y) {
            for (Index v = 0; v < basis.height; ++v) {
                functions.correlate(basis.images.row(i).data() + v * basis.width, static_cast<int>(basis.width),
                                    pixels.row(y + v).data(), 1, static_cast<int>(outWidth),
                                    columns.row(i).data() + y * outWidth);
            }
        }
    }
}

// A shift: every row of the fitted region is a piece of a row of the stamp.
void copyShifted(std::vector<Index> const& deltas, Index kernelWidth, RowMatrix const& pixels, Index outHeight,
                 Index outWidth, RowMatrix& columns) {
    for (std::size_t i = 0; i < deltas.size(); ++i) {
        Eigen::Map<RowMatrix>(columns.row(static_cast<Index>(i)).data(), outHeight, outWidth) =
            pixels.block(deltas[i] / kernelWidth, deltas[i] % kernelWidth, outHeight, outWidth);
    }
}

}  // namespace

PreparedBasis prepare(KernelBasis basis) {
    validate(basis);
    if (auto deltas = deltaPixels(basis)) {
        return {std::move(basis), std::nullopt, std::move(deltas)};
    }
    auto factors = separate(basis);
    return {std::move(basis), std::move(factors)};
}

void convolveStamp(PreparedBasis const& basis, ConstImageView<float> const& stamp, RowMatrix& scratch,
                   RowMatrix& columns, InstructionSet instructionSet, bool withBackground) {
    Index const outHeight = stamp.rows() - basis.basis.height + 1;
    Index const outWidth = stamp.cols() - basis.basis.width + 1;
    if (outHeight < 1 || outWidth < 1) {
        throw std::invalid_argument("stamp of " + std::to_string(stamp.cols()) + "x" + std::to_string(stamp.rows()) +
                                    " pixels is smaller than the kernel of " + std::to_string(basis.basis.width) + "x" +
                                    std::to_string(basis.basis.height));
    }
    detail::RowFunctions const functions = detail::chooseRowFunctions(instructionSet);
    RowMatrix pixels(stamp.rows(), padded(outWidth) + basis.basis.width - 1);
    pixels.leftCols(stamp.cols()) = stamp.matrix().cast<double>();
    pixels.rightCols(pixels.cols() - stamp.cols()).setZero();
    columns.resize(basis.basis.size() + (withBackground ? 1 : 0), outHeight * outWidth);
    if (withBackground) {
        columns.bottomRows<1>().setOnes();
    }
    if (basis.deltas) {
        copyShifted(*basis.deltas, basis.basis.width, pixels, outHeight, outWidth, columns);
    } else if (basis.separable) {
        convolveSeparable(functions, *basis.separable, pixels, outHeight, outWidth, scratch, columns);
    } else {
        columns.topRows(basis.basis.size()).setZero();
        convolveDirect(functions, basis.basis, pixels, outHeight, outWidth, columns);
    }
}

namespace {

// The lower triangle of the products is written row by row, which is the upper one in Eigen's order.
NormalEquations productsOf(RowMatrix const& columns, Eigen::VectorXd const& weights, double const* data,
                           InstructionSet instructionSet, std::vector<double>* memory) {
    // From the beginning of a cache line, of which rows take up whole ones: no vector lies across two.
    constexpr std::size_t line = 8;
    Index const n = columns.rows();
    std::vector<double> ours;
    std::vector<double>& buffer = memory != nullptr ? *memory : ours;
    auto const pieces = static_cast<std::size_t>((n + 1) * detail::productPiece);
    buffer.resize(std::max(buffer.size(), pieces + static_cast<std::size_t>(columns.cols()) + line - 1));
    double* start = buffer.data();
    while (reinterpret_cast<std::uintptr_t>(start) % (line * sizeof(double)) != 0) {
        ++start;
    }
    double* const roots = start + pieces;
    Eigen::Map<Eigen::VectorXd>(roots, columns.cols()) = weights.cwiseSqrt();
    NormalEquations result{Eigen::MatrixXd::Zero(n, n), Eigen::VectorXd::Zero(n)};
    detail::chooseRowFunctions(instructionSet)
        .weightedProducts(columns.data(), static_cast<int>(n), static_cast<int>(columns.cols()), roots,
                          static_cast<int>(columns.cols()), data, start, result.matrix.data(),
                          result.rightHandSide.data());
    result.matrix.triangularView<Eigen::StrictlyLower>() = result.matrix.transpose();
    return result;
}

}  // namespace

Eigen::MatrixXd weightedProducts(RowMatrix const& columns, Eigen::VectorXd const& weights,
                                 InstructionSet instructionSet) {
    return productsOf(columns, weights, nullptr, instructionSet, nullptr).matrix;
}

NormalEquations makeNormalEquations(RowMatrix const& columns, Eigen::VectorXd const& weights,
                                    Eigen::VectorXd const& data, InstructionSet instructionSet,
                                    std::vector<double>* memory) {
    if (weights.size() != columns.cols() || data.size() != columns.cols()) {
        throw std::invalid_argument(std::to_string(columns.cols()) + " pixels in the columns, " +
                                    std::to_string(weights.size()) + " weights and " + std::to_string(data.size()) +
                                    " data");
    }
    return productsOf(columns, weights, data.data(), instructionSet, memory);
}

}  // namespace psfmatch

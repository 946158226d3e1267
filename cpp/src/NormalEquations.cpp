#include "psfmatch/NormalEquations.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "rowFunctions.h"

namespace psfmatch {

namespace {

// Along x with every distinct row factor, then along y with each image's column factor: for 27 functions of
// side 21 about a twelfth of the work of the two-dimensional sums. The rows of a pass along x stand one after
// the other, so that a pass along y is one correlation of the whole image with a step of one row.
void convolveSeparable(detail::RowFunctions const& functions, SeparableBasis const& factors, RowMatrix const& pixels,
                       Index outHeight, Index outWidth, RowMatrix& scratch, RowMatrix& columns) {
    auto const kernelWidth = static_cast<int>(factors.rowFactors.cols());
    auto const kernelHeight = static_cast<int>(factors.columnFactors.cols());
    Index const height = pixels.rows();
    // Rows of whole vectors: what lies beyond outWidth is computed from the padding, and dropped.
    Index const paddedWidth = (outWidth + detail::rowPadding - 1) / detail::rowPadding * detail::rowPadding;
    RowMatrix padded = RowMatrix::Zero(height, paddedWidth + factors.rowFactors.cols() - 1);
    padded.leftCols(pixels.cols()) = pixels;
    scratch.setZero(factors.rowFactors.rows() + 1, height * paddedWidth);
    for (Index r = 0; r < factors.rowFactors.rows(); ++r) {
        for (Index y = 0; y < height; ++y) {
            functions.correlate(factors.rowFactors.row(r).data(), kernelWidth, padded.row(y).data(), 1,
                                static_cast<int>(paddedWidth), scratch.row(r).data() + y * paddedWidth);
        }
    }
    auto result = scratch.bottomRows<1>();
    for (Index i = 0; i < factors.columnFactors.rows(); ++i) {
        Index const r = factors.rowOf[static_cast<std::size_t>(i)];
        result.setZero();
        functions.correlate(factors.columnFactors.row(i).data(), kernelHeight, scratch.row(r).data(),
                            static_cast<int>(paddedWidth), static_cast<int>(outHeight * paddedWidth), result.data());
        Eigen::Map<RowMatrix>(columns.row(i).data(), outHeight, outWidth) =
            Eigen::Map<RowMatrix const>(result.data(), outHeight, paddedWidth).leftCols(outWidth);
        if (factors.firstImageWeight[i] != 0.0) {
            columns.row(i) += factors.firstImageWeight[i] * columns.row(0);
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
    RowMatrix const pixels = stamp.matrix().cast<double>();
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

Eigen::MatrixXd weightedProducts(RowMatrix const& columns, Eigen::VectorXd const& weights,
                                 InstructionSet instructionSet) {
    // Rows of whole cache lines from the beginning of one: no vector of any instruction set lies across two.
    constexpr Index line = 8;
    Index const stride = (columns.cols() + line - 1) / line * line;
    Eigen::VectorXd buffer(columns.rows() * stride + line - 1);
    double* start = buffer.data();
    while (reinterpret_cast<std::uintptr_t>(start) % (line * sizeof(double)) != 0) {
        ++start;
    }
    Eigen::Map<RowMatrix> weighted(start, columns.rows(), stride);
    weighted.leftCols(columns.cols()).noalias() = columns * weights.cwiseSqrt().asDiagonal();
    weighted.rightCols(stride - columns.cols()).setZero();
    Eigen::MatrixXd products(columns.rows(), columns.rows());
    // The rows of the lower triangle are the columns of the upper one in Eigen's order.
    detail::chooseRowFunctions(instructionSet)
        .symmetricProduct(weighted.data(), static_cast<int>(weighted.rows()), static_cast<int>(stride),
                          static_cast<int>(stride), products.data());
    products.triangularView<Eigen::StrictlyLower>() = products.transpose();
    return products;
}

NormalEquations makeNormalEquations(RowMatrix const& columns, Eigen::VectorXd const& weights,
                                    Eigen::VectorXd const& data, InstructionSet instructionSet) {
    if (weights.size() != columns.cols() || data.size() != columns.cols()) {
        throw std::invalid_argument(std::to_string(columns.cols()) + " pixels in the columns, " +
                                    std::to_string(weights.size()) + " weights and " + std::to_string(data.size()) +
                                    " data");
    }
    NormalEquations equations;
    equations.matrix = weightedProducts(columns, weights, instructionSet);
    equations.rightHandSide.noalias() = columns * weights.cwiseProduct(data);
    return equations;
}

}  // namespace psfmatch

#include "SpatialKernelSolutionSums.h"

#include <algorithm>

namespace psfmatch::detail {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

// Index of the pair s <= t among all of p functions: (0, 0), (0, 1) .. (0, p - 1), (1, 1) ..
std::size_t pairIndex(Index s, Index t, Index p) {
    Index const low = std::min(s, t);
    Index const high = std::max(s, t);
    return static_cast<std::size_t>(low * p - low * (low - 1) / 2 + high - low);
}

}  // namespace

void addRightHandSide(SpatialLayout const& layout, SpatialTerm const& term, VectorXd& rightHandSide) {
    for (Index i = 0; i < layout.nBasis; ++i) {
        rightHandSide.segment(layout.start(i), layout.size(i)) +=
            term.rightHandSide[i] * term.kernelValues.head(layout.size(i));
    }
    if (layout.q > 0) {
        rightHandSide.tail(layout.q) += term.rightHandSide[layout.nBasis] * term.backgroundValues;
    }
}

SpatialSums::SpatialSums(SpatialLayout const& spatialLayout)
    : layout(spatialLayout),
      kernel(static_cast<std::size_t>(layout.p * (layout.p + 1) / 2), MatrixXd::Zero(layout.nBasis, layout.nBasis)),
      crossed(MatrixXd::Zero(layout.p * layout.q, layout.nBasis)),
      background(MatrixXd::Zero(layout.q, layout.q)) {}

void addTerms(std::vector<SpatialTerm> const& terms, Execution const& execution, SpatialSums& sums) {
    // Columns of so many candidates are gathered at a time: then all weighted sums of them are one matrix product.
    // Fixed, so that the sequence of additions is.
    constexpr std::size_t blockSize = 64;
    Index const n = sums.layout.nBasis;
    Index const p = sums.layout.p;
    Index const q = sums.layout.q;
    Index const stride = sums.layout.nCoefficients();
    auto const nTerms = static_cast<Index>(terms.size());
    MatrixXd weights(nTerms, static_cast<Index>(sums.kernel.size()));
    for (Index c = 0; c < nTerms; ++c) {
        VectorXd const& values = terms[static_cast<std::size_t>(c)].kernelValues;
        for (Index s = 0; s < p; ++s) {
            for (Index t = s; t < p; ++t) {
                weights(c, static_cast<Index>(pairIndex(s, t, p))) = values[s] * values[t];
            }
        }
    }
    parallelFor(n, execution, [&](Index j, int) {
        Index const length = n - j;
        MatrixXd columns(length, static_cast<Index>(std::min(blockSize, terms.size())));
        MatrixXd products(length, weights.cols());
        for (std::size_t first = 0; first < terms.size(); first += blockSize) {
            std::size_t const count = std::min(blockSize, terms.size() - first);
            auto const nColumns = static_cast<Index>(count);
            for (std::size_t k = 0; k < count; ++k) {
                SpatialTerm const& term = terms[first + k];
                double const* const column = term.matrix + j * stride;
                columns.col(static_cast<Index>(k)) = Eigen::Map<VectorXd const>(column + j, length);
                for (Index t = 0; t < p && q > 0; ++t) {
                    sums.crossed.col(j).segment(t * q, q) += (column[n] * term.kernelValues[t]) * term.backgroundValues;
                }
            }
            products.noalias() =
                columns.leftCols(nColumns) * weights.middleRows(static_cast<Index>(first), nColumns);
            for (std::size_t pair = 0; pair < sums.kernel.size(); ++pair) {
                sums.kernel[pair].col(j).tail(length) += products.col(static_cast<Index>(pair));
            }
        }
    });
    for (SpatialTerm const& term : terms) {
        if (q > 0) {
            sums.background += (term.matrix[n * stride + n] * term.backgroundValues) * term.backgroundValues.transpose();
        }
    }
}

MatrixXd assemble(SpatialSums const& sums) {
    SpatialLayout const& layout = sums.layout;
    Index const n = layout.nBasis;
    MatrixXd matrix(layout.nUnknowns(), layout.nUnknowns());
    for (Index j = 0; j < n; ++j) {
        for (Index t = 0; t < layout.size(j); ++t) {
            Index const column = layout.start(j) + t;
            for (Index i = j; i < n; ++i) {
                for (Index s = 0; s < layout.size(i); ++s) {
                    matrix(layout.start(i) + s, column) = sums.kernel[pairIndex(s, t, layout.p)](i, j);
                }
            }
            matrix.col(column).tail(layout.q) = sums.crossed.col(j).segment(t * layout.q, layout.q);
        }
    }
    matrix.bottomRightCorner(layout.q, layout.q) = sums.background;
    matrix.triangularView<Eigen::StrictlyUpper>() = matrix.transpose();
    return matrix;
}

}  // namespace psfmatch::detail

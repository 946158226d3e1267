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
    // Some columns of so many candidates are gathered at a time: then all weighted sums of them are one matrix product.
    // Fixed, so that the sequence of additions is.
    constexpr std::size_t blockSize = 64;
    constexpr Index columnsPerItem = 4;
    Index const n = sums.layout.nBasis;
    Index const p = sums.layout.p;
    Index const q = sums.layout.q;
    Index const stride = sums.layout.nCoefficients();
    auto const nTerms = static_cast<Index>(terms.size());
    MatrixXd weights(nTerms, static_cast<Index>(sums.kernel.size()));
    MatrixXd crossedWeights(nTerms, p * q);
    for (Index c = 0; c < nTerms; ++c) {
        SpatialTerm const& term = terms[static_cast<std::size_t>(c)];
        for (Index s = 0; s < p; ++s) {
            for (Index t = s; t < p; ++t) {
                weights(c, static_cast<Index>(pairIndex(s, t, p))) = term.kernelValues[s] * term.kernelValues[t];
            }
            crossedWeights.row(c).segment(s * q, q) = term.kernelValues[s] * term.backgroundValues.transpose();
        }
    }
    parallelFor((n + columnsPerItem - 1) / columnsPerItem, execution, [&](Index item, int) {
        Index const begin = item * columnsPerItem;
        Index const end = std::min(n, begin + columnsPerItem);
        // Each column from its diagonal element on, one below the other; with a background, the element of its row is
        // the last of them.
        Index nElements = 0;
        for (Index j = begin; j < end; ++j) {
            nElements += stride - j;
        }
        MatrixXd elements(nElements, static_cast<Index>(std::min(blockSize, terms.size())));
        MatrixXd products(nElements, weights.cols());
        for (std::size_t first = 0; first < terms.size(); first += blockSize) {
            std::size_t const count = std::min(blockSize, terms.size() - first);
            auto const nColumns = static_cast<Index>(count);
            for (std::size_t k = 0; k < count; ++k) {
                double* to = elements.col(static_cast<Index>(k)).data();
                for (Index j = begin; j < end; ++j) {
                    to = std::copy_n(terms[first + k].matrix + j * stride + j, stride - j, to);
                }
            }
            auto const block = elements.leftCols(nColumns);
            products.noalias() = block * weights.middleRows(static_cast<Index>(first), nColumns);
            Index start = 0;
            for (Index j = begin; j < end; ++j) {
                for (std::size_t pair = 0; pair < sums.kernel.size(); ++pair) {
                    sums.kernel[pair].col(j).tail(n - j) +=
                        products.col(static_cast<Index>(pair)).segment(start, n - j);
                }
                start += stride - j;
                if (q > 0) {
                    sums.crossed.col(j).noalias() +=
                        crossedWeights.middleRows(static_cast<Index>(first), nColumns).transpose() *
                        block.row(start - 1).transpose();
                }
            }
        }
    });
    for (SpatialTerm const& term : terms) {
        if (q > 0) {
            sums.background +=
                (term.matrix[n * stride + n] * term.backgroundValues) * term.backgroundValues.transpose();
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

#include "psfmatch/NormalEquations.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace psfmatch {

namespace {

// Along x with every distinct row factor, then along y with each image's column factor: for 27 functions of
// side 21 about a twelfth of the work of the two-dimensional sums.
void convolveSeparable(SeparableBasis const& factors, ConstImageView<float> const& stamp, Index outHeight,
                       Index outWidth, RowMatrix& scratch, RowMatrix& columns) {
    Index const nRow = factors.rowFactors.rows();
    Index const kernelWidth = factors.rowFactors.cols();
    Index const kernelHeight = factors.columnFactors.cols();
    Index const height = stamp.rows();
    scratch.setZero(nRow * height, outWidth);
    Eigen::RowVectorXd line(stamp.cols());
    for (Index y = 0; y < height; ++y) {
        line = stamp.row(y).matrix().cast<double>();
        for (Index r = 0; r < nRow; ++r) {
            auto sums = scratch.row(r * height + y);
            for (Index u = 0; u < kernelWidth; ++u) {
                sums.noalias() += factors.rowFactors(r, u) * line.segment(u, outWidth);
            }
        }
    }
    columns.setZero();
    for (Index i = 0; i < factors.columnFactors.rows(); ++i) {
        Index const first = factors.rowOf[static_cast<std::size_t>(i)] * height;
        for (Index y = 0; y < outHeight; ++y) {
            auto sums = columns.row(i).segment(y * outWidth, outWidth);
            for (Index v = 0; v < kernelHeight; ++v) {
                sums.noalias() += factors.columnFactors(i, v) * scratch.row(first + y + v);
            }
        }
        if (factors.firstImageWeight[i] != 0.0) {
            columns.row(i) += factors.firstImageWeight[i] * columns.row(0);
        }
    }
}

void convolveDirect(KernelBasis const& basis, ConstImageView<float> const& stamp, Index outHeight, Index outWidth,
                    RowMatrix& columns) {
    RowMatrix const pixels = stamp.matrix().cast<double>();
    columns.setZero();
    for (Index i = 0; i < basis.size(); ++i) {
        for (Index y = 0; y < outHeight; ++y) {
            auto sums = columns.row(i).segment(y * outWidth, outWidth);
            for (Index v = 0; v < basis.height; ++v) {
                for (Index u = 0; u < basis.width; ++u) {
                    double const k = basis.images(i, v * basis.width + u);
                    if (k != 0.0) {
                        sums.noalias() += k * pixels.row(y + v).segment(u, outWidth);
                    }
                }
            }
        }
    }
}

}  // namespace

PreparedBasis prepare(KernelBasis basis) {
    auto factors = separate(basis);
    return {std::move(basis), std::move(factors)};
}

void convolveStamp(PreparedBasis const& basis, ConstImageView<float> const& stamp, RowMatrix& scratch,
                   RowMatrix& columns) {
    Index const outHeight = stamp.rows() - basis.basis.height + 1;
    Index const outWidth = stamp.cols() - basis.basis.width + 1;
    if (outHeight < 1 || outWidth < 1) {
        throw std::invalid_argument("stamp of " + std::to_string(stamp.cols()) + "x" +
                                    std::to_string(stamp.rows()) + " pixels is smaller than the kernel of " +
                                    std::to_string(basis.basis.width) + "x" +
                                    std::to_string(basis.basis.height));
    }
    columns.resize(basis.basis.size(), outHeight * outWidth);
    if (basis.separable) {
        convolveSeparable(*basis.separable, stamp, outHeight, outWidth, scratch, columns);
    } else {
        convolveDirect(basis.basis, stamp, outHeight, outWidth, columns);
    }
}

NormalEquations makeNormalEquations(RowMatrix const& columns, Eigen::VectorXd const& weights,
                                    Eigen::VectorXd const& data) {
    if (weights.size() != columns.cols() || data.size() != columns.cols()) {
        throw std::invalid_argument(std::to_string(columns.cols()) + " pixels in the columns, " +
                                    std::to_string(weights.size()) + " weights and " +
                                    std::to_string(data.size()) + " data");
    }
    Eigen::MatrixXd const weighted = columns * weights.cwiseSqrt().asDiagonal();
    NormalEquations equations;
    equations.matrix = Eigen::MatrixXd::Zero(columns.rows(), columns.rows());
    equations.matrix.selfadjointView<Eigen::Lower>().rankUpdate(weighted);
    equations.matrix.triangularView<Eigen::StrictlyUpper>() = equations.matrix.transpose();
    equations.rightHandSide.noalias() = columns * weights.cwiseProduct(data);
    return equations;
}

}  // namespace psfmatch
